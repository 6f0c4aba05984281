"""One value, one encoding: whatever decodes is what ``encode`` would have written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.encoding import DEPTH_MAX, Value, decode, encode
from core.errors import MalformedError

LIMIT = 1 << 20

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | texts | st.binary(max_size=40)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)


def nested(levels: int) -> Value:
    value: Value = []
    for _ in range(levels):
        value = [value]
    return value


@given(values)
def test_what_is_encoded_decodes_to_the_same_value(value: Value) -> None:
    assert decode(encode(value), max_bytes=LIMIT) == value


@given(values)
def test_types_survive_so_a_flag_never_becomes_a_number(value: Value) -> None:
    assert repr(decode(encode(value), max_bytes=LIMIT)) == repr(_sorted(value))


def _sorted(value: Value) -> Value:
    match value:
        case dict():
            return {key: _sorted(value[key]) for key in sorted(value)}
        case list():
            return [_sorted(item) for item in value]
        case _:
            return value


@given(st.dictionaries(texts, st.integers(), min_size=2, max_size=6))
def test_the_order_in_which_a_map_was_filled_does_not_show(value: dict[str, int]) -> None:
    small = {key: number % 100 for key, number in value.items()}
    assert encode(small) == encode(dict(reversed(small.items())))


@given(st.binary(max_size=200))
@example(b"\xc1")
@example(b"\x93" * 2000)
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xdf\xff\xff\xff\xff")
@example(b"\xc6\xff\xff\xff\xff")
def test_foreign_bytes_are_canonical_or_refused(data: bytes) -> None:
    try:
        value = decode(data, max_bytes=LIMIT)
    except MalformedError:
        return
    assert encode(value) == data


@given(values, st.data())
def test_a_changed_byte_gives_another_value_or_is_refused(value: Value, data: st.DataObject) -> None:
    whole = encode(value)
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    try:
        assert encode(decode(changed, max_bytes=LIMIT)) == changed
    except MalformedError:
        return


@pytest.mark.parametrize(
    ("why", "data"),
    [
        ("a longer form of 1", b"\xcc\x01"),
        ("a longer form of 1", b"\xd0\x01"),
        ("a longer form of -1", b"\xd0\xff"),
        ("a longer form of 255", b"\xcd\x00\xff"),
        ("a longer text header", b"\xd9\x01a"),
        ("a longer bytes header", b"\xc5\x00\x01a"),
        ("a longer list header", b"\xdc\x00\x01\x01"),
        ("a longer map header", b"\xde\x00\x01\xa1a\x01"),
        ("keys out of order", b"\x82\xa1b\x01\xa1a\x02"),
        ("a key twice", b"\x82\xa1a\x01\xa1a\x02"),
        ("a number as key", b"\x81\x01\x01"),
        ("bytes as key", b"\x81\xc4\x01a\x01"),
        ("a list as key", b"\x81\x91\x01\x01"),
        ("a float", b"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"),
        ("a time stamp", b"\xd6\xff\x00\x00\x00\x01"),
        ("an extension type", b"\xd4\x05x"),
        ("text that is no UTF-8", b"\xa1\xff"),
        ("text with half a surrogate pair", b"\xa3\xed\xa0\x80"),
        ("a byte too many", b"\x01\x00"),
        ("a byte too few", b"\xa2a"),
        ("nothing", b""),
    ],
)
def test_anything_but_the_one_canonical_form_is_refused(why: str, data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(data, max_bytes=LIMIT)


def test_size_and_depth_are_bounded() -> None:
    assert decode(encode(b"x" * 10), max_bytes=12) == b"x" * 10
    with pytest.raises(MalformedError, match="at most 11"):
        decode(encode(b"x" * 10), max_bytes=11)
    assert decode(encode(nested(DEPTH_MAX)), max_bytes=LIMIT) == nested(DEPTH_MAX)
    with pytest.raises(MalformedError, match="nested"):
        encode(nested(DEPTH_MAX + 1))
    for levels in (DEPTH_MAX + 1, 500, 5000, 100_000):
        with pytest.raises(MalformedError):
            decode(b"\x91" * levels + b"\x90", max_bytes=LIMIT)


def test_buffers_of_any_kind_are_bytes() -> None:
    assert encode(bytearray(b"ab")) == encode(memoryview(b"ab")) == encode(b"ab")
    assert decode(memoryview(encode([b"ab"])), max_bytes=LIMIT) == [b"ab"]


def test_our_own_values_that_have_no_encoding_are_bugs_not_nil() -> None:
    wrong: list[Any] = [1.5, {1: 2}, {b"a": 1}, [object()], {1, 2}]
    for value in wrong:
        with pytest.raises(TypeError):
            encode(value)

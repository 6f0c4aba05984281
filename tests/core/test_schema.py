"""Fields: a peer's map becomes typed values, or an error that names the field."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.encoding import Value
from core.errors import MalformedError
from core.schema import Fields, split_column
from tests.core.test_encoding import texts, values

WRONG_KINDS: list[Value] = [None, True, 1, "text", b"bytes", [1], {"a": 1}]

Take = Callable[[Fields], object]
TAKERS: dict[str, tuple[Take, type]] = {
    "integer": (lambda fields: fields.integer("x", high=10), int),
    "flag": (lambda fields: fields.flag("x"), bool),
    "text": (lambda fields: fields.text("x", max_characters=10), str),
    "blob": (lambda fields: fields.blob("x", max_bytes=10), bytes),
    "items": (lambda fields: fields.items("x", max_items=10), list),
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("value", WRONG_KINDS, ids=repr)
def test_each_taker_takes_its_own_type_and_no_other(taker: str, value: Value) -> None:
    take, kind = TAKERS[taker]
    if type(value) is kind:
        assert take(Fields({"x": value}, what="thing")) == value
    else:
        with pytest.raises(MalformedError, match="thing: field 'x'"):
            take(Fields({"x": value}, what="thing"))


@pytest.mark.parametrize("taker", TAKERS)
def test_a_missing_field_is_named(taker: str) -> None:
    with pytest.raises(MalformedError, match="thing: field 'x' is missing"):
        TAKERS[taker][0](Fields({}, what="thing"))


@pytest.mark.parametrize("value", [0, 1])
def test_numbers_are_not_flags(value: int) -> None:
    with pytest.raises(MalformedError):
        Fields({"x": value}, what="thing").flag("x")


@pytest.mark.parametrize("value", [False, True])
def test_flags_are_not_numbers(value: bool) -> None:
    with pytest.raises(MalformedError):
        Fields({"x": value}, what="thing").integer("x", high=1)


def test_bounds_are_inclusive() -> None:
    for value in (2, 5):
        assert Fields({"x": value}, what="thing").integer("x", low=2, high=5) == value
    for value in (1, 6, -(2**63)):
        with pytest.raises(MalformedError, match="from 2 to 5"):
            Fields({"x": value}, what="thing").integer("x", low=2, high=5)
    assert Fields({"x": b"1234"}, what="thing").exact("x", 4) == b"1234"
    for blob in (b"123", b"12345"):
        with pytest.raises(MalformedError):
            Fields({"x": blob}, what="thing").exact("x", 4)
    with pytest.raises(MalformedError):
        Fields({"x": "12345"}, what="thing").text("x", max_characters=4)
    with pytest.raises(MalformedError):
        Fields({"x": [1, 2, 3]}, what="thing").items("x", max_items=2)


def test_lists_of_one_type_refuse_every_other_item() -> None:
    assert Fields({"x": [b"ab", b"cd"]}, what="t").blobs("x", max_items=2, size_bytes=2) == (b"ab", b"cd")
    assert Fields({"x": ["ab", ""]}, what="t").texts("x", max_items=2, max_characters=2) == ("ab", "")
    for item in [*WRONG_KINDS, b"a", b"abc", "abc"]:
        with pytest.raises(MalformedError):
            Fields({"x": [item]}, what="t").blobs("x", max_items=2, size_bytes=2)
        with pytest.raises(MalformedError):
            Fields({"x": [item]}, what="t").texts("x", max_items=2, max_characters=2)


def test_a_field_is_taken_once_and_what_nobody_took_is_refused() -> None:
    fields = Fields({"a": 1, "b": 2}, what="thing")
    assert fields.has("a")
    assert fields.integer("a", high=9) == 1
    assert not fields.has("a")
    with pytest.raises(MalformedError, match="unknown field 'b'"):
        fields.end()
    assert fields.raw("b") == 2
    fields.end()


@settings(max_examples=50)
@given(values.filter(lambda value: not isinstance(value, dict)))
def test_only_maps_have_fields(value: Value) -> None:
    with pytest.raises(MalformedError, match="not a map"):
        Fields(value, what="thing")


@settings(max_examples=30)
@given(st.dictionaries(texts, values, max_size=3))
def test_whatever_a_peer_sends_is_taken_or_refused(value: dict[str, Value]) -> None:
    for take, _ in TAKERS.values():
        fields = Fields({"x": None, **value}, what="thing")
        try:
            take(fields)
            fields.end()
        except MalformedError:
            continue


@given(st.lists(st.binary(min_size=3, max_size=3)))
def test_a_column_is_split_into_what_was_joined(items: list[bytes]) -> None:
    assert split_column(b"".join(items), 3, what="column") == tuple(items)
    with pytest.raises(MalformedError, match="not a multiple of 3"):
        split_column(b"".join(items) + b"x", 3, what="column")

"""The index: what was stored is described exactly, and nothing hostile about it reaches a reader."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from client.index import (
    Index,
    SealedExtent,
    encode_index,
    encode_listing,
    index_extent_key,
    listing_commitment,
    listing_salt,
    parse_index,
    parse_listing,
)
from core.encoding import Value, decode, encode
from core.errors import MalformedError, MoorageError, NewerVersionError
from core.limits import CHUNK_BYTES, EXTENT_BYTES, SEALED_CHUNK_MAX_BYTES
from core.listing import Entry, Kind, RelativePath, Span
from tests.core.test_encoding import values

VECTOR = json.loads((Path(__file__).parent.parent / "vectors" / "index.json").read_text())
TIME_NS = 1_700_000_000_123_456_789
LIMIT = 1 << 24

names = st.binary(min_size=1, max_size=12).filter(
    lambda name: b"\0" not in name and b"/" not in name and name not in (b".", b"..")
)


def digest(data: bytes) -> bytes:
    return blake3(data).digest()


def file(path: bytes, *spans: tuple[int, int], mode: int = 0o644) -> Entry:
    size = sum(length for _, length in spans)
    placed = tuple(Span(*span) for span in spans)
    return Entry(RelativePath(path), Kind.FILE, size, TIME_NS, mode, digest(path), b"", placed)


def folder(path: bytes) -> Entry:
    return Entry(RelativePath(path), Kind.FOLDER, 0, TIME_NS, 0o755, b"", b"", ())


def link(path: bytes, target: bytes) -> Entry:
    return Entry(RelativePath(path), Kind.LINK, 0, -5, 0o777, b"", target, ())


def extent(plain_bytes: int, key: bytes = b"k" * 32) -> SealedExtent:
    chunks = -(-plain_bytes // CHUNK_BYTES)
    return SealedExtent(key, plain_bytes, (SEALED_CHUNK_MAX_BYTES,) * (chunks - 1) + (17,), bytes([1]) * chunks)


SAMPLE = Index(
    entries=(
        folder(b"study"),
        file(b"study/a", (0, 100)),
        file(b"study/b", (100, CHUNK_BYTES)),
        file(b"study/empty", mode=0o4755),
        link(b"study/link", b"../a"),
        file(b"study/\xff\xfe", (CHUNK_BYTES + 100, 10), (CHUNK_BYTES + 200, 5)),
    ),
    extents=(extent(CHUNK_BYTES + 300),),
)


@st.composite
def indexes(draw: st.DrawFn) -> Index:
    sizes = draw(st.lists(st.integers(1, 2 * CHUNK_BYTES), min_size=1, max_size=3))
    stream = sum(sizes)
    paths = draw(st.lists(names, min_size=1, max_size=6, unique=True))
    entries: list[Entry] = []
    for path in sorted(paths):
        marks = sorted(draw(st.lists(st.integers(0, stream), max_size=6, unique=True)))
        spans = [(low, high - low) for low, high in zip(marks[::2], marks[1::2], strict=False)]
        file_entry = file(path, *spans, mode=draw(st.integers(0, 0o7777)))
        entry = draw(st.sampled_from([file_entry, folder(path), link(path, draw(names))]))
        entries.append(replace(entry, modified_ns=draw(st.integers(-(2**63), 2**63))))
    return Index(tuple(entries), tuple(extent(size) for size in sizes))


def value_of(index: Index) -> dict[str, Any]:
    value: dict[str, Any] = cast(Any, decode(encode_index(index), max_bytes=LIMIT))
    return value


def without_spans(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    return tuple(replace(entry, spans=()) for entry in entries)


@given(indexes())
def test_an_index_comes_back_as_it_went(index: Index) -> None:
    assert parse_index(encode_index(index)) == index
    assert parse_listing(encode_listing(index.entries)) == without_spans(index.entries)


def test_an_index_of_this_version_is_understood_for_ever() -> None:
    data = bytes.fromhex(VECTOR["index"])
    assert parse_index(data) == SAMPLE
    assert encode_index(SAMPLE) == data
    assert encode_listing(SAMPLE.entries).hex() == VECTOR["listing"]
    key = bytes.fromhex(VECTOR["index_key"])
    assert listing_salt(key).hex() == VECTOR["salt"]
    assert listing_commitment(listing_salt(key), encode_listing(SAMPLE.entries)).hex() == VECTOR["commitment"]
    assert [index_extent_key(key, number).hex() for number in (0, 1)] == VECTOR["extent_keys"]


def test_the_listing_says_nothing_of_places() -> None:
    moved = tuple(replace(entry, spans=()) for entry in SAMPLE.entries)
    assert encode_listing(moved) == encode_listing(SAMPLE.entries)


def test_keys_salts_and_commitments_are_all_different() -> None:
    key = b"k" * 32
    listing = encode_listing(SAMPLE.entries)
    made = [
        key,
        listing_salt(key),
        index_extent_key(key, 0),
        index_extent_key(key, 1),
        listing_commitment(listing_salt(key), listing),
        listing_commitment(listing_salt(b"l" * 32), listing),
        blake3(listing).digest(),
    ]
    assert all(one != other for one, other in combinations(made, 2))


GOOD = value_of(SAMPLE)["entries"][1]
A_LINK = value_of(SAMPLE)["entries"][4]
A_FOLDER = value_of(SAMPLE)["entries"][0]


def changed(entry: list[Any], at: int, value: Any) -> list[Any]:
    return [*entry[:at], value, *entry[at + 1 :]]


@pytest.mark.parametrize(
    "entry",
    [
        changed(GOOD, 0, "text"),
        changed(GOOD, 0, b"../up"),
        changed(GOOD, 0, b"/etc/passwd"),
        changed(GOOD, 0, b"a//b"),
        changed(GOOD, 0, b"a\0b"),
        changed(GOOD, 0, b""),
        changed(GOOD, 1, 3),
        changed(GOOD, 1, False),
        changed(GOOD, 1, -1),
        changed(GOOD, 2, -1),
        changed(GOOD, 2, 99),
        changed(GOOD, 3, None),
        changed(GOOD, 3, True),
        changed(GOOD, 4, 0o10000),
        changed(GOOD, 4, -1),
        changed(GOOD, 4, True),
        changed(GOOD, 5, b""),
        changed(GOOD, 5, bytes(31)),
        changed(GOOD, 5, bytes(33)),
        changed(GOOD, 6, []),
        changed(GOOD, 6, [0]),
        changed(GOOD, 6, [0, 100, 100]),
        changed(GOOD, 6, [0, 99]),
        changed(GOOD, 6, [0, 101]),
        changed(GOOD, 6, [0, -100]),
        changed(GOOD, 6, [True, 100]),
        changed(GOOD, 6, [0, 100, 100, 0]),
        changed(GOOD, 6, [0, 0, 0, 100]),
        changed(GOOD, 6, [50, 50, 0, 50]),
        changed(GOOD, 6, [0, 50, 49, 50]),
        changed(GOOD, 6, [CHUNK_BYTES + 201, 100]),
        changed(GOOD, 6, [2**60, 100]),
        changed(GOOD, 6, b"\0\x64"),
        GOOD[:6],
        [*GOOD, 1],
        [],
        "entry",
        changed(A_LINK, 5, b""),
        changed(A_LINK, 5, b"a\0b"),
        changed(A_LINK, 5, b"x" * 4096),
        changed(changed(A_LINK, 2, 100), 6, [0, 100]),
        changed(A_FOLDER, 5, bytes(32)),
        changed(A_FOLDER, 5, b"x"),
        changed(changed(A_FOLDER, 2, 100), 6, [0, 100]),
    ],
    ids=repr,
)
def test_an_impossible_entry_is_malformed(entry: Any) -> None:
    with pytest.raises(MalformedError):
        parse_index(encode(value_of(SAMPLE) | {"entries": [entry]}))


@pytest.mark.parametrize(
    "sealed",
    [
        [b"k" * 31, 10, (26).to_bytes(4, "big"), b"\0"],
        [b"k" * 32, 0, b"", b""],
        [b"k" * 32, True, (17).to_bytes(4, "big"), b"\0"],
        [b"k" * 32, 10, (0).to_bytes(4, "big"), b"\0"],
        [b"k" * 32, 10, (SEALED_CHUNK_MAX_BYTES + 1).to_bytes(4, "big"), b"\0"],
        [b"k" * 32, 10, bytes(3), b"\0"],
        [b"k" * 32, 10, (26).to_bytes(4, "big"), b"\0\0"],
        [b"k" * 32, 10, (26).to_bytes(4, "big") * 2, b"\0\0"],
        [b"k" * 32, CHUNK_BYTES + 1, (26).to_bytes(4, "big"), b"\0"],
        [b"k" * 32, EXTENT_BYTES + 1, (26).to_bytes(4, "big") * 257, bytes(257)],
        [b"k" * 32, 10, (26).to_bytes(4, "big")],
        b"extent",
    ],
    ids=lambda sealed: repr(sealed)[:60],
)
def test_an_impossible_extent_is_malformed(sealed: Any) -> None:
    with pytest.raises(MalformedError):
        parse_index(encode({"v": 1, "entries": [], "extents": [sealed]}))


@pytest.mark.parametrize(
    "entries",
    [
        [file(b"a", (0, 1)), file(b"a", (1, 1))],
        [link(b"a", b"/etc"), file(b"a/passwd", (0, 1))],
        [link(b"a", b"/etc"), folder(b"a/b"), file(b"a/b/c", (0, 1))],
        [file(b"a/b/c", (0, 1)), link(b"a", b"/etc")],
        [file(b"a", (0, 1)), file(b"a/b", (1, 1))],
    ],
    ids=lambda entries: " ".join(str(entry.path) for entry in entries),
)
def test_nothing_lies_below_a_link_or_a_file_and_no_path_twice(entries: list[Entry]) -> None:
    with pytest.raises(MalformedError):
        parse_index(encode_index(Index(tuple(entries), (extent(10),))))


def test_files_may_share_parts_of_the_stream() -> None:
    """A planner may lay equal bytes once."""
    index = Index((file(b"a", (0, 10)), file(b"b", (5, 5))), (extent(10),))
    assert parse_index(encode_index(index)) == index


def test_a_later_version_is_called_that_and_unknown_fields_are_refused() -> None:
    with pytest.raises(NewerVersionError, match="version 2"):
        parse_index(encode(value_of(SAMPLE) | {"v": 2, "hologram": 1}))
    with pytest.raises(MalformedError, match="unknown"):
        parse_index(encode(value_of(SAMPLE) | {"hologram": 1}))
    for field in ("v", "entries", "extents"):
        value = value_of(SAMPLE)
        del value[field]
        with pytest.raises(MalformedError, match="missing"):
            parse_index(encode(value))


@settings(max_examples=150)
@given(st.data())
def test_any_value_anywhere_is_taken_or_refused(data: st.DataObject) -> None:
    value = value_of(SAMPLE)
    part = data.draw(st.sampled_from(["entries", "extents"]))
    item = data.draw(st.integers(0, len(value[part]) - 1))
    at = data.draw(st.integers(0, len(value[part][item]) - 1))
    value[part][item][at] = data.draw(values | st.lists(st.integers(0, 2**62), max_size=4))
    try:
        index = parse_index(encode(value))
    except MoorageError:
        return
    assert repr(value_of(index)) == repr(value)


@given(values)
def test_any_other_structure_is_malformed(value: Value) -> None:
    with pytest.raises(MalformedError):
        parse_index(encode(value))
    if value != []:
        with pytest.raises(MalformedError):
            parse_listing(encode(value))


@settings(max_examples=200)
@given(st.data())
def test_a_changed_byte_gives_another_index_or_is_malformed(data: st.DataObject) -> None:
    whole = bytearray.fromhex(VECTOR["index"])
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        index = parse_index(bytes(whole))
    except MalformedError:
        return
    assert encode_index(index) == bytes(whole)
    listing = encode_listing(index.entries)
    # Places and keys are not in the listing: those the chunks' tags betray.
    assert (listing != encode_listing(SAMPLE.entries)) or index.extents != SAMPLE.extents or index != SAMPLE


def test_chunks_are_whole_but_for_the_last() -> None:
    sealed = extent(2 * CHUNK_BYTES + 5)
    assert [sealed.chunk_bytes(chunk) for chunk in range(3)] == [CHUNK_BYTES, CHUNK_BYTES, 5]

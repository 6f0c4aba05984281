"""Plans: every byte lies once in the stream and once in an extent; and what is read is what was planned."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from blake3 import blake3
from hypothesis import example, given, settings
from hypothesis import strategies as st

from client import plan as plans
from client.plan import Plan, plan_plain
from client.source import ExtentReader
from core.errors import SourceChangedError
from core.limits import CHUNK_BYTES, EXTENT_BYTES, GIB, GROUP_BYTES
from core.listing import Entry, Kind, RelativePath, Span

SMALL_EXTENT = 64


def entry(number: int, size: int, kind: Kind = Kind.FILE) -> Entry:
    return Entry(RelativePath(b"%06d" % number), kind, size, 0, 0o644, b"", b"", ())


def check(plan: Plan, entries: list[Entry], extent_bytes: int) -> None:
    """Spans and pieces say the same: each file's bytes once, in order, without a gap."""
    assert [replace(item, spans=()) for item in plan.entries] == entries
    at = 0
    for item in plan.entries:
        if item.size_bytes:
            assert item.spans == (Span(at, item.size_bytes),)
            at += item.size_bytes
        else:
            assert item.spans == ()
    assert plan.stream_bytes == at
    start = 0
    covered = [0] * len(entries)
    for number, extent in enumerate(plan.extents):
        assert extent.number == number
        assert 0 < extent.plain_bytes <= extent_bytes
        assert extent.plain_bytes == extent_bytes or number == len(plan.extents) - 1
        assert extent.chunks == -(-extent.plain_bytes // CHUNK_BYTES)
        filled = 0
        for piece in extent.pieces:
            assert piece.at == filled
            assert piece.length > 0
            assert piece.offset == covered[piece.entry]
            assert start + piece.at == plan.entries[piece.entry].spans[0].offset + piece.offset
            filled += piece.length
            covered[piece.entry] += piece.length
        assert filled == extent.plain_bytes
        start += filled
    assert covered == [item.size_bytes for item in entries]


sizes = st.integers(0, 3) | st.integers(0, 3 * EXTENT_BYTES) | st.sampled_from([EXTENT_BYTES - 1, EXTENT_BYTES])


@given(st.lists(sizes, max_size=12))
@example([EXTENT_BYTES])
@example([EXTENT_BYTES, 1])
@example([1, EXTENT_BYTES])
@example([0, 0])
@example([])
def test_every_byte_lies_once_in_the_stream_and_once_in_an_extent(file_sizes: list[int]) -> None:
    entries = [entry(number, size) for number, size in enumerate(file_sizes)]
    check(plan_plain(entries), entries, EXTENT_BYTES)


def test_folders_and_links_take_no_room() -> None:
    entries = [entry(0, 0, Kind.FOLDER), entry(1, 5), entry(2, 0, Kind.LINK), entry(3, 5)]
    check(plan_plain(entries), entries, EXTENT_BYTES)


def test_placement_groups_begin_every_four_gib() -> None:
    plan = plan_plain([entry(0, 9 * GIB)])
    per_group = GROUP_BYTES // EXTENT_BYTES
    assert [extent.group for extent in plan.extents] == [number // per_group for number in range(len(plan.extents))]


# --- reading ----------------------------------------------------------------------------------


class Tree:
    """Files in memory that change when told to."""

    def __init__(self, files: dict[RelativePath, bytes]) -> None:
        self.files = files
        self.opened: list[bytes] = []

    def walk(self) -> list[Entry]:
        raise AssertionError

    @contextmanager
    def open(self, entry: Entry) -> Generator[Tree._Reader]:
        self.opened.append(entry.path.raw)
        yield Tree._Reader(self.files[entry.path])

    class _Reader:
        def __init__(self, data: bytes) -> None:
            self._data = data

        def read_into(self, offset: int, target: memoryview) -> None:
            target[:] = self._data[offset : offset + len(target)]


def planned(contents: list[bytes], patch: pytest.MonkeyPatch) -> tuple[Tree, Plan]:
    patch.setattr(plans, "EXTENT_BYTES", SMALL_EXTENT)
    entries = [entry(number, len(data)) for number, data in enumerate(contents)]
    tree = Tree({item.path: data for item, data in zip(entries, contents, strict=True)})
    return tree, plan_plain(entries)


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=200), max_size=6))
def test_extents_hold_the_files_end_to_end_and_each_file_gets_its_digest(contents: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        tree, plan = planned(contents, patch)
        reader = ExtentReader(tree, plan)
        stream = b""
        for extent in plan.extents:
            target = bytearray(b"\xee" * SMALL_EXTENT)
            digest = reader.read(extent, memoryview(target))
            assert digest == blake3(bytes(target[: extent.plain_bytes])).digest()
            assert set(target[extent.plain_bytes :]) <= {0xEE}
            stream += target[: extent.plain_bytes]
        assert stream == b"".join(contents)
        assert [item.digest for item in reader.entries_with_digests()] == [blake3(data).digest() for data in contents]


def test_what_is_read_again_must_be_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others under the same key and nonces would betray both."""
    tree, plan = planned([b"a" * 100, b"b" * 100], monkeypatch)
    reader = ExtentReader(tree, plan)
    first = bytearray(SMALL_EXTENT)
    for extent in plan.extents:
        reader.read(extent, memoryview(first)[: extent.plain_bytes])
    again = bytearray(SMALL_EXTENT)
    reader.read_again(plan.extents[0], memoryview(again))
    assert bytes(again) == b"a" * SMALL_EXTENT
    path = plan.entries[1].path
    tree.files[path] = b"b" * 10 + b"c" + b"b" * 89
    reader.read_again(plan.extents[0], memoryview(again))
    with pytest.raises(SourceChangedError, match=r"000000, 000001 changed"):
        reader.read_again(plan.extents[1], memoryview(again))


def test_extents_are_read_in_order_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tree, plan = planned([b"a" * 200], monkeypatch)
    reader = ExtentReader(tree, plan)
    with pytest.raises(AssertionError):
        reader.read(plan.extents[1], memoryview(bytearray(SMALL_EXTENT)))
    with pytest.raises(AssertionError):
        reader.entries_with_digests()

"""Selections, ranges, and the way from the stream's pieces to files."""

from __future__ import annotations

from itertools import pairwise

import pytest
from blake3 import blake3
from hypothesis import example, given, settings
from hypothesis import strategies as st

from client.get import FileWriter, parse_range, select_entries, spans_of_range
from client.index import Index
from client.reader import Piece, plan_batches
from core.errors import CorruptError, NotInObjectError, UsageError
from core.limits import CHUNK_BYTES
from core.listing import Entry, Kind, RelativePath, Span
from erasure.scheme import Scheme
from tests.client.test_index import extent, file, folder
from tests.sim.trees import MemoryTarget

# --- ranges -----------------------------------------------------------------------------------


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_a_range_is_what_http_means_by_it(size: int, first: int, last: int) -> None:
    data = bytes(range(size))
    if first <= last:
        offset, length = parse_range(f"{first}-{last}", size)
        assert data[offset : offset + length] == data[first : last + 1]
    offset, length = parse_range(f"{first}-", size)
    assert data[offset : offset + length] == data[first:]
    offset, length = parse_range(f"-{last}", size)
    assert data[offset : offset + length] == (data[-last:] if last else b"")
    assert 0 <= offset <= offset + length <= size


@given(st.text(max_size=12) | st.text("0123456789- ", max_size=12), st.integers(0, 1000))
@example("9" * 5000 + "-", 10)
@example("-" + "9" * 5000, 10)
@example("0-" + "9" * 5000, 10)
@example("٣-٤", 10)
@example("²-³", 10)
@example("1_0-2_0", 100)
def test_any_text_is_a_range_within_the_file_or_a_usage_error(text: str, size: int) -> None:
    try:
        offset, length = parse_range(text, size)
    except UsageError:
        return
    assert 0 <= offset <= offset + length <= size


@pytest.mark.parametrize("text", ["", "-", "5", "5-4", "a-b", "1-2-3", "--1", " 1-2", "1-2\n", "+1-2", "1.0-2"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="range"):
        parse_range(text, 100)


# --- selections -------------------------------------------------------------------------------

TREE = Index(
    (
        folder(b"a"),
        file(b"a/b", (0, 1)),
        file(b"a/bc", (1, 1)),
        folder(b"a/d"),
        file(b"a/d/e", (2, 1)),
        file(b"b", (3, 1)),
        file(b"\xff", (4, 1)),
    ),
    (extent(5),),
)


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        ([], [b"a", b"a/b", b"a/bc", b"a/d", b"a/d/e", b"b", b"\xff"]),
        ([b"a"], [b"a", b"a/b", b"a/bc", b"a/d", b"a/d/e"]),
        ([b"a/b"], [b"a/b"]),
        ([b"a/d"], [b"a/d", b"a/d/e"]),
        ([b"/a/d/"], [b"a/d", b"a/d/e"]),
        ([b"b", b"a/b", b"b"], [b"a/b", b"b"]),
        ([b"a", b"a/d/e"], [b"a", b"a/b", b"a/bc", b"a/d", b"a/d/e"]),
        ([b"\xff"], [b"\xff"]),
    ],
)
def test_a_path_selects_itself_and_what_is_below(paths: list[bytes], found: list[bytes]) -> None:
    assert [entry.path.raw for entry in select_entries(TREE, paths)] == found


@pytest.mark.parametrize("paths", [[b"c"], [b"a/x"], [b"a", b"c"], [b"a/b/c"], [b""], [b"/"], [b"A"]])
def test_a_path_that_is_not_there_is_named(paths: list[bytes]) -> None:
    with pytest.raises(NotInObjectError, match="the object has no"):
        select_entries(TREE, paths)


# --- spans and batches ------------------------------------------------------------------------

layouts = st.lists(st.integers(1, 6), min_size=1, max_size=5).flatmap(
    lambda gaps: st.lists(st.integers(1, 9), min_size=len(gaps), max_size=len(gaps)).map(
        lambda lengths: [Span(sum(gaps[: at + 1]) + sum(lengths[:at]), lengths[at]) for at in range(len(gaps))]
    )
)


@given(layouts, st.integers(0, 60), st.integers(0, 60))
def test_spans_of_a_range_hold_its_bytes_in_order(spans: list[Span], offset: int, length: int) -> None:
    stream = bytes(range(200))
    whole = b"".join(stream[span.offset : span.offset + span.length] for span in spans)
    entry = file(b"f", *((span.offset, span.length) for span in spans))
    found = spans_of_range(entry, offset, length)
    assert (
        b"".join(stream[span.offset : span.offset + span.length] for span in found) == whole[offset : offset + length]
    )
    assert all(span.length for span in found)


sizes = st.lists(st.integers(1, 40 * CHUNK_BYTES), min_size=1, max_size=4)
wanted = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5 * CHUNK_BYTES)), max_size=5)


@settings(max_examples=60)
@given(sizes, wanted, st.sampled_from([Scheme(1, 2), Scheme(4, 6), Scheme(10, 16)]))
def test_batches_cover_what_is_wanted_once_and_nothing_more(
    extent_sizes: list[int], marks: list[tuple[float, int]], scheme: Scheme
) -> None:
    index = Index((), tuple(extent(size) for size in extent_sizes))
    total = sum(extent_sizes)
    spans = [Span(int(place * total), min(length, total - int(place * total))) for place, length in marks]
    batches = plan_batches(index, spans, scheme)
    starts = [sum(extent_sizes[:number]) for number in range(len(extent_sizes))]
    chunks = [(batch.extent, batch.first + at) for batch in batches for at in range(batch.count)]
    assert chunks == sorted(set(chunks))
    for batch in batches:
        assert batch.offset == starts[batch.extent] + batch.first * CHUNK_BYTES
    needed: set[tuple[int, int]] = set()
    for number, (start, size) in enumerate(zip(starts, extent_sizes, strict=True)):
        for chunk in range(-(-size // CHUNK_BYTES)):
            low, high = start + chunk * CHUNK_BYTES, start + min(size, (chunk + 1) * CHUNK_BYTES)
            if any(span.length and span.offset < high and low < span.offset + span.length for span in spans):
                needed.add((number, chunk))
    assert set(chunks) == needed


# --- from pieces to files ---------------------------------------------------------------------


def plain(path: bytes, stream: bytes, *spans: tuple[int, int]) -> Entry:
    """A file whose digest is that of its parts of ``stream``."""
    data = b"".join(stream[offset : offset + length] for offset, length in spans)
    placed = tuple(Span(*span) for span in spans)
    return Entry(RelativePath(path), Kind.FILE, len(data), 0, 0o644, blake3(data).digest(), b"", placed)


def written(entries: list[Entry], stream: bytes, pieces: list[tuple[int, int]]) -> dict[str, bytes]:
    target = MemoryTarget()
    writer = FileWriter(target, entries)
    writer.finish_empty()
    total = sum(writer.write(Piece(low, memoryview(stream)[low:high])) for low, high in pieces)
    assert total == sum(entry.size_bytes for entry in entries)
    writer.check_complete()
    return target.files


@settings(max_examples=60)
@given(st.lists(layouts, max_size=4), st.lists(st.integers(0, 120), max_size=8))
def test_files_get_their_bytes_however_the_stream_is_cut_and_shared(files: list[list[Span]], marks: list[int]) -> None:
    stream = bytes(value % 251 for value in range(120))
    entries = [
        plain(b"f%d" % number, stream, *((span.offset, span.length) for span in spans))
        for number, spans in enumerate(files)
    ]
    edges = sorted({0, 120, *marks})
    found = written(entries, stream, list(pairwise(edges)))
    for entry in entries:
        data = b"".join(stream[span.offset : span.offset + span.length] for span in entry.spans)
        assert found[str(entry.path)] == data


def test_files_that_share_bytes_are_both_written() -> None:
    stream = bytes(range(100))
    entries = [plain(b"a", stream, (0, 100)), plain(b"b", stream, (50, 10)), plain(b"c", stream, (50, 50))]
    found = written(entries, stream, [(0, 60), (60, 100)])
    assert found == {"a": stream, "b": stream[50:60], "c": stream[50:]}


def test_empty_files_are_files() -> None:
    assert written([plain(b"empty", b"")], b"", []) == {"empty": b""}


def test_a_file_with_other_bytes_than_were_put_never_gets_its_name() -> None:
    stream = bytes(range(100))
    target = MemoryTarget()
    writer = FileWriter(target, [plain(b"a", stream, (0, 50)), plain(b"b", stream, (50, 50))])
    with pytest.raises(CorruptError, match="b: the restored bytes"):
        writer.write(Piece(0, memoryview(stream[:99] + b"\xff")))
    assert target.files == {"a": stream[:50]}
    wrong_empty = FileWriter(target, [file(b"e")])
    with pytest.raises(CorruptError, match="e: the restored bytes"):
        wrong_empty.finish_empty()

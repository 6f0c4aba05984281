"""Restore files of an object, byte for byte, or a range of one."""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from blake3 import blake3

from client.context import Client
from client.index import Index
from client.locate import find_manifest
from client.progress import Progress
from client.reader import ObjectReader, Piece
from core.errors import CorruptError, NotInObjectError, UsageError
from core.findings import Finding
from core.ids import ObjectId
from core.listing import Entry, Kind, Span
from core.trees import TargetTree


class GetResult(NamedTuple):
    """``findings``: bad or missing shares that were met, and worked around, on the way."""

    files: int
    plain_bytes: int
    findings: tuple[Finding, ...]


def select_entries(index: Index, paths: Sequence[bytes]) -> list[Entry]:
    """All entries, or those at and below ``paths``. Raises NotInObjectError naming the first that is not there."""
    if not paths:
        return list(index.entries)
    wanted = [path.strip(b"/") for path in paths]
    for path in wanted:
        if not any(_is_below(entry.path.raw, path) for entry in index.entries):
            raise NotInObjectError(f"the object has no {path.decode('utf-8', 'replace')} (`moorage ls OBJECT`)")
    return [entry for entry in index.entries if any(_is_below(entry.path.raw, path) for path in wanted)]


def _is_below(path: bytes, top: bytes) -> bool:
    return path == top or path.startswith(top + b"/")


async def open_object(client: Client, object_id: ObjectId) -> tuple[ObjectReader, Index]:
    """A reader of the object and its index.

    Raises UnknownObjectError, HomeError (sealed for others), NotEnoughSharesError, NotEnoughPeersError.
    """
    await client.expect_peers()
    manifest = await find_manifest(client, object_id)
    reader = ObjectReader(client, object_id, manifest)
    return reader, await reader.read_index()


async def get(
    client: Client, object_id: ObjectId, target: TargetTree, *, paths: Sequence[bytes], progress: Progress
) -> GetResult:
    """Restore the object, or the entries at and below ``paths``, into ``target``.

    Every file is complete and equal to what was put when it gets its name. Raises TargetError, NotInObjectError,
    UnknownObjectError, NotEnoughSharesError, CorruptError.
    """
    progress.begin("looking for the object", 0)
    reader, index = await open_object(client, object_id)
    disk, cpu = client.ports.threads.disk, client.ports.threads.cpu
    entries = await cpu(select_entries, index, paths)
    await disk(target.prepare, entries)
    await disk(target.make_folders, entries)
    files = [entry for entry in entries if entry.kind is Kind.FILE]
    progress.begin("restoring", sum(entry.size_bytes for entry in files))
    writer = await cpu(FileWriter, target, files)
    try:
        await disk(writer.finish_empty)
        spans = [span for entry in files for span in entry.spans]
        async with reader.stream(index, spans) as pieces:
            async for piece in pieces:
                progress.advance(await disk(writer.write, piece))
        writer.check_complete()
        await disk(target.finish, entries)
    finally:
        # Quick, and must happen also when cancelled: a plain call, not a job.
        target.abandon()
    return GetResult(len(files), sum(entry.size_bytes for entry in files), tuple(reader.board.findings))


class FileWriter:
    """Distributes the stream's pieces to files; a file gets its name when all its bytes have its digest."""

    def __init__(self, target: TargetTree, files: Sequence[Entry]) -> None:
        self._target = target
        self._empty = [entry for entry in files if not entry.size_bytes]
        # Spans not yet seen, the first in the stream on top: (its offset, file number, span, offset in the file). Files
        # may share parts of the stream.
        self._files = files
        self._pending: list[tuple[int, int, Span, int]] = []
        for number, entry in enumerate(files):
            at = 0
            for span in entry.spans:
                self._pending.append((span.offset, number, span, at))
                at += span.length
        heapq.heapify(self._pending)
        # By file number, of those that were begun: hasher and bytes that it has seen.
        self._begun: dict[int, tuple[blake3, int]] = {}
        self._unfinished = sum(1 for entry in files if entry.size_bytes)

    def finish_empty(self) -> None:
        for entry in self._empty:
            self._check_digest(entry, blake3(b""))
            self._target.finish_file(entry)

    def write(self, piece: Piece) -> int:
        """Write what the piece holds of any file; returns how many bytes that was. Blocks."""
        end = piece.offset + len(piece.data)
        view = memoryview(piece.data)
        wrote = 0
        while self._pending and self._pending[0][0] < end:
            _, number, span, at = heapq.heappop(self._pending)
            assert span.offset >= piece.offset, (span, piece.offset)
            length = min(span.length, end - span.offset)
            start = span.offset - piece.offset
            self._write_part(number, at, view[start : start + length])
            wrote += length
            if length < span.length:
                rest = Span(span.offset + length, span.length - length)
                heapq.heappush(self._pending, (rest.offset, number, rest, at + length))
        return wrote

    def _write_part(self, number: int, at: int, data: memoryview) -> None:
        entry = self._files[number]
        hasher, hashed = self._begun.pop(number) if number in self._begun else (blake3(), 0)
        assert hashed == at, "an index whose spans are out of order is refused"
        hasher.update(data)
        self._target.write_at(entry, at, data)
        end = at + len(data)
        if end < entry.size_bytes:
            self._begun[number] = hasher, end
            return
        self._check_digest(entry, hasher)
        self._target.finish_file(entry)
        self._unfinished -= 1

    def _check_digest(self, entry: Entry, hasher: blake3) -> None:
        if hasher.digest() != entry.digest:
            raise CorruptError(f"{entry.path}: the restored bytes do not have the digest of what was put")

    def check_complete(self) -> None:
        assert not self._unfinished, self._unfinished
        assert not self._pending, self._pending[:3]


def parse_range(text: str, size_bytes: int) -> tuple[int, int]:
    """``A-B`` (both included), ``A-`` or ``-LAST`` as (offset, length), cut at the file's end. Raises UsageError."""
    first, dash, last = text.partition("-")
    given = [part for part in (first, last) if part]
    if not dash or not given or not all(part.isascii() and part.isdigit() and len(part) < 20 for part in given):
        raise UsageError(f"range {text!r} is not FIRST-LAST, FIRST- or -COUNT, in bytes from 0")
    if not first:
        count = min(int(last), size_bytes)
        return size_bytes - count, count
    offset = min(int(first), size_bytes)
    end = size_bytes if not last else min(int(last) + 1, size_bytes)
    if last and int(last) < int(first):
        raise UsageError(f"range {text!r} ends before it begins")
    return offset, max(0, end - offset)


def spans_of_range(entry: Entry, offset: int, length: int) -> list[Span]:
    """The parts of the stream that hold ``length`` bytes of a file from ``offset``."""
    found: list[Span] = []
    at = 0
    for span in entry.spans:
        low, high = max(offset, at), min(offset + length, at + span.length)
        if low < high:
            found.append(Span(span.offset + low - at, high - low))
        at += span.length
    return found


async def cat(
    client: Client,
    object_id: ObjectId,
    path: bytes,
    byte_range: str | None,
    write: Callable[[memoryview], Awaitable[None]],
) -> int:
    """Write a file's bytes, or a range of them, in order; only the chunks they touch are read. Returns how many.

    Every byte was authenticated before ``write`` gets it. Raises as ``get``, and UsageError for a bad range.
    """
    reader, index = await open_object(client, object_id)
    entry = next((item for item in index.entries if item.path.raw == path.strip(b"/")), None)
    if entry is None or entry.kind is not Kind.FILE:
        raise NotInObjectError(f"the object has no file {path.decode('utf-8', 'replace')} (`moorage ls OBJECT`)")
    offset, length = (0, entry.size_bytes) if byte_range is None else parse_range(byte_range, entry.size_bytes)
    spans = spans_of_range(entry, offset, length)
    queue = list(reversed(spans))
    async with reader.stream(index, spans) as pieces:
        async for piece in pieces:
            end = piece.offset + len(piece.data)
            while queue and queue[-1].offset < end:
                span = queue.pop()
                take = min(span.length, end - span.offset)
                start = span.offset - piece.offset
                await write(memoryview(piece.data)[start : start + take])
                if take < span.length:
                    queue.append(Span(span.offset + take, span.length - take))
    return length

"""Fill extents from files, digesting each file and extent on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import trio
from blake3 import blake3

from client.plan import Piece, Plan, PlannedExtent
from core.buffers import unfilled
from core.errors import SourceChangedError
from core.limits import EXTENT_BYTES, MIB
from core.listing import Entry, Kind
from core.ports import Threads
from core.trees import SourceTree

# Read and digested at once: enough to keep all lanes of the processor busy, and its cache holds it.
READ_BYTES = 1 * MIB
# Extents in memory: with two, one is read while another is coded and sent.
BUFFERS = 2


class ExtentReader:
    """Reads a plan's extents in order, once, and any of them again. Blocks: use it inside disk jobs, one at a time."""

    def __init__(self, tree: SourceTree, plan: Plan) -> None:
        self._tree = tree
        self._plan = plan
        self._digests: dict[int, bytes] = {}
        self._extent_digests: list[bytes] = []
        # Only the file that crosses into the next extent keeps its hasher.
        self._open: tuple[int, blake3] | None = None
        self._next = 0

    def read(self, extent: PlannedExtent, target: memoryview) -> bytes:
        """Fill ``target`` with the extent; returns the extent's plain BLAKE3 digest.

        Raises SourceError, SourceChangedError.
        """
        assert extent.number == self._next, (extent.number, self._next)
        # No byte of ``target`` that was there before may be taken for the extent's.
        assert sum(piece.length for piece in extent.pieces) == extent.plain_bytes, extent
        whole = blake3()
        for piece in extent.pieces:
            hasher = self._hasher(piece.entry)
            for part in self._parts(piece, target):
                hasher.update(part)
                whole.update(part)
            if piece.offset + piece.length == self._plan.entries[piece.entry].size_bytes:
                self._digests[piece.entry] = hasher.digest()
                self._open = None
            else:
                self._open = (piece.entry, hasher)
        self._next += 1
        digest = whole.digest()
        self._extent_digests.append(digest)
        return digest

    def read_again(self, extent: PlannedExtent, target: memoryview) -> None:
        """Fill ``target`` once more with the same bytes. Raises as ``read``.

        That they are the same is checked by digest: other bytes under the same key and nonces would betray both.
        """
        whole = blake3()
        for piece in extent.pieces:
            for part in self._parts(piece, target):
                whole.update(part)
        if whole.digest() != self._extent_digests[extent.number]:
            names = {str(self._plan.entries[piece.entry].path) for piece in extent.pieces}
            raise SourceChangedError(
                f"one of {', '.join(sorted(names)[:5])} changed while it was being stored: put again"
            )

    def entries_with_digests(self) -> tuple[Entry, ...]:
        """The plan's entries, once all extents were read."""
        assert self._next == len(self._plan.extents), self._next
        empty = blake3(b"").digest()
        return tuple(
            replace(entry, digest=self._digests.get(number, empty)) if entry.kind is Kind.FILE else entry
            for number, entry in enumerate(self._plan.entries)
        )

    def _hasher(self, entry: int) -> blake3:
        if self._open is not None and self._open[0] == entry:
            return self._open[1]
        return blake3()

    def _parts(self, piece: Piece, target: memoryview) -> Iterator[memoryview]:
        """Read the piece to its place; its parts in order, each while the processor's cache still has it."""
        place = target[piece.at : piece.at + piece.length]
        with self._tree.open(self._plan.entries[piece.entry]) as reader:
            for at in range(0, piece.length, READ_BYTES):
                part = place[at : at + READ_BYTES]
                reader.read_into(piece.offset + at, part)
                yield part


class Plain(Protocol):
    """An extent's plain bytes for whoever stores it."""

    async def get(self) -> memoryview:
        """The bytes, read again when they were let go of. Raises SourceError, SourceChangedError."""
        ...

    def let_go(self) -> None:
        """They are not needed for now: their memory may serve another extent. A view got before is not to be used."""
        ...


class KeptPlain:
    """A ``Plain`` that stays where it is."""

    def __init__(self, plain: memoryview) -> None:
        self._plain = plain

    async def get(self) -> memoryview:
        return self._plain

    def let_go(self) -> None:
        """Nothing: somebody else owns them."""


class ExtentRead:
    """A ``Plain`` that borrows its buffer from a ReadAhead. ``digest`` is BLAKE3."""

    def __init__(self, extent: PlannedExtent, digest: bytes, buffer: bytearray, ahead: ReadAhead) -> None:
        self.extent = extent
        self.digest = digest
        self._buffer: bytearray | None = buffer
        self._view: memoryview | None = None
        self._ahead = ahead

    async def get(self) -> memoryview:
        if self._buffer is None:
            self._buffer = await self._ahead.read_again(self.extent)
        if self._view is None:
            self._view = memoryview(self._buffer)[: self.extent.plain_bytes]
        return self._view

    def let_go(self) -> None:
        if self._view is not None:
            # Whoever should still use it gets an error, and never another extent's bytes, which must not be sealed
            # under this one's key.
            self._view.release()
            self._view = None
        if self._buffer is not None:
            self._ahead.give_back(self._buffer)
            self._buffer = None


class ReadAhead:
    """Reads a plan's extents in order into BUFFERS buffers, while whoever takes them does something else."""

    def __init__(self, reader: ExtentReader, plan: Plan, threads: Threads) -> None:
        self._reader = reader
        self._plan = plan
        self._threads = threads
        self._turn = trio.Lock()
        self._free: list[bytearray] = []
        self._room = trio.Semaphore(BUFFERS)
        self._outlet, self.extents = trio.open_memory_channel[ExtentRead](0)

    async def run(self) -> None:
        """Until all are read. Raises as ``ExtentReader.read``."""
        async with self._outlet:
            for extent in self._plan.extents:
                await self._room.acquire()
                async with self._turn:
                    buffer, digest = await self._threads.disk(self._read, extent)
                await self._outlet.send(ExtentRead(extent, digest, buffer, self))

    async def read_again(self, extent: PlannedExtent) -> bytearray:
        """A buffer that begins with the extent. Raises as ``ExtentReader.read_again``."""
        await self._room.acquire()
        try:
            async with self._turn:
                return await self._threads.disk(self._read_again, extent)
        except BaseException:  # nobody has a buffer who could give it back
            self._room.release()
            raise

    def give_back(self, buffer: bytearray) -> None:
        """Nobody uses it any more."""
        self._free.append(buffer)
        self._room.release()

    def _read(self, extent: PlannedExtent) -> tuple[bytearray, bytes]:
        buffer = self._buffer()
        return buffer, self._reader.read(extent, memoryview(buffer))

    def _read_again(self, extent: PlannedExtent) -> bytearray:
        buffer = self._buffer()
        self._reader.read_again(extent, memoryview(buffer))
        return buffer

    def _buffer(self) -> bytearray:
        """Called under ``_turn``; the loop only adds to ``_free``."""
        return self._free.pop() if self._free else unfilled(min(EXTENT_BYTES, self._plan.stream_bytes))

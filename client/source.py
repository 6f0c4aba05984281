"""Fill extents from files, digesting each file and extent on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from blake3 import blake3

from client.plan import Piece, Plan, PlannedExtent
from core.errors import SourceChangedError
from core.limits import MIB
from core.listing import Entry, Kind
from core.trees import SourceTree

# Read and digested at once: enough to keep all lanes of the processor busy, and its cache holds it.
READ_BYTES = 1 * MIB


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

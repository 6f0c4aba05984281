"""Which leaves a log has, by their hashes, without reading the hashes of all of them.

Leaves are looked up in blocks of 16,384, 32,768 and so on to 1,048,576, each at a multiple of its size; the rest, fewer
than the smallest block has, in the tiles themselves. A block's file in ``leaves/`` has the root of its leaves' tree and
then, sorted, the first 8 bytes of each leaf's hash with the leaf's index. Files are made from the tiles when they are
missing or are of other leaves; two blocks become one by making the larger one. Whoever deletes them loses time.

A leaf that a file names is compared with its tile. One that it does not name is not there: a damaged file has a leaf
anchored twice, as a damaged tile would, and nothing worse.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from anchor.files import replace_file_durably
from anchor.merkle import HASH_BYTES
from anchor.tiles import TILE_BYTES, TILE_HEIGHT, TILE_WIDTH, ReadFile, TileTree, read_tile, tile_levels, tile_width
from core.ports import Disk, DiskFile

# Leaves in the smallest and the largest block. What is in none is read at each append of a new process: 512 KiB at
# most. The largest takes seconds to sort, once in a million leaves.
BLOCK_MIN = 1 << 14
BLOCK_MAX = 1 << 20
PREFIX_BYTES = 8
ENTRY_BYTES = PREFIX_BYTES + 8
# Below this many wanted hashes, searching for each is cheaper than looking at every leaf once.
_FEW_HASHES = 16


class Block(NamedTuple):
    """``leaves``, a power of two, from index ``first``, a multiple of it, on."""

    first: int
    leaves: int

    @property
    def file(self) -> str:
        return f"{self.first}-{self.leaves}"


def blocks_of(size: int) -> list[Block]:
    """The blocks of a log of ``size`` leaves: as few as there can be."""
    found: list[Block] = []
    first, leaves = 0, BLOCK_MAX
    while leaves >= BLOCK_MIN:
        if size - first >= leaves:
            found.append(Block(first, leaves))
            first += leaves
        else:
            leaves //= 2
    return found


class LeafIndex:
    """Reads tiles and, in ``folder``, keeps blocks, whose failures cost time only. Call it under the log's lock."""

    def __init__(self, disk: Disk, folder: str) -> None:
        self._disk = disk
        self._folder = folder
        self._blocks: list[Block] = []
        self._first = 0
        self._hashes = bytearray()
        """Of the leaves from ``_first`` on, those of no block, as far as they have been read."""

    def find(self, read: ReadFile, size: int, wanted: Sequence[bytes]) -> dict[bytes, int]:
        """Which of the leaf hashes a log of ``size`` leaves has, and at what index. Raises CorruptError for tiles."""
        tree = TileTree(read, size)
        found: dict[bytes, int] = {}
        first = 0
        self._blocks = blocks_of(size)
        for block in self._blocks:
            places = self._look(tree, block, wanted)
            if places is None:
                places = _places(block.first, b"".join(_tiles(tree, block)), wanted)
            found |= places
            first = block.first + block.leaves
        if first != self._first:
            self._first, self._hashes = first, bytearray()
        # The tile that was partial last time is read again: it may be full by now.
        tiles = min(len(self._hashes) // TILE_BYTES, (size - first) // TILE_WIDTH)
        # In place: an append must not copy the hashes of all leaves before it.
        del self._hashes[tiles * TILE_BYTES :]
        for index in range(first // TILE_WIDTH + tiles, -(-size // TILE_WIDTH)):
            self._hashes += read_tile(read, 0, index, tile_width(0, index, size))
        return found | _places(first, self._hashes, wanted)

    def _look(self, tree: TileTree, block: Block, wanted: Sequence[bytes]) -> dict[bytes, int] | None:
        """Those of ``wanted`` in the block; None when it has no file and cannot be given one."""
        root = tree.hash_at(block.leaves.bit_length() - 1, block.first // block.leaves)
        # A disk that fails here says so again where it matters.
        with suppress(OSError):
            if self._is_of(block, root) or self._make(tree, block, root):
                with self._disk.open(self._path(block), "read") as file:
                    return {
                        item: index
                        for item in wanted
                        for index in _candidates(file, block, item)
                        if _leaf_hash(tree, index) == item
                    }
        return None

    def _path(self, block: Block) -> str:
        return f"{self._folder}/{block.file}"

    def _is_of(self, block: Block, root: bytes) -> bool:
        """Whether the block's file is there, and of these leaves: a folder may have been restored from a backup."""
        if self._disk.stat(self._path(block)) is None:
            return False
        with self._disk.open(self._path(block), "read") as file:
            return file.size() == HASH_BYTES + block.leaves * ENTRY_BYTES and file.read_at(0, HASH_BYTES) == root

    def _make(self, tree: TileTree, block: Block, root: bytes) -> bool:
        """False when the tiles do not lead to the block's root. Raises OSError."""
        entries: list[bytes] = []
        for number, tile in enumerate(_tiles(tree, block), start=block.first // TILE_WIDTH):
            if tile_levels(tile)[-1][0] != tree.hash_at(TILE_HEIGHT, number):
                return False
            entries += [
                tile[at : at + PREFIX_BYTES] + (number * TILE_WIDTH + at // HASH_BYTES).to_bytes(8, "big")
                for at in range(0, TILE_BYTES, HASH_BYTES)
            ]
        entries.sort()
        self._disk.make_folders(self._folder)
        replace_file_durably(self._disk, self._path(block), root + b"".join(entries))
        # The smaller ones that it is made of, and what a crash left.
        kept = {each.file for each in self._blocks}
        for name in self._disk.list_folder(self._folder):
            if name not in kept:
                self._disk.unlink(f"{self._folder}/{name}")
        return True


def _tiles(tree: TileTree, block: Block) -> Iterator[bytes]:
    for number in range(block.first // TILE_WIDTH, (block.first + block.leaves) // TILE_WIDTH):
        yield tree.tile(0, number)


def _candidates(file: DiskFile, block: Block, wanted: bytes) -> Iterator[int]:
    """Indices of the leaves whose hashes begin as ``wanted`` does."""

    def entry(number: int) -> bytes:
        return file.read_at(HASH_BYTES + number * ENTRY_BYTES, ENTRY_BYTES)

    prefix = wanted[:PREFIX_BYTES]
    for number in range(bisect_left(range(block.leaves), prefix, key=entry), block.leaves):
        found = entry(number)
        if found[:PREFIX_BYTES] != prefix:
            return
        index = int.from_bytes(found[PREFIX_BYTES:], "big")
        if block.first <= index < block.first + block.leaves:
            yield index


def _leaf_hash(tree: TileTree, index: int) -> bytes:
    number, place = divmod(index, TILE_WIDTH)
    return tree.tile(0, number)[place * HASH_BYTES : (place + 1) * HASH_BYTES]


def _places(first: int, hashes: bytes | bytearray, wanted: Sequence[bytes]) -> dict[bytes, int]:
    return {item: first + index for item, index in find_hashes(hashes, wanted).items()}


def find_hashes(hashes: bytes | bytearray, wanted: Sequence[bytes]) -> dict[bytes, int]:
    """The index in ``hashes`` (hashes laid end to end) of each wanted one that is there."""
    if len(wanted) > _FEW_HASHES:
        missing = frozenset(wanted)
        pieces = ((bytes(hashes[at : at + HASH_BYTES]), at // HASH_BYTES) for at in range(0, len(hashes), HASH_BYTES))
        return {piece: index for piece, index in pieces if piece in missing}
    found: dict[bytes, int] = {}
    for item in wanted:
        at = hashes.find(item)
        # A match across the border of two hashes is chance, or somebody's malice: go on behind it.
        while at >= 0 and at % HASH_BYTES:
            at = hashes.find(item, at + 1)
        if at >= 0:
            found[item] = at // HASH_BYTES
    return found

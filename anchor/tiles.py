"""Where a log's hashes and entries lie, and how they are laid out (c2sp.org/tlog-tiles@v0.1.0).

A tile holds up to 256 hashes of one level of 8 tree heights; an entry bundle holds the entries of one level-0
tile, each behind its length. Partial ones carry their width in their path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from anchor.merkle import HASH_BYTES, node_hash
from core.errors import CorruptError, MalformedError
from core.limits import LEAF_MAX_BYTES

TILE_WIDTH = 256
TILE_HEIGHT = 8
TILE_BYTES = TILE_WIDTH * HASH_BYTES
_LENGTH_BYTES = 2
BUNDLE_MAX_BYTES = TILE_WIDTH * (_LENGTH_BYTES + LEAF_MAX_BYTES)

ReadFile: TypeAlias = Callable[[str], "bytes | None"]
"""A file of the log by its path inside the log's folder; None when it is not there."""


def _index_path(index: int) -> str:
    parts = [f"{index % 1000:03d}"]
    while index := index // 1000:
        parts.append(f"x{index % 1000:03d}")
    return "/".join(reversed(parts))


def _suffix(width: int) -> str:
    assert 0 < width <= TILE_WIDTH, "a tile is 1 to 256 wide"
    return "" if width == TILE_WIDTH else f".p/{width}"


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Path of a hash tile, relative to the log's folder."""
    return f"tile/{level}/{_index_path(index)}{_suffix(width)}"


def bundle_path(index: int, width: int = TILE_WIDTH) -> str:
    """Path of an entry bundle, relative to the log's folder."""
    return f"tile/entries/{_index_path(index)}{_suffix(width)}"


def tile_width(level: int, index: int, size: int) -> int:
    """How many hashes the tile has in a log of ``size`` entries; 0 when there is none."""
    return max(0, min(TILE_WIDTH, (size >> TILE_HEIGHT * level) - index * TILE_WIDTH))


def pack_entry(entry: bytes) -> bytes:
    """An entry as it lies in a bundle. Entries have at most 65,535 bytes."""
    return len(entry).to_bytes(_LENGTH_BYTES, "big") + entry


def parse_bundle(data: bytes) -> list[bytes]:
    """The entries of a bundle. Raises MalformedError."""
    entries: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + _LENGTH_BYTES + int.from_bytes(data[at : at + _LENGTH_BYTES], "big")
        if at + _LENGTH_BYTES > len(data) or end > len(data):
            raise MalformedError("entry bundle: its last entry is cut off")
        entries.append(data[at + _LENGTH_BYTES : end])
        at = end
    if len(entries) > TILE_WIDTH:
        raise MalformedError(f"entry bundle: {len(entries)} entries, at most {TILE_WIDTH} allowed")
    return entries


def tile_levels(data: bytes) -> list[list[bytes]]:
    """The complete subtrees inside a tile: its hashes, their parents, and so on up to one of height 8."""
    levels = [[data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)])
    return levels


class TileTree:
    """The hash oracle (``merkle.HashAt``) of the tree of ``size`` leaves over the log's files.

    Tiles are read when first needed and kept. Raises CorruptError for a tile that is missing or of wrong length.
    """

    def __init__(self, read: ReadFile, size: int) -> None:
        self._read = read
        self._size = size
        self._kept: dict[tuple[int, int], list[list[bytes]]] = {}

    def tile(self, level: int, index: int) -> bytes:
        """The tile's bytes, as wide as it is in this tree."""
        return read_tile(self._read, level, index, tile_width(level, index, self._size))

    def hash_at(self, level: int, index: int) -> bytes:
        """The hash of the complete subtree of 2**level leaves number ``index``."""
        tile_level, height = divmod(level, TILE_HEIGHT)
        first = index << height
        return self._levels(tile_level, first // TILE_WIDTH)[height][first % TILE_WIDTH >> height]

    def top(self, level: int, index: int) -> bytes:
        """The hash of all of a full tile, as computed from the tile itself: the tile above should have the same."""
        return self._levels(level, index)[TILE_HEIGHT][0]

    def _levels(self, level: int, index: int) -> list[list[bytes]]:
        key = (level, index)
        if key not in self._kept:
            self._kept[key] = tile_levels(self.tile(*key))
        return self._kept[key]


def read_tile(read: ReadFile, level: int, index: int, width: int) -> bytes:
    """The first ``width`` hashes of a tile; a partial one may meanwhile have been replaced by the full one.

    Raises CorruptError when neither is there, or one has another length than its path says.
    """
    for found_width in (width, TILE_WIDTH):
        data = read(tile_path(level, index, found_width))
        if data is not None:
            if len(data) != found_width * HASH_BYTES:
                raise CorruptError(f"{tile_path(level, index, found_width)}: {len(data)} bytes")
            return data[: width * HASH_BYTES]
    raise CorruptError(f"{tile_path(level, index, width)}: missing")


def read_bundle(read: ReadFile, index: int, width: int) -> list[bytes]:
    """The first ``width`` entries of a bundle. Raises CorruptError or MalformedError."""
    for found_width in (width, TILE_WIDTH):
        data = read(bundle_path(index, found_width))
        if data is not None:
            entries = parse_bundle(data)
            if len(entries) != found_width:
                raise CorruptError(f"{bundle_path(index, found_width)}: {len(entries)} entries")
            return entries[:width]
    raise CorruptError(f"{bundle_path(index, width)}: missing")


def read_entries(read: ReadFile, size: int, first: int, end: int) -> list[bytes]:
    """Entries ``first`` to ``end`` of a log of ``size`` entries. Raises CorruptError or MalformedError."""
    entries: list[bytes] = []
    base = first // TILE_WIDTH
    for index in range(base, -(-end // TILE_WIDTH)):
        entries += read_bundle(read, index, tile_width(0, index, size))
    return entries[first - base * TILE_WIDTH : end - base * TILE_WIDTH]

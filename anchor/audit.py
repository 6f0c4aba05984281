"""Reading a whole log again: every entry, every tile, against the signed root."""

from __future__ import annotations

from collections.abc import Sequence

from anchor.checkpoint import Checkpoint
from anchor.merkle import leaf_hash, subtree_root
from anchor.note import HASH_BYTES
from anchor.tiles import (
    TILE_BYTES,
    TILE_HEIGHT,
    TILE_WIDTH,
    ReadFile,
    TileTree,
    bundle_path,
    read_bundle,
    read_tile,
    tile_levels,
    tile_path,
    tile_width,
)
from core.errors import CorruptError

# Below this many wanted hashes, searching for each is cheaper than looking at every leaf of the log once.
_FEW_HASHES = 16


def check_log(read: ReadFile, checkpoint: Checkpoint) -> None:
    """Raises CorruptError or MalformedError naming the first file that does not lead to the checkpoint's root."""
    size = checkpoint.size
    tree = TileTree(read, size)
    if subtree_root(tree.hash_at, 0, size) != checkpoint.root:
        raise CorruptError(f"log {checkpoint.origin!r}: its topmost tiles do not lead to its root")
    for index in range(-(-size // TILE_WIDTH)):
        width = tile_width(0, index, size)
        hashes = b"".join(leaf_hash(entry) for entry in read_bundle(read, index, width))
        if hashes != read_tile(read, 0, index, width):
            raise CorruptError(f"{bundle_path(index, width)}: its entries do not have the hashes of their tile")
    level = 0
    while above := size >> TILE_HEIGHT * (level + 1):
        for index in range(above):
            top = tile_levels(read_tile(read, level, index, TILE_WIDTH))[-1][0]
            if top != tree.hash_at(TILE_HEIGHT * (level + 1), index):
                raise CorruptError(f"{tile_path(level, index)}: its hash is not the one in the tile above it")
        level += 1


class LeafIndex:
    """Recognises leaves that a log has, by their hashes: 32 bytes of memory for each leaf."""

    def __init__(self) -> None:
        self._hashes = bytearray()

    def find(self, read: ReadFile, size: int, wanted: Sequence[bytes]) -> dict[bytes, int]:
        """Which of the leaf hashes a log of ``size`` leaves has, and at what index. Reads the tiles it has not seen."""
        # The tile that was partial last time is read again: it may be full by now.
        tiles = min(len(self._hashes) // TILE_BYTES, size // TILE_WIDTH)
        # In place: an append must not copy the hashes of all leaves before it.
        del self._hashes[tiles * TILE_BYTES :]
        for index in range(tiles, -(-size // TILE_WIDTH)):
            self._hashes += read_tile(read, 0, index, tile_width(0, index, size))
        return find_hashes(self._hashes, wanted)


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

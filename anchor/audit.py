"""Reading a whole log again: every entry, every tile, against the signed root."""

from __future__ import annotations

from anchor.checkpoint import Checkpoint
from anchor.merkle import leaf_hash, subtree_root
from anchor.tiles import (
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

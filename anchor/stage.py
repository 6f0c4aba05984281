"""The commit record of a log: everything that one append writes, in one file that appears by one rename.

File ``stage``: canonical MessagePack of ``{v, checkpoint, files}``, then BLAKE3 of it (32 bytes). It stays until the
next append replaces it, which may happen only when all its files are known to be durable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from anchor.merkle import (
    check_consistency,
    consistency_proof,
    leaf_hash,
    subtree_root,
)
from anchor.note import HASH_BYTES, NOTE_MAX_BYTES
from anchor.tiles import (
    TILE_BYTES,
    TILE_HEIGHT,
    TILE_WIDTH,
    ReadFile,
    TileTree,
    bundle_path,
    pack_entry,
    read_bundle,
    read_entries,
    read_tile,
    tile_levels,
    tile_path,
)
from core.encoding import decode, encode_checked, without_digest
from core.errors import CorruptError, MalformedError
from core.limits import LEAF_MAX_BYTES, MIB
from core.schema import Fields

STAGE_VERSION = 1
# One commit takes this many leaves, or fewer so that a batch of the largest stays below 8 MiB: it is read into memory
# at each append.
LEAVES_PER_COMMIT = 1024
COMMIT_MAX_BYTES = 8 * MIB
# What is new, the partial bundle that it continues, and hashes.
STAGE_MAX_BYTES = COMMIT_MAX_BYTES + TILE_WIDTH * (LEAF_MAX_BYTES + 2) + NOTE_MAX_BYTES + MIB
_PATH_MAX_CHARACTERS = 80


class Stage(NamedTuple):
    """``checkpoint`` is the note as the log signed it, ``files`` what goes with it by path inside the log's folder."""

    checkpoint: bytes
    files: Mapping[str, bytes]


def encode_stage(stage: Stage) -> bytes:
    return encode_checked(
        {
            "v": STAGE_VERSION,
            "checkpoint": stage.checkpoint,
            "files": [[path, data] for path, data in stage.files.items()],
        }
    )


def parse_stage(data: bytes) -> Stage:
    """Raises CorruptError (a byte was changed) or MalformedError."""
    body = without_digest(data)
    if body is None:
        raise CorruptError("log: its commit record does not match the digest at its end")
    fields = Fields(decode(body, max_bytes=STAGE_MAX_BYTES), what="log commit record")
    fields.integer("v", low=STAGE_VERSION, high=STAGE_VERSION)
    checkpoint = fields.blob("checkpoint", max_bytes=NOTE_MAX_BYTES)
    files: dict[str, bytes] = {}
    for item in fields.items("files", max_items=LEAVES_PER_COMMIT):
        match item:
            case [str(path), bytes(content)] if len(path) <= _PATH_MAX_CHARACTERS:
                files[path] = content
            case _:
                raise MalformedError("log commit record: a file is not [path, bytes]")
    fields.end()
    return Stage(checkpoint, files)


def take_group(leaves: Sequence[bytes], most: int = LEAVES_PER_COMMIT) -> int:
    """How many of the leaves, from the first, fit into one commit: at least one, and no more than ``most``."""
    count, size_bytes = 0, 0
    for leaf in leaves[:most]:
        size_bytes += len(leaf)
        if count and size_bytes > COMMIT_MAX_BYTES:
            break
        count += 1
    return count


def grow(read: ReadFile, size: int, leaves: Sequence[bytes]) -> dict[str, bytes]:
    """The tiles and bundles that appending ``leaves`` to a log of ``size`` entries makes, by path.

    Partial ones are new files: their width is in their names. Raises CorruptError when the right edge cannot be read.
    """
    files: dict[str, bytes] = {}
    first, width = divmod(size, TILE_WIDTH)
    entries = [*(read_bundle(read, first, width) if width else []), *leaves]
    for at in range(0, len(entries), TILE_WIDTH):
        group = entries[at : at + TILE_WIDTH]
        files[bundle_path(first + at // TILE_WIDTH, len(group))] = b"".join(pack_entry(entry) for entry in group)
    level, hashes = 0, b"".join(leaf_hash(leaf) for leaf in leaves)
    while hashes:
        first, width = divmod(size >> TILE_HEIGHT * level, TILE_WIDTH)
        data = (read_tile(read, level, first, width) if width else b"") + hashes
        parents: list[bytes] = []
        for at in range(0, len(data), TILE_BYTES):
            tile = data[at : at + TILE_BYTES]
            files[tile_path(level, first + at // TILE_BYTES, len(tile) // HASH_BYTES)] = tile
            if len(tile) == TILE_BYTES:
                parents.append(tile_levels(tile)[-1][0])
        level, hashes = level + 1, b"".join(parents)
    return files


def overlay(files: Mapping[str, bytes], read: ReadFile) -> ReadFile:
    """Read from ``files`` first."""

    def read_either(path: str) -> bytes | None:
        data = files.get(path)
        return read(path) if data is None else data

    return read_either


class Grown(NamedTuple):
    """A tree that was proved from its tiles: what a log may sign."""

    root: bytes
    tree: TileTree
    proof: tuple[bytes, ...]
    """That the old tree is its prefix."""


def check_growth(read: ReadFile, old_size: int, old_root: bytes, leaves: Sequence[bytes]) -> Grown:
    """The grown tree, after proving from the bytes in ``read`` that it may be signed.

    The old tree must be its prefix, each new entry must be read back, and must lead to the root through tiles as they
    will lie on disk (a log died in 2022 of one flipped bit in a hash that it had already signed). Raises CorruptError.
    """
    new_size = old_size + len(leaves)
    tree = TileTree(read, new_size)
    root = subtree_root(tree.hash_at, 0, new_size)
    proof = consistency_proof(tree.hash_at, old_size, new_size)
    if old_size:
        check_consistency(old_size, new_size, old_root, root, proof)
    entries = read_entries(read, new_size, old_size, new_size)
    if entries != list(leaves):
        raise CorruptError("log: the entries to be written are not those that were given")
    _check_tiles(tree, old_size, new_size, entries)
    return Grown(root, tree, proof)


def _check_tiles(tree: TileTree, old_size: int, new_size: int, entries: Sequence[bytes]) -> None:
    """Every new hash in a tile is that of what lies below it, from the entries to the topmost tile."""
    for index, entry in enumerate(entries, start=old_size):
        if tree.hash_at(0, index) != leaf_hash(entry):
            raise CorruptError(f"log: leaf {index} does not have the hash in its tile")
    level = 1
    while new_size >> TILE_HEIGHT * level:
        for index in range(old_size >> TILE_HEIGHT * level, new_size >> TILE_HEIGHT * level):
            if tree.hash_at(TILE_HEIGHT * level, index) != tree.top(level - 1, index):
                raise CorruptError(f"{tile_path(level - 1, index)}: its hash is not the one in the tile above it")
        level += 1

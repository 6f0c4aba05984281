"""Tiles: paths of the specification, and logs that others wrote."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor.checkpoint import parse_checkpoint
from anchor.cosignature import verifier_of
from anchor.merkle import (
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_path,
    leaf_hash,
    subtree_root,
)
from anchor.note import NoteKey, parse_note, verify_note
from anchor.tiles import (
    TileTree,
    bundle_path,
    pack_entry,
    parse_bundle,
    read_bundle,
    read_tile,
    tile_path,
    tile_width,
)
from core.errors import CorruptError, MalformedError
from tests.anchor.vectors import TESSERA, TESSERA_ENTRIES, TESSERA_VKEY, VECTORS, reader


@pytest.mark.parametrize(
    ("level", "index", "width", "path"),
    [
        (0, 0, 256, "tile/0/000"),
        (0, 0, 1, "tile/0/000.p/1"),
        (1, 999, 255, "tile/1/999.p/255"),
        (0, 1000, 256, "tile/0/x001/000"),
        (2, 1234067, 256, "tile/2/x001/x234/067"),
        (0, 1234067, 7, "tile/0/x001/x234/067.p/7"),
    ],
)
def test_tile_paths_are_the_specifications(level: int, index: int, width: int, path: str) -> None:
    assert tile_path(level, index, width) == path
    assert bundle_path(index, width) == path.replace(f"tile/{level}/", "tile/entries/")


def test_a_tree_of_70000_has_the_tiles_that_the_specification_counts() -> None:
    assert [tile_width(0, index, 70_000) for index in (0, 272, 273, 274)] == [256, 256, 112, 0]
    assert [tile_width(1, index, 70_000) for index in (0, 1, 2)] == [256, 17, 0]
    assert [tile_width(2, index, 70_000) for index in (0, 1)] == [1, 0]
    assert [tile_width(level, 0, 256) for level in (0, 1, 2)] == [256, 1, 0]


@pytest.mark.parametrize("size", range(16))
def test_tesseras_log_is_read_and_proved_at_every_size(size: int) -> None:
    read = reader(TESSERA)
    note = parse_note((TESSERA / f"checkpoint.{size}").read_bytes())
    assert verify_note(note, [verifier_of(NoteKey.parse(TESSERA_VKEY))])
    checkpoint = parse_checkpoint(note.text)
    tree = TileTree(read, size)
    assert checkpoint.size == size
    assert subtree_root(tree.hash_at, 0, size) == checkpoint.root
    for old in range(1, size + 1):
        assert read_bundle(read, 0, old) == list(TESSERA_ENTRIES[:old])
        older = parse_checkpoint(parse_note((TESSERA / f"checkpoint.{old}").read_bytes()).text)
        check_consistency(old, size, older.root, checkpoint.root, consistency_proof(tree.hash_at, old, size))
        path = inclusion_path(tree.hash_at, old - 1, size)
        check_inclusion(old - 1, size, leaf_hash(TESSERA_ENTRIES[old - 1]), path, checkpoint.root)


def test_sunlights_mirror_of_300_entries_is_read_and_its_cosignature_verifies() -> None:
    folder = VECTORS / "sunlight-mirror"
    vkey = "mirror.example.org+3fb148ef+BAAjjch9GyYz0sJsJx7ALhbdAtz2ov0unbzSl1vMp94O"
    note = parse_note((folder / "checkpoint").read_bytes())
    (verified,) = verify_note(note, [verifier_of(NoteKey.parse(vkey))])
    assert verified.time_s == 1_767_139_200
    checkpoint = parse_checkpoint(note.text)
    tree = TileTree(reader(folder), checkpoint.size)
    assert checkpoint.size == 300
    assert subtree_root(tree.hash_at, 0, 300) == checkpoint.root
    for index in (0, 255, 256, 299):
        leaf = tree.hash_at(0, index)
        check_inclusion(index, 300, leaf, inclusion_path(tree.hash_at, index, 300), checkpoint.root)


def test_a_partial_tile_that_is_gone_is_read_from_the_full_one() -> None:
    full = bytes(range(256)) * 32
    files = {"tile/0/000": full, "tile/entries/000": pack_entry(b"x") * 256}
    assert read_tile(files.get, 0, 0, 3) == full[:96]
    assert read_bundle(files.get, 0, 2) == [b"x", b"x"]


def test_missing_and_short_tiles_are_corrupt() -> None:
    files = {"tile/0/000.p/2": b"short", "tile/entries/000.p/2": pack_entry(b"x")}
    for read_one in (read_tile, lambda read, level, index, width: read_bundle(read, index, width)):
        with pytest.raises(CorruptError):
            read_one(files.get, 0, 0, 2)
        with pytest.raises(CorruptError):
            read_one(files.get, 0, 1, 2)


@given(st.lists(st.binary(max_size=300), max_size=256))
def test_bundles_are_written_and_read_alike(entries: list[bytes]) -> None:
    assert parse_bundle(b"".join(pack_entry(entry) for entry in entries)) == entries


@given(st.binary(max_size=600))
def test_any_bytes_are_a_bundle_or_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        assert b"".join(pack_entry(entry) for entry in parse_bundle(data)) == data

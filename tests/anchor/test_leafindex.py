"""The index of leaves says what the tiles say, whatever became of its files."""

from __future__ import annotations

import random

import pytest

from anchor import leafindex
from anchor.leafindex import Block, LeafIndex, blocks_of
from anchor.log import Log
from anchor.merkle import leaf_hash
from anchor.stage import grow
from anchor.tiles import tile_path
from tests.anchor.ledgers import NOW_S, ORIGIN, create, leaf, leaves, new_witness, reopen
from tests.sim.disk import SimDisk
from tests.sim.drive import DiskFaults

FOLDER = "/log/leaves"


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leafindex, "BLOCK_MIN", 256)
    monkeypatch.setattr(leafindex, "BLOCK_MAX", 1024)


class Tiles:
    """Those of a log of made-up leaves; ``read_bytes`` of them were read."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.size = 0
        self.files: dict[str, bytes] = {}
        self.read_bytes = 0

    def read(self, path: str) -> bytes | None:
        data = self.files.get(path)
        self.read_bytes += len(data or b"")
        return data

    def leaf(self, number: int) -> bytes:
        return b"%d of %d" % (number, self.seed)

    def hash(self, number: int) -> bytes:
        return leaf_hash(self.leaf(number))

    def grow_to(self, size: int) -> None:
        self.files |= grow(self.files.get, self.size, [self.leaf(number) for number in range(self.size, size)])
        self.size = size

    def check(self, index: LeafIndex, chance: random.Random, *, wanted: int = 5) -> None:
        there = [chance.randrange(self.size) for _ in range(wanted)]
        missing = [self.hash(self.size + number) for number in range(3)]
        found = index.find(self.read, self.size, [*map(self.hash, there), *missing])
        assert found == {self.hash(number): number for number in there}


def test_blocks_are_few_and_each_stands_at_a_multiple_of_its_size() -> None:
    assert blocks_of(255) == []
    assert blocks_of(3 * 1024 + 512 + 256 + 255) == [
        Block(0, 1024), Block(1024, 1024), Block(2048, 1024), Block(3072, 512), Block(3584, 256),
    ]  # fmt: skip
    for size in range(0, 5000, 97):
        end = 0
        for block in blocks_of(size):
            assert block.first == end
            assert block.first % block.leaves == 0
            end += block.leaves
        assert 0 <= size - end < 256


def test_a_growing_log_is_known_to_a_long_process_and_to_short_ones() -> None:
    tiles, chance, disk = Tiles(), random.Random(1), SimDisk()
    long = LeafIndex(disk, FOLDER)
    while tiles.size < 2600:
        tiles.grow_to(tiles.size + chance.randint(1, 200))
        tiles.check(long, chance)
        tiles.check(LeafIndex(disk, FOLDER), chance, wanted=40)
        assert disk.list_folder(FOLDER) == sorted(block.file for block in blocks_of(tiles.size))
    tiles.read_bytes = 0
    LeafIndex(disk, FOLDER).find(tiles.read, tiles.size, [bytes(32)])
    assert tiles.read_bytes < (tiles.size % 256 + 256) * 32


@pytest.mark.parametrize("damage", ["gone", "cut", "of another log", "no tiles below", "noise"])
def test_files_that_are_not_of_these_leaves_are_made_anew(damage: str) -> None:
    tiles, chance, disk = Tiles(), random.Random(2), SimDisk()
    tiles.grow_to(1500)
    tiles.check(LeafIndex(disk, FOLDER), chance)
    good = {name: disk.drive.live_bytes(f"{FOLDER}/{name}") or b"" for name in disk.list_folder(FOLDER)}
    other = Tiles(seed=9)
    other.grow_to(1500)
    other_disk = SimDisk()
    other.check(LeafIndex(other_disk, FOLDER), chance)
    for name, data in good.items():
        path = f"{FOLDER}/{name}"
        disk.unlink(path)
        if damage == "cut":
            disk.drive.plant(path, data[:-1])
        elif damage == "of another log":
            disk.drive.plant(path, other_disk.drive.live_bytes(path) or b"")
        elif damage == "noise":
            disk.drive.plant(path, chance.randbytes(len(data)))
    if damage == "no tiles below":
        # A tile that does not lead to the root above it: what it says is believed as ever, and nothing is made of it.
        tiles.files[tile_path(0, 2)] = other.files[tile_path(0, 2)]
        found = LeafIndex(disk, FOLDER).find(tiles.read, tiles.size, [other.hash(600), tiles.hash(5)])
        assert found == {other.hash(600): 600, tiles.hash(5): 5}
        assert "0-1024" not in disk.list_folder(FOLDER)
        return
    tiles.check(LeafIndex(disk, FOLDER), chance)
    assert {name: disk.drive.live_bytes(f"{FOLDER}/{name}") or b"" for name in disk.list_folder(FOLDER)} == good


def test_an_entry_that_points_to_another_leaf_is_not_believed() -> None:
    tiles, disk = Tiles(), SimDisk()
    tiles.grow_to(256)
    LeafIndex(disk, FOLDER).find(tiles.read, 256, [])
    path = f"{FOLDER}/0-256"
    for at in range(32, 32 + 256 * 16, 16):
        disk.drive.flip_bit(path, at + 15)
    found = LeafIndex(disk, FOLDER).find(tiles.read, 256, [tiles.hash(number) for number in range(256)])
    assert found == {}


def test_a_disk_that_refuses_costs_nothing_but_time() -> None:
    tiles, chance = Tiles(), random.Random(3)
    tiles.grow_to(1500)
    for faults in (DiskFaults(write_error_p=1.0), DiskFaults(sync_error_p=1.0), DiskFaults(read_error_p=1.0)):
        disk = SimDisk()
        disk.drive.faults = faults
        tiles.check(LeafIndex(disk, FOLDER), chance)
        disk.drive.faults = DiskFaults()
        tiles.check(LeafIndex(disk, FOLDER), chance)
        disk.drive.faults = faults
        tiles.check(LeafIndex(disk, FOLDER), chance)


def test_a_log_of_several_blocks_anchors_each_leaf_once() -> None:
    disk, witness = SimDisk(), new_witness()
    create(disk, [witness]).append(leaves(0, 700), NOW_S)
    for number in (700, 5, 300, 699, 700):
        anchored = reopen(disk, [witness]).append([leaf(number)], NOW_S)
        assert [item.index for item in anchored] == [number]
    log = reopen(disk, [witness])
    assert log.size() == log.check() == 701
    assert disk.list_folder(f"{log.folder}/leaves") == ["0-512"]
    assert Log.exists(disk, "/anchor", ORIGIN)

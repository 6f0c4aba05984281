"""A peer lets go of the memory of the shards that it used longest ago, and of nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.limits import MIB
from daemon import cached
from daemon.cached import CACHED_MIN_BYTES, CachedShards
from daemon.store import ShardStore
from tests.daemon.faulty import FaultyDisk
from tests.daemon.shards import FixedClock, Sample, sample, store_sample


def dropped(disk: FaultyDisk) -> list[str]:
    return [path.rpartition("/")[2] for operation, path in disk.log if operation == "uncache"]


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached, "CACHED_MAX_BYTES", 4 * MIB)
    monkeypatch.setattr(cached, "ROOM_MAX_BYTES", MIB)


def test_the_oldest_go_when_there_are_too_many(disk: FaultyDisk) -> None:
    shards = CachedShards(disk)
    for name in ("/a", "/b", "/c"):
        shards.used(name, MIB)
    assert dropped(disk) == []
    shards.used("/d", 2 * MIB)
    assert dropped(disk) == ["a"]
    shards.used("/e", 2 * MIB)
    assert dropped(disk) == ["a", "b", "c"]


def test_what_is_used_again_is_the_newest(disk: FaultyDisk) -> None:
    shards = CachedShards(disk)
    for name in ("/a", "/b", "/a", "/c", "/a"):
        shards.used(name, MIB)
    shards.used("/d", 2 * MIB)
    assert dropped(disk) == ["b"]


def test_room_is_made_before_it_is_written_but_not_for_all_that_is_announced(disk: FaultyDisk) -> None:
    shards = CachedShards(disk)
    for name in ("/a", "/b", "/c", "/d"):
        shards.used(name, MIB)
    shards.make_room(MIB)
    assert dropped(disk) == ["a"]
    shards.make_room(100 * MIB)
    assert dropped(disk) == ["a"]


def test_what_was_only_checked_is_dropped_at_once_unless_it_was_held(disk: FaultyDisk) -> None:
    shards = CachedShards(disk)
    shards.used("/a", MIB)
    shards.scanned("/a")
    assert dropped(disk) == []
    shards.scanned("/b")
    assert dropped(disk) == ["b"]
    shards.used("/c", 3 * MIB)
    shards.used("/d", MIB)
    assert dropped(disk) == ["b", "a"], "a check makes nothing newer"


def test_what_is_gone_takes_no_room(disk: FaultyDisk) -> None:
    shards = CachedShards(disk)
    for name in ("/a", "/b", "/c", "/d"):
        shards.used(name, MIB)
    shards.removed("/c")
    shards.removed("/never")
    shards.used("/e", MIB)
    assert dropped(disk) == []


def test_small_files_are_let_be(disk: FaultyDisk) -> None:
    shards = CachedShards(disk)
    for number in range(100):
        shards.used(f"/{number}", CACHED_MIN_BYTES - 1)
    assert dropped(disk) == []


def shards_of(disk: FaultyDisk, folder: Path, count: int) -> tuple[ShardStore, list[Sample]]:
    """A store with ``count`` shards of 1.9 MB."""
    store = ShardStore(disk, str(folder), quota_bytes=None, reserve_bytes=0, clock=FixedClock())
    store.start()
    samples = [sample(seed, chunks=30, share_bytes=65_000) for seed in range(count)]
    for item in samples:
        store_sample(store, item)
    return store, samples


def test_a_store_drops_what_it_wrote_first(disk: FaultyDisk, tmp_path: Path) -> None:
    store, samples = shards_of(disk, tmp_path, 4)
    assert dropped(disk) == [str(item.root) for item in samples[:2]]
    # Out of memory, not out of the store.
    assert all(store.scan(item.root).whole for item in samples)


def test_a_store_holds_what_it_serves_and_not_what_it_checks(disk: FaultyDisk, tmp_path: Path) -> None:
    store, samples = shards_of(disk, tmp_path, 3)
    first, second, _ = (item.root for item in samples)
    disk.log.clear()
    store.scan(first)
    assert dropped(disk) == [str(first)]
    disk.log.clear()
    # A sample is a few pages; a flow of reads is the shard.
    store.read(second, 3, 1)
    store.read(first, 5, 1)
    assert dropped(disk) == []
    store.read(first, 0, 10)
    store.read(first, 10, 10)
    assert dropped(disk) == [str(second)]


def test_a_shard_that_was_removed_takes_no_room(disk: FaultyDisk, tmp_path: Path) -> None:
    store, samples = shards_of(disk, tmp_path, 2)
    store.remove(samples[1].root)
    store_sample(store, sample(9, chunks=30, share_bytes=65_000))
    assert dropped(disk) == []

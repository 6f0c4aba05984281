"""A peer lets go of the memory of the shards that it used longest ago, and of nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.limits import MIB
from daemon import cached
from daemon.cached import CACHED_MIN_BYTES, CachedShards
from daemon.store import ShardStore
from tests.daemon.faulty import FaultyDisk
from tests.daemon.shards import FixedClock, sample, store_sample


def dropped(disk: FaultyDisk) -> list[str]:
    return [path.rpartition("/")[2] for operation, path in disk.log if operation == "uncache"]


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached, "CACHED_MAX_BYTES", 4 * MIB)


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


def test_room_is_made_before_it_is_written(disk: FaultyDisk) -> None:
    shards = CachedShards(disk)
    for name in ("/a", "/b", "/c"):
        shards.used(name, MIB)
    shards.make_room(2 * MIB)
    assert dropped(disk) == ["a"]
    shards.make_room(100 * MIB)
    assert dropped(disk) == ["a", "b", "c"]


def test_small_files_are_let_be(disk: FaultyDisk) -> None:
    shards = CachedShards(disk)
    for number in range(100):
        shards.used(f"/{number}", CACHED_MIN_BYTES - 1)
    assert dropped(disk) == []


def test_a_store_drops_what_it_wrote_and_read_before(disk: FaultyDisk, tmp_path: Path) -> None:
    store = ShardStore(disk, str(tmp_path), quota_bytes=None, reserve_bytes=0, clock=FixedClock())
    store.start()
    samples = [sample(seed, chunks=30, share_bytes=65_000) for seed in range(4)]
    for item in samples[:2]:
        store_sample(store, item)
    # As far as it was written in one go nothing had to leave.
    assert dropped(disk) == []
    store.scan(samples[0].root)
    for item in samples[2:]:
        store_sample(store, item)
    assert dropped(disk) == [str(samples[1].root), str(samples[0].root)]
    # Out of memory, not out of the store.
    assert all(store.scan(item.root).whole for item in samples)
    assert store.read(samples[1].root, 0, 1).problem == ""

"""The store on a real disk, with jobs in several threads at once."""

from __future__ import annotations

from pathlib import Path

import trio

from core.ports import Threads
from daemon.store import ShardStore
from host.disk import RealDisk
from host.threads import RealThreads
from tests.daemon.shards import FixedClock, Sample, sample

QUOTA_BYTES = 10**9


def open_store(home: Path) -> ShardStore:
    store = ShardStore(RealDisk(), str(home), quota_bytes=QUOTA_BYTES, reserve_bytes=0, clock=FixedClock())
    store.start()
    return store


async def upload(store: ShardStore, threads: Threads, item: Sample, give_up: bool = False) -> None:
    opened = await threads.disk(store.begin, item.plan)
    for share in item.shares:
        await threads.disk(opened.write, (len(share),), share)
    if give_up:
        await threads.disk(opened.abort)
    else:
        await threads.disk(opened.commit, item.root)


async def test_concurrent_uploads_are_all_kept_and_counted_once(tmp_path: Path) -> None:
    store, threads = open_store(tmp_path), RealThreads()
    items = [sample(seed, chunks=4) for seed in range(30)]
    async with trio.open_nursery() as nursery:
        for at, item in enumerate(items):
            nursery.start_soon(upload, store, threads, item, at % 5 == 0)
            # The same shard from a second client, at the same time.
            if at % 3 == 0:
                nursery.start_soon(upload, store, threads, item)
    kept = [item for at, item in enumerate(items) if at % 5 or at % 3 == 0]
    assert list(store.roots()) == sorted(item.root for item in kept)
    assert all(store.scan(item.root).whole for item in kept)
    assert list(store.strays()) == []
    assert list((tmp_path / "incoming").iterdir()) == []
    counted = store.statistics()
    assert (counted.shards, counted.used_bytes) == (len(kept), sum(item.file_bytes for item in kept))
    assert (counted.uploads, counted.promised_bytes) == (0, 0)
    assert open_store(tmp_path).statistics() == counted


async def test_a_flipped_byte_in_a_real_file_is_found_set_aside_and_replaced(tmp_path: Path) -> None:
    store, threads, item = open_store(tmp_path), RealThreads(), sample()
    await upload(store, threads, item)
    (path,) = (path for path in (tmp_path / "shards").rglob("*") if path.is_file())
    data = bytearray(path.read_bytes())
    data[item.offset(1)] ^= 1
    path.write_bytes(data)
    assert store.scan(item.root).bad_chunks == (1,)
    assert store.quarantine(item.root)
    assert not path.exists()
    await upload(store, threads, item)
    assert store.scan(item.root).whole
    assert store.discard_quarantined(item.root) == 1

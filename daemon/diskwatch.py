"""Have the pool hear soon that the disk takes nothing more, and that it takes shards again."""

from __future__ import annotations

from collections.abc import Callable

import trio

from core.ports import Threads
from daemon.eventlog import EventLog
from daemon.space import PROBE_AFTER_S
from daemon.store import ShardStore, StoreStatistics


async def watch_disk(store: ShardStore, threads: Threads, log: EventLog, announce_soon: Callable[[], None]) -> None:
    """Until cancelled. Nobody sends shards to a peer that has no room: it must look for itself."""

    def look() -> StoreStatistics:
        store.takes_writes()
        return store.statistics()

    before = store.statistics()
    while True:
        await trio.sleep(PROBE_AFTER_S)
        now = await threads.disk(look)
        if bool(now.read_only) != bool(before.read_only):
            kind = "read-only" if now.read_only else "writable"
            log.log("error" if now.read_only else "info", kind, now.read_only)
        if bool(now.available_bytes) != bool(before.available_bytes):
            announce_soon()
        before = now

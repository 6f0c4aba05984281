"""How a peer stops: it takes nothing new, says so, and lets what is under way finish."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import trio

from core.errors import MoorageError
from daemon.server import Server
from daemon.store import ShardStore
from dht.node import Dht

# What is under way may finish for this long after a signal; the whole stop must take less than ten seconds.
DRAIN_S = 5.0
DRAIN_POLL_S = 0.05
# The pool is told for so long that this peer stops; a whole pool that stops at once must not wait for itself.
FAREWELL_S = 1.0


async def drain(server: Server, store: ShardStore, dht: Dht, make_record: Callable[[], bytes]) -> None:
    """Refuse new uploads, announce ``make_record()``, wait for uploads: DRAIN_S at most. Never raises but cancelled."""
    server.stop_uploads()
    with trio.move_on_after(DRAIN_S):
        # Whoever places shards in the next minutes need not learn it from a refusal.
        with trio.move_on_after(FAREWELL_S), suppress(MoorageError):
            await dht.announce(make_record())
        while store.statistics().uploads:  # noqa: ASYNC110 - the store counts in threads and has no event
            await trio.sleep(DRAIN_POLL_S)

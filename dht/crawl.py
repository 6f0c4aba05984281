"""Finds everybody in a pool larger than k, by searches that cover all ids."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from core.ids import PeerId
from dht.config import DhtConfig
from dht.lookup import Cover
from dht.records import PeerRecord


async def crawl(nearest: Callable[[bytes], Awaitable[list[PeerRecord]]], config: DhtConfig) -> dict[PeerId, PeerRecord]:
    """Everybody; stops when ``peers_max`` or more are found.

    A few searches at once, since one after the other large pools take half a minute of waiting.
    """
    cover = Cover(k=config.k)
    found: dict[PeerId, PeerRecord] = {}
    limit = trio.CapacityLimiter(config.searches_max)

    async def search(key: bytes) -> None:
        # A search's deadline begins when it does.
        async with limit:
            near = await nearest(key)
        cover.found(key, near)
        found.update((record.peer, record) for record in near)

    while len(found) < config.peers_max and (keys := cover.next_keys()):
        async with trio.open_nursery() as nursery:
            for key in keys:
                nursery.start_soon(search, key)
    return found

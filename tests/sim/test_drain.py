"""A peer that is told to stop takes nothing new, says so in time, and the pool places shards elsewhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from client.home import Home
from core.errors import BusyError
from core.ports import Ports
from daemon.node import Node, open_node
from daemon.settings import Settings
from tests.sim.determinism import run_seeded
from tests.sim.pool import SimPool
from tests.sim.test_put_crash_get import restore, some_files, store
from tests.sim.world import World
from wire.messages import UploadBegin


async def drain_one_peer(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes: dict[str, Node] = {}

    @asynccontextmanager
    async def opened(
        ports: Ports, home: Home, settings: Settings, write: Callable[[str], None]
    ) -> AsyncGenerator[Node]:
        async with open_node(ports, home, settings, write) as node:
            nodes[home.identity.name] = node
            yield node

    monkeypatch.setattr("tests.sim.pool.open_node", opened)
    async with World(seed).running() as world:
        pool = SimPool(world, peers=7, sites=4)
        await pool.start()
        name, *others = sorted(nodes)
        me = nodes[name].home.identity.peer
        began = trio.current_time()
        await nodes[name].drain()
        assert trio.current_time() - began <= 2.0
        for other in others:
            directory = nodes[other].dht
            assert directory is not None
            record = await directory.resolve(me, max_age_s=60.0)
            assert record is not None
            assert record.draining
        async with pool.client() as client:
            await client.live_peers()
            session = await client.peers.session(me)
            with pytest.raises(BusyError, match="stopping"):
                await session.request(
                    UploadBegin(session.next_upload(), needed=4, total=6, index=0, chunks=1, expected_bytes=9)
                )
        result = await store(pool, some_files(seed))
        assert me not in result.holders
        assert await restore(pool, result.object) == some_files(seed)
        # Back again it is as good as any.
        pool.peers[name].kill()
        pool.peers[name].start()
        await trio.sleep(60.0)
        async with pool.client() as client:
            records = {record.peer: record for record in await client.live_peers()}
        assert not records[me].draining


def test_a_peer_that_stops_takes_nothing_new_and_tells_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    run_seeded(1, drain_one_peer, 1, monkeypatch)

"""A get looks for holders where they were last time, and round the pool only when they are not there."""

from __future__ import annotations

import posixpath

import pytest
from trio.testing import MockClock

from client.bootstrap import BOOTSTRAP_FILE, KNOWN_FILE
from client.get import get
from client.progress import Silent
from core.errors import NotEnoughPeersError
from core.ids import ObjectId
from tests.sim.pool import SimPool
from tests.sim.test_put_crash_get import some_files, store
from tests.sim.trees import MemoryTarget
from tests.sim.world import World


async def files_and_questions(pool: SimPool, name: ObjectId) -> tuple[dict[str, bytes], int]:
    """What a get restores, and how many questions about peers it asked."""
    target = MemoryTarget()
    async with pool.client() as client:
        await get(client, name, target, paths=[], progress=Silent())
        return target.files, client.dht.statistics().asked


def plant(pool: SimPool, name: str, text: str) -> None:
    pool.client_node.drive.plant(posixpath.join(pool.client_home.folder, name), text.encode())


async def test_holders_are_found_where_they_were_with_no_look_round(autojump_clock: MockClock) -> None:
    files = some_files(1)
    async with World(1).running() as world:
        pool = SimPool(world, peers=6, sites=3)
        await pool.start()
        stored = await store(pool, files)
        assert await files_and_questions(pool, stored.object) == (files, 0)
        pool.peers["peer-2"].crash()
        # Now one is looked for that is not where it was; the others are not.
        restored, questions = await files_and_questions(pool, stored.object)
        assert restored == files
        assert questions < 10


async def test_a_client_that_knows_no_address_any_more_looks_round(autojump_clock: MockClock) -> None:
    files = some_files(2)
    async with World(2).running() as world:
        pool = SimPool(world, peers=6, sites=3)
        await pool.start()
        stored = await store(pool, files)
        homes = pool.client_node.drive.live_bytes(posixpath.join(pool.client_home.folder, KNOWN_FILE))
        assert homes is not None
        lines = homes.decode().splitlines()
        addresses = [line.partition("#")[0] for line in lines]
        peers = [line.partition("#")[2] for line in lines]
        everybody_elsewhere = zip(addresses[1:] + addresses[:1], peers, strict=True)
        for text in (
            "",
            "".join(f"{address}\n" for address in addresses),
            "".join(f"{address}#{peer}\n" for address, peer in everybody_elsewhere),
            "".join(f"127.0.0.1:1 #{peer}\n" for peer in peers),
        ):
            plant(pool, KNOWN_FILE, text)
            restored, questions = await files_and_questions(pool, stored.object)
            assert restored == files
            assert questions > 0
        plant(pool, KNOWN_FILE, "127.0.0.1:1\n")
        plant(pool, BOOTSTRAP_FILE, "127.0.0.1:1\n")
        with pytest.raises(NotEnoughPeersError, match="none of the 1 known addresses"):
            await files_and_questions(pool, stored.object)

"""A daemon starts on a disk that takes no writes: what it holds is served, what is sent to it is refused and said."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from client.challenge import targets_of
from client.context import Client
from client.locate import find_manifest
from core.errors import MoorageError, NotEnoughPeersError, StoreFullError, StoreReadOnlyError
from core.ids import ObjectId
from tests.sim.drive import DiskFaults
from tests.sim.pool import SimPool
from tests.sim.test_put_crash_get import restore, some_files, store
from tests.sim.world import World
from wire.messages import Blob, GetManifest, Leaves, Prove, StoreManifest, UploadBegin

VICTIM = "peer-3"


def read_only(faults: DiskFaults) -> None:
    faults.read_only = True


def heal(faults: DiskFaults) -> None:
    faults.read_only = False
    faults.capacity_bytes = DiskFaults().capacity_bytes


def full(faults: DiskFaults) -> None:
    faults.capacity_bytes = 0


async def serves_its_shards(client: Client, pool: SimPool, name: ObjectId) -> int:
    """How many shards of the object the victim proves."""
    await client.find_peers()
    manifest = await find_manifest(client, name)
    victim = pool.peers[VICTIM].person.identity.peer
    proved = 0
    for target in targets_of(manifest):
        if target.peer == victim:
            answer = await client.peers.request(victim, Prove(target.root))
            assert isinstance(answer, Leaves)
            assert not answer.bad
            assert not answer.problem
            proved += 1
    return proved


async def refusals(client: Client, pool: SimPool, name: ObjectId) -> list[MoorageError]:
    victim = pool.peers[VICTIM].person.identity.peer
    session = await client.peers.session(victim)
    manifest = await client.peers.request(victim, GetManifest(name))
    assert isinstance(manifest, Blob)
    found: list[MoorageError] = []
    for message in (UploadBegin(1, 4, 6, 0, 1, 65_552), StoreManifest(name, bytes(manifest.body))):
        try:
            await session.request(message)
        except MoorageError as error:
            found.append(error)
    return found


@pytest.mark.parametrize(("spoil", "why"), [(read_only, "Read-only"), (full, "reserve")], ids=["read-only", "full"])
async def test_a_disk_that_takes_writes_again_is_used_again_by_nobodys_order(
    autojump_clock: MockClock, spoil: Callable[[DiskFaults], None], why: str
) -> None:
    async with World(2).running() as world:
        pool = SimPool(world, peers=6, sites=3)
        await pool.start()
        await store(pool, some_files(1))
        node = pool.peers[VICTIM]
        spoil(node.drive.faults)
        with pytest.raises(NotEnoughPeersError, match=rf"failed: {VICTIM} .*{why}"):
            await store(pool, some_files(2))
        await trio.sleep(120)
        with pytest.raises(NotEnoughPeersError, match=rf"full or read-only: {VICTIM}"):
            await store(pool, some_files(2))
        heal(node.drive.faults)
        await trio.sleep(150)
        assert node.person.identity.peer in (await store(pool, some_files(2))).holders


@pytest.mark.parametrize(
    ("spoil", "refusal", "how"),
    [
        (read_only, StoreReadOnlyError, "kill"),
        (read_only, StoreReadOnlyError, "crash"),
        (full, StoreFullError, "kill"),
        (full, StoreFullError, "crash"),
    ],
    ids=["read-only", "read-only after a crash", "full", "full after a crash"],
)
async def test_a_daemon_starts_on_a_disk_that_takes_no_writes(
    autojump_clock: MockClock, spoil: Callable[[DiskFaults], None], refusal: type[MoorageError], how: str
) -> None:
    files = some_files(1)
    async with World(1).running() as world:
        pool = SimPool(world, peers=7, sites=4)
        await pool.start()
        result = await store(pool, files)
        node = pool.peers[VICTIM]
        assert node.person.identity.peer in result.holders
        if how == "crash":
            node.crash()
        else:
            node.kill()
        spoil(node.drive.faults)
        node.start()
        await trio.sleep(60)
        assert node.is_up
        async with pool.client() as client:
            assert await serves_its_shards(client, pool, result.object) > 0
            assert [type(error) for error in await refusals(client, pool, result.object)] == [refusal] * 2
        # Where nobody else has enough shares, its own are needed.
        others = [other for other in pool.peers.values() if other.person.identity.peer in result.holders]
        away = [other for other in others if other is not node][:2]
        for other in away:
            other.kill()
        assert await restore(pool, result.object) == files
        for other in away:
            other.start()
        # A put goes elsewhere: there is a seventh peer.
        await trio.sleep(60)
        assert node.person.identity.peer not in (await store(pool, some_files(2))).holders
        assert node.is_up

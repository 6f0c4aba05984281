"""The promise of a put, in the simulator: what was acknowledged survives power cuts at any moment after it."""

from __future__ import annotations

import pytest
import trio

from anchor.manifest import Manifest
from client.context import Client
from client.get import get
from client.ledger import anchor_manifest
from client.progress import Silent
from client.put import PutResult, put
from core.errors import HomeError, MoorageError
from core.ids import ObjectId
from core.limits import CHUNK_BYTES
from erasure.scheme import Scheme
from tests.sim.chance import derive
from tests.sim.determinism import run_seeded
from tests.sim.pool import SimPool
from tests.sim.trees import MemorySource, MemoryTarget
from tests.sim.world import World

SCHEME = Scheme(4, 6)


def some_files(seed: int) -> dict[str, bytes]:
    chance = derive(seed, "files")
    sizes = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 17]
    return {f"study/{number:03}": chance.randbytes(size) for number, size in enumerate(sizes)}


async def store(pool: SimPool, files: dict[str, bytes]) -> PutResult:
    async with pool.client() as client:
        source = MemorySource(files)
        return await put(client, source, name="study", scheme=SCHEME, allow_degraded=False, progress=Silent())


async def try_to_store(pool: SimPool, files: dict[str, bytes]) -> PutResult | MoorageError:
    try:
        return await store(pool, files)
    except MoorageError as error:
        return error


async def restore(pool: SimPool, object_id: ObjectId) -> dict[str, bytes]:
    target = MemoryTarget()
    async with pool.client() as client:
        await get(client, object_id, target, paths=[], progress=Silent())
    return target.files


async def put_cut_all_get(seed: int) -> None:
    """Put; cut the power of every machine at once; start them; two stay dead; get."""
    files = some_files(seed)
    chance = derive(seed, "story")
    async with World(seed).running() as world:
        pool = SimPool(world, peers=6, sites=3)
        await pool.start()
        result = await store(pool, files)
        await trio.sleep(chance.uniform(0.0, 0.5))
        for node in pool.peers.values():
            node.crash()
        dead = chance.sample(sorted(pool.peers), 2)
        for name, node in pool.peers.items():
            if name not in dead:
                node.start()
        await trio.sleep(60.0)
        assert await restore(pool, result.object) == files


async def put_with_a_crash_in_the_middle(seed: int) -> None:
    """One peer's power goes at a random disk operation of a put: it is acknowledged and true, or refused and named."""
    files = some_files(seed)
    chance = derive(seed, "story")
    async with World(seed).running() as world:
        pool = SimPool(world, peers=7, sites=4)
        await pool.start()
        victim = pool.peers[chance.choice(sorted(pool.peers))]
        victim.drive.crash_at = victim.drive.operations + chance.randrange(60)
        outcome = await try_to_store(pool, files)
        victim.drive.crash_at = None
        if not victim.is_up:
            victim.start()
        await trio.sleep(60.0)
        if isinstance(outcome, MoorageError):
            assert victim.name in str(outcome)
            outcome = await store(pool, files)
        assert await restore(pool, outcome.object) == files


async def put_again_after_losses(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A put ends before it is anchored, more holders of its index than it can spare are lost, and it is put again."""
    files = some_files(seed)
    async with World(seed).running() as world:
        pool = SimPool(world, peers=9, sites=5)
        await pool.start()
        manifests: list[Manifest] = []

        async def cut(client: Client, manifest: Manifest, *_: object, **__: object) -> bytes:
            manifests.append(manifest)
            raise HomeError("the client is cut off here")

        with monkeypatch.context() as patch:
            patch.setattr("client.finish.anchor_manifest", cut)
            with pytest.raises(HomeError):
                await store(pool, files)
        names = {node.person.identity.peer: name for name, node in pool.peers.items()}
        first = manifests[0].groups[manifests[0].index[0].group]
        gone = set(derive(seed, "story").sample(first, SCHEME.spare + 1))
        for peer in gone:
            pool.peers[names[peer]].crash()
        await trio.sleep(60.0)
        result = await store(pool, files)
        assert not gone & set(result.holders)
        assert await restore(pool, result.object) == files


def test_a_put_that_was_cut_short_is_finished_without_its_lost_holders(monkeypatch: pytest.MonkeyPatch) -> None:
    run_seeded(1, put_again_after_losses, 1, monkeypatch)


async def put_with_few_receipts(seed: int, takers: int, monkeypatch: pytest.MonkeyPatch) -> PutResult | MoorageError:
    """Holders stop answering right after the leaf was anchored; ``takers`` of them take the receipt."""
    async with World(seed).running() as world:
        pool = SimPool(world, peers=6, sites=3)
        await pool.start()

        async def only_some(
            client: Client, manifest: Manifest, manifest_file: bytes, size_bytes: int, **_: object
        ) -> bytes:
            receipt = await anchor_manifest(client, manifest, manifest_file, size_bytes)
            for name in sorted(pool.peers)[takers:]:
                pool.peers[name].crash()
            return receipt

        with monkeypatch.context() as patch:
            patch.setattr("client.finish.anchor_manifest", only_some)
            return await try_to_store(pool, some_files(seed))


@pytest.mark.parametrize("takers", [0, 1, SCHEME.spare, SCHEME.spare + 1, SCHEME.total])
def test_a_put_counts_only_when_more_have_its_receipt_than_may_be_lost(
    takers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome, _ = run_seeded(1, put_with_few_receipts, 1, takers, monkeypatch)
    assert isinstance(outcome, PutResult) == (takers > SCHEME.spare), outcome


@pytest.mark.parametrize("seed", range(4))
def test_what_was_acknowledged_survives_a_power_cut_of_the_whole_pool(seed: int) -> None:
    run_seeded(seed, put_cut_all_get, seed)


@pytest.mark.parametrize("seed", range(8))
def test_a_crash_in_the_middle_of_a_put_costs_nothing_that_was_promised(seed: int) -> None:
    run_seeded(seed, put_with_a_crash_in_the_middle, seed)

"""What a holder that is dead, and one whose answers come late, cost a put and a get, in virtual time.

Round trips to the late one are what is counted: computing costs next to nothing here.
"""

from __future__ import annotations

import pytest
import trio

from client.context import Client
from client.get import cat, get
from client.patience import LATE_PATIENCE_S
from client.progress import Silent
from client.put import PutResult, put
from core.limits import CHUNK_BYTES, EXTENT_BYTES
from erasure.scheme import Scheme
from tests.sim.chance import derive
from tests.sim.determinism import run_seeded
from tests.sim.fabric import NetFaults
from tests.sim.pool import SimPool
from tests.sim.trees import MemorySource, MemoryTarget
from tests.sim.world import World

SCHEME = Scheme(4, 6)
LATE_S = 0.3
LATE, DEAD_AT_PUT, DEAD_AT_GET = "peer-2", "peer-7", "peer-4"
# TLS, welcome, greeting; then shards, index, manifest, a last look, receipt: each needs the answer to the one before.
PUT_ROUND_TRIPS = 3 + 5
# What jobs and the quick holders take, by and large.
WORK_S = 0.5


async def store(client: Client, files: dict[str, bytes]) -> PutResult:
    source = MemorySource(files)
    return await put(client, source, name="study", scheme=SCHEME, allow_degraded=False, progress=Silent())


async def sick_put_and_get(seed: int, files: dict[str, bytes], dark: bool, seconds: dict[str, float]) -> None:
    """``dark``: the dead one's machine has no power, so that nobody even refuses."""
    async with World(seed, net=NetFaults(latency_s=(0.0001, 0.0003), part_p=0)).running() as world:
        pool = SimPool(world, peers=7, sites=3)
        await pool.start()
        async with pool.client() as client:
            # So that the home knows where everybody is, as one does that was used before.
            await store(client, {"before": b"x"})
        world.fabric.late_s[LATE] = LATE_S

        def end(name: str) -> None:
            (pool.peers[name].crash if dark else pool.peers[name].kill)()

        end(DEAD_AT_PUT)
        began_s = trio.current_time()
        async with pool.client() as client:
            result = await store(client, files)
        seconds["put"] = trio.current_time() - began_s
        assert len(result.holders) == SCHEME.total
        end(DEAD_AT_GET)
        began_s = trio.current_time()
        async with pool.client() as client:
            first = bytearray()

            async def take(data: memoryview) -> None:
                first.extend(data)
                await trio.lowlevel.checkpoint()

            name = min(files)
            await cat(client, result.object, name.encode(), None, take)
            assert first == files[name]
        seconds["first"] = trio.current_time() - began_s
        began_s = trio.current_time()
        async with pool.client() as client:
            target = MemoryTarget()
            await get(client, result.object, target, paths=[], progress=Silent())
            assert target.files == files
        seconds["get"] = trio.current_time() - began_s


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_a_late_holder_costs_a_put_its_round_trips_and_a_get_nothing(seed: int, dark: bool) -> None:
    chance = derive(seed, "files")
    files = {f"slice-{number}": chance.randbytes(2 * CHUNK_BYTES + 1000) for number in range(2)}
    seconds: dict[str, float] = {}
    run_seeded(seed, sick_put_and_get, seed, files, dark, seconds)
    waited_s = LATE_PATIENCE_S - 3 * LATE_S if dark else 0.0
    assert seconds["put"] < PUT_ROUND_TRIPS * LATE_S + waited_s + WORK_S
    assert seconds["first"] < LATE_S
    assert seconds["get"] < LATE_S


def test_a_late_holder_does_not_hold_up_each_extent_of_a_put() -> None:
    """Its answers to one extent may come while the others hear of the next."""
    files = {f"{number}": bytes([number]) * EXTENT_BYTES for number in range(3)}
    seconds: dict[str, float] = {}
    run_seeded(1, sick_put_and_get, 1, files, False, seconds)
    assert seconds["put"] < (PUT_ROUND_TRIPS + 1) * LATE_S + WORK_S

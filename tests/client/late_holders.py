"""What a put and a get wait for where a holder is dead and one answers late: counted in virtual time.

    python -m tests.client.late_holders

Prints the seconds of the simulator. Computing costs next to nothing there, a disk job ten milliseconds; what is left
are round trips to the late one, and patience with the dead one.
"""

from __future__ import annotations

import trio

from client.context import Client
from client.get import cat, get
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


def some_slices(seed: int) -> dict[str, bytes]:
    """Two, as large as a CT's."""
    chance = derive(seed, "files")
    return {f"slice-{number}": chance.randbytes(2 * CHUNK_BYTES + 1000) for number in range(2)}


def some_extents(count: int) -> dict[str, bytes]:
    """Files that fill an extent each; they compress well, so that the simulator has little to move."""
    return {f"{number}": bytes([number]) * EXTENT_BYTES for number in range(count)}


def sick_seconds(seed: int, files: dict[str, bytes], *, dark: bool) -> dict[str, float]:
    """Of a put, of the first file and of a get."""
    seconds: dict[str, float] = {}
    run_seeded(seed, sick_put_and_get, seed, files, dark, seconds)
    return seconds


def main() -> None:
    for words, files in (("2 slices", some_slices(1)), ("8 extents", some_extents(8))):
        for dark in (False, True):
            seconds = sick_seconds(1, files, dark=dark)
            dead = "without power" if dark else "refusing"
            print(f"{words}, the dead one {dead}: " + ", ".join(f"{step} {s:.2f} s" for step, s in seconds.items()))


if __name__ == "__main__":
    main()

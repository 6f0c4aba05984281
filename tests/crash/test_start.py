"""A daemon that starts clears what a crash left anywhere in its home."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from client.home import ROSTER_FILE
from tests.sim.drive import SimDrive
from tests.sim.pool import FOLDER, SimPool
from tests.sim.world import World

LEFTOVERS = (
    *("state/port.0a0b0c0d.part", "state/silence.01.part", "state/care/x.1.part"),
    *("incoming/7", "receipts/y.1.part"),
)


async def test_a_restart_clears_every_leftover(autojump_clock: MockClock) -> None:
    async with World(1).running() as world:
        pool = SimPool(world, peers=1, sites=1)
        node = pool.peers["peer-1"]
        home = f"{FOLDER}/peer-1"
        for name in LEFTOVERS:
            node.drive.plant(f"{home}/{name}", b"half of something")
        node.start()
        await trio.sleep(60.0)
        node.kill()
        assert _is_there(node.drive, f"{home}/{ROSTER_FILE}")
        assert [name for name in LEFTOVERS if _is_there(node.drive, f"{home}/{name}")] == []


def _is_there(drive: SimDrive, path: str) -> bool:
    return drive.find(path) is not None

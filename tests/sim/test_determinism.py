from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio._core import _run

from core.errors import CorruptError, MoorageError
from core.ports import Address, Connection, Ports
from core.sealing import sealing_public_key, unwrap_key, wrap_key
from tests.sim.determinism import ForbiddenError, run_seeded
from tests.sim.disk import SimDisk
from tests.sim.entropy import seeded_cryptography
from tests.sim.fabric import NetFaults
from tests.sim.people import make_organisation
from tests.sim.pool import SimPool
from tests.sim.test_put_crash_get import store
from tests.sim.world import World

HERE = Address("listener", 1)


def test_the_private_names_of_trio_that_make_it_deterministic_are_there() -> None:
    # Hypothesis switches it on for all of its process.
    assert _run._ALLOW_DETERMINISTIC_SCHEDULING in (False, True)
    assert isinstance(_run._r, random.Random)


async def _story(seed: int) -> list[str]:
    """Nodes that talk and crash for a while, and what they saw."""
    world = World(seed, net=NetFaults(latency_s=(0.001, 0.05), reset_p=0.02))
    hospital = make_organisation()
    seen: list[str] = []

    async def serve(ports: Ports) -> None:
        async def answer(connection: Connection) -> None:
            while data := await connection.receive_some(1000):
                await ports.threads.disk(_append, ports, data)
                await connection.send_all(data)

        await ports.net.serve(HERE, answer)

    def _append(ports: Ports, data: bytes) -> None:
        with ports.disk.open("/log", "update") as file:
            file.write_at(file.size(), data)
            if ports.chance.stream("sync").random() < 0.5:
                file.sync()
        ports.disk.sync_folder("/")

    async def call(ports: Ports, name: str) -> None:
        for number in range(12):
            try:
                with trio.fail_after(2):
                    connection = await ports.net.connect(HERE)
                    await connection.send_all(f"{name}{number}".encode())
                    seen.append(f"{trio.current_time()} {name} {await connection.receive_some(100)!r}")
                    await connection.aclose()
            except (MoorageError, trio.TooSlowError) as error:
                seen.append(f"{trio.current_time()} {name} {type(error).__name__} {error}")
            await trio.sleep(ports.chance.stream("pause").random())

    async with world.running():
        listener = world.add("listener", hospital.admit("listener"), lambda: hospital.issuers, serve)
        listener.start()
        async with trio.open_nursery() as nursery:
            for name in ("a", "b", "c"):
                caller = world.add(name, hospital.admit(name), lambda: hospital.issuers)
                nursery.start_soon(call, caller.start(), name)
            await trio.sleep(1)
            listener.crash()
            await trio.sleep(0.5)
            listener.start()
        seen.append(repr(listener.drive.durable_bytes("/log")))
    return seen


def _in_another_process(code: str, hash_seed: str) -> str:
    """What Python prints with its hashes seeded by ``hash_seed``."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=True,
        text=True,
    ).stdout


def test_one_seed_is_one_history() -> None:
    first, again, other = (run_seeded(seed, _story, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_history_is_the_same_in_another_process() -> None:
    code = (
        "from tests.sim.test_determinism import _story\n"
        "from tests.sim.determinism import run_seeded\n"
        "print(run_seeded(7, _story, 7)[1])"
    )
    digests = [_in_another_process(code, hash_seed) for hash_seed in ("1", "2")]
    assert digests[0] == digests[1] == f"{run_seeded(7, _story, 7)[1]}\n"


async def _put(seed: int) -> list[str]:
    """The ids of two objects, and all that their put left on every drive."""
    async with World(seed).running() as world:
        pool = SimPool(world, peers=6, sites=3)
        await pool.start()
        ids = [str((await store(pool, {"name": bytes([number]) * 1000})).object) for number in range(2)]
        return [*ids, *(f"{name} {node.drive.fingerprint()}" for name, node in world.nodes.items())]


def test_object_ids_and_every_stored_byte_follow_from_the_seed_in_any_process() -> None:
    code = (
        "from tests.sim.test_determinism import _put\n"
        "from tests.sim.determinism import run_seeded\n"
        "print(run_seeded(7, _put, 7))"
    )
    told = [_in_another_process(code, hash_seed) for hash_seed in ("1", "2")]
    assert told[0] == told[1] == f"{run_seeded(7, _put, 7)}\n"
    assert _in_another_process(code.replace("7", "8"), "1") != told[0]


def test_stand_ins_for_cryptography_refuse_what_the_real_ones_refuse() -> None:
    seed, other = bytes(96), bytes(95) + b"\1"
    with seeded_cryptography(1):
        public = sealing_public_key(seed)
        slot = wrap_key(public, bytes(32))
        assert unwrap_key(seed, slot) == bytes(32)
        for damaged in (slot[:-1] + bytes([slot[-1] ^ 1]), bytes([slot[0] ^ 1]) + slot[1:], slot[:-1]):
            with pytest.raises(CorruptError):
                unwrap_key(seed, damaged)
        with pytest.raises(CorruptError):
            unwrap_key(other, slot)
        assert wrap_key(public, bytes(32)) != slot
    assert len(wrap_key(public, bytes(32))) == len(slot)


def _as_code_of_ours(function: Callable[..., object]) -> Callable[..., object]:
    """The function as if it were written in a layer that has to use its ports."""
    assert isinstance(function, types.FunctionType)
    names = {**function.__globals__, "__name__": "daemon.example"}
    return types.FunctionType(function.__code__, names)


@pytest.mark.parametrize(
    "reach",
    [lambda: time.time(), lambda: random.random(), lambda: os.urandom(4), lambda: os.listdir("/")],
)
def test_code_that_reaches_past_its_ports_is_caught(reach: Callable[[], object]) -> None:
    async def program() -> None:
        _as_code_of_ours(reach)()

    with pytest.raises(ForbiddenError, match=r"called by daemon\.example"):
        run_seeded(1, program)


def test_threads_and_real_sockets_are_caught() -> None:
    async def thread() -> None:
        await trio.to_thread.run_sync(int)

    async def wait() -> None:
        near, far = socket.socketpair()
        with near, far:
            await trio.lowlevel.wait_readable(near)

    with pytest.raises(ForbiddenError, match="thread"):
        run_seeded(1, thread)
    with pytest.raises(ForbiddenError, match="file descriptor"):
        run_seeded(1, wait)


def test_the_switches_are_put_back() -> None:
    async def program() -> bool:
        return bool(_run._ALLOW_DETERMINISTIC_SCHEDULING)

    flag, state = _run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r.getstate()
    during, _ = run_seeded(1, program)
    assert during
    assert _run._ALLOW_DETERMINISTIC_SCHEDULING is flag
    assert _run._r.getstate() == state


def test_a_simulated_disk_needs_no_loop() -> None:
    SimDisk().make_folders("/a")

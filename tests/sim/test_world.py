from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from core.errors import PeerUnavailableError
from core.ports import Address, Connection, Ports
from tests.sim.people import make_organisation
from tests.sim.world import World

HOSPITAL = make_organisation()
HERE = Address("listener", 1)


def issuers() -> dict[str, bytes]:
    return HOSPITAL.issuers


def _count_boot(ports: Ports) -> int:
    with ports.disk.open("/boots", "update") as file:
        boots = file.size() + 1
        file.write_at(file.size(), b"x")
        file.sync()
    ports.disk.sync_folder("/")
    return boots


async def _serve_boots(ports: Ports) -> None:
    boots = await ports.threads.disk(_count_boot, ports)

    async def answer(connection: Connection) -> None:
        await connection.send_all(str(boots).encode())

    await ports.net.serve(HERE, answer)


async def _boots_seen(ports: Ports) -> bytes:
    connection = await ports.net.connect(HERE)
    boots = await connection.receive_some(100)
    await connection.aclose()
    return boots


@pytest.mark.parametrize("how", ["crash", "kill"])
async def test_a_node_comes_back_with_its_drive(autojump_clock: MockClock, how: str) -> None:
    async with World(1).running() as world:
        listener = world.add("listener", HOSPITAL.admit("listener"), issuers, _serve_boots)
        caller = world.add("caller", HOSPITAL.admit("caller"), issuers).start()
        for boot in (b"1", b"2", b"3"):
            listener.start()
            await trio.sleep(1)
            assert await _boots_seen(caller) == boot
            if how == "crash":
                listener.crash()
            else:
                listener.kill()
            assert not listener.is_up
            with pytest.raises(PeerUnavailableError):
                await _boots_seen(caller)


async def test_cleaning_up_after_a_crash_reaches_nothing(autojump_clock: MockClock) -> None:
    tidied: list[str] = []

    async def tidy(ports: Ports) -> None:
        try:
            await trio.sleep_forever()
        finally:
            tidied.append("tried")
            ports.disk.make_folders("/too/late")
            tidied.append("reached")

    async with World().running() as world:
        node = world.add("node", HOSPITAL.admit("node"), issuers, tidy)
        node.start()
        await trio.sleep(1)
        node.crash()
        await trio.sleep(1)
        assert tidied == ["tried"]
        assert node.drive.durable_paths() == []


async def test_the_power_goes_in_the_middle_of_an_operation(autojump_clock: MockClock) -> None:
    async def work(ports: Ports) -> None:
        while True:
            await ports.threads.disk(_count_boot, ports)

    async with World().running() as world:
        node = world.add("node", HOSPITAL.admit("node"), issuers, work)
        node.drive.crash_at = 50
        node.start()
        await trio.sleep(100)
        assert not node.is_up
        assert node.drive.operations == 50


async def test_a_program_that_fails_is_reported_at_the_end(autojump_clock: MockClock) -> None:
    async def fail(ports: Ports) -> None:
        raise ZeroDivisionError

    world = World()

    async def story() -> None:
        async with world.running():
            world.add("node", HOSPITAL.admit("node"), issuers, fail).start()
            await trio.sleep(1)

    with pytest.raises(AssertionError, match="ended by a bug: node"):
        await story()
    assert not world.nodes["node"].is_up


async def test_a_handler_that_fails_is_reported_at_the_end(autojump_clock: MockClock) -> None:
    async def serve(ports: Ports) -> None:
        await ports.net.serve(HERE, fail)

    async def fail(_connection: Connection) -> None:
        raise ZeroDivisionError

    async def story() -> None:
        async with World().running() as world:
            world.add("listener", HOSPITAL.admit("listener"), issuers, serve).start()
            caller = world.add("caller", HOSPITAL.admit("caller"), issuers).start()
            await trio.sleep(1)
            connection = await caller.net.connect(HERE)
            assert await connection.receive_some(1) == b""

    with pytest.raises(AssertionError, match="ended by a bug: listener"):
        await story()


async def test_two_lives_draw_different_tokens(autojump_clock: MockClock) -> None:
    async with World().running() as world:
        node = world.add("node", HOSPITAL.admit("node"), issuers)
        first = node.start().chance.token(16)
        node.kill()
        assert node.start().chance.token(16) != first

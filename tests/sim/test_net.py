from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from core.errors import PeerUnavailableError
from core.limits import CONNECT_DEADLINE_S
from core.ports import Address, Connection
from tests.sim.fabric import NetFaults
from tests.sim.life import Life, NodeDead
from tests.sim.net import Fabric, SimNet
from tests.sim.people import make_organisation

HOSPITAL = make_organisation()
HERE = Address("listener", 1)


def member(fabric: Fabric, name: str, life: Life | None = None) -> SimNet:
    return SimNet(fabric, name, HOSPITAL.admit(name).identity, lambda: HOSPITAL.issuers, life=life)


async def echo(connection: Connection) -> None:
    while data := await connection.receive_some(1 << 20):
        await connection.send_all(data)


async def ask(connection: Connection, question: bytes) -> bytes:
    await connection.send_all(question)
    answer = b""
    while len(answer) < len(question):
        answer += await connection.receive_some(len(question))
    return answer


@pytest.fixture
def fabric() -> Fabric:
    return Fabric(1, NetFaults(part_p=0))


async def test_latency_and_bandwidth_take_virtual_time(
    fabric: Fabric, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    fabric.faults.latency_s = (0.1, 0.1)
    fabric.faults.bytes_per_s = 1000
    await nursery.start(member(fabric, "listener").serve, HERE, echo)
    began_s = trio.current_time()
    connection = await member(fabric, "caller").connect(HERE)
    assert trio.current_time() - began_s == pytest.approx(0.5)
    began_s = trio.current_time()
    assert await ask(connection, bytes(500)) == bytes(500)
    assert trio.current_time() - began_s == pytest.approx(0.1 + 0.5 + 0.1 + 0.5)


async def test_a_partition_is_silence_and_healing_delivers(
    fabric: Fabric, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    await nursery.start(member(fabric, "listener").serve, HERE, echo)
    connection = await member(fabric, "caller").connect(HERE)
    fabric.partition("caller", "listener")
    with trio.move_on_after(1000) as patience:
        await ask(connection, b"hello")
    assert patience.cancelled_caught
    fabric.heal()
    assert await connection.receive_some(100) == b"hello"


async def test_a_partition_one_way_lets_the_other_way_through(
    fabric: Fabric, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    heard: list[bytes] = []

    async def listen(connection: Connection) -> None:
        heard.append(await connection.receive_some(100))
        await connection.send_all(b"unheard")

    await nursery.start(member(fabric, "listener").serve, HERE, listen)
    connection = await member(fabric, "caller").connect(HERE)
    fabric.partition("listener", "caller", both_ways=False)
    await connection.send_all(b"hello")
    with trio.move_on_after(5) as patience:
        await connection.receive_some(100)
    assert patience.cancelled_caught
    assert heard == [b"hello"]


async def test_connecting_across_a_partition_takes_the_whole_deadline(
    fabric: Fabric, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    await nursery.start(member(fabric, "listener").serve, HERE, echo)
    fabric.partition("caller", "listener")
    began_s = trio.current_time()
    with pytest.raises(PeerUnavailableError, match="nobody answers"):
        await member(fabric, "caller").connect(HERE)
    assert trio.current_time() - began_s == pytest.approx(CONNECT_DEADLINE_S)


async def test_connecting_goes_through_when_the_partition_ends_in_time(
    fabric: Fabric, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    await nursery.start(member(fabric, "listener").serve, HERE, echo)
    fabric.partition("caller", "listener")

    async def heal() -> None:
        await trio.sleep(CONNECT_DEADLINE_S / 2)
        fabric.heal()

    nursery.start_soon(heal)
    connection = await member(fabric, "caller").connect(HERE)
    assert await ask(connection, b"hello") == b"hello"


async def test_a_hanging_node_takes_bytes_up_to_a_point_and_answers_nothing(
    fabric: Fabric, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    await nursery.start(member(fabric, "listener").serve, HERE, echo)
    connection = await member(fabric, "caller").connect(HERE)
    await wait_all_tasks_blocked()
    fabric.pause("listener")
    await connection.send_all(b"hello")
    with trio.move_on_after(100) as patience:
        await connection.receive_some(5)
    assert patience.cancelled_caught
    with pytest.raises(PeerUnavailableError, match="nobody answers"):
        await member(fabric, "another").connect(HERE)
    fabric.resume("listener")
    assert await connection.receive_some(5) == b"hello"


async def test_a_sender_gives_up_on_who_takes_nothing(
    fabric: Fabric, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    await nursery.start(member(fabric, "listener").serve, HERE, echo)
    connection = await member(fabric, "caller").connect(HERE)
    fabric.partition("caller", "listener")
    with pytest.raises(PeerUnavailableError, match="timed out"):
        await connection.send_all(bytes(1 << 24))
    assert trio.current_time() >= fabric.faults.give_up_s


async def test_a_process_that_dies_resets_its_connections(
    fabric: Fabric, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    await nursery.start(member(fabric, "listener").serve, HERE, echo)
    connection = await member(fabric, "caller").connect(HERE)
    fabric.process_down("listener")
    with pytest.raises(PeerUnavailableError, match="reset"):
        await connection.receive_some(1)
    with pytest.raises(PeerUnavailableError, match="refused"):
        await member(fabric, "caller").connect(HERE)


async def test_a_host_without_power_is_silent_until_it_is_back(
    fabric: Fabric, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    await nursery.start(member(fabric, "listener").serve, HERE, echo)
    connection = await member(fabric, "caller").connect(HERE)
    fabric.host_down("listener")
    with trio.move_on_after(1000) as patience:
        await connection.receive_some(1)
    assert patience.cancelled_caught
    fabric.host_up("listener")
    with pytest.raises(PeerUnavailableError, match="reset"):
        await connection.receive_some(1)


async def test_what_had_arrived_before_a_reset_can_be_read(
    fabric: Fabric, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def talk(connection: Connection) -> None:
        await connection.send_all(b"arrived")
        await trio.sleep_forever()

    await nursery.start(member(fabric, "listener").serve, HERE, talk)
    connection = await member(fabric, "caller").connect(HERE)
    await wait_all_tasks_blocked()
    fabric.process_down("listener")
    assert await connection.receive_some(100) == b"arrived"
    with pytest.raises(PeerUnavailableError, match="reset"):
        await connection.receive_some(100)


async def test_resets_and_stalls_happen_as_often_as_told(
    fabric: Fabric, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    await nursery.start(member(fabric, "listener").serve, HERE, echo)
    fabric.faults.stall_p, fabric.faults.stall_s = 1, (7, 7)
    connection = await member(fabric, "caller").connect(HERE)
    began_s = trio.current_time()
    await ask(connection, b"hello")
    assert trio.current_time() - began_s == pytest.approx(14)
    fabric.faults.reset_p = 1
    with pytest.raises(PeerUnavailableError, match="reset"):
        await connection.send_all(b"hello")


async def test_the_dead_reach_nobody(fabric: Fabric, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    await nursery.start(member(fabric, "listener").serve, HERE, echo)
    life = Life()
    net = member(fabric, "caller", life)
    connection = await net.connect(HERE)
    life.end()
    with pytest.raises(NodeDead):
        await connection.send_all(b"x")
    with pytest.raises(NodeDead):
        await connection.receive_some(1)
    with pytest.raises(NodeDead):
        await connection.aclose()
    with pytest.raises(NodeDead):
        await net.connect(HERE)


async def test_closed_connections_are_forgotten(
    fabric: Fabric, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    await nursery.start(member(fabric, "listener").serve, HERE, echo)
    for _ in range(5):
        connection = await member(fabric, "caller").connect(HERE)
        assert await ask(connection, b"hello") == b"hello"
        await connection.aclose()
    await wait_all_tasks_blocked()
    assert not fabric.links

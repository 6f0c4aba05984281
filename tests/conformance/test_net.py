from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from core.errors import MoorageError, PeerRefusedError, PeerUnavailableError, SettingsError
from core.ports import FRAMES, HTTP, Address, ApplicationProtocol, Connection, Net
from host.clock import RealClock
from host.net import TlsNet
from tests.sim.clock import START_S
from tests.sim.fabric import NetFaults
from tests.sim.net import Fabric, SimNet
from tests.sim.people import Organisation, Person, make_organisation

MIB = 1024 * 1024
ANY_PORT = Address("127.0.0.1", 0)
Handler = Callable[[Connection], Awaitable[None]]


@dataclass
class Place:
    """Where connections of one kind are made. ``now`` is the time for certificates."""

    fabric: Fabric | None
    now: float
    bulk_bytes: int

    def net(self, person: Person, issuers: Callable[[], Mapping[str, bytes]]) -> Net:
        if self.fabric is None:
            return TlsNet(lambda: person.certificate, person.key, issuers, RealClock())
        return SimNet(self.fabric, person.identity.name, person.identity, issuers)

    def organisation(self, name: str = "Hospital", pool: str = "") -> Organisation:
        return make_organisation(name, pool=pool, now=self.now)

    def member(self, name: str, organisation: Organisation | None = None) -> Net:
        organisation = organisation or self.organisation()
        return self.net(organisation.admit(name, now=self.now), lambda: organisation.issuers)


@pytest.fixture(params=["real", "simulated"])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "real":
        return Place(None, time.time(), 64 * MIB)
    return Place(Fabric(1, NetFaults(latency_s=(0.0, 0.001))), START_S, 4 * MIB)


async def receive_all(connection: Connection) -> bytes:
    received = bytearray()
    while data := await connection.receive_some(MIB):
        received += data
    return bytes(received)


async def echo(connection: Connection) -> None:
    while data := await connection.receive_some(MIB):
        await connection.send_all(data)


async def ask(connection: Connection, question: bytes) -> bytes:
    await connection.send_all(question)
    answer = b""
    while len(answer) < len(question):
        answer += await connection.receive_some(len(question))
    return answer


async def send_forever(connection: Connection) -> None:
    with trio.fail_after(10):
        while True:
            await connection.send_all(bytes(MIB))


async def ignore(_connection: Connection) -> None:
    await trio.sleep_forever()


async def test_each_side_knows_the_other(place: Place, nursery: trio.Nursery) -> None:
    seen: list[Connection] = []

    async def look(connection: Connection) -> None:
        seen.append(connection)

    hospital = place.organisation()
    address = await nursery.start(place.member("listener", hospital).serve, ANY_PORT, look)
    assert address.port > 0
    connection = await place.member("caller", hospital).connect(address)
    assert await connection.receive_some(1) == b""
    assert connection.remote == hospital.admit("listener", now=place.now).identity
    assert seen[0].remote == hospital.admit("caller", now=place.now).identity
    await connection.aclose()


@pytest.mark.parametrize("protocol", [FRAMES, HTTP])
async def test_the_caller_chooses_what_is_spoken(
    place: Place, protocol: ApplicationProtocol, nursery: trio.Nursery
) -> None:
    async def answer(connection: Connection) -> None:
        await connection.send_all(connection.protocol.encode())

    hospital = place.organisation()
    address = await nursery.start(place.member("listener", hospital).serve, ANY_PORT, answer)
    connection = await place.member("caller", hospital).connect(address, protocol)
    assert connection.protocol == protocol
    assert await receive_all(connection) == protocol.encode()
    await connection.aclose()


async def test_a_stranger_is_not_let_in_to_speak_http(place: Place, nursery: trio.Nursery) -> None:
    hospital, other = place.organisation(), place.organisation("Other")
    everyone = {**hospital.issuers, **other.issuers}
    address = await nursery.start(place.member("listener", hospital).serve, ANY_PORT, echo)
    stranger = place.net(other.admit("stranger", now=place.now), lambda: everyone)

    async def browse() -> None:
        connection = await stranger.connect(address, HTTP)
        try:
            await connection.send_all(b"GET")
            assert not await connection.receive_some(MIB)
        finally:
            await connection.aclose()
        raise PeerUnavailableError("the connection just ended")

    with pytest.raises((PeerRefusedError, PeerUnavailableError)):
        await browse()


async def test_bytes_arrive_whole_and_in_order_in_both_directions_at_once(place: Place, nursery: trio.Nursery) -> None:
    there, back = (random.Random(seed).randbytes(place.bulk_bytes) for seed in (1, 2))
    received: list[bytes] = []

    async def swap(connection: Connection) -> None:
        async with trio.open_nursery() as inner:
            inner.start_soon(connection.send_all, back)
            received.append(await receive_exactly(connection, len(there)))

    async def receive_exactly(connection: Connection, length: int) -> bytes:
        got = bytearray()
        while len(got) < length:
            data = await connection.receive_some(length - len(got))
            assert data
            got += data
        return bytes(got)

    address = await nursery.start(place.member("listener").serve, ANY_PORT, swap)
    connection = await place.member("caller").connect(address)
    async with trio.open_nursery() as inner:
        inner.start_soon(connection.send_all, memoryview(there))
        assert await receive_exactly(connection, len(back)) == back
    assert await receive_all(connection) == b""
    assert received == [there]
    await connection.aclose()


async def test_a_receive_gives_at_least_one_byte_and_no_more_than_asked_for(
    place: Place, nursery: trio.Nursery
) -> None:
    async def talk(connection: Connection) -> None:
        await connection.send_all(bytes(100_000))

    address = await nursery.start(place.member("listener").serve, ANY_PORT, talk)
    connection = await place.member("caller").connect(address)
    total = 0
    for wanted in (1, 7, 20_000, 50_000, 1_000_000, 1_000_000, 1_000_000, 1_000_000, 1_000_000):
        got = len(await connection.receive_some(wanted))
        assert got <= wanted
        assert got > 0 or total == 100_000
        total += got
    await connection.aclose()


async def test_the_end_comes_after_the_last_byte_and_stays(place: Place, nursery: trio.Nursery) -> None:
    async def talk(connection: Connection) -> None:
        await connection.send_all(b"last words")
        await connection.aclose()

    address = await nursery.start(place.member("listener").serve, ANY_PORT, talk)
    connection = await place.member("caller").connect(address)
    assert await receive_all(connection) == b"last words"
    assert await connection.receive_some(1) == b""
    await connection.aclose()


async def test_a_closed_connection_says_so_and_may_be_closed_again(place: Place, nursery: trio.Nursery) -> None:
    address = await nursery.start(place.member("listener").serve, ANY_PORT, echo)
    connection = await place.member("caller").connect(address)
    await connection.aclose()
    await connection.aclose()
    with pytest.raises(PeerUnavailableError, match="closed here"):
        await connection.receive_some(1)
    with pytest.raises(PeerUnavailableError, match="closed here"):
        await connection.send_all(b"x")


async def test_closing_ends_a_receive_that_waits(place: Place, nursery: trio.Nursery) -> None:
    address = await nursery.start(place.member("listener").serve, ANY_PORT, echo)
    connection = await place.member("caller").connect(address)

    async def wait() -> None:
        with pytest.raises(PeerUnavailableError, match="closed here"):
            await connection.receive_some(1)

    async with trio.open_nursery() as inner:
        inner.start_soon(wait)
        await wait_all_tasks_blocked()
        await connection.aclose()


async def test_sending_to_who_has_hung_up_fails_before_long(place: Place, nursery: trio.Nursery) -> None:
    async def hang_up(connection: Connection) -> None:
        await connection.aclose()

    address = await nursery.start(place.member("listener").serve, ANY_PORT, hang_up)
    connection = await place.member("caller").connect(address)
    with pytest.raises(PeerUnavailableError):
        await send_forever(connection)
    await connection.aclose()


async def test_a_send_that_is_cancelled_breaks_the_connection(place: Place, nursery: trio.Nursery) -> None:
    address = await nursery.start(place.member("listener").serve, ANY_PORT, ignore)
    connection = await place.member("caller").connect(address)
    async with trio.open_nursery() as inner:
        inner.start_soon(connection.send_all, bytes(64 * MIB))
        await wait_all_tasks_blocked(0.01)
        inner.cancel_scope.cancel()
    with pytest.raises(PeerUnavailableError, match="cancelled"):
        await connection.send_all(b"x")
    with pytest.raises(PeerUnavailableError, match="cancelled"):
        await connection.receive_some(1)
    await connection.aclose()


async def test_a_receive_that_is_cancelled_loses_nothing(place: Place, nursery: trio.Nursery) -> None:
    address = await nursery.start(place.member("listener").serve, ANY_PORT, echo)
    connection = await place.member("caller").connect(address)
    async with trio.open_nursery() as inner:
        inner.start_soon(connection.receive_some, 10)
        await wait_all_tasks_blocked()
        inner.cancel_scope.cancel()
    assert await ask(connection, b"still here") == b"still here"
    await connection.aclose()


async def test_where_nobody_listens_a_peer_is_unavailable(place: Place) -> None:
    net = place.member("caller")
    for address in (Address("127.0.0.1", 1), Address("no such host.invalid", 1)):
        with pytest.raises(PeerUnavailableError, match=str(address.port)):
            await net.connect(address)


async def test_a_listener_of_another_pool_is_refused(place: Place, nursery: trio.Nursery) -> None:
    stranger = place.member("listener", place.organisation("Stranger"))
    address = await nursery.start(stranger.serve, ANY_PORT, echo)
    with pytest.raises(PeerRefusedError, match="its certificate is refused"):
        await place.member("caller").connect(address)


async def test_a_caller_whom_only_the_listener_does_not_know_is_refused_at_connect(
    place: Place, nursery: trio.Nursery
) -> None:
    ours, theirs = place.organisation(), place.organisation("Other hospital")
    address = await nursery.start(place.member("listener", theirs).serve, ANY_PORT, echo)
    caller = place.net(ours.admit("caller", now=place.now), lambda: {**ours.issuers, **theirs.issuers})
    with pytest.raises(PeerRefusedError, match="refuses our certificate"):
        await caller.connect(address)
    # The listener is none the worse for it.
    connection = await place.member("friend", theirs).connect(address)
    assert await ask(connection, b"hello") == b"hello"
    await connection.aclose()


async def test_an_organisation_of_the_same_name_with_another_key_is_refused(
    place: Place, nursery: trio.Nursery
) -> None:
    address = await nursery.start(place.member("listener").serve, ANY_PORT, echo)
    with pytest.raises(PeerRefusedError):
        await place.member("caller", place.organisation(pool="another")).connect(address)


async def test_an_expired_certificate_is_refused_on_either_side(place: Place, nursery: trio.Nursery) -> None:
    hospital = place.organisation()
    # Certificates begin 300 s before they are issued, so this one lies within its issuer's time.
    expired = hospital.admit("expired", now=place.now - 280, valid_s=60)
    member = place.member("member", hospital)
    address = await nursery.start(member.serve, ANY_PORT, echo)
    with pytest.raises(PeerRefusedError, match="`moorage certificate renew`"):
        await place.net(expired, lambda: hospital.issuers).connect(address)
    address = await nursery.start(place.net(expired, lambda: hospital.issuers).serve, ANY_PORT, echo)
    with pytest.raises(PeerRefusedError, match="`moorage certificate renew`"):
        await member.connect(address)


async def test_a_new_roster_holds_for_the_next_connection(place: Place, nursery: trio.Nursery) -> None:
    hospital, newcomer = place.organisation(), place.organisation("Newcomer")
    roster = dict(hospital.issuers)
    listener = place.net(hospital.admit("listener", now=place.now), lambda: roster)
    address = await nursery.start(listener.serve, ANY_PORT, echo)
    caller = place.net(newcomer.admit("caller", now=place.now), lambda: hospital.issuers)
    with pytest.raises(PeerRefusedError):
        await caller.connect(address)
    roster.update(newcomer.issuers)
    connection = await caller.connect(address)
    await connection.aclose()


@pytest.mark.parametrize("error", [MoorageError("a bad message"), ZeroDivisionError("a bug")])
async def test_what_a_handler_raises_ends_its_connection_only(
    place: Place, nursery: trio.Nursery, error: Exception
) -> None:
    async def trip(connection: Connection) -> None:
        if await connection.receive_some(1) == b"!":
            raise error
        await echo(connection)

    address = await nursery.start(place.member("listener").serve, ANY_PORT, trip)
    net = place.member("caller")
    bystander = await net.connect(address)
    victim = await net.connect(address)
    await victim.send_all(b"!")
    assert await receive_all(victim) == b""
    await bystander.send_all(b".")
    assert await ask(bystander, b"hello") == b"hello"
    if place.fabric is not None:
        assert [type(bug) for _, bug in place.fabric.bugs] == ([ZeroDivisionError] if error.args[0] == "a bug" else [])
    for connection in (victim, bystander):
        await connection.aclose()


async def test_when_a_listener_is_cancelled_its_connections_end_and_its_address_is_free(place: Place) -> None:
    net = place.member("caller")
    async with trio.open_nursery() as serving:
        address = await serving.start(place.member("listener").serve, ANY_PORT, echo)
        connection = await net.connect(address)
        assert await ask(connection, b"hello") == b"hello"
        serving.cancel_scope.cancel()
    with pytest.raises(PeerUnavailableError):
        await send_forever(connection)
    await connection.aclose()
    with pytest.raises(PeerUnavailableError):
        await net.connect(address)
    async with trio.open_nursery() as serving:
        assert await serving.start(place.member("listener").serve, address, echo) == address
        serving.cancel_scope.cancel()


async def test_an_address_in_use_is_named(place: Place, nursery: trio.Nursery) -> None:
    address = await nursery.start(place.member("listener").serve, ANY_PORT, echo)
    with pytest.raises(SettingsError, match=f"{address}.*in use"):
        await place.member("another").serve(address, echo)


async def test_many_connections_live_side_by_side(place: Place, nursery: trio.Nursery) -> None:
    address = await nursery.start(place.member("listener").serve, ANY_PORT, echo)
    net = place.member("caller")
    answers: dict[int, bytes] = {}

    async def call(number: int) -> None:
        connection = await net.connect(address)
        answers[number] = await ask(connection, str(number).encode() * 1000)
        await connection.aclose()

    async with trio.open_nursery() as inner:
        for number in range(20):
            inner.start_soon(call, number)
    assert answers == {number: str(number).encode() * 1000 for number in range(20)}


async def test_bytes_are_received_where_they_are_wanted(place: Place, nursery: trio.Nursery) -> None:
    sent = random.Random(3).randbytes(300_000)

    async def talk(connection: Connection) -> None:
        await connection.send_all(sent[:100], sent[100:200_000], b"", sent[200_000:])

    address = await nursery.start(place.member("listener").serve, ANY_PORT, talk)
    connection = await place.member("caller").connect(address)
    got = bytearray(len(sent) + 1)
    at = 0
    while count := await connection.receive_into(memoryview(got)[at:], expected_bytes=max(1, len(sent) - at)):
        at += count
    assert bytes(got[:at]) == sent
    await connection.aclose()


async def test_bytes_that_are_expected_and_do_not_come_hold_nothing_up(place: Place, nursery: trio.Nursery) -> None:
    async def talk(connection: Connection) -> None:
        await connection.send_all(b"half")
        await trio.sleep_forever()

    address = await nursery.start(place.member("listener").serve, ANY_PORT, talk)
    connection = await place.member("caller").connect(address)
    room = memoryview(bytearray(1000))
    with trio.fail_after(2):
        assert await connection.receive_into(room, expected_bytes=1000) == 4
    assert bytes(room[:4]) == b"half"
    await connection.aclose()

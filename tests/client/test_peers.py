"""The way to each peer: one session, dialled on need, found again when it moved, left alone when it is dead."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from client.patience import LATE_PATIENCE_S
from client.peers import AVOID_S, Peers
from core.errors import CorruptError, MoorageError, PeerRefusedError, PeerUnavailableError
from core.ids import PeerId, PoolId
from core.limits import CONNECT_DEADLINE_S, HANDSHAKE_DEADLINE_S
from core.ports import FRAMES, Address, ApplicationProtocol, Connection, Identity
from dht.records import PeerRecord
from tests.daemon.wires import POOL, MemoryConnection, RawClient, hello, identity
from tests.dht.people import START
from wire.messages import Blob, DhtFind, Failure, GetStatus, UploadAbort

ME = identity("client")
HERE, THERE, ELSEWHERE = Address("h", 1), Address("h", 2), Address("h", 3)
ANNA, BERT = identity("anna", role="peer"), identity("bert", role="peer")


@dataclass
class Host:
    """A peer that listens somewhere. ``served`` counts its requests."""

    identity: Identity
    pool: PoolId = POOL
    hangs: bool = False
    refusal: Failure | None = None
    served: int = 0
    lines: list[RawClient] = field(default_factory=list[RawClient])

    async def serve(self, stream: trio.abc.Stream) -> None:
        line = RawClient(MemoryConnection(stream, ME))
        self.lines.append(line)
        if self.hangs:
            return
        with suppress(PeerUnavailableError):
            await line.greet(hello(self.pool))
            while True:
                number, message = await line.hear()
                self.served += 1
                await line.say(self.refusal or Blob(self.identity.name.encode()), number)
                del message

    async def cut(self) -> None:
        """All its connections end; it goes on listening."""
        for line in self.lines:
            await line.connection.aclose()
        self.lines.clear()
        await trio.testing.wait_all_tasks_blocked()


@dataclass
class Town:
    """``core.ports.Net`` for callers: who listens where."""

    nursery: trio.Nursery
    hosts: dict[Address, Host] = field(default_factory=dict[Address, Host])
    dials: Counter[Address] = field(default_factory=Counter[Address])

    async def connect(self, address: Address, protocol: ApplicationProtocol = FRAMES) -> Connection:
        del protocol
        self.dials[address] += 1
        await trio.sleep(0.01)
        host = self.hosts.get(address)
        if host is None:
            raise PeerUnavailableError(f"nobody listens at {address}")
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(host.serve, theirs)
        return MemoryConnection(ours, host.identity)

    async def serve(self, *_: object, **__: object) -> None:
        raise AssertionError


@dataclass
class Book:
    """The directory: where each peer says that it is. ``asked``: how often the network was."""

    addresses: dict[PeerId, Address]
    asked: Counter[PeerId] = field(default_factory=Counter[PeerId])

    async def resolve(self, peer: PeerId, *, max_age_s: float) -> PeerRecord | None:
        self.asked[peer] += 1
        await trio.sleep(0.1)
        address = self.addresses.get(peer)
        return None if address is None else record_of(peer, address)


def record_of(peer: PeerId, address: Address) -> PeerRecord:
    who = Identity(peer, "Charite", "Mitte", "somebody", "peer", b"")
    return PeerRecord(who, address, 1, 2, 1, False, 1, int(START), int(START) + 86400, b"")


@asynccontextmanager
async def pool(book: dict[PeerId, Address]) -> AsyncGenerator[tuple[Peers, Town, Book]]:
    async with trio.open_nursery() as nursery:
        town, directory = Town(nursery), Book(book)
        peers = Peers(town, nursery, hello)
        peers.use_dht(lambda: directory)  # type: ignore[arg-type,return-value]  # it only resolves
        yield peers, town, directory
        nursery.cancel_scope.cancel()


async def test_many_requests_share_one_session(autojump_clock: MockClock) -> None:
    async with pool({ANNA.peer: HERE}) as (peers, town, _):
        town.hosts[HERE] = Host(ANNA)
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(peers.request, ANNA.peer, GetStatus())
        assert town.hosts[HERE].served == 20
        assert town.dials[HERE] == 1


async def test_a_stale_connection_is_replaced_and_the_request_asked_once_more(autojump_clock: MockClock) -> None:
    async with pool({ANNA.peer: HERE}) as (peers, town, _):
        host = town.hosts[HERE] = Host(ANNA)
        await peers.request(ANNA.peer, GetStatus())
        session = await peers.session(ANNA.peer)
        async with trio.open_nursery() as nursery:

            async def cut_when_asked() -> None:
                # Between the request's leaving and its answer.
                await host.cut()

            nursery.start_soon(cut_when_asked)
            assert await peers.request(ANNA.peer, GetStatus()) == Blob(b"anna")
        assert not session.usable
        assert town.dials[HERE] == 2


async def test_a_peer_that_hangs_up_on_every_request_is_asked_twice_at_most(autojump_clock: MockClock) -> None:
    class Rude(Host):
        async def serve(self, stream: trio.abc.Stream) -> None:
            line = RawClient(MemoryConnection(stream, ME))
            await line.greet(hello())
            await line.hear()
            self.served += 1
            await stream.aclose()

    async with pool({ANNA.peer: HERE}) as (peers, town, _):
        host = town.hosts[HERE] = Rude(ANNA)
        with pytest.raises(PeerUnavailableError):
            await peers.request(ANNA.peer, GetStatus())
        assert host.served <= 2


async def test_what_a_peer_answers_is_not_asked_again(autojump_clock: MockClock) -> None:
    async with pool({ANNA.peer: HERE}) as (peers, town, _):
        host = town.hosts[HERE] = Host(ANNA, refusal=Failure("corrupt", "chunk 3"))
        with pytest.raises(CorruptError):
            await peers.request(ANNA.peer, GetStatus())
        assert host.served == 1


async def test_a_peer_that_moved_is_found_again_through_the_directory(autojump_clock: MockClock) -> None:
    async with pool({ANNA.peer: HERE}) as (peers, town, book):
        town.hosts[HERE] = Host(ANNA)
        await peers.request(ANNA.peer, GetStatus())
        town.hosts[THERE] = town.hosts.pop(HERE)
        book.addresses[ANNA.peer] = THERE
        await town.hosts[THERE].cut()
        assert await peers.request(ANNA.peer, GetStatus()) == Blob(b"anna")
        assert await peers.request(ANNA.peer, GetStatus()) == Blob(b"anna")
        assert town.dials == {HERE: 2, THERE: 1}


async def test_whoever_took_a_peer_s_old_address_is_not_taken_for_it(autojump_clock: MockClock) -> None:
    async with pool({ANNA.peer: HERE}) as (peers, town, book):
        town.hosts[HERE] = Host(ANNA)
        await peers.request(ANNA.peer, GetStatus())
        anna, town.hosts[HERE] = town.hosts[HERE], Host(BERT)
        await anna.cut()
        with pytest.raises(PeerUnavailableError, match="now listens bert"):
            await peers.request(ANNA.peer, GetStatus())
        assert town.hosts[HERE].served == 0
        town.hosts[THERE] = anna
        book.addresses[ANNA.peer] = THERE
        await trio.sleep(AVOID_S)
        assert await peers.request(ANNA.peer, GetStatus()) == Blob(b"anna")


async def test_all_who_ask_for_a_moved_peer_at_once_find_it_by_one_search(autojump_clock: MockClock) -> None:
    async with pool({ANNA.peer: HERE}) as (peers, town, book):
        town.hosts[HERE] = Host(ANNA)
        await peers.request(ANNA.peer, GetStatus())
        town.hosts[THERE] = town.hosts.pop(HERE)
        book.addresses[ANNA.peer] = THERE
        await town.hosts[THERE].cut()
        asked, answers = book.asked[ANNA.peer], []

        async def ask() -> None:
            answers.append(await peers.request(ANNA.peer, GetStatus()))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)
        assert answers == [Blob(b"anna")] * 10
        assert book.asked[ANNA.peer] == asked + 1
        assert town.dials[THERE] == 1


async def test_a_dead_peer_costs_its_patience_once(autojump_clock: MockClock) -> None:
    async with pool({ANNA.peer: HERE}) as (peers, town, book):
        with pytest.raises(PeerUnavailableError):
            await peers.request(ANNA.peer, GetStatus())
        dials, asked = town.dials[HERE], book.asked[ANNA.peer]
        began = trio.current_time()
        for _ in range(5):
            with pytest.raises(PeerUnavailableError, match="nobody listens"):
                await peers.request(ANNA.peer, GetStatus())
        assert town.dials[HERE] == dials
        # It may have moved, so it is looked for once more; not every time.
        assert book.asked[ANNA.peer] <= asked + 1
        assert trio.current_time() - began < 0.5
        await trio.sleep(AVOID_S)
        town.hosts[HERE] = Host(ANNA)
        assert await peers.request(ANNA.peer, GetStatus()) == Blob(b"anna")


async def test_a_peer_that_is_down_all_the_time_never_costs_much(autojump_clock: MockClock) -> None:
    async with pool({ANNA.peer: HERE}) as (peers, town, book):
        for _ in range(600):
            with suppress(PeerUnavailableError):
                await peers.request(ANNA.peer, GetStatus())
            await trio.sleep(0.1)
        assert town.dials[HERE] <= 60 / AVOID_S + 2
        assert book.asked[ANNA.peer] <= 2 * (60 / AVOID_S) + 2


async def test_a_hung_peer_costs_a_handshake_once_for_all_who_wait(autojump_clock: MockClock) -> None:
    async with pool({ANNA.peer: HERE}) as (peers, town, _):
        town.hosts[HERE] = Host(ANNA, hangs=True)
        failures: list[MoorageError] = []

        async def ask() -> None:
            try:
                await peers.request(ANNA.peer, GetStatus())
            except PeerUnavailableError as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)
        assert len(failures) == 10
        assert trio.current_time() <= HANDSHAKE_DEADLINE_S + CONNECT_DEADLINE_S


async def test_a_peer_that_was_called_failed_is_avoided(autojump_clock: MockClock) -> None:
    async with pool({ANNA.peer: HERE}) as (peers, town, _):
        host = town.hosts[HERE] = Host(ANNA)
        await peers.request(ANNA.peer, GetStatus())
        peers.avoid(ANNA.peer, PeerUnavailableError("its upload stood still"))
        await host.cut()
        dials = town.dials[HERE]
        with pytest.raises(PeerUnavailableError, match="stood still"):
            await peers.session(ANNA.peer)
        assert town.dials[HERE] == dials
        peers.forgive()
        assert (await peers.session(ANNA.peer)).usable


async def test_peers_of_another_pool_are_refused_and_named(autojump_clock: MockClock) -> None:
    async with pool({ANNA.peer: HERE}) as (peers, town, _):
        town.hosts[HERE] = Host(ANNA, pool=PoolId(b"\x44" * 32))
        with pytest.raises(PeerRefusedError, match="anna belongs to another pool"):
            await peers.request(ANNA.peer, GetStatus())
        assert isinstance(peers.refusal(), PeerRefusedError)


async def test_a_peer_that_nobody_knows_is_unavailable(autojump_clock: MockClock) -> None:
    async with pool({}) as (peers, _, _):
        with pytest.raises(PeerUnavailableError, match="not known to anyone"):
            await peers.request(ANNA.peer, GetStatus())


async def test_all_that_answer_are_found_at_the_price_of_the_slowest(autojump_clock: MockClock) -> None:
    async with pool({}) as (peers, town, _):
        records: list[PeerRecord] = []
        for number in range(40):
            who, address = identity(f"peer-{number}", role="peer"), Address("h", 100 + number)
            records.append(record_of(who.peer, address))
            if number % 4 != 1:
                town.hosts[address] = Host(who, hangs=number % 4 == 2)
        began = trio.current_time()
        found = await peers.connect_all(records)
        assert found == [record for number, record in enumerate(records) if number % 4 in (0, 3)]
        assert trio.current_time() - began <= 2 * (HANDSHAKE_DEADLINE_S + 0.1)


async def test_the_directory_asks_whoever_listens_or_nobody_else_than_expected(autojump_clock: MockClock) -> None:
    async with pool({}) as (peers, town, _):
        town.hosts[HERE] = Host(ANNA)
        question = DhtFind(bytes(32))
        assert await peers.ask(HERE, None, question) == (ANNA, Blob(b"anna"))
        assert await peers.ask(HERE, ANNA.peer, question) == (ANNA, Blob(b"anna"))
        with pytest.raises(PeerUnavailableError, match="now listens anna"):
            await peers.ask(HERE, BERT.peer, question)
        assert town.dials[HERE] == 1


async def test_whoever_knocks_without_expecting_anyone_is_not_held_off(autojump_clock: MockClock) -> None:
    """A daemon that just came up must be found although somebody knocked a second too early."""
    async with pool({}) as (peers, town, _):
        with pytest.raises(PeerUnavailableError):
            await peers.ask(HERE, None, DhtFind(bytes(32)))
        town.hosts[HERE] = Host(ANNA)
        assert (await peers.ask(HERE, None, DhtFind(bytes(32))))[0] == ANNA


async def test_a_caller_that_gives_up_while_dialling_leaves_the_way_open(autojump_clock: MockClock) -> None:
    async with pool({ANNA.peer: HERE}) as (peers, town, _):
        town.hosts[HERE] = Host(ANNA, hangs=True)
        with trio.move_on_after(1.0) as scope:
            await peers.request(ANNA.peer, GetStatus())
        assert scope.cancelled_caught
        town.hosts[HERE] = Host(ANNA)
        assert await peers.request(ANNA.peer, GetStatus()) == Blob(b"anna")


async def test_a_conversation_stays_on_one_connection(autojump_clock: MockClock) -> None:
    async with pool({ANNA.peer: HERE}) as (peers, town, _):
        host = town.hosts[HERE] = Host(ANNA, refusal=None)
        session = await peers.session(ANNA.peer)
        assert session is await peers.session(ANNA.peer)
        assert [session.next_upload() for _ in range(3)] == [1, 2, 3]
        await host.cut()
        with pytest.raises(PeerUnavailableError):
            await session.request(UploadAbort(1))
        assert await peers.session(ANNA.peer) is not session


def some_hung(town: Town, count: int, hung: int) -> list[PeerRecord]:
    """``count`` peers that listen, the last ``hung`` of which say nothing."""
    records: list[PeerRecord] = []
    for number in range(count):
        who, address = identity(f"peer-{number}", role="peer"), Address("h", 100 + number)
        records.append(record_of(who.peer, address))
        town.hosts[address] = Host(who, hangs=number >= count - hung)
    return records


async def test_who_does_not_answer_is_waited_for_less_once_others_are_enough(autojump_clock: MockClock) -> None:
    async with pool({}) as (peers, town, _):
        records = some_hung(town, 40, 2)
        began = trio.current_time()
        assert await peers.connect_all(records, enough=lambda live: len(live) >= 30) == records[:38]
        # The last were dialled when the first had answered.
        assert LATE_PATIENCE_S <= trio.current_time() - began <= LATE_PATIENCE_S + 0.1


async def test_of_many_peers_it_is_not_asked_after_each_whether_they_are_enough(autojump_clock: MockClock) -> None:
    asked: list[int] = []

    def never(live: Sequence[PeerRecord]) -> bool:
        asked.append(len(live))
        return False

    async with pool({}) as (peers, town, _):
        records = some_hung(town, 100, 0)
        assert await peers.connect_all(records, enough=never) == records
    assert asked[:4] == [1, 2, 3, 4]
    assert len(asked) < 25
    assert all(later <= 1 + before * 5 / 4 for before, later in pairwise(asked))


async def test_the_patience_counts_from_the_greeting_on(autojump_clock: MockClock) -> None:
    async with pool({}) as (peers, town, _):
        records = some_hung(town, 4, 1)
        peers.expect({record.peer: record.address for record in records})
        began = trio.current_time()
        peers.greet(record.peer for record in records)
        await trio.sleep(1.0)
        assert await peers.connect_all(records, enough=lambda live: len(live) == 3) == records[:3]
        assert trio.current_time() - began <= LATE_PATIENCE_S + 0.1


async def test_where_those_that_answer_are_not_enough_the_others_have_all_their_time(autojump_clock: MockClock) -> None:
    async with pool({}) as (peers, town, _):
        records = some_hung(town, 4, 2)
        began = trio.current_time()
        assert await peers.connect_all(records, enough=lambda live: len(live) == 3) == records[:2]
        assert trio.current_time() - began >= HANDSHAKE_DEADLINE_S


async def test_meeting_ends_when_enough_are_there_and_goes_on_dialling(autojump_clock: MockClock) -> None:
    async with pool({}) as (peers, town, _):
        records = some_hung(town, 6, 1)
        ids = [record.peer for record in records]
        peers.expect({record.peer: record.address for record in records})
        began = trio.current_time()
        await peers.meet(ids, lambda: sum(peers.greeting_s(peer) is not None for peer in ids) >= 4)
        assert trio.current_time() - began < 0.1
        await peers.meet(ids, lambda: False)
        assert trio.current_time() - began >= HANDSHAKE_DEADLINE_S
        assert [peers.greeting_s(peer) is None for peer in ids] == [False] * 5 + [True]
        assert max(town.dials.values()) == 1


async def test_meeting_peers_whose_address_nobody_knows_takes_no_time(autojump_clock: MockClock) -> None:
    async with pool({}) as (peers, _, _directory):
        await peers.meet([ANNA.peer], lambda: False)
        assert trio.current_time() == 0.0

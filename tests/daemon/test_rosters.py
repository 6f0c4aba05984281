"""Rosters and ballots go round: brought to one peer they reach all, and what is old, foreign or pushy is refused."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, TypeVar, TypeVarTuple, Unpack, cast

import pytest
import trio
from trio.testing import MockClock

from anchor.ballots import parse_motion
from anchor.proposal import encode_organisation
from anchor.rosterfile import encode_roster_file
from client.home import Home
from client.proposals import parse_listed
from core.encoding import encode
from core.errors import BusyError, MoorageError, PeerUnavailableError, ProtocolError, RefusedError, RosterError
from core.ids import PeerId
from core.ports import Identity, Ports
from daemon.eventlog import EventLog
from daemon.rosters import ASK_EVERY_S, GUEST_REQUESTS_PER_MINUTE, TOLD_AGAIN_AFTER_S, RosterDesk
from daemon.settings import LogSettings
from dht.records import PeerRecord
from tests.anchor.consortium import FOUR, NOW_S, Hospital, founded, swapped, version
from tests.client.test_rosters import home_on
from tests.daemon.shards import FixedClock
from tests.daemon.test_motions import motion, proposal
from tests.daemon.test_server import a_bench, begin
from tests.sim.chance import SimChance
from tests.sim.disk import SimDisk
from wire.messages import Apply, Blob, Done, GetProposals, GetRoster, Message, Ping, Read, StoreProposal, StoreRoster

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
FIRST, SECOND = encode_roster_file(founded()), encode_roster_file(swapped())


class Inline:
    """``core.ports.Threads`` in the loop."""

    async def cpu(self, job: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        await trio.lowlevel.checkpoint()
        return job(*args)

    disk = cpu


def identity(number: int, role: Any = "peer") -> Identity:
    return Identity(PeerId(bytes([number]) * 32), "b", "site", f"{role}-{number}", role, b"")


@dataclass
class Ring:
    """Peers that all know each other; ``away`` are those that do not answer."""

    desks: dict[PeerId, RosterDesk] = field(default_factory=dict[PeerId, RosterDesk])
    homes: list[Home] = field(default_factory=list[Home])
    gone: list[Collection[str]] = field(default_factory=list[Collection[str]])
    away: set[PeerId] = field(default_factory=set[PeerId])
    log: list[str] = field(default_factory=list[str])

    def add(self, number: int, roster: bytes = FIRST) -> RosterDesk:
        disk, me = SimDisk(), identity(number)
        home = replace(home_on(disk, roster), identity=me)
        ring = self

        class Mouth:
            async def request(self, peer: PeerId, message: Message, /, *, deadline_s: float = 0.0) -> Message:
                await trio.lowlevel.checkpoint()
                if peer in ring.away or me.peer in ring.away:
                    raise PeerUnavailableError("away")
                return await ring.desks[peer].answer(me, message)

            async def session(self, peer: PeerId, /) -> Any:
                raise NotImplementedError

            def avoid(self, peer: PeerId, failure: MoorageError, /) -> None:
                raise NotImplementedError

        clock = FixedClock(NOW_S)
        ports = Ports(disk, cast(Any, None), Inline(), clock, SimChance(number))
        desk = RosterDesk(
            ports,
            home,
            peers=Mouth(),
            known_peers=lambda: [cast(PeerRecord, SimpleNamespace(peer=peer)) for peer in self.desks],
            log=EventLog(LogSettings(), clock, self.log.append, peer=me.name),
            changed=self.gone.append,
        )
        self.desks[me.peer] = desk
        self.homes.append(home)
        return desk

    @property
    def epochs(self) -> list[int]:
        return [home.roster.epoch for home in self.homes]


@asynccontextmanager
async def a_ring(count: int = 3) -> AsyncGenerator[Ring, None]:
    ring = Ring()
    for number in range(1, count + 1):
        ring.add(number)
    async with trio.open_nursery() as nursery:
        for desk in ring.desks.values():
            await desk.start()
            nursery.start_soon(desk.run)
        yield ring
        nursery.cancel_scope.cancel()


ADMIN = identity(99, "client")


async def test_a_later_roster_brought_to_one_peer_is_soon_everybody_s(autojump_clock: MockClock) -> None:
    async with a_ring() as ring:
        desk = next(iter(ring.desks.values()))
        assert await desk.answer(ADMIN, StoreRoster(SECOND)) == Done()
        await trio.sleep(1)
        assert ring.epochs == [2, 2, 2]
        assert [list(names) for names in ring.gone] == [["a"]] * 3


async def test_a_greeting_of_a_later_epoch_is_followed(autojump_clock: MockClock) -> None:
    async with a_ring(2) as ring:
        late = ring.add(9, SECOND)
        first = next(iter(ring.desks.values()))
        first.heard(identity(9), 2)
        await trio.sleep(1)
        assert ring.epochs == [2, 2, 2]
        assert late is ring.desks[identity(9).peer]


async def test_who_was_away_asks_when_it_is_back(autojump_clock: MockClock) -> None:
    async with a_ring() as ring:
        sleeper = identity(3).peer
        ring.away.add(sleeper)
        await ring.desks[identity(1).peer].answer(ADMIN, StoreRoster(SECOND))
        await trio.sleep(1)
        assert ring.epochs == [2, 2, 1]
        await trio.sleep(sum(TOLD_AGAIN_AFTER_S) + 1)
        ring.away.clear()
        await trio.sleep(ASK_EVERY_S * 1.3)
        assert ring.epochs == [2, 2, 2]


async def test_who_was_just_being_started_is_told_again(autojump_clock: MockClock) -> None:
    async with a_ring() as ring:
        ring.away.add(identity(3).peer)
        await ring.desks[identity(1).peer].answer(ADMIN, StoreRoster(SECOND))
        await trio.sleep(2)
        assert ring.epochs == [2, 2, 1]
        ring.away.clear()
        await trio.sleep(sum(TOLD_AGAIN_AFTER_S))
        assert ring.epochs == [2, 2, 2]


async def test_a_client_that_knows_a_later_roster_has_others_asked(autojump_clock: MockClock) -> None:
    async with a_ring(2) as ring:
        ring.add(9, SECOND)
        first = ring.desks[identity(1).peer]
        first.heard(identity(60, "guest"), 2)
        await trio.sleep(1)
        assert ring.epochs == [1, 1, 2]
        for _ in range(20):
            first.heard(ADMIN, 2)
            await trio.sleep(3)
        assert ring.epochs == [2, 2, 2]


async def test_ballots_handed_to_different_peers_meet(autojump_clock: MockClock) -> None:
    async with a_ring() as ring:
        item = proposal()
        for number, signer in ((1, FOUR[1]), (2, FOUR[2])):
            await ring.desks[identity(number).peer].answer(ADMIN, StoreProposal(motion(item, signer)))
            await trio.sleep(1)
        listed = parse_listed(await ring.desks[identity(3).peer].answer(ADMIN, GetProposals()))
        assert [len(parse_motion(data).ballots) for data in listed] == [2]
        assert ring.epochs == [1, 1, 1]
        await ring.desks[identity(3).peer].answer(ADMIN, StoreProposal(motion(item, FOUR[3])))
        await trio.sleep(1)
        assert ring.epochs == [2, 2, 2]
        assert {home.roster_file for home in ring.homes} == {ring.homes[0].roster_file}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (FIRST, "older"),
        (encode_roster_file(version(founded(), [*FOUR[1:], Hospital("f")], FOUR[1:4])), "fork"),
        (encode_roster_file(version(None, [Hospital("x")], [Hospital("x")])), "another pool"),
    ],
    ids=["a replay", "a fork", "a foreign one"],
)
async def test_a_roster_that_is_no_later_one_is_refused_and_changes_nobody(
    autojump_clock: MockClock, data: bytes, why: str
) -> None:
    async with a_ring() as ring:
        desk = ring.desks[identity(1).peer]
        await desk.answer(ADMIN, StoreRoster(SECOND))
        await trio.sleep(1)
        with pytest.raises(RosterError, match=why):
            await desk.answer(ADMIN, StoreRoster(data))
        await trio.sleep(1)
        assert {home.roster_file for home in ring.homes} == {SECOND}


async def test_a_guest_may_apply_and_not_press(autojump_clock: MockClock) -> None:
    async with a_ring() as ring:
        desk, guest = ring.desks[identity(1).peer], identity(50, "guest")
        entry = encode(encode_organisation(replace(Hospital("e").row(), policy="")))
        answer = await desk.answer(guest, Apply(entry))
        assert isinstance(answer, Blob)
        assert parse_motion(bytes(answer.body)).proposal.name == "e"
        with pytest.raises(RefusedError, match="guest"):
            await desk.answer(guest, StoreProposal(motion(proposal(), FOUR[1])))
        for _ in range(GUEST_REQUESTS_PER_MINUTE - 2):
            await desk.answer(guest, GetRoster(0))
        with pytest.raises(BusyError):
            await desk.answer(guest, GetRoster(0))
        assert isinstance(await desk.answer(ADMIN, GetRoster(0)), Message)
        await trio.sleep(61)
        await desk.answer(guest, GetRoster(0))
        with pytest.raises(ProtocolError):
            await desk.answer(guest, Ping())


async def test_a_guest_reads_no_shard_and_brings_none(autojump_clock: MockClock) -> None:
    async with a_bench() as bench:
        guest = identity(50, "guest")
        item = bench.put()
        client = await bench.client(guest)
        assert await client.ask(Ping()) == Done()
        await client.say(Read(item.root, 0, 1))
        assert await client.is_closed()
        client = await bench.client(guest)
        await client.say(begin(1, item))
        assert await client.is_closed()
        assert bench.incoming() == []


async def test_connections_of_those_who_left_are_ended(autojump_clock: MockClock) -> None:
    async with a_bench() as bench:
        stays, leaves = await bench.client(), await bench.client(identity(7))
        bench.server.dismiss(["b"])
        assert await leaves.is_closed()
        assert await stays.ask(Ping()) == Done()

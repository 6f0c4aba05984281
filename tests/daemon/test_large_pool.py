"""What care asks of a pool that is too large to ask everybody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, TypeVarTuple, Unpack

import pytest
import trio

from client.asker import Conversation
from client.care import parse_report
from core.errors import MoorageError, PeerUnavailableError
from core.findings import FindingKind
from core.ids import ObjectId, PeerId
from core.limits import REQUEST_DEADLINE_S
from daemon.hands import ANSWERED_S, ASKED_MAX, Hands, nearest_candidates, who_answers
from daemon.rollcall import ASKED_MAX as ROLL_MAX
from daemon.rollcall import RollCall
from daemon.silence import Silence
from daemon.store import ShardStore
from dht.records import PeerRecord, ProviderRecord
from tests.daemon.care_pool import CarePool
from tests.dht.people import sketch
from tests.sim.chance import SimChance
from tests.sim.disk import SimDisk
from tests.sim.threads import SimThreads
from wire.messages import Done, Message

PEERS = [sketch(number) for number in range(1000)]
HOUR_S = 3600.0

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class SteppedClock:
    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def now(self) -> float:
        return self.seconds


class Pool:
    """``Asker`` and ``Directory`` of a thousand peers, or fewer, of whom some are gone."""

    def __init__(self, gone: Sequence[PeerRecord], peers: Sequence[PeerRecord] = PEERS) -> None:
        self.peers = peers
        self.gone = {record.peer for record in gone}
        self.asked: list[PeerId] = []

    async def request(self, peer: PeerId, message: Message, /, *, deadline_s: float = REQUEST_DEADLINE_S) -> Message:
        del message, deadline_s
        self.asked.append(peer)
        if peer in self.gone:
            raise PeerUnavailableError("gone")
        return Done()

    async def session(self, peer: PeerId, /) -> Conversation:
        raise AssertionError(peer)

    def avoid(self, peer: PeerId, failure: MoorageError, /) -> None:
        raise AssertionError(peer) from failure

    def known_peers(self) -> list[PeerRecord]:
        # Who is gone for a day is in no directory any more.
        return [record for record in self.peers if record.peer not in self.gone]

    async def resolve(self, peer: PeerId, /, *, max_age_s: float) -> PeerRecord | None:
        raise AssertionError((peer, max_age_s))

    async def providers(self, object_id: ObjectId, /) -> list[ProviderRecord]:
        raise AssertionError(object_id)


async def remember() -> None:
    """Nothing to keep."""


def roll_call(pool: Pool, silence: Silence, clock: SteppedClock) -> RollCall:
    return RollCall(
        PEERS[0].peer,
        asker=pool,
        directory=pool,
        silence=silence,
        clock=clock,
        chance=SimChance(1, "roll"),
        grace_s=24 * HOUR_S,
        given_up=lambda: None,
        remember=remember,
    )


@pytest.mark.parametrize("count", [14, ROLL_MAX, 1000])
async def test_a_peer_that_is_silent_is_called_every_time_and_its_grace_ends_in_time(count: int) -> None:
    gone = PEERS[7]
    pool, silence, clock = Pool([gone], PEERS[:count]), Silence(), SteppedClock()
    call = roll_call(pool, silence, clock)
    silence.note([], [gone.peer], clock.now())
    for _ in range(24):
        clock.seconds += HOUR_S
        pool.asked.clear()
        await call.call()
        assert len(pool.asked) == len(set(pool.asked)) == min(count - 1, ROLL_MAX)
        assert gone.peer in pool.asked
    assert silence.given_up(24 * HOUR_S) == {gone.peer}


async def test_who_was_given_up_is_called_again_only_when_it_says_that_it_is_back() -> None:
    gone = PEERS[7]
    pool, silence, clock = Pool([gone], PEERS[:14]), Silence(), SteppedClock()
    call = roll_call(pool, silence, clock)
    for _ in range(26):
        await call.call()
        silence.note([], [gone.peer], clock.now())
        clock.seconds += HOUR_S
    pool.asked.clear()
    await call.call()
    assert gone.peer not in pool.asked
    pool.gone.clear()
    await call.call()
    assert gone.peer in pool.asked
    assert silence.silent() == []


async def test_many_that_are_silent_leave_room_for_asking_others() -> None:
    pool, silence, clock = Pool(PEERS[500:]), Silence(), SteppedClock()
    silence.note([], [record.peer for record in PEERS[500:]], clock.now())
    await roll_call(pool, silence, clock).call()
    assert len(pool.asked) == len(set(pool.asked)) == ROLL_MAX
    assert len(pool.gone & set(pool.asked)) == ROLL_MAX // 2


@pytest.mark.parametrize("name", [ObjectId(bytes([number]) * 32) for number in range(3)])
def test_new_holders_are_sought_among_few_and_the_same_for_everybody(name: ObjectId) -> None:
    holders = [record.peer for record in PEERS[:5]]
    chosen = nearest_candidates(name, PEERS, holders)
    assert set(holders) <= {record.peer for record in chosen}
    assert len(chosen) <= ASKED_MAX + len(holders)
    again = nearest_candidates(name, PEERS[::-1], holders)
    assert {record.peer for record in again} == {record.peer for record in chosen}
    assert nearest_candidates(name, PEERS[:ASKED_MAX], holders) == PEERS[:ASKED_MAX]


@pytest.mark.parametrize("asked_max", [0, 2, 64])
async def test_where_few_that_were_asked_will_not_do_all_are(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch, asked_max: int
) -> None:
    monkeypatch.setattr("daemon.hands.ASKED_MAX", asked_max)
    pool = CarePool(peers=9)
    put = pool.put()
    gone = pool.by_id[put.holder(0, 0)]
    gone.state = "down"
    sweeper = pool.by_id[put.holder(0, 1)].name
    async with pool.caring(sweeper):
        pool.requests.clear()
        report = parse_report(bytes((await pool.job(sweeper, "repair", grace=False)).body))
    assert [item.kind for item in report.repairs if item.kind is FindingKind.RELOCATED] == [FindingKind.RELOCATED] * 3
    assert report.unrepaired == 0


async def test_only_those_that_answer_are_candidates() -> None:
    pool = Pool([])
    pool.gone = {record.peer for record in PEERS[10:20]}
    disk = SimDisk()
    store = ShardStore(disk, "/home", quota_bytes=None, reserve_bytes=0, clock=SteppedClock())
    hands = Hands(pool, pool, store, SimThreads())
    found = await hands.candidates(PEERS[:30])
    assert [item.peer for item in found] == [record.peer for record in PEERS[:30] if record.peer not in pool.gone]


async def test_objects_without_a_home_do_not_have_everybody_asked_for_each(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.hands.ASKED_MAX", 1)
    pool = CarePool(peers=12, sites=3)
    puts = [pool.put([1000], seed=number) for number in range(8)]
    # With one site left out no rule of placement finds them a home.
    site = pool.by_id[puts[0].holder(0, 0)].home.identity.site
    gone = [peer for peer in pool.peers.values() if peer.home.identity.site == site]
    for peer in gone:
        peer.state = "down"
    sweeper = next(peer for peer in pool.peers.values() if peer not in gone)
    for put in puts:
        sweeper.store.documents.put("manifest", put.object, put.manifest_file)
        sweeper.store.documents.put("receipt", put.object, put.receipt_file)
    async with pool.caring(sweeper.name):
        pool.requests.clear()
        report = parse_report(bytes((await pool.job(sweeper.name, "repair", grace=False)).body))
    assert report.unrepaired
    pinged = [name for name, kind in pool.requests if kind == "ping"]
    # The best for each object and its holders are asked for each, all others once.
    assert len(pinged) <= len(puts) * 7 + len(pool.peers)


async def test_an_answer_is_good_for_minutes_and_a_failure_ends_it(autojump_clock: object) -> None:
    pool = Pool([])
    store = ShardStore(SimDisk(), "/home", quota_bytes=None, reserve_bytes=0, clock=SteppedClock())
    hands = Hands(pool, pool, store, SimThreads())
    pool.gone = {PEERS[3].peer}

    async def asked(*, anew: bool) -> list[PeerRecord]:
        pool.asked.clear()
        found = {item.peer for item in await hands.candidates(PEERS[:30], anew=anew)}
        assert found == {record.peer for record in PEERS[:30]} - pool.gone
        return [record for record in PEERS if record.peer in pool.asked]

    assert await asked(anew=False) == PEERS[:30]
    # Who did not answer may be back.
    assert await asked(anew=False) == [PEERS[3]]
    hands.doubt(PEERS[7].peer)
    pool.gone = {PEERS[7].peer}
    assert await asked(anew=False) == [PEERS[3], PEERS[7]]
    assert await asked(anew=True) == PEERS[:30]
    await trio.sleep(ANSWERED_S)
    assert await asked(anew=False) == PEERS[:30]


async def test_what_takes_long_in_a_large_pool_is_not_done_on_the_event_loop(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[str] = []
    real = SimThreads.cpu

    async def cpu(self: SimThreads, job: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        jobs.append(job.__name__)
        return await real(self, job, *args)

    monkeypatch.setattr(SimThreads, "cpu", cpu)
    pool = CarePool(peers=9)
    put = pool.put()
    pool.by_id[put.holder(0, 0)].state = "down"
    sweeper = pool.by_id[put.holder(0, 1)].name
    async with pool.caring(sweeper):
        await pool.job(sweeper, "repair", grace=False)
    assert {"nearest_candidates", "plan_repairs"} <= set(jobs)


async def test_thousands_are_asked_by_few_tasks() -> None:
    tasks: set[int] = set()

    class Counted(Pool):
        async def request(
            self, peer: PeerId, message: Message, /, *, deadline_s: float = REQUEST_DEADLINE_S
        ) -> Message:
            await trio.lowlevel.checkpoint()
            tasks.add(id(trio.lowlevel.current_task()))
            return await super().request(peer, message, deadline_s=deadline_s)

    pool = Counted(PEERS[:5])
    assert await who_answers(pool, [record.peer for record in PEERS], at_once=8) == {
        record.peer for record in PEERS[5:]
    }
    assert len(pool.asked) == len(set(pool.asked)) == len(PEERS)
    assert len(tasks) == 8

"""What care asks of a pool that is too large to ask everybody."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from client.asker import Conversation
from client.care import parse_report
from core.errors import MoorageError, PeerUnavailableError
from core.findings import FindingKind
from core.ids import ObjectId, PeerId
from core.limits import REQUEST_DEADLINE_S
from daemon.hands import ASKED_MAX, Hands, nearest_candidates
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

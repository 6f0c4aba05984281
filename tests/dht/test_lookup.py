from __future__ import annotations

import heapq
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.ids import PeerId
from dht.lookup import Cover, Lookup, RollCall
from dht.records import PeerRecord
from tests.dht.people import seed_of, sketch

K, ALPHA = 20, 3
PEOPLE = [sketch(number) for number in range(300)]


def near(records: list[PeerRecord], key: bytes, count: int = K) -> list[PeerRecord]:
    target = int.from_bytes(key)
    return heapq.nsmallest(count, records, key=lambda record: int.from_bytes(record.peer.raw) ^ target)


class StaticNet:
    """Peers with fixed answers; some dead, some that never answer. Drives a search and checks its manners."""

    def __init__(self, pool: list[PeerRecord], seed: int, dead: float = 0.0, hung: float = 0.0) -> None:
        self.random = random.Random(seed)
        self.pool = pool
        self.down = {record.peer for record in pool if self.random.random() < dead}
        self.hung = {record.peer for record in pool if self.random.random() < hung} - self.down
        self.asked: list[PeerId] = []

    def table(self, record: PeerRecord, key: bytes) -> list[PeerRecord]:
        """What an honest peer with full buckets near itself and some far contacts answers."""
        known = [*near(self.pool, record.peer.raw, 30), *self.random.sample(self.pool, min(30, len(self.pool)))]
        return near(list({item.peer: item for item in known}.values()), key)

    def drive(self, search: Lookup | RollCall, key: bytes) -> None:
        waiting: list[PeerRecord] = []
        for _ in range(10_000):
            chosen = search.next()
            self.asked += [record.peer for record in chosen]
            waiting += chosen
            if search.done:
                return
            assert waiting, "not done, yet nobody is being asked"
            record = waiting.pop(self.random.randrange(len(waiting)))
            if record.peer in self.down:
                search.dead(record.peer)
            elif record.peer in self.hung:
                search.slow(record.peer)
            else:
                search.answered(record.peer, self.table(record, key))
        raise AssertionError("the search does not end")


def lookup(key: bytes, seeds: list[PeerRecord], *, me: PeerId | None = None, widen: bool = True) -> Lookup:
    return Lookup(key, seeds, k=K, alpha=ALPHA, me=me, widen=widen)


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(1, 120),
    seed=st.integers(0, 2**32),
    dead=st.sampled_from([0.0, 0.3, 0.7]),
    hung=st.sampled_from([0.0, 0.2]),
    widen=st.booleans(),
)
def test_a_lookup_ends_and_keeps_its_promises(size: int, seed: int, dead: float, hung: float, widen: bool) -> None:
    net = StaticNet(PEOPLE[:size], seed, dead, hung)
    key = seed_of(f"key {seed}")
    search = lookup(key, net.random.sample(net.pool, min(5, size)), widen=widen)
    net.drive(search, key)
    found = search.result()
    assert len(net.asked) == len(set(net.asked)), "somebody was asked twice"
    assert not {record.peer for record in found} & (net.down | net.hung)
    assert found == near(found, key)
    assert len(found) <= K


def test_the_true_closest_are_found_among_many_dead() -> None:
    net = StaticNet(PEOPLE, 5, dead=0.3)
    key = seed_of("wanted")
    alive = [record for record in PEOPLE if record.peer not in net.down]
    search = lookup(key, net.random.sample(alive, 3))
    net.drive(search, key)
    truth = {record.peer for record in near(alive, key)}
    assert len(truth & {record.peer for record in search.result()}) >= 19


def test_at_most_alpha_are_asked_at_once_until_the_front_is_known() -> None:
    search = lookup(seed_of("key"), PEOPLE[:50])
    first = search.next()
    assert len(first) == ALPHA
    assert search.next() == []
    for record in first:
        search.answered(record.peer, [])
    assert len(search.next()) == K - ALPHA


def test_a_slow_peer_frees_its_place_and_its_late_answer_counts() -> None:
    search = lookup(seed_of("key"), PEOPLE[:10], widen=False)
    first = search.next()
    search.slow(first[0].peer)
    assert len(search.next()) == 1
    search.answered(first[0].peer, PEOPLE[10:12])
    assert search.result() == [first[0]]


def test_a_dead_peer_comes_back_only_by_a_newer_record_at_another_address() -> None:
    search = lookup(seed_of("key"), [sketch(1), sketch(2)])
    for record in search.next():
        search.dead(record.peer)
    assert search.done
    for again in (sketch(1), sketch(1, sequence=2), sketch(1, sequence=0, port=7001)):
        search._add([again])
        assert search.next() == []
    search._add([sketch(1, sequence=3, port=7001)])
    assert search.next() == [sketch(1, sequence=3, port=7001)]


def test_nobody_asks_itself() -> None:
    assert lookup(seed_of("key"), PEOPLE[:1], me=PEOPLE[0].peer).next() == []


def test_an_answer_longer_than_k_is_cut() -> None:
    search = lookup(seed_of("key"), PEOPLE[:1])
    (first,) = search.next()
    search.answered(first.peer, PEOPLE[1:300])
    assert len(search._order) == 1 + K


def roll_call(seeds: list[PeerRecord], *, parallel: int = 1, me: PeerId | None = None) -> RollCall:
    return RollCall(seeds, k=K, parallel=parallel, quiet=3, me=me)


@pytest.mark.parametrize("size", [1, 2, 5, 19])
def test_a_roll_call_finds_everybody_in_a_small_pool(size: int) -> None:
    net = StaticNet(PEOPLE[:size], size)
    search = roll_call(PEOPLE[:1], parallel=8)
    net.drive(search, PEOPLE[0].peer.raw)
    assert search.complete
    assert search.result() == sorted(PEOPLE[:size], key=lambda record: record.peer)


def test_a_roll_call_among_friends_asks_few() -> None:
    net = StaticNet(PEOPLE[:14], 1)
    search = roll_call(PEOPLE[:14])
    net.drive(search, PEOPLE[0].peer.raw)
    assert search.answers == 3


def test_a_roll_call_ends_when_the_pool_is_large() -> None:
    net = StaticNet(PEOPLE[:21], 1)
    search = roll_call(PEOPLE[:1])
    net.drive(search, PEOPLE[0].peer.raw)
    assert not search.complete


def test_a_roll_call_leaves_out_the_dead_and_itself() -> None:
    search = roll_call(PEOPLE[:10], parallel=4, me=PEOPLE[0].peer)
    for record in search.next():
        search.dead(record.peer)
    assert len(search.result()) == 10 - 1 - 4


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 300), st.integers(5, 20))
def test_a_cover_finds_everybody_in_few_lookups(size: int, k: int) -> None:
    cover, found, lookups = Cover(k=k), set[PeerId](), 0
    while keys := cover.next_keys():
        assert len(set(keys)) == len(keys)
        for key in keys[::-1]:
            closest = near(PEOPLE[:size], key, k)
            found |= {record.peer for record in closest}
            cover.found(key, closest)
            lookups += 1
    assert found == {record.peer for record in PEOPLE[:size]}
    assert lookups <= 1 + 6 * size / k

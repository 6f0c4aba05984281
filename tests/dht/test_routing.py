from __future__ import annotations

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from core.ports import Address
from dht.records import PeerRecord
from dht.routing import RETRY_APART_S, SPACE, Contact, Table, node_id
from tests.dht.people import seed_of, sketch

ME = seed_of("me")
PEOPLE = [sketch(number) for number in range(400)]


def filled(count: int, *, ksize: int = 20) -> Table:
    table = Table(ME, ksize=ksize)
    for record in PEOPLE[:count]:
        table.heard(record, 1.0)
    return table


def kill(table: Table, record: PeerRecord) -> None:
    table.failed(record.peer, 100.0)
    table.failed(record.peer, 100.0 + RETRY_APART_S)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 400), st.integers(1, 8), st.randoms(use_true_random=False))
def test_buckets_tile_the_space_and_hold_what_belongs_to_them(count: int, ksize: int, chance: random.Random) -> None:
    table = filled(count, ksize=ksize)
    for record in chance.sample(PEOPLE[:count], count // 3):
        kill(table, record)
    edges = [bucket.range for bucket in table.buckets]
    assert edges[0][0] == 0
    assert edges[-1][1] == SPACE - 1
    assert all(low[1] + 1 == high[0] for low, high in itertools.pairwise(edges))
    for bucket in table.buckets:
        assert len(bucket.nodes) <= ksize
        assert not set(bucket.nodes) & set(bucket.replacement_nodes)
        assert all(bucket.has_in_range(node) for node in bucket.nodes.values())
    for contact in table.contacts():
        assert table.contact(contact.peer) is contact


def test_a_small_pool_is_known_whole() -> None:
    table = filled(20)
    assert {contact.peer for contact in table.contacts()} == {record.peer for record in PEOPLE[:20]}


def test_the_nearest_neighbours_are_always_kept() -> None:
    table = filled(400)
    mine = int.from_bytes(node_id(ME))
    by_distance = sorted(PEOPLE, key=lambda record: int.from_bytes(node_id(record.peer.raw)) ^ mine)
    assert [contact.record for contact in table.closest(ME, 20)] == by_distance[:20]
    assert len(table.contacts()) < 220


def test_the_closest_come_in_order_with_the_target_itself_first() -> None:
    table = filled(100)
    wanted = table.contacts()[7]
    found = table.closest(wanted.record.peer.raw, 20)
    assert found[0] is wanted
    distances = [contact.long_id ^ wanted.long_id for contact in found]
    assert distances == sorted(distances)
    assert table.find_neighbors(wanted, 5, exclude=wanted) == found[1:6]


def test_a_moved_peer_takes_its_new_address_and_an_older_record_changes_nothing() -> None:
    table = filled(10)
    table.failed(PEOPLE[3].peer, 10.0)
    moved = sketch(3, sequence=5, port=9999)
    table.learned(moved)
    table.learned(sketch(3, sequence=4, port=1111))
    contact = table.contact(moved.peer)
    assert contact is not None
    assert (contact.record, contact.port, contact.fails) == (moved, 9999, 0)


def test_the_dead_do_not_return_by_hearsay() -> None:
    table = filled(10)
    dead = PEOPLE[3]
    table.failed(dead.peer, 10.0)
    table.failed(dead.peer, 10.0 + RETRY_APART_S / 2)
    assert table.contact(dead.peer) is not None
    table.failed(dead.peer, 10.0 + RETRY_APART_S)
    assert table.is_dead(dead.peer)
    assert table.learned(dead) is None
    assert table.learned(sketch(3, sequence=2)) is not None
    kill(table, dead)
    table.heard(sketch(3, sequence=2), 5.0)
    assert table.contact(dead.peer) is not None


def test_suspects_are_left_out_of_answers_unless_too_few_remain() -> None:
    table = filled(6)
    table.suspect(PEOPLE[0].peer, 9.0)
    assert len(table.closest(ME, 20, trusted_min=3)) == 5
    for record in PEOPLE[:4]:
        table.suspect(record.peer, 9.0)
    assert len(table.closest(ME, 20, trusted_min=3)) == 6


def test_a_peer_that_answers_takes_the_place_of_a_suspect_in_a_full_bucket() -> None:
    table = filled(400)
    full = next(bucket for bucket in table.buckets if len(bucket.nodes) == 20 and not bucket.has_in_range(table.node))
    outside = next(
        record for record in PEOPLE if full.has_in_range(Contact(record)) and table.contact(record.peer) is None
    )
    suspect = next(iter(full.nodes.values()))
    assert isinstance(suspect, Contact)
    table.suspect(suspect.peer, 9.0)
    table.heard(outside, 2.0)
    assert table.contact(outside.peer) is not None
    assert table.contact(suspect.peer) is None


def test_the_next_in_line_moves_up_when_a_contact_dies() -> None:
    table = filled(400)
    full = next(bucket for bucket in table.buckets if bucket.replacement_nodes)
    gone = next(iter(full.nodes.values()))
    assert isinstance(gone, Contact)
    kill(table, gone.record)
    assert len(full.nodes) == 20


def test_nobody_is_a_contact_of_itself() -> None:
    table = Table(PEOPLE[0].peer.raw, ksize=20)
    table.heard(PEOPLE[0], 1.0)
    assert table.contacts() == []


def test_a_forgotten_peer_leaves_no_trace() -> None:
    table = filled(400)
    for record in PEOPLE:
        table.forget(record.peer)
    assert table.contacts() == []
    assert all(not bucket.replacement_nodes for bucket in table.buckets)


def test_ranges_without_a_search_are_named() -> None:
    table = filled(100)
    table.searched(ME, 50.0)
    stale = table.unsearched(10.0)
    assert len(stale) == len(table.buckets) - 1
    assert not any(low <= table.node.long_id <= high for low, high in stale)


def test_a_contact_is_a_node_of_the_package() -> None:
    contact = Contact(PEOPLE[0])
    assert contact.id == PEOPLE[0].peer.raw[:20]
    assert Address(contact.ip or "", contact.port or 0) == PEOPLE[0].address

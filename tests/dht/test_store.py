from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from core.encoding import encode
from core.errors import MalformedError, MoorageError, RefusedError
from core.ports import Address
from dht.reader import RecordReader
from dht.records import PeerRecord, key_for, provider_key
from dht.store import Offer, Quotas, RecordStore, read_store, write_store
from host.disk import RealDisk
from tests.dht.people import ISSUERS, START, FixedClock, an_object, person

ANNA, BERT, CARL = person("anna"), person("bert"), person("carl")


def fresh(quotas: Quotas | None = None) -> tuple[RecordStore, FixedClock]:
    clock = FixedClock()
    return RecordStore(RecordReader(lambda: ISSUERS, clock), clock, quotas), clock


def offer(store: RecordStore, raw: bytes) -> Offer:
    return store.offer(store.reader.read(raw))


def test_the_newest_record_of_a_publisher_wins_in_any_order() -> None:
    old, new = ANNA.record(Address("10.0.0.1", 1), sequence=1), ANNA.record(Address("10.0.0.1", 2), sequence=2)
    for first, second in ((old, new), (new, old)):
        store, _ = fresh()
        offer(store, first)
        assert offer(store, second) is (Offer.NEW if second is new else Offer.OLDER)
        assert offer(store, new) is Offer.SAME
        assert store.raws() == (new,)


def test_several_publishers_share_a_key() -> None:
    store, _ = fresh()
    for publisher in (ANNA, BERT):
        offer(store, publisher.provides(an_object(1)))
    offer(store, ANNA.provides(an_object(2)))
    assert {record.peer for record in store.records(provider_key(an_object(1)))} == {ANNA.peer, BERT.peer}
    assert len(store.provided_by(ANNA.peer)) == 2
    assert store.provided_by(CARL.peer) == []


@pytest.mark.parametrize(
    "quotas",
    [Quotas(providers=2), Quotas(providers_per_publisher=2), Quotas(providers_per_key=2)],
    ids=["total", "publisher", "key"],
)
def test_a_full_quota_refuses_but_still_renews(quotas: Quotas) -> None:
    store, _ = fresh(quotas)
    per_key = quotas.providers_per_key == 2
    raws = [
        (publisher if per_key else ANNA).provides(an_object(1 if per_key else number))
        for number, publisher in enumerate((ANNA, BERT, CARL))
    ]
    for raw in raws[:2]:
        offer(store, raw)
    with pytest.raises(RefusedError):
        offer(store, raws[2])
    assert offer(store, ANNA.provides(an_object(1 if per_key else 0), sequence=2)) is Offer.NEW
    store.forget(ANNA.peer)
    assert offer(store, raws[2]) is Offer.NEW


def test_peer_records_have_a_quota_of_their_own() -> None:
    store, _ = fresh(Quotas(peers=1))
    offer(store, ANNA.record())
    with pytest.raises(RefusedError):
        offer(store, BERT.record())
    offer(store, BERT.provides(an_object(1)))


def test_an_organisation_with_many_peers_makes_room_for_one_with_few() -> None:
    store, _ = fresh(Quotas(peers=6))
    flood = [person(f"clone {number}") for number in range(9)]
    others = [person(f"doctor {number}", at="Princeton-Plainsboro") for number in range(4)]
    for one in flood[:6]:
        offer(store, one.record())
    with pytest.raises(RefusedError):
        offer(store, flood[6].record())
    # Renewing does not make a record a late one.
    offer(store, flood[0].record(sequence=2))
    for one in others[:3]:
        offer(store, one.record())
    assert {record.peer for record in store.peers()} == {one.peer for one in [*flood[:3], *others[:3]]}
    for one in (others[3], flood[7]):
        with pytest.raises(RefusedError):
            offer(store, one.record())
    assert store.peer_count == len(store.peers()) == len(store.raws()) == 6
    store.forget(others[0].peer)
    store.forget(flood[0].peer)
    offer(store, others[3].record())
    offer(store, flood[8].record())
    assert store.peer_count == len(store.peers()) == 6


def test_the_own_record_makes_no_room_and_always_has_some() -> None:
    store, _ = fresh(Quotas(peers=3))
    for one in (CARL, BERT, ANNA):
        offer(store, one.record())
    store.me = ANNA.peer
    offer(store, person("doctor", at="Princeton-Plainsboro").record())
    assert store.peer(ANNA.peer) is not None
    assert store.peer(BERT.peer) is None
    store.forget(ANNA.peer)
    offer(store, BERT.record())
    # Refused, it could not be announced: nor could this peer see to anything else.
    offer(store, ANNA.record())
    assert store.peer(ANNA.peer) is not None
    assert store.peer_count == len(store.peers()) == 4


def test_a_peer_that_changes_its_organisation_counts_for_the_new_one() -> None:
    store, _ = fresh(Quotas(peers=2))
    raw = store.reader.read(ANNA.record())
    assert isinstance(raw, PeerRecord)
    store.offer(raw)
    moved = replace(raw, identity=replace(raw.identity, organisation="elsewhere"), sequence=2, raw=b"moved")
    store.offer(moved)
    offer(store, BERT.record())
    with pytest.raises(RefusedError):
        offer(store, CARL.record())
    store.forget(ANNA.peer)
    offer(store, CARL.record())
    assert [record.peer for record in store.peers()] == sorted([BERT.peer, CARL.peer])


def test_what_expired_is_neither_given_nor_kept() -> None:
    store, clock = fresh()
    offer(store, ANNA.record(life_s=100))
    offer(store, BERT.record(life_s=200))
    clock.seconds = START + 150
    assert [record.peer for record in store.peers()] == [BERT.peer]
    assert store.peer(ANNA.peer) is None
    assert (store.expire(), store.peer_count) == (1, 1)


def test_a_held_record_is_not_checked_again_until_the_roster_changes() -> None:
    clock, issuers = FixedClock(), dict(ISSUERS)
    reader = RecordReader(lambda: issuers, clock, records_max=2)
    raws = [ANNA.record(), BERT.record(), CARL.record()]
    for _ in range(3):
        reader.read(raws[0])
    assert reader.checked == 1
    for raw in raws:
        reader.read(raw)
    reader.read(raws[0])
    assert reader.checked == 4
    del issuers["St. Elsewhere"]
    for raw in raws:
        with pytest.raises(MoorageError):
            reader.read(raw)


def test_a_remembered_record_still_expires() -> None:
    clock = FixedClock()
    reader = RecordReader(lambda: ISSUERS, clock)
    raw = ANNA.record(life_s=100)
    reader.read(raw)
    clock.seconds += 100
    with pytest.raises(MoorageError):
        reader.read(raw)


def test_it_is_a_storage_of_the_package() -> None:
    store, clock = fresh()
    assert store
    record = store.reader.read(ANNA.record())
    store[key_for(record)] = record.raw
    assert store[key_for(record)] == [record.raw]
    assert list(store) == [(key_for(record), record.raw)]
    assert store.get(bytes(32)) is None
    with pytest.raises(KeyError):
        store[bytes(32)]
    with pytest.raises(MalformedError):
        store[bytes(32)] = record.raw
    clock.seconds += 50
    assert store.iter_older_than(49) == [(key_for(record), record.raw)]
    assert store.iter_older_than(51) == []


def test_records_survive_a_restart(tmp_path: object) -> None:
    store, _ = fresh()
    path = f"{tmp_path}/state/dht"
    disk = RealDisk()
    assert read_store(disk, path, store.quotas) == ()
    for raw in (ANNA.record(), BERT.record(), ANNA.provides(an_object(1))):
        offer(store, raw)
        write_store(disk, path, store.raws())
    again, _ = fresh()
    assert again.load(read_store(disk, path, store.quotas)) == 3
    assert {record.raw for record in again.peers()} == {ANNA.record(), BERT.record()}


def test_a_write_that_fails_keeps_the_old_file(tmp_path: object) -> None:
    class FullDisk(RealDisk):
        def rename(self, source: str, target: str) -> None:
            raise OSError(errno.ENOSPC, "full", source, None, target)

    path = f"{tmp_path}/dht"
    write_store(RealDisk(), path, [b"old"])
    with pytest.raises(OSError, match="full"):
        write_store(FullDisk(), path, [b"new"])
    assert read_store(RealDisk(), path, Quotas()) == (b"old",)


def test_every_byte_flip_in_the_file_costs_at_most_its_record() -> None:
    store, _ = fresh()
    raws = [ANNA.record(), BERT.record()]
    assert store.load([raws[0][:100] + b"x" + raws[0][101:], raws[1], b"junk", raws[1]]) == 1
    assert [record.raw for record in store.peers()] == [raws[1]]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xc1", encode({"v": 2, "records": []}), encode({"v": 1}), encode({"v": 1, "records": [1]}), encode([])],
)
def test_a_file_that_is_no_store_is_malformed(tmp_path: object, content: bytes) -> None:
    path = f"{tmp_path}/dht"
    with RealDisk().open(path, "create") as file:
        file.write_at(0, content)
    with pytest.raises(MalformedError):
        read_store(RealDisk(), path, Quotas())


def test_a_file_over_the_quotas_is_not_read(tmp_path: object) -> None:
    path = f"{tmp_path}/dht"
    small = Quotas(peers=1, providers=0)
    write_store(RealDisk(), path, [bytes(5000)])
    with pytest.raises(MalformedError):
        read_store(RealDisk(), path, small)


def test_records_come_back_typed() -> None:
    store, _ = fresh()
    offer(store, ANNA.record())
    assert isinstance(store.peer(ANNA.peer), PeerRecord)

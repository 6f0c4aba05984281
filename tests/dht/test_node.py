from __future__ import annotations

import trio
from trio.testing import MockClock

from core.ports import Address
from dht.config import DhtConfig
from dht.node import Dht
from dht.reader import RecordReader
from dht.records import provider_key
from dht.store import Quotas, RecordStore
from tests.dht.net import Net, NetClock, Node, SeededChance, Wire
from tests.dht.people import ISSUERS, START, an_object, person
from wire.messages import DhtFind, DhtFound, DhtStore, Done, Failure, Message, Ping


def ids(nodes: list[Node]) -> list[bytes]:
    return sorted(node.person.peer.raw for node in nodes)


async def test_one_bootstrap_address_finds_all(autojump_clock: MockClock) -> None:
    net = Net()
    nodes = await net.pool(14)
    client = net.dht(None, "client")
    assert await client.bootstrap([nodes[0].address]) > 0
    before = net.asked
    found = await client.all_peers()
    assert [record.peer.raw for record in found] == ids(nodes)
    assert net.asked - before <= 8
    assert [record.peer.raw for record in client.known_peers()] == ids(nodes)
    for node in nodes:
        assert [record.peer.raw for record in node.dht.known_peers()] == ids(nodes)


async def test_two_peers_and_a_pool_of_one(autojump_clock: MockClock) -> None:
    net = Net()
    (first,) = await net.pool(1)
    assert [record.peer for record in await first.dht.all_peers()] == [first.person.peer]
    second = net.add("second")
    await second.join(first.address)
    client = net.dht(None, "client")
    await client.bootstrap([second.address])
    assert [record.peer.raw for record in await client.all_peers()] == ids([first, second])


async def test_a_client_finds_everybody_in_a_pool_larger_than_a_bucket(autojump_clock: MockClock) -> None:
    net = Net(share_reader=True)
    nodes = await net.pool(45)
    client = net.dht(None, "client")
    await client.bootstrap([nodes[0].address])
    assert [record.peer.raw for record in await client.all_peers()] == ids(nodes)


async def test_a_third_of_the_peers_die_at_once(autojump_clock: MockClock) -> None:
    net = Net(share_reader=True)
    nodes = await net.pool(45)
    for number in range(10):
        await nodes[number].dht.provide(nodes[number].person.provides(an_object(number)))
    for node in net.random.sample(nodes, 15):
        net.kill(node)
    alive = [node for node in nodes if node.address in net.at]
    start = trio.current_time()
    for number in range(10):
        reader = net.random.choice(alive)
        assert [record.peer for record in await reader.dht.providers(an_object(number))] == [nodes[number].person.peer]
    assert trio.current_time() - start < 10
    client = net.dht(None, "client")
    await client.bootstrap([node.address for node in nodes[:5]])
    assert {record.peer.raw for record in await client.all_peers()} >= set(ids(alive))


async def test_a_moved_peer_is_found_at_its_new_address(autojump_clock: MockClock) -> None:
    net = Net()
    nodes = await net.pool(10)
    mover = nodes[4]
    client = net.dht(None, "client")
    await client.bootstrap([nodes[0].address])
    await client.all_peers()
    net.kill(mover)
    await trio.sleep(5)
    again = net.add("peer-4", Address("10.7.7.7", 7777))
    await again.join(nodes[0].address)
    for dht in (client, nodes[7].dht):
        record = await dht.resolve(mover.person.peer, max_age_s=0)
        assert record is not None
        assert record.address == again.address
    assert all(
        contact.record.address == again.address
        for node in nodes
        if node is not mover and (contact := node.dht.table.contact(mover.person.peer)) is not None
    )


async def test_a_restarted_peer_with_a_clock_set_back_is_believed_again(autojump_clock: MockClock) -> None:
    net = Net()
    nodes = await net.pool(5)
    await nodes[2].dht.announce(nodes[2].record(sequence=2**50))
    net.kill(nodes[2])
    again = net.add("peer-2", Address("10.7.7.7", 1), clock=NetClock(-60))
    await again.join(nodes[0].address)
    record = await nodes[4].dht.resolve(again.person.peer, max_age_s=0)
    assert record is not None
    assert (record.address, record.sequence) == (again.address, 2**50 + 1)


async def test_resolve_asks_nobody_when_what_is_held_is_fresh(autojump_clock: MockClock) -> None:
    net = Net()
    nodes = await net.pool(4)
    before = net.asked
    record = await nodes[1].dht.resolve(nodes[2].person.peer, max_age_s=600)
    assert record is not None
    assert net.asked == before
    assert await nodes[1].dht.resolve(person("nobody").peer, max_age_s=600) is None
    mine = await nodes[1].dht.resolve(nodes[1].person.peer, max_age_s=0)
    assert mine is not None
    assert mine.address == nodes[1].address


async def test_a_hung_peer_stalls_nothing_longer_than_a_second(autojump_clock: MockClock) -> None:
    net = Net()
    nodes = await net.pool(12)
    nodes[3].hung = True
    nodes[5].hung = True
    client = net.dht(None, "client")
    for job in (
        lambda: client.bootstrap([nodes[3].address, nodes[0].address]),
        client.all_peers,
        lambda: nodes[0].dht.nearest(nodes[3].person.peer.raw),
        lambda: nodes[1].dht.providers(an_object(1)),
        lambda: nodes[2].dht.resolve(nodes[3].person.peer, max_age_s=0),
        lambda: nodes[2].dht.resolve(person("nobody").peer, max_age_s=0),
    ):
        start = trio.current_time()
        await job()
        assert trio.current_time() - start < 1.1
    start = trio.current_time()
    await nodes[0].dht.nearest(nodes[3].person.peer.raw)
    assert trio.current_time() - start < 0.3, "a suspect is not waited for twice"


async def test_when_all_are_slow_their_answers_are_waited_for(autojump_clock: MockClock) -> None:
    net = Net(config=DhtConfig(slow_s=0.001, late_s=0.001))
    nodes = await net.pool(6)
    client = net.dht(None, "client")
    await client.bootstrap([nodes[0].address])
    assert await client.nearest(nodes[1].person.peer.raw) != []


async def test_nobody_is_there(autojump_clock: MockClock) -> None:
    client = Net().dht(None, "client")
    assert await client.bootstrap([Address("10.0.0.1", 1), Address("10.0.0.2", 1)]) == 0
    assert await client.bootstrap([]) == 0
    assert await client.all_peers() == []
    assert await client.providers(an_object(1)) == []


async def test_providers_are_merged_and_the_newest_wins(autojump_clock: MockClock) -> None:
    net = Net(share_reader=True)
    nodes = await net.pool(30)
    for node in nodes[:25]:
        assert await node.dht.provide(node.person.provides(an_object(1))) >= 19
    newest = nodes[0].person.provides(an_object(1), [(7, 7)], sequence=2)
    await nodes[0].dht.provide(newest)
    await nodes[0].dht.spread(nodes[0].dht.store.reader.read(nodes[0].person.provides(an_object(1))))
    found = await nodes[29].dht.providers(an_object(1))
    assert [record.peer.raw for record in found] == ids(nodes[:25])
    assert newest in [record.raw for record in found]
    assert [record.raw for record in nodes[0].dht.own_providers()] == [newest]


async def test_a_holder_that_missed_an_update_is_repaired(autojump_clock: MockClock) -> None:
    net = Net()
    nodes = await net.pool(5)
    await nodes[0].dht.provide(nodes[0].person.provides(an_object(1)))
    nodes[3].dht.store.forget(nodes[0].person.peer)
    assert nodes[3].dht.store.records(provider_key(an_object(1))) == []
    await nodes[4].dht.providers(an_object(1))
    with trio.move_on_after(5):
        await nodes[4].dht.run_upkeep(nodes[4].record)
    assert len(nodes[3].dht.store.records(provider_key(an_object(1)))) == 1


async def test_bad_records_are_refused_and_counted(autojump_clock: MockClock) -> None:
    net = Net()
    (node,) = await net.pool(1)
    anna, now = person("anna"), int(START + trio.current_time())
    good = anna.record(sequence=5, now=now)
    older = anna.record(sequence=4, now=now)
    expired = anna.record(sequence=6, now=now - 1000, life_s=100)
    stranger = person("zoe", at="Nowhere General").record(now=now)
    forged = good[:-1] + bytes([good[-1] ^ 1])
    assert isinstance(node.dht.handle_store(DhtStore(good)), Done)
    assert isinstance(node.dht.handle_store(DhtStore(good)), Done)
    for raw, code in [
        (older, "stale-record"),
        (expired, "stale-record"),
        (stranger, "peer-refused"),
        (forged, "bad-signature"),
        (b"garbage", "malformed"),
        (bytes(1201), "malformed"),
    ]:
        answer = node.dht.handle_store(DhtStore(raw))
        assert isinstance(answer, Failure)
        assert answer.code == code
    counts = dict(node.dht.statistics().counts)
    assert counts["store/stale-record"] == 2
    assert counts["store/malformed"] == 2
    assert node.dht.learn(forged) is None
    learned = node.dht.learn(good)
    assert learned is not None
    assert learned.peer == anna.peer


async def test_liars_neither_hide_nor_change_records_and_are_named(autojump_clock: MockClock) -> None:
    net = Net(share_reader=True)
    nodes = await net.pool(30)
    true = nodes[0].person.provides(an_object(1))
    await nodes[0].dht.provide(true)
    junk = b"junk" * 50
    stranger = person("zoe", at="Nowhere General").record()
    for liar in nodes[20:]:

        def lie(message: Message) -> Message:
            if isinstance(message, DhtFind):
                return DhtFound((true[:-1] + b"!", junk, true), (junk, stranger, true) * 6)
            return Done()

        liar.handler = lie
    liars = {node.person.peer for node in nodes[20:]}
    for node in nodes[1:20]:
        assert [record.raw for record in await node.dht.providers(an_object(1))] == [true]
        assert await node.dht.resolve(nodes[3].person.peer, max_age_s=0) is not None
    named = {peer for node in nodes[1:20] for peer, _ in node.dht.statistics().offenders}
    assert named <= liars
    assert named


async def test_answers_of_the_wrong_kind_do_no_harm(autojump_clock: MockClock) -> None:
    net = Net()
    nodes = await net.pool(6)

    def nonsense(_: Message) -> Message:
        return Ping()

    def failing(_: Message) -> Message:
        return Failure("busy", "later")

    nodes[1].handler, nodes[2].handler = nonsense, failing
    found = await nodes[3].dht.nearest(nodes[1].person.peer.raw)
    assert [record.peer.raw for record in found if record.peer == nodes[1].person.peer] == []
    assert {record.peer for record in found} == {nodes[number].person.peer for number in (0, 4, 5)}
    counts = dict(nodes[3].dht.statistics().counts)
    assert counts["wrong-answer"] == 1
    assert counts["refused-by-peer/busy"] == 1


async def test_another_peer_at_an_old_address_is_not_taken_for_the_one_before(autojump_clock: MockClock) -> None:
    net = Net()
    nodes = await net.pool(4)
    nodes[1].person = person("somebody else")
    near = await nodes[2].dht.nearest(person("peer-1").peer.raw)
    assert person("peer-1").peer not in [record.peer for record in near]
    with trio.move_on_after(60):
        await nodes[2].dht.run_upkeep(nodes[2].record)
    assert nodes[2].dht.table.contact(person("peer-1").peer) is None


async def test_a_forgotten_peer_is_gone(autojump_clock: MockClock) -> None:
    net = Net()
    nodes = await net.pool(4)
    gone = nodes[1].person.peer
    nodes[0].dht.forget(gone)
    assert gone not in [record.peer for record in nodes[0].dht.known_peers()]
    assert nodes[0].dht.table.contact(gone) is None


async def test_a_known_record_is_never_checked_twice(autojump_clock: MockClock) -> None:
    net = Net()
    nodes = await net.pool(8)
    before = nodes[0].dht.statistics().signatures_checked
    for number in range(5):
        await nodes[0].dht.nearest(an_object(number).raw)
    assert nodes[0].dht.statistics().signatures_checked == before


async def test_a_cancelled_search_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    net = Net()
    nodes = await net.pool(8)
    for node in nodes[1:]:
        node.hung = True
    with trio.move_on_after(0.2) as scope:
        await nodes[0].dht.nearest(bytes(32))
    assert scope.cancelled_caught
    await trio.sleep(30)
    for node in nodes[1:]:
        node.hung = False
    assert len(await nodes[0].dht.nearest(bytes(32))) == 7


def small_list(net: Net) -> Dht:
    """One that keeps the records of two peers only."""
    return Dht(
        me=person("me").peer,
        messenger=Wire(net),
        issuers=lambda: ISSUERS,
        clock=NetClock(),
        chance=SeededChance("me"),
        config=net.config,
        store=RecordStore(RecordReader(lambda: ISSUERS, NetClock()), NetClock(), Quotas(peers=2)),
    )


async def test_who_is_near_is_known_also_when_the_list_of_peers_is_full(autojump_clock: MockClock) -> None:
    full = small_list(Net())
    others = [person(f"other-{number}") for number in range(5)]
    for other in others:
        assert full.learn(other.record()) is not None
    assert len(full.known_peers()) == 2
    assert {contact.peer for contact in full.table.contacts()} == {other.peer for other in others}
    assert dict(full.statistics().counts) == {"store-quota": 3}
    for other in others:
        record = await full.resolve(other.peer, max_age_s=3600.0)
        assert record is not None
        assert record.peer == other.peer


async def test_who_comes_when_the_list_of_peers_is_full_is_refused_and_becomes_known(autojump_clock: MockClock) -> None:
    full = small_list(Net())
    others = [person(f"other-{number}") for number in range(5)]
    answers = [full.handle_store(DhtStore(other.record())) for other in others]
    assert [type(answer) for answer in answers] == [Done, Done, Failure, Failure, Failure]
    for other in others:
        found = full.handle_find(DhtFind(other.peer.raw))
        assert other.record() in found.closest


async def test_an_older_record_replaces_no_newer_one_of_a_neighbour_whom_a_full_list_has_no_room_for(
    autojump_clock: MockClock,
) -> None:
    full = small_list(Net())
    for number in range(2):
        full.learn(person(f"other-{number}").record())
    who = person("moved")
    new = who.record(Address("10.0.0.2", 7000), sequence=9)
    full.learn(new)
    known = full.learn(who.record(Address("10.0.0.1", 7000), sequence=8))
    assert known is not None
    assert known.raw == new


async def test_a_peer_is_found_by_one_whose_lists_are_full(autojump_clock: MockClock) -> None:
    net = Net(share_reader=True)
    nodes = await net.pool(60)
    full = small_list(net)
    await full.bootstrap([nodes[0].address])
    away = [node.person.peer for node in nodes if full.table.contact(node.person.peer) is None]
    assert away
    for peer in away:
        record = await full.resolve(peer, max_age_s=3600.0)
        assert record is not None
        assert record.peer == peer

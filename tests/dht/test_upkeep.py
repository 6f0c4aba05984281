from __future__ import annotations

import functools

import pytest
import trio
from trio.testing import MockClock

from core.errors import RefusedError
from core.ports import Address
from dht.records import provider_key
from tests.dht.net import Net, Node
from tests.dht.people import an_object

HOUR_S = 3600.0


async def live(nodes: list[Node], seconds: float, *, life_s: int = 86400) -> None:
    """Let all of these run their upkeep side by side."""
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for node in nodes:
                nursery.start_soon(node.dht.run_upkeep, functools.partial(node.record, life_s=life_s))


async def test_peers_that_start_together_know_each_other_within_seconds(autojump_clock: MockClock) -> None:
    net = Net()
    nodes = [net.add(f"peer-{number}") for number in range(14)]
    for node in nodes:
        node.dht.doors = tuple(nodes[number].address for number in range(3))
    await live(nodes, 6.0)
    for node in nodes:
        assert len(node.dht.known_peers()) == 14
        assert len(node.dht.table.contacts()) == 13


async def test_a_seed_that_comes_late_joins_two_islands(autojump_clock: MockClock) -> None:
    net = Net()
    left, right = [net.add(f"left-{n}") for n in range(2)], [net.add(f"right-{n}") for n in range(2)]
    seed = Address("10.2.2.2", 7000)
    for side in (left, right):
        for node in side:
            node.dht.doors = (side[0].address, seed)
    await live([*left, *right], 120)
    assert len(left[0].dht.known_peers()) == 2
    late = net.add("seed", seed)
    await live([*left, *right, late], 2.2 * HOUR_S)
    for node in [*left, *right, late]:
        assert len(node.dht.known_peers()) == 5


async def test_an_idle_hour_costs_few_messages_and_no_repeated_checks(autojump_clock: MockClock) -> None:
    net = Net()
    nodes = await net.pool(8)
    await live(nodes, 60)
    before, checked = net.asked, sum(node.dht.statistics().signatures_checked for node in nodes)
    await live(nodes, HOUR_S)
    assert net.asked - before < 8 * 7 * 25
    # Each announces itself every ten minutes at least 7.5 apart; each new record is checked once by each.
    assert sum(node.dht.statistics().signatures_checked for node in nodes) - checked <= 8 * 8 * 9


async def test_the_dead_leave_and_the_living_stay_fresh(autojump_clock: MockClock) -> None:
    net = Net()
    nodes = await net.pool(8)
    for node in nodes[6:]:
        await node.dht.announce(node.record(life_s=5000))
    net.kill(nodes[7])
    nodes[6].hung = True
    alive = nodes[:6]
    await live(alive, 3 * HOUR_S, life_s=3600)
    for node in alive:
        contacts = {contact.peer for contact in node.dht.table.contacts()}
        assert contacts == {other.person.peer for other in alive if other is not node}
        assert len(node.dht.known_peers()) == 6


async def test_a_new_address_is_announced_at_once(autojump_clock: MockClock) -> None:
    net = Net()
    nodes = await net.pool(6)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(nodes[1].dht.run_upkeep, nodes[1].record)
        await trio.sleep(100)
        net.kill(nodes[1])
        nodes[1].address = Address("10.7.7.7", 7000)
        net.at[nodes[1].address] = nodes[1]
        nodes[1].dht.announce_soon()
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    for node in nodes:
        assert node.dht.store.peer(nodes[1].person.peer).address == nodes[1].address  # type: ignore[union-attr]  # held


async def test_own_provider_records_outlive_their_holders_memory(autojump_clock: MockClock) -> None:
    net = Net()
    nodes = await net.pool(6)
    await nodes[0].dht.provide(nodes[0].person.provides(an_object(1)))
    for node in nodes[1:]:
        node.dht.store.forget(nodes[0].person.peer)
    await live(nodes[:1], 9 * HOUR_S)
    for node in nodes[1:]:
        assert len(node.dht.store.records(provider_key(an_object(1)))) == 1
    await live(nodes[:1], 20 * HOUR_S)
    assert nodes[0].dht.own_providers() == []


async def test_the_store_is_saved_when_it_changed_and_upkeep_survives_a_full_disk(autojump_clock: MockClock) -> None:
    net = Net()
    nodes = await net.pool(3)
    saved: list[int] = []

    async def keep(raws: tuple[bytes, ...]) -> None:
        saved.append(len(raws))
        await trio.lowlevel.checkpoint()
        if len(saved) == 1:
            raise OSError("full")

    with trio.move_on_after(HOUR_S):
        await nodes[0].dht.run_upkeep(nodes[0].record, keep=keep)
    assert 3 <= len(saved) <= 8
    assert set(saved) == {3}
    assert dict(nodes[0].dht.statistics().counts)["save-failed"] == 1


async def test_a_refused_own_record_does_not_end_upkeep(autojump_clock: MockClock) -> None:
    net = Net()
    nodes = await net.pool(2)
    made: list[bytes] = []

    def expired() -> bytes:
        made.append(nodes[0].record(now=1000))
        return made[-1]

    with trio.move_on_after(600):
        await nodes[0].dht.run_upkeep(expired)
    assert len(made) > 5


async def test_a_client_has_no_upkeep() -> None:
    with pytest.raises(RefusedError):
        await Net().dht(None, "client").run_upkeep(lambda: b"")

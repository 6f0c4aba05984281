"""The two ends of an upload, one against the other: ``client.lane`` through a session, and the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import trio
from trio.testing import MockClock

from client.lane import Lane, ShareBatch
from client.session import Session
from core.errors import CorruptError, MoorageError, NotEnoughPeersError, StoreFullError
from core.ids import PeerId, ShardRoot
from core.limits import DISK_DEADLINE_S, REQUEST_DEADLINE_S
from core.ports import Buffer
from tests.daemon.shards import SCHEME, Sample, sample
from tests.daemon.test_server import ME, Bench, a_bench
from tests.daemon.wires import MemoryConnection, hello
from wire.messages import Message


class OneSession:
    """A ``client.asker.Asker`` of one peer, over one session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def session(self, peer: PeerId, /) -> Session:
        assert peer == ME.peer
        return self._session

    async def request(self, peer: PeerId, message: Message, /, *, deadline_s: float = REQUEST_DEADLINE_S) -> Message:
        return await (await self.session(peer)).request(message, deadline_s=deadline_s)

    def avoid(self, peer: PeerId, failure: MoorageError, /) -> None:
        raise AssertionError(failure)


@pytest.fixture
async def bench(autojump_clock: MockClock) -> AsyncIterator[Bench]:
    async with a_bench() as bench:
        yield bench


async def a_session(bench: Bench) -> Session:
    session = Session(bench.dial(), hello())
    await bench.nursery.start(session.serve)
    return session


async def send(session: Session, item: Sample, body: bytes, root: ShardRoot | None, *, pause_s: float = 0.1) -> Lane:
    """One shard by a lane of its own: ``body`` arrives, ``root`` is committed; None drops it."""
    lane = Lane(item.plan.index, ME.peer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lane.run, OneSession(session), SCHEME, item.plan.chunks, item.plan.expected_bytes)
        await lane.queue.send(ShareBatch(item.lengths, body))
        await trio.sleep(pause_s)
        if root is None:
            lane.drop(NotEnoughPeersError("no source is left"))
        else:
            lane.finish(root)
    return lane


@pytest.mark.parametrize("turn", range(8))
async def test_a_commit_that_is_refused_ends_its_upload_and_no_other(
    autojump_clock: MockClock, bench: Bench, turn: int
) -> None:
    """Several turns: an abort that must not be sent was sent or not as the scheduler's dice fell."""
    session = await a_session(bench)
    item = sample(turn)
    lane = await send(session, item, bytes(len(item.data)), item.root)
    assert isinstance(lane.failure, CorruptError)
    lane = await send(session, item, item.data, item.root)
    assert lane.failure is None
    assert session.usable
    assert bench.server.statistics().counters.protocol_errors == 0
    assert bench.incoming() == []
    assert bench.store.have([item.root]) == [True]


@pytest.mark.parametrize("turn", range(8))
async def test_an_upload_that_is_dropped_leaves_nothing_at_its_holder(
    autojump_clock: MockClock, bench: Bench, turn: int
) -> None:
    session = await a_session(bench)
    item = sample(turn)
    lane = await send(session, item, item.data, None)
    assert isinstance(lane.failure, NotEnoughPeersError)
    assert bench.incoming() == []
    assert session.usable


async def test_an_upload_that_its_holder_refuses_is_over_at_once(autojump_clock: MockClock) -> None:
    async with a_bench(quota_bytes=10) as bench:
        session = await a_session(bench)
        item = sample()
        lane = await send(session, item, item.data, item.root)
        assert isinstance(lane.failure, StoreFullError)
        assert session.usable
        assert bench.incoming() == []


def in_one_go(connection: MemoryConnection, nursery: trio.Nursery) -> MemoryConnection:
    """What is sent within a moment arrives together, as from a network that held it up."""
    deliver = connection.send_all
    kept: list[Buffer] = []

    async def deliver_soon() -> None:
        await trio.sleep(0.05)
        parts = tuple(kept)
        kept.clear()
        await deliver(*parts)

    async def keep(*parts: Buffer) -> None:
        if not kept:
            nursery.start_soon(deliver_soon)
        kept.extend(parts)
        await trio.lowlevel.checkpoint()

    connection.send_all = keep  # type: ignore[method-assign]  # the stream is the same
    return connection


async def test_a_sync_is_waited_for_also_where_the_beginning_came_with_the_commit(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """A holder answers what came together when all of it is done."""
    session = Session(in_one_go(bench.dial(), bench.nursery), hello())
    await bench.nursery.start(session.serve)
    item = sample()
    slow = bench.threads.disk

    async def sync_slowly(job: Callable[..., object], *args: object) -> object:
        answer = await slow(job, *args)
        if bench.store.have([item.root]) == [True]:
            await trio.sleep((REQUEST_DEADLINE_S + DISK_DEADLINE_S) / 2)
        return answer

    bench.threads.disk = sync_slowly  # type: ignore[method-assign,assignment]  # only this disk is slow
    lane = await send(session, item, item.data, item.root, pause_s=0.0)
    assert lane.failure is None


async def test_what_its_holder_refuses_is_not_sent_to_its_end(autojump_clock: MockClock) -> None:
    """Nor need whoever makes it read on for nobody."""
    async with a_bench(quota_bytes=10) as bench:
        session = await a_session(bench)
        item = sample()
        lane = Lane(item.plan.index, ME.peer)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lane.run, OneSession(session), SCHEME, item.plan.chunks, item.plan.expected_bytes)
            at = 0
            for length in item.lengths:
                await lane.queue.send(ShareBatch((length,), item.data[at : at + length]))
                at += length
                await trio.sleep(0.1)
            assert isinstance(lane.failure, StoreFullError)
            lane.finish(item.root)
        assert len(item.lengths) > 2
        assert lane.sent_bytes == item.lengths[0]
        assert session.usable

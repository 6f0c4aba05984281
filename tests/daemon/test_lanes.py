"""The two ends of an upload, one against the other: ``client.lane`` through a session, and the server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from client.lane import Lane, ShareBatch
from client.session import Session
from core.errors import CorruptError, MoorageError, NotEnoughPeersError, StoreFullError
from core.ids import PeerId, ShardRoot
from core.limits import REQUEST_DEADLINE_S
from tests.daemon.shards import SCHEME, Sample, sample
from tests.daemon.test_server import ME, Bench, a_bench
from tests.daemon.wires import hello
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


async def send(session: Session, item: Sample, body: bytes, root: ShardRoot | None) -> Lane:
    """One shard by a lane of its own: ``body`` arrives, ``root`` is committed; None drops it."""
    lane = Lane(item.plan.index, ME.peer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lane.run, OneSession(session), SCHEME, item.plan.chunks, item.plan.expected_bytes)
        await lane.queue.send(ShareBatch(item.lengths, body))
        await trio.sleep(0.1)
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

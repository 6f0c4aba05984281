"""Buffers on loan: no extent's bytes are ever seen in the place of another's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, Unpack

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from client.plan import plan_plain
from client.source import BUFFERS, ExtentRead, ExtentReader, ReadAhead
from core.errors import SourceChangedError
from tests.sim.trees import MemorySource

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
EXTENT = 1000
FILES = {"a": bytes(range(250)) * 8, "b": b"b" * 2499, "c": b"c"}
STREAM = b"".join(FILES[name] for name in sorted(FILES))


class Inline:
    """Disk jobs at once, on the loop."""

    async def cpu(self, job: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        return await self.disk(job, *args)

    async def disk(self, job: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        await trio.lowlevel.checkpoint()
        return job(*args)


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> MemorySource:
    monkeypatch.setattr("client.plan.EXTENT_BYTES", EXTENT)
    monkeypatch.setattr("client.source.EXTENT_BYTES", EXTENT)
    return MemorySource(FILES)


def ahead_of(source: MemorySource) -> ReadAhead:
    plan = plan_plain(source.walk())
    assert len(plan.extents) == 5
    return ReadAhead(ExtentReader(source, plan), plan, Inline())


async def test_extents_come_in_order_and_no_more_are_read_than_there_are_buffers(
    autojump_clock: MockClock, source: MemorySource
) -> None:
    ahead = ahead_of(source)
    got = bytearray()
    held: list[ExtentRead] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ahead.run)
        async for item in ahead.extents:
            got += await item.get()
            held.append(item)
            if len(held) == BUFFERS:
                await wait_all_tasks_blocked()
                with pytest.raises(trio.WouldBlock):
                    ahead.extents.receive_nowait()
                for old in held:
                    begin = old.extent.number * EXTENT
                    assert await old.get() == STREAM[begin : begin + old.extent.plain_bytes]
                    old.let_go()
                held.clear()
    assert got == STREAM


async def test_what_was_let_go_of_cannot_be_used_and_is_read_again_when_asked_for(
    autojump_clock: MockClock, source: MemorySource
) -> None:
    ahead = ahead_of(source)
    items: list[ExtentRead] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ahead.run)
        async for item in ahead.extents:
            view = await item.get()
            items.append(item)
            item.let_go()
            item.let_go()
            with pytest.raises(ValueError, match="released"):
                bytes(view)
    again = await items[0].get()
    assert again == STREAM[:EXTENT]


async def test_a_file_that_changed_is_not_read_again(autojump_clock: MockClock, source: MemorySource) -> None:
    ahead = ahead_of(source)
    items: list[ExtentRead] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ahead.run)
        async for item in ahead.extents:
            item.let_go()
            items.append(item)
    source.change("a", bytes(len(FILES["a"])))
    for _ in range(BUFFERS + 1):
        with pytest.raises(SourceChangedError):
            await items[0].get()
    assert await items[-1].get() == STREAM[4 * EXTENT :]

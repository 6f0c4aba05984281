"""A nursery whose expected errors come out as themselves, and jobs that overlap but end in order."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import trio

from core.errors import MoorageError, leaves_of

T = TypeVar("T")


@asynccontextmanager
async def open_crew() -> AsyncGenerator[trio.Nursery]:
    """A nursery; when children fail with MoorageErrors only, the first of them is raised instead of a group.

    Also when it was cancelled meanwhile, as from a single task: that is told again to whoever waits next.
    """
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        expected, others = group.split(MoorageError)
        if expected is None or (others is not None and others.split(trio.Cancelled)[1] is not None):
            raise
        raise first_error(expected) from expected


class _Slot(Generic[T]):
    """The place of one job's result."""

    def __init__(self) -> None:
        self._done = trio.Event()
        self._results: list[T] = []

    async def run(self, job: Callable[[], Awaitable[T]]) -> None:
        self._results.append(await job())
        self._done.set()

    async def result(self) -> T:
        await self._done.wait()
        return self._results.pop()


async def in_order(
    jobs: Iterable[Callable[[], Awaitable[T]]], take: Callable[[T], Awaitable[None]], *, at_once: int
) -> None:
    """Run the jobs, ``at_once`` at a time, and give their results to ``take`` in the jobs' order.

    A job is asked for when there is room for it: an iterator may end early for what ``take`` found. Raises what jobs
    and ``take`` raise; the others are cancelled then.
    """
    under_way: deque[_Slot[T]] = deque()
    async with open_crew() as crew:
        for job in jobs:
            slot = _Slot[T]()
            crew.start_soon(slot.run, job)
            under_way.append(slot)
            if len(under_way) == at_once:
                await take(await under_way.popleft().result())
        while under_way:
            await take(await under_way.popleft().result())


def first_error(group: BaseExceptionGroup[MoorageError]) -> MoorageError:
    """The leftmost error of a group of expected errors."""
    error = leaves_of(group)[0]
    assert isinstance(error, MoorageError)
    return error

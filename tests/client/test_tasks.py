"""Jobs that overlap and end in order, and how their errors come out."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from trio.testing import MockClock

from client.tasks import in_order, open_crew
from core.errors import CorruptError


async def fail_late(seconds: float) -> int:
    """As a job in a thread, which ends before its caller hears of a cancellation."""
    with trio.CancelScope(shield=True):
        await trio.sleep(seconds)
    raise CorruptError("damaged")


async def take(_: int) -> None:
    await trio.lowlevel.checkpoint()


async def test_an_error_amid_a_cancellation_comes_out_as_itself(autojump_clock: MockClock) -> None:
    with pytest.raises(CorruptError, match="damaged"), trio.move_on_after(1):
        await in_order([partial(fail_late, 2), partial(fail_late, 3)], take, at_once=2)


async def test_a_bug_beside_it_is_not_hidden(autojump_clock: MockClock) -> None:
    async def trip() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
        raise ZeroDivisionError

    async def fail_and_trip() -> None:
        async with open_crew() as crew:
            crew.start_soon(trip)
            crew.start_soon(fail_late, 2)

    with pytest.raises(ExceptionGroup) as caught, trio.move_on_after(1):
        await fail_and_trip()
    assert caught.value.subgroup(ZeroDivisionError) is not None


async def test_results_are_taken_in_the_jobs_order_and_so_many_run_at_once(autojump_clock: MockClock) -> None:
    running = most = 0
    taken: list[int] = []

    async def job(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(5 - number)
        running -= 1
        return number

    async def keep(number: int) -> None:
        await trio.sleep(0.1)
        taken.append(number)

    await in_order([partial(job, number) for number in range(5)], keep, at_once=2)
    assert taken == [0, 1, 2, 3, 4]
    assert most == 2

from __future__ import annotations

import threading
from typing import NoReturn

import pytest
import trio

from core.ports import Threads
from host.threads import RealThreads
from tests.sim.chance import derive
from tests.sim.threads import SimThreads


@pytest.fixture(params=["real", "simulated"])
def threads(request: pytest.FixtureRequest) -> Threads:
    if request.param == "real":
        return RealThreads()
    return SimThreads(chance=derive(1, "threads"))


def _add(left: int, right: int) -> int:
    return left + right


def _fail() -> NoReturn:
    raise OSError("the disk is gone")


async def test_a_job_gets_its_arguments_and_gives_its_result(threads: Threads) -> None:
    assert await threads.cpu(_add, 1, 2) == 3
    assert await threads.disk(_add, 3, 4) == 7


async def test_a_job_gives_its_error(threads: Threads) -> None:
    with pytest.raises(OSError, match="the disk is gone"):
        await threads.disk(_fail)
    with pytest.raises(OSError, match="the disk is gone"):
        await threads.cpu(_fail)


async def test_a_job_of_a_caller_cancelled_before_it_began_never_runs(threads: Threads) -> None:
    ran: list[int] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        await threads.disk(ran.append, 1)
    assert scope.cancelled_caught
    assert not ran


async def test_a_job_that_began_is_finished_when_its_caller_is_cancelled(threads: Threads) -> None:
    steps: list[str] = []
    scope = trio.CancelScope()
    real = isinstance(threads, RealThreads)
    go = threading.Event()

    def job() -> str:
        steps.append("began")
        if real:
            trio.from_thread.run_sync(scope.cancel)
            # Only the loop can release this, and it does so after the cancellation.
            trio.from_thread.run_sync(go.set)
            go.wait()
        else:
            scope.cancel()
        steps.append("ended")
        return "result"

    with scope:
        steps.append(await threads.disk(job))
        await trio.lowlevel.checkpoint()
        steps.append("not reached")
    assert steps == ["began", "ended", "result"]


async def test_many_jobs_all_run(threads: Threads) -> None:
    done: list[int] = []
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(threads.disk, done.append, number)
    assert sorted(done) == list(range(20))

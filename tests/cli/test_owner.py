"""A daemon of a demo does not outlive it, however the demo ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

import pytest
import trio

from cli.owner import OWNER_VARIABLE, end_with, owner_of

needs_pidfd = pytest.mark.skipif(sys.platform != "linux", reason="no pidfds here")


@contextmanager
def owner() -> Generator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@needs_pidfd
async def test_the_end_of_the_owner_is_a_signal_to_stop() -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals, owner() as process:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end_with, process.pid)
            with trio.move_on_after(0.2) as alive:
                await anext(signals)
            assert alive.cancelled_caught
            process.kill()
            with trio.fail_after(10):
                assert await anext(signals) == signal.SIGTERM


@needs_pidfd
async def test_an_owner_that_is_gone_already_is_one_too() -> None:
    with owner() as process:
        pass
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        await end_with(process.pid)
        with trio.fail_after(10):
            assert await anext(signals) == signal.SIGTERM


@pytest.mark.parametrize(("text", "pid"), [("12", 12), ("", None), ("0", None), ("-3", None), ("x", None)])
def test_a_daemon_without_an_owner_runs_on(text: str, pid: int | None) -> None:
    assert owner_of({OWNER_VARIABLE: text}) == pid
    assert owner_of({}) is None

"""Blocking work in trio's worker threads, with a bound per kind of work."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, Unpack

import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# Four requests keep a disk's queue filled without starving its other users.
DISK_JOBS_MAX = 4


class RealThreads:
    """``core.ports.Threads``. A caller cancelled while its job waits for a thread never starts it; a job that
    began runs to its end, and its caller gets the result before the cancellation.

    Args:
        cpu_jobs: calculations at once; by default one per core.
        disk_jobs: disk jobs at once.
    """

    def __init__(self, *, cpu_jobs: int | None = None, disk_jobs: int = DISK_JOBS_MAX) -> None:
        self._cpu = trio.CapacityLimiter(cpu_jobs or os.cpu_count() or 1)
        self._disk = trio.CapacityLimiter(disk_jobs)

    async def cpu(self, job: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        return await trio.to_thread.run_sync(job, *args, limiter=self._cpu)

    async def disk(self, job: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        return await trio.to_thread.run_sync(job, *args, limiter=self._disk)

"""Threads that are none: jobs run inline and cost virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, Unpack

import trio

from tests.sim.life import Life

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

CPU_JOBS = 2
DISK_JOBS = 4


class SimThreads:
    """``core.ports.Threads``.

    Args:
        chance: draws the cost of each job. Without it jobs cost nothing.
        cpu_cost_s: from, to.
        disk_cost_s: from, to. May be changed at any time: a slow disk.
    """

    def __init__(
        self,
        life: Life | None = None,
        chance: random.Random | None = None,
        *,
        cpu_cost_s: tuple[float, float] = (0.0001, 0.005),
        disk_cost_s: tuple[float, float] = (0.0005, 0.02),
    ) -> None:
        self._life = life or Life()
        self._chance = chance
        self.cpu_cost_s = cpu_cost_s
        self.disk_cost_s = disk_cost_s
        self._cpu = trio.CapacityLimiter(CPU_JOBS)
        self._disk = trio.CapacityLimiter(DISK_JOBS)

    async def cpu(self, job: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        async with self._cpu:
            return await self._run(self.cpu_cost_s, job, *args)

    async def disk(self, job: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        async with self._disk:
            return await self._run(self.disk_cost_s, job, *args)

    async def _run(self, cost_s: tuple[float, float], job: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        cost = self._chance.uniform(*cost_s) if self._chance else 0.0
        # Up to here a cancelled caller's job never starts; from here on it ends before its caller hears of anything.
        await trio.sleep(cost / 2)
        self._life.check()
        try:
            return job(*args)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(cost / 2)
            self._life.check()

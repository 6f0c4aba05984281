"""Four organisations' ledgers for tests: an operator, and witnesses that are asked without a network or over one."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

import trio

from anchor.log import Anchored
from anchor.policy import parse_policy
from anchor.proof import parse_proof
from anchor.witness import AddCheckpoint, LocalWitness, origin_folder
from anchor.writer import LogWriter
from core.errors import PeerUnavailableError
from core.ports import Disk
from daemon.cosigners import AskedWitness
from daemon.leafqueue import OperatorLimits
from daemon.operator import Operator
from tests.anchor.ledgers import COSIGNERS, FOUR, LOG, LOG_KEY, NOW_S, ORIGIN
from tests.sim.clock import SimClock
from tests.sim.disk import SimDisk
from tests.sim.threads import SimThreads


class NowClock(SimClock):
    def now(self) -> float:
        return float(NOW_S)


@dataclass
class NearWitness:
    """Asked in memory. ``late_s``: how long an answer takes; None: none comes."""

    witness: LocalWitness
    late_s: float | None = 0.03
    url: str = "near"
    asked: list[AddCheckpoint] = field(default_factory=list[AddCheckpoint])

    async def add_checkpoint(self, request: AddCheckpoint) -> str:
        self.asked.append(request)
        await self._come()
        return self.witness.add_checkpoint(request.old_size, request.proof, request.checkpoint, now_s=NOW_S)

    async def latest(self, origin: str) -> bytes | None:
        await self._come()
        return self.witness.remembered(origin_folder("", origin).strip("/"))

    async def _come(self) -> None:
        if self.late_s is None:
            await trio.sleep(5)
            raise PeerUnavailableError("no answer")
        await trio.sleep(self.late_s)


def near_witnesses(count: int = 4) -> list[NearWitness]:
    return [
        NearWitness(LocalWitness.create(SimDisk(), "/witness", [COSIGNERS[number]], {ORIGIN: [LOG]}), url=f"w{number}")
        for number in range(count)
    ]


def create_log(disk: Disk, policy: str = FOUR) -> None:
    LogWriter.create(disk, "/ledger", key=LOG_KEY, policy=policy)


@contextlib.asynccontextmanager
async def running(
    disk: Disk,
    witnesses: Sequence[AskedWitness],
    policy: str = FOUR,
    *,
    limits: OperatorLimits | None = None,
    said: list[str] | None = None,
    threads: SimThreads | None = None,
) -> AsyncGenerator[Operator]:
    """An operator that runs; its log is closed at the end."""
    writer = LogWriter.open(disk, "/ledger", key=LOG_KEY, policy=policy)
    said = said if said is not None else []
    threads = threads or SimThreads()
    operator = Operator(writer, LOG, witnesses, threads=threads, clock=NowClock(), say=said.append, limits=limits)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(operator.run)
            yield operator
            nursery.cancel_scope.cancel()
    finally:
        writer.close()


def check(anchored: Sequence[Anchored], policy: str = FOUR) -> None:
    """Each convinces by its proof file alone."""
    for item in anchored:
        parse_proof(item.proof_file()).check(item.leaf, parse_policy(policy))

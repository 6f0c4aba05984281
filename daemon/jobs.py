"""Sweeps and repairs that somebody asked for: one at a time, the others wait; reports are kept for a while."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import trio

from core.encoding import Value, encode
from core.errors import BusyError, MoorageError, RefusedError
from core.findings import Finding, FindingKind
from core.limits import MIB
from daemon.sweep import Progress, SweepReport
from wire.messages import MESSAGE_ID_MAX, Job, StartJob

# Jobs not begun yet. Each is at most 512 object ids.
JOBS_WAITING_MAX = 16
# Finished ones whose report can still be fetched: 16 MiB at the very most.
JOBS_KEPT_MAX = 16
# Half of it for each list; a frame's body holds twice as much.
REPORT_MAX_BYTES = 1 * MIB

Run = Callable[[StartJob, Progress], Awaitable[SweepReport]]


@dataclass(slots=True)
class _Task:
    order: StartJob
    done: int = 0
    of: int = 0
    report: bytes | None = field(default=None, repr=False)


def _fitting(findings: Sequence[Finding], max_bytes: int) -> tuple[list[Value], int]:
    """As many as fit, first ones first, and how many were left off."""
    rows: list[Value] = []
    used_bytes = 0
    for finding in findings:
        value = finding.to_value()
        used_bytes += len(encode(value))
        if used_bytes > max_bytes:
            return rows, len(findings) - len(rows)
        rows.append(value)
    return rows, 0


def encode_report(report: SweepReport) -> bytes:
    """Canonical MessagePack: ``checked``, ``findings``, ``repairs``, ``unrepaired``, and how many of each list were
    left off because there were too many. At most REPORT_MAX_BYTES."""
    findings, findings_left_off = _fitting(report.findings, REPORT_MAX_BYTES // 2 - 1024)
    repairs, repairs_left_off = _fitting(report.repairs, REPORT_MAX_BYTES // 2 - 1024)
    return encode(
        {
            "checked": report.checked,
            "findings": findings,
            "repairs": repairs,
            "unrepaired": report.unrepaired,
            "findings_left_off": findings_left_off,
            "repairs_left_off": repairs_left_off,
        }
    )


def _failed(order: StartJob, why: str) -> SweepReport:
    finding = Finding(FindingKind.UNREPAIRABLE, detail=f"the {order.job} failed: {why}")
    return SweepReport(findings=[finding], unrepaired=1)


class Jobs:
    """``start`` and ``poll`` answer at once; ``run`` does the work and must run in a nursery."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._tasks: OrderedDict[int, _Task] = OrderedDict()
        self._number = 0
        self._inlet, self._outlet = trio.open_memory_channel[_Task](JOBS_WAITING_MAX)

    def start(self, order: StartJob) -> Job:
        """Raises BusyError when too many wait."""
        self._number = self._number % MESSAGE_ID_MAX + 1
        task = _Task(order)
        try:
            self._inlet.send_nowait(task)
        except trio.WouldBlock:
            raise BusyError(f"{JOBS_WAITING_MAX} jobs are waiting: try again later") from None
        self._tasks[self._number] = task
        finished = [number for number, known in self._tasks.items() if known.report is not None]
        for number in finished[: max(0, len(finished) - JOBS_KEPT_MAX)]:
            del self._tasks[number]
        return self._answer(self._number, task)

    def poll(self, number: int) -> Job:
        """Raises RefusedError for a job that is not known (any more)."""
        if number not in self._tasks:
            raise RefusedError(f"job {number} is not known here: was this peer restarted? Start it again")
        return self._answer(number, self._tasks[number])

    def _answer(self, number: int, task: _Task) -> Job:
        finished = task.report is not None
        return Job(number, finished, task.done, task.of, task.report or b"")

    @property
    def waiting(self) -> int:
        """Jobs that are not finished."""
        return sum(task.report is None for task in self._tasks.values())

    async def run(self) -> None:
        """Carry out job after job until cancelled."""
        async for task in self._outlet:

            def note(done: int, of: int, task: _Task = task) -> None:
                task.done, task.of = done, of

            report = _failed(task.order, "see this peer's log")
            try:
                report = await self._run(task.order, note)
            except MoorageError as error:
                report = _failed(task.order, str(error))
            finally:
                # Whoever waits for it hears of its end also when a bug ended it.
                task.report = encode_report(report)

"""Keeps how long a process's event loops were held up by single steps of tasks."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import trio

# Names the folder that the steps are written to, a file for each process.
FOLDER = "MOORAGE_BENCHMARK_STEPS"
# Shorter steps are not kept.
KEPT_S = 0.002


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a task: when it ended on the system's monotonic clock, what it took, what of that was computing."""

    ended_s: float
    wall_s: float
    cpu_s: float
    task: str


class LoopWatch(trio.abc.Instrument):
    """Times every step; keeps those of KEPT_S and more."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._wall_s = self._cpu_s = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        del task
        self._cpu_s = time.thread_time()
        self._wall_s = time.monotonic()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        ended_s = time.monotonic()
        wall_s = ended_s - self._wall_s
        if wall_s >= KEPT_S:
            self.steps.append(Step(ended_s, wall_s, time.thread_time() - self._cpu_s, task.name))


def watch_loops() -> None:
    """Have every ``trio.run`` of this process watched, when the environment says where to."""
    folder = os.environ.get(FOLDER)
    if folder is None:
        return
    run = cast(Callable[..., object], trio.run)

    def watched(*words: object, **options: object) -> object:
        watch = LoopWatch()
        try:
            return run(*words, instruments=[watch], **options)
        finally:
            with Path(folder, f"{os.getpid()}.jsonl").open("a") as file:
                file.writelines(json.dumps(asdict(step)) + "\n" for step in watch.steps)

    setattr(trio, "run", watched)  # noqa: B010 - by name, for the type of what it replaces is another


def read_steps(folder: Path) -> dict[int, list[Step]]:
    """By process number."""
    return {
        int(path.stem): [Step(**json.loads(line)) for line in path.read_text().splitlines()]
        for path in folder.glob("*.jsonl")
    }

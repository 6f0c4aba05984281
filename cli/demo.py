"""The demo: a whole pool on this machine, damaged, repaired and read back. Every step is the real command line."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cli.demo_commands import Commands, Interruption
from cli.demo_story import POOL_DOWN, Step, Story, step_titles
from cli.output import JSON_SCHEMA
from cli.pool import pool_down
from core.errors import EXIT_ERROR, EXIT_OK, MoorageError, UsageError

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Narrator:
    """Tells the story on standard error: a bar over the steps on a terminal, else a line for each."""

    def __init__(self, *, quiet: bool, steps: int) -> None:
        self._quiet = quiet
        self._steps = steps
        self._bars: RichProgress | None = None
        self._task: TaskID | None = None
        self._done = 0
        if not quiet and sys.stderr.isatty():
            self._start()

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._bars = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bars.add_task("", total=self._steps)
        self._bars.start()

    def begin(self, title: str) -> None:
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, description=title)

    def advance(self, part: float) -> None:
        """``part`` of the present step is done, 0 to 1."""
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=self._done + min(1.0, part))

    def end(self, step: Step) -> None:
        self._done += 1
        line = f"{'ok' if step.ok else 'FAILED':<6} {step.seconds:6.1f} s  {step.name}: {step.detail}"
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=self._done)
            self._bars.console.print(line, markup=False, highlight=False)
        elif not self._quiet:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


def run_demo(arguments: argparse.Namespace) -> int:
    """Raises UsageError (the folder is in use), KeyboardInterrupt (after everything was stopped)."""
    folder = _folder(arguments.dir)
    interruption = Interruption()
    narrator = Narrator(quiet=arguments.quiet, steps=len(step_titles()))
    steps: list[Step] = []
    with interruption.watched():
        try:
            _tell(Story(folder, Commands(interruption), narrator.advance), narrator, interruption, steps)
        finally:
            narrator.close()
    ok = len(steps) == len(step_titles()) and all(step.ok for step in steps)
    if arguments.dir is None and (ok or interruption.asked):
        shutil.rmtree(folder, ignore_errors=True)
    elif not arguments.quiet:
        print(f"moorage: the pool's folder is kept: {folder}", file=sys.stderr)
    interruption.check()
    if arguments.json:
        print(json.dumps({"schema": JSON_SCHEMA, "ok": ok, "steps": [step.value() for step in steps]}))
    else:
        _print_table(steps, ok=ok)
    return EXIT_OK if ok else EXIT_ERROR


def _folder(given: str | None) -> Path:
    if given is None:
        return Path(tempfile.mkdtemp(prefix="moorage-demo-"))
    folder = Path(os.path.abspath(given))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not an empty folder: name another one")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _tell(story: Story, narrator: Narrator, interruption: Interruption, steps: list[Step]) -> None:
    """Every step until one fails or somebody interrupts; the pool is down at the end in any case."""
    stopped = False
    try:
        for name, title in step_titles():
            narrator.begin(title)
            step = _take(story, name)
            stopped |= name == POOL_DOWN and step.ok
            steps.append(step)
            narrator.end(step)
            if not step.ok:
                break
    except KeyboardInterrupt:
        # Told to stop: noted in ``interruption``, acted on when everything is down.
        assert interruption.asked
    finally:
        if not stopped:
            _stop(story)


def _take(story: Story, name: str) -> Step:
    began = time.monotonic()
    try:
        detail, facts = story.take(name)
    except (MoorageError, OSError) as error:
        return Step(name, False, time.monotonic() - began, str(error), {})
    return Step(name, True, time.monotonic() - began, detail, facts)


def _stop(story: Story) -> None:
    # There is no pool yet, or nothing more can be done than to say so.
    with suppress(MoorageError, OSError):
        pool_down(str(story.pool))


def _print_table(steps: Sequence[Step], *, ok: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title="moorage demo")
    for heading in ("step", "what happened"):
        table.add_column(heading)
    table.add_column("seconds", justify="right")
    for step in steps:
        table.add_row(Text(step.name, style="" if step.ok else "bold red"), Text(step.detail), f"{step.seconds:.1f}")
    console = Console()
    console.print(table)
    total = sum(step.seconds for step in steps)
    last = "every step did what it should" if ok else f"stopped at {steps[-1].name}" if steps else "nothing was done"
    console.print(Text(f"{'ok' if ok else 'FAILED'}: {last}, {total:.0f} s in all"))

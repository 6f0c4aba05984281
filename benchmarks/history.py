"""One line a run, kept in the repository: what was measured where, and whether moorage became slower since.

Lines of an idle machine are compared when plan, machine and versions of Python and the other systems are the same. A
figure has become slower when its median is, by more than TOLERANCE, and even its fastest round is slower than the
median of last time: a single slow round is not enough. Where Tahoe was measured in both runs, it must have become
slower by more than Tahoe has, because everything is slow on a busy machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict, cast

from benchmarks.figures import OURS, Figure

HISTORY = Path(__file__).resolve().parent / "history.jsonl"
TOLERANCE = 0.10
YARDSTICK = "tahoe"
# What must be equal in two lines to compare them.
MACHINE_KEYS = ("processor", "cores", "python")
DIGITS = 5
# Processes that wanted a core in the minute before a run. The run's own preparations make it half a one.
BUSY_LOAD = 1.0


class Row(TypedDict):
    """One figure of one system: seconds, and CPU seconds per GB of user data."""

    low_s: float
    median_s: float
    high_s: float
    cpu_s_per_gb: float


class Line(TypedDict):
    """One run. ``figures``: by the figure's name, then by system. ``limits``: MB/s by flow and scheme."""

    when: str
    plan: str
    machine: dict[str, object]
    software: dict[str, str]
    figures: dict[str, dict[str, Row]]
    limits: NotRequired[dict[str, float]]
    fractions: NotRequired[dict[str, float]]


@dataclass(frozen=True, slots=True)
class Change:
    """A figure that became slower: medians in seconds, before and now."""

    name: str
    before_s: float
    now_s: float

    @property
    def words(self) -> str:
        percent = (self.now_s / self.before_s - 1) * 100
        return f"{self.name}: {self.before_s:.3f} s before, {self.now_s:.3f} s now ({percent:.0f} % slower)"


def rows_of(figure: Figure) -> dict[str, Row]:
    """By system."""
    found: dict[str, Row] = {}
    for system in figure.series:
        low, middle, high = (round(value, DIGITS) for value in figure.wall_s(system))
        cpu = round(figure.cpu_s_per_gb(system), 3)
        found[system] = Row(low_s=low, median_s=middle, high_s=high, cpu_s_per_gb=cpu)
    return found


def make_line(
    figures: Sequence[Figure], *, when: str, plan: str, machine: Mapping[str, object], software: Mapping[str, str]
) -> Line:
    """A run's line, without its limits."""
    rows = {figure.name: rows_of(figure) for figure in figures}
    return Line(when=when, plan=plan, machine=dict(machine), software=dict(software), figures=rows)


def read_history(path: Path = HISTORY) -> list[Line]:
    """Oldest first; none where there is no file yet."""
    if not path.exists():
        return []
    return [cast(Line, json.loads(text)) for text in path.read_text().splitlines() if text]


def append_history(line: Line, path: Path = HISTORY) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line, separators=(",", ":")) + "\n")


def last_comparable(history: Iterable[Line], line: Line) -> Line | None:
    """The newest line of the same plan on the same machine, when nobody else was at work there."""
    same = [old for old in history if _circumstances(old) == _circumstances(line) and not is_busy(old)]
    return same[-1] if same else None


def is_busy(line: Line) -> bool:
    """Whether others were at work on the machine when the run began: its figures say little about moorage."""
    load = line["machine"].get("load_before", 0.0)
    return isinstance(load, float) and load > BUSY_LOAD


def _circumstances(line: Line) -> tuple[object, ...]:
    others = [line["software"].get(name) for name in ("tahoe", "restic")]
    return (line["plan"], *(line["machine"].get(key) for key in MACHINE_KEYS), *others)


def slower(before: Line, now: Line) -> list[Change]:
    """The figures of moorage that became slower. Those that only one of the lines has are passed over."""
    changes: list[Change] = []
    for name, systems in now["figures"].items():
        old = before["figures"].get(name, {})
        for system in systems:
            if system.startswith(OURS) and system in old and _is_slower(old, systems, system):
                label = name + system.removeprefix(OURS)
                changes.append(Change(label, old[system]["median_s"], systems[system]["median_s"]))
    return changes


def _is_slower(before: Mapping[str, Row], now: Mapping[str, Row], system: str) -> bool:
    ours_before, ours_now = before[system], now[system]
    growth = ours_now["median_s"] / ours_before["median_s"]
    if growth <= 1 + TOLERANCE or ours_now["low_s"] <= ours_before["median_s"]:
        return False
    if YARDSTICK in before and YARDSTICK in now:
        growth /= now[YARDSTICK]["median_s"] / before[YARDSTICK]["median_s"]
    return growth > 1 + TOLERANCE

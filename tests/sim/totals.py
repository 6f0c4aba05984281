"""What many seeds came to, in one run or in several that were kept in a file of JSON lines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import cast

from tests.sim.swarm import Verdict

KEPT = Path(__file__).with_name("soaks.jsonl")


@dataclass
class Totals:
    """``wall_s`` is of the whole run, however many universes were run at once; ``cpu_s`` of all of them."""

    seeds: int = 0
    failed: int = 0
    sim_s: float = 0.0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    rebuilt: int = 0
    needless: int = 0
    applied: Counter[str] = field(default_factory=Counter[str])
    skipped: Counter[str] = field(default_factory=Counter[str])
    commands: Counter[str] = field(default_factory=Counter[str])
    checks: Counter[str] = field(default_factory=Counter[str])

    @staticmethod
    def of(verdicts: Sequence[Verdict], wall_s: float) -> Totals:
        found = Totals(seeds=len(verdicts), failed=sum(bool(verdict.failure) for verdict in verdicts), wall_s=wall_s)
        for verdict in verdicts:
            for name in ("sim_s", "cpu_s", "rebuilt", "needless", "applied", "skipped", "commands", "checks"):
                setattr(found, name, getattr(found, name) + getattr(verdict, name))
        return found

    def __add__(self, other: Totals) -> Totals:
        return Totals(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(self)))

    def __str__(self) -> str:
        hours = self.sim_s / 3600
        per_wall_s, per_cpu_s = (hours / max(seconds, 0.001) for seconds in (self.wall_s, self.cpu_s))
        return "\n".join(
            (
                f"{self.seeds} seeds, {self.failed} failed",
                f"{hours:.1f} simulated hours in {self.wall_s:.0f} s: {per_wall_s:.2f} per second of wall clock,"
                f" {per_cpu_s:.2f} per second of CPU",
                f"faults: {_words(self.applied)}",
                f"forbidden by the budget: {_words(self.skipped)}",
                f"commands: {_words(self.commands)}",
                f"oracle: {_words(self.checks)}",
                f"shards rebuilt: {self.rebuilt}, of them needlessly: {self.needless}"
                f" ({100 * self.needless / max(1, self.rebuilt):.1f} %)",
            )
        )


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in sorted(counts.items())) or "none"


def keep(path: Path, totals: Totals, command: str) -> None:
    """Append one run to the file."""
    with path.open("a") as file:
        file.write(json.dumps({"command": command, **vars(totals)}) + "\n")


def kept(path: Path) -> list[tuple[str, Totals]]:
    """The runs of the file, each with its command, oldest first."""
    return [_parse(line) for line in path.read_text().splitlines()]


def _parse(line: str) -> tuple[str, Totals]:
    values = cast(dict[str, object], json.loads(line))
    command = cast(str, values.pop("command"))
    counts = {name: Counter(cast(dict[str, int], value)) for name, value in values.items() if isinstance(value, dict)}
    return command, Totals(**{**values, **counts})  # type: ignore[arg-type]  # what ``keep`` wrote


def soaks_table(path: Path = KEPT) -> str:
    """What docs/reliability.md shows of the runs that were kept."""
    runs = kept(path)
    lines = [
        "| `python -m tests.sim` | seeds | failed | simulated | wall clock | CPU | faults | rebuilds, needless |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(f"`{command.partition(' tests.sim ')[2]}`", totals) for command, totals in runs),
        _row("all", sum((totals for _, totals in runs), Totals())),
    ]
    return "\n".join(lines) + "\n"


def long_runs_table(path: Path = KEPT) -> str:
    """The same in sum, as docs/reliability.md sets it beside what others publish."""
    found = sum((totals for _, totals in kept(path)), Totals())
    hours = found.sim_s / 3600
    share = 100 * found.needless / max(1, found.rebuilt)
    return "\n".join(
        (
            "| figure | value |",
            "|---|---|",
            f"| seeds run, failed, faults applied | {found.seeds}, {found.failed}, {found.applied.total():,} |",
            f"| simulated time | {hours:,.0f} hours ({hours / 24:,.0f} days), {3600 * hours / found.wall_s:,.0f} times"
            " as fast as the wall clock |",
            f"| checks of the oracle | {found.checks.total():,} |",
            f"| rebuilds that were needless | {found.needless:,} of {found.rebuilt:,} ({share:.1f} %) |",
            "",
        )
    )


def _row(name: str, totals: Totals) -> str:
    share = 100 * totals.needless / max(1, totals.rebuilt)
    return (
        f"| {name} | {totals.seeds} | {totals.failed} | {totals.sim_s / 3600:,.0f} h | {totals.wall_s / 60:.0f} min"
        f" | {totals.cpu_s / 60:.0f} min | {totals.applied.total():,} | {totals.rebuilt:,}, {share:.1f} % |"
    )

"""One large file: put, get, verify, and the repair of one lost holder, each system in turn on the same bytes."""

from __future__ import annotations

import filecmp
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks.figures import MIB, Figure, Timing
from benchmarks.lab import Lab
from benchmarks.pool import MooragePool
from benchmarks.sources import make_source
from benchmarks.systems import System
from benchmarks.tahoe import TahoeGrid

STEPS = ("put", "get", "verify", "repair")
Turn = dict[str, Timing]
AnySystem = TypeVar("AnySystem", bound=System)


def take_turn(lab: Lab, system: System, source: Path) -> Turn:
    """All steps of one system on one file; what comes back is compared."""
    began_s = time.time()
    folder = lab.folder("restored")
    system.resume()
    stored, put = lab.timed(system, lambda: system.put(source))
    restored, get = lab.timed(system, lambda: system.get(stored, folder))
    if not filecmp.cmp(source, restored, shallow=False):
        raise SystemExit(f"{system.name} gave other bytes back")
    shutil.rmtree(folder)
    _, verify = lab.timed(system, lambda: system.verify(stored))
    turn = {"put": put, "get": get, "verify": verify}
    if isinstance(system, MooragePool | TahoeGrid):
        if not system.lose_holder(began_s):
            raise SystemExit(f"{system.name}: the holder had nothing to lose")
        _, turn["repair"] = lab.timed(system, lambda: system.repair(stored))
    system.pause()
    print_turn(system, turn)
    return turn


def print_turn(system: System, turn: Mapping[str, Timing]) -> None:
    """One line, while the benchmark runs."""
    print(
        f"  {system.name:18}" + "".join(f"{step} {timing.wall_s:8.2f} s   " for step, timing in turn.items()),
        flush=True,
    )


def in_turns(systems: Sequence[AnySystem], number: int) -> Sequence[AnySystem]:
    """The order of round ``number``: nobody always comes first."""
    return systems if number % 2 == 0 else systems[::-1]


def figures_of(
    scenario: str,
    steps: Sequence[str],
    size_bytes: int,
    turns: Mapping[str, Sequence[Turn]],
    *,
    notes: Sequence[str] = (),
) -> list[Figure]:
    """One for each step, of the systems that do it."""
    return [
        Figure(
            scenario,
            step,
            size_bytes,
            {
                name: series
                for name, rounds in turns.items()
                if (series := [turn[step] for turn in rounds if step in turn])
            },
            notes if step == steps[0] else (),
        )
        for step in steps
    ]


def whole_file(lab: Lab, systems: Sequence[System], scheme: str, *, size_bytes: int, rounds: int) -> list[Figure]:
    """Of fresh random bytes in each round: nothing to compress, nothing stored before."""
    turns: dict[str, list[Turn]] = {system.name: [] for system in systems}
    for number in range(rounds):
        print(f"{scheme}, {size_bytes // MIB} MiB, round {number + 1} of {rounds}", flush=True)
        source = lab.work / "source"
        make_source(source, size_bytes, seed=f"whole {number}")
        for system in in_turns(systems, number):
            turns[system.name].append(take_turn(lab, system, source))
        source.unlink()
    return figures_of(f"{scheme}, one file of {size_bytes // MIB} MiB", STEPS, size_bytes, turns)

"""A CT study with one holder dead and one that answers late: put, get, and the first slice on a screen.

One peer more than shares, so that there is a home for every share while one peer is dead. Before the put a peer dies
that would have held nothing else; before the get another one, which holds a share of everything.

The first slice is read three times: by a command, whose start is most of what it takes; by a program that has loaded
its modules and knows nobody yet; and by the same once more, with its connections open, as Tahoe's gateway has them.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from benchmarks.ct_study import make_study
from benchmarks.ct_volume import Volume
from benchmarks.figures import OURS, Figure, Timing
from benchmarks.lab import Lab
from benchmarks.late import LateLines
from benchmarks.plans import StudyPlan
from benchmarks.pool import MooragePool
from benchmarks.reads import OPEN_CLIENT, ranges_of_open_client
from benchmarks.sources import folder_size
from benchmarks.tahoe import TahoeGrid
from benchmarks.trees import extrapolated, take_tree_turn
from benchmarks.whole import Turn, figures_of, print_turn
from erasure.scheme import Scheme

STEPS = ("put", "get", "first slice")
LATE_S = 0.3
LATE_PEER = 2
# Pools of three sites put peers on them in turn: this one's site has another two.
DEAD_AT_PUT = 7
DEAD_AT_GET = 4
FIRST_SLICE = "SER00001/IM00001.dcm"
LOADED_CLIENT = f"{OURS}, loaded"
Sick = MooragePool | TahoeGrid


def _read_slice(system: Sick, stored: str, source: Path) -> None:
    """The first slice's bytes, compared with what was put."""
    if isinstance(system, MooragePool):
        with system.cat(stored, f"{source.name}/{FIRST_SLICE}") as process:
            data, _ = process.communicate()
    else:
        with closing(system.read(system.inside(stored, FIRST_SLICE))) as pieces:
            data = b"".join(pieces)
    if data != (source / FIRST_SLICE).read_bytes():
        raise SystemExit(f"{system.name} gave another slice")


def _read_again(system: Sick, stored: str, source: Path) -> dict[str, Turn]:
    """The same slice by a client that stays open, by its name."""
    if not isinstance(system, MooragePool):
        return {}
    path, size_bytes = f"{source.name}/{FIRST_SLICE}", (source / FIRST_SLICE).stat().st_size
    seconds = ranges_of_open_client(system, stored, path, (0, 0), size_bytes=size_bytes, met=False)
    names = (LOADED_CLIENT, OPEN_CLIENT)
    return {name: {"first slice": Timing(second)} for name, second in zip(names, seconds, strict=True)}


def _take_turn(lab: Lab, system: Sick, source: Path) -> dict[str, Turn]:
    """By system, and by how it was used where that is more than one way."""
    slices: list[Timing] = []
    others: dict[str, Turn] = {}

    def look_first(stored: str) -> None:
        system.kill(DEAD_AT_GET)
        slices.append(lab.timed(system, lambda: _read_slice(system, stored, source))[1])
        others.update(_read_again(system, stored, source))

    system.resume()
    system.kill(DEAD_AT_PUT)
    _, turn = take_tree_turn(lab, system, source, before_get=look_first)
    system.revive()
    system.pause()
    return {system.name: {**turn, "first slice": slices[0]}, **others}


def _measure(lab: Lab, system: Sick, volume: Volume, plan: StudyPlan, number: int) -> tuple[dict[str, Turn], int]:
    """One system's round, and the bytes of a whole study; of Tahoe's, what a study of so many slices would take."""
    slices = plan.tahoe_slices if isinstance(system, TahoeGrid) else plan.slices
    turns: list[dict[str, Turn]] = []
    sizes: list[int] = []
    # A study of two slices, one a series, tells what does not grow with the number of slices.
    for part in (slices,) if slices == plan.slices else (2, slices):
        source = lab.folder(f"study-{part}-{number}")
        make_study(source, volume, slices=part, seed=1000 * number + part)
        sizes.append(folder_size(source))
        turns.append(_take_turn(lab, system, source))
        print_turn(system, turns[-1][system.name])
        shutil.rmtree(source)
    if len(turns) == 1:
        return turns[0], sizes[0]
    small, large = (turn[system.name] for turn in turns)
    whole = {step: extrapolated((2, small[step]), (slices, large[step]), plan.slices) for step in ("put", "get")}
    return {system.name: {**whole, "first slice": large["first slice"]}}, sizes[-1] * plan.slices // slices


def sick_study(lab: Lab, scheme: Scheme, volume: Volume, plan: StudyPlan) -> list[Figure]:
    """Starts systems of its own, each with a late holder."""
    lines = LateLines(LATE_S)
    peers = max(DEAD_AT_PUT, scheme.total + 1)
    grids = lab.grids(scheme, nodes=peers) if plan.tahoe_slices else []
    for grid in grids:
        grid.delay(LATE_PEER, lines.to)
    systems: list[Sick] = [*grids, lab.pool(scheme, peers=peers)]
    turns: dict[str, list[Turn]] = {system.name: [] for system in systems}
    size_bytes = 0
    try:
        with lab.started(systems):
            for system in systems:
                if isinstance(system, MooragePool):
                    system.delay(LATE_PEER, lines.to)
            for number in range(plan.rounds):
                print(f"{scheme}, CT study, round {number + 1} of {plan.rounds}", flush=True)
                for system in systems if number % 2 == 0 else systems[::-1]:
                    measured, size_bytes = _measure(lab, system, volume, plan, number)
                    for name, turn in measured.items():
                        turns.setdefault(name, []).append(turn)
    finally:
        lines.stop()
    return _figures(scheme, plan, turns, size_bytes)


def _figures(scheme: Scheme, plan: StudyPlan, turns: Mapping[str, Sequence[Turn]], size_bytes: int) -> list[Figure]:
    scenario = f"{scheme}, CT study of {plan.slices} slices, a holder dead, one {LATE_S * 1000:.0f} ms late"
    note = f"tahoe: {plan.tahoe_slices} slices, figures extrapolated to all"
    notes = [note] if "tahoe" in turns and plan.tahoe_slices < plan.slices else []
    *whole, first_slice = figures_of(scenario, STEPS, size_bytes, turns, notes=notes)
    # Nobody waits for the rest of the study then.
    return [*whole, replace(first_slice, size_bytes=0)]

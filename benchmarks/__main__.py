"""Everything that is measured, in one run: each stage, then whole pools beside Tahoe-LAFS 1.20 and restic.

    python -m benchmarks [--quick] [--only PART ...] [--rounds N] [--alone] [--no-history]

Prints all figures and their ratios, writes them to benchmarks/results, adds a line to benchmarks/history.jsonl and
compares it with the last one of the same plan and machine: exit status 1 when moorage has become slower.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from benchmarks.clients import many_clients
from benchmarks.compression import incompressible
from benchmarks.ct_volume import find_volume
from benchmarks.figures import OURS, Figure
from benchmarks.history import Line, append_history, is_busy, last_comparable, make_line, read_history, slower
from benchmarks.lab import Lab, Tools, find_tools, run_in_lab
from benchmarks.machine import describe_machine
from benchmarks.memory import fill_page_cache
from benchmarks.plans import FULL, PARTS, QUICK, Plan, narrowed
from benchmarks.pool import UNSYNCED
from benchmarks.reads import read_little
from benchmarks.report import print_figures, write_result
from benchmarks.stages import FLOWS, Limit, Stage, limits_of, measure_stages, stage_lines, stages_json
from benchmarks.study import sick_study
from benchmarks.systems import System
from benchmarks.tables import fraction_lines
from benchmarks.trees import many_files
from benchmarks.whole import whole_file
from erasure.scheme import Scheme
from host.memory import keep_freed_memory

EXIT_SLOWER = 1
Limits = dict[str, dict[str, Limit]]


class Run:
    """One run's figures as they come."""

    def __init__(self, plan: Plan, lab: Lab) -> None:
        self._plan = plan
        self._lab = lab
        self.figures: list[Figure] = []
        self.stages: dict[str, list[Stage]] = {}
        self.others: dict[str, str] = {}

    def measure(self) -> None:
        """All parts of the plan."""
        for scheme in self._plan.schemes:
            if "stages" in self._plan.parts:
                print(f"{scheme}, stages", flush=True)
                self.stages[str(scheme)] = measure_stages(scheme, self._lab.work, self._plan.stage_rounds)
        for number, scheme in enumerate(self._plan.schemes):
            self._measure_systems(scheme, is_first=number == 0)
        if "study" in self._plan.parts:
            self.figures += sick_study(self._lab, self._plan.schemes[0], find_volume(None), self._plan.study)

    def _measure_systems(self, scheme: Scheme, *, is_first: bool) -> None:
        parts = self._plan.parts if is_first else self._plan.parts & {"file"}
        if not parts - {"stages", "study"}:
            return
        pools = self._lab.pools(scheme, unsynced="file" in parts and self._plan.unsynced)
        systems: list[System] = [*self._lab.grids(scheme), *self._lab.repositories(), *pools]
        self.others |= {system.name: system.version for system in systems if not system.name.startswith(OURS)}
        with self._lab.started(systems):
            if "file" in parts:
                size_bytes, rounds = self._plan.file_bytes, self._plan.rounds
                self.figures += whole_file(self._lab, systems, str(scheme), size_bytes=size_bytes, rounds=rounds)
            synced = [system for system in systems if system.name != UNSYNCED]
            self._measure_more(synced, str(scheme), parts)

    def _measure_more(self, systems: Sequence[System], scheme: str, parts: frozenset[str]) -> None:
        plan, lab = self._plan, self._lab
        if "files" in parts:
            for many, rounds in plan.folders:
                self.figures += many_files(lab, systems, scheme, many, rounds=rounds)
        if "reads" in parts:
            self.figures += read_little(lab, systems, scheme, size_bytes=plan.range_file_bytes, reads=plan.ranges)
        if "clients" in parts:
            size_bytes, rounds = plan.client_bytes, plan.rounds
            self.figures += many_clients(
                lab, systems, scheme, clients=plan.clients, size_bytes=size_bytes, rounds=rounds
            )
        if "compression" in parts:
            self.figures += incompressible(lab, systems, scheme, size_bytes=plan.file_bytes, rounds=plan.rounds)

    def limits(self) -> Limits:
        """By scheme, then by flow."""
        return {scheme: limits_of(stages) for scheme, stages in self.stages.items()}


def fractions_of(figures: Sequence[Figure], limits: Limits) -> dict[str, tuple[float, str]]:
    """How much of its limit moorage's put and get of one file reached, by the figure's name; and the limit in words."""
    found: dict[str, tuple[float, str]] = {}
    for figure in figures:
        scheme, _, rest = figure.scenario.partition(", ")
        if figure.step not in FLOWS or scheme not in limits or not rest.startswith("one file"):
            continue
        limit = limits[scheme][figure.step]
        words = f"{limit.bytes_per_s / 1e6:.0f} MB/s, which the {limit.set_by} could reach"
        for system in (OURS, UNSYNCED):
            if system in figure.series:
                fraction = limit.fraction(figure.size_bytes, figure.wall_s(system).middle)
                found[figure.name + system.removeprefix(OURS)] = (fraction, words)
    return found


def print_run(run: Run, tools: Tools, limits: Limits, fractions: Mapping[str, tuple[float, str]]) -> None:
    """All tables: stages, figures, ratios, fractions."""
    for scheme, stages in run.stages.items():
        print("\n".join(["", f"{scheme}, stages", *stage_lines(stages, limits[scheme])]))
    print_figures(run.figures, tools)
    if fractions:
        print("\n".join(["", "of the limit that the stages set, this much was reached", *fraction_lines(fractions)]))


def compare(line: Line, history: Sequence[Line]) -> int:
    """Print what became slower; the exit status, which a busy machine does not change."""
    before = last_comparable(history, line)
    if before is None:
        print("no earlier run of this plan on this machine to compare with")
        return 0
    changes = slower(before, line)
    print(f"compared with {before['when']} ({before['software']['commit']}): {len(changes)} figures slower")
    for change in changes:
        print(f"  {change.words}")
    if is_busy(line):
        print(f"others were at work here (load {line['machine']['load_before']:.1f}): run it again for a verdict")
        return 0
    return EXIT_SLOWER if changes else 0


def run_plan(plan: Plan, lab: Lab, *, keep: bool) -> int:
    """Measure, print, write, compare; the exit status."""
    keep_freed_memory()
    machine = describe_machine()
    if plan.fills_memory:
        machine["page_cache_filled_bytes"] = fill_page_cache(lab.work)
    run = Run(plan, lab)
    run.measure()
    limits = run.limits()
    fractions = fractions_of(run.figures, limits)
    print_run(run, lab.tools, limits, fractions)
    reached = {name: round(fraction, 3) for name, (fraction, _) in fractions.items()}
    more = {
        "plan": plan.name,
        "stages": {scheme: stages_json(stages, limits[scheme]) for scheme, stages in run.stages.items()},
        "fraction_of_limit": reached,
    }
    result = write_result(plan.name, run.figures, machine=machine, others=run.others, private=lab.private, more=more)
    line = make_line(run.figures, when=result.when, plan=plan.name, machine=machine, software=result.software)
    line["fractions"] = reached
    line["limits"] = {
        f"{scheme} {flow}": round(limit.bytes_per_s / 1e6, 1)
        for scheme, flows in limits.items()
        for flow, limit in flows.items()
    }
    history = read_history()
    if keep:
        append_history(line)
    return compare(line, history)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure everything.")
    parser.add_argument("--quick", action="store_true", help="little of everything, to see that all of it works")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measure some parts")
    parser.add_argument(
        "--rounds", type=int, help="of large files and of clients, of others at most (default: the plan's)"
    )
    parser.add_argument("--alone", action="store_true", help="moorage without the others")
    parser.add_argument("--no-history", dest="keep", action="store_false", help="add no line to the history")
    words = parser.parse_args()
    plan = QUICK if words.quick else FULL
    parts = frozenset(words.only)
    rounds = words.rounds or plan.rounds
    if parts != plan.parts or rounds != plan.rounds:
        plan = narrowed(plan, parts, rounds)
    beside = bool(parts - {"stages", "compression"}) and not words.alone
    if words.alone:
        plan = replace(plan, name=f"{plan.name} alone", study=replace(plan.study, tahoe_slices=0))

    def find() -> Tools:
        if "study" in parts:
            find_volume(None)
        return find_tools(tahoe=beside, restic=beside, unsynced="file" in parts)

    return run_in_lab("benchmarks", find, lambda lab: run_plan(plan, lab, keep=words.keep), plan.disk_bytes)


if __name__ == "__main__":
    sys.exit(main())

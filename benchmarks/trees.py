"""Folders of many files: put and restored by each system in turn, and compared file by file."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.figures import Figure, Timing
from benchmarks.lab import Lab
from benchmarks.sources import make_folder
from benchmarks.systems import System
from benchmarks.whole import Turn, figures_of, in_turns, print_turn

STEPS = ("put", "get")
KB = 1000


@dataclass(frozen=True, slots=True)
class ManyFiles:
    """``files`` files of ``file_bytes``. ``at_most``: how many of them a slow system gets, by its name."""

    files: int
    file_bytes: int
    at_most: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def words(self) -> str:
        return f"{self.files:,} files of {self.file_bytes // KB} KB"

    def files_for(self, system: str) -> int:
        return min(self.files, self.at_most.get(system, self.files))


def differences(one: Path, other: Path) -> list[str]:
    """Relative paths that only one of the folders has, or whose bytes differ."""
    names = {path.relative_to(folder) for folder in (one, other) for path in folder.rglob("*") if not path.is_dir()}

    def differ(name: Path) -> bool:
        both = (one / name).is_file() and (other / name).is_file()
        return not both or not filecmp.cmp(one / name, other / name, shallow=False)

    return sorted(str(name) for name in names if differ(name))


def extrapolated(few: tuple[int, Timing], more: tuple[int, Timing], files: int) -> Timing:
    """What ``files`` files would take, by what two smaller numbers of files took: a part that is fixed, and files."""
    (few_files, small), (more_files, large) = few, more
    steps = (files - more_files) / (more_files - few_files)

    def further(one: float, other: float) -> float:
        return max(other, other + (other - one) * steps)

    return replace(
        large,
        wall_s=further(small.wall_s, large.wall_s),
        cpu_s=further(small.cpu_s, large.cpu_s),
        wire_bytes=int(further(small.wire_bytes, large.wire_bytes)),
        stored_bytes=int(further(small.stored_bytes, large.stored_bytes)),
    )


def take_tree_turn(
    lab: Lab, system: System, source: Path, *, before_get: Callable[[str], None] = lambda _: None
) -> tuple[str, Turn]:
    """Put and restore a folder, and compare; what was stored, and the times. ``before_get`` may do harm between."""
    folder = lab.folder("restored")
    system.resume()
    stored, put = lab.timed(system, lambda: system.put_tree(source))
    before_get(stored)
    restored, get = lab.timed(system, lambda: system.get_tree(stored, folder))
    differing = differences(source, restored)
    if differing:
        raise SystemExit(f"{system.name} gave other files back: {', '.join(differing[:5])}")
    shutil.rmtree(folder)
    return stored, {"put": put, "get": get}


def _measure(lab: Lab, system: System, many: ManyFiles, number: int) -> Turn:
    """One system's round; of one that gets fewer files, what all of them would take."""
    files = many.files_for(system.name)
    turns: list[Turn] = []
    for part in (files,) if files == many.files else (1, files):
        source = lab.folder(f"files-{part}-{number}")
        make_folder(source, files=part, file_bytes=many.file_bytes, seed=f"{many.words} {part} {number}")
        turns.append(take_tree_turn(lab, system, source)[1])
        system.pause()
        print_turn(system, turns[-1])
        shutil.rmtree(source)
    if len(turns) == 1:
        return turns[0]
    return {step: extrapolated((1, turns[0][step]), (files, turns[1][step]), many.files) for step in STEPS}


def many_files(lab: Lab, systems: Sequence[System], scheme: str, many: ManyFiles, *, rounds: int) -> list[Figure]:
    """Fresh random files in each round."""
    turns: dict[str, list[Turn]] = {system.name: [] for system in systems}
    for number in range(rounds):
        print(f"{scheme}, {many.words}, round {number + 1} of {rounds}", flush=True)
        for system in in_turns(systems, number):
            turns[system.name].append(_measure(lab, system, many, number))
    fewer = [(system.name, many.files_for(system.name)) for system in systems]
    notes = [f"{name}: {files:,} files, figures extrapolated to all" for name, files in fewer if files < many.files]
    size_bytes = many.files * many.file_bytes
    return figures_of(f"{scheme}, {many.words}", STEPS, size_bytes, turns, notes=notes)

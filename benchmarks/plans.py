"""How much of everything a run measures: the whole of it, or enough to see that all of it works."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from benchmarks.figures import MIB
from benchmarks.trees import KB, ManyFiles
from erasure.scheme import Scheme

PARTS = ("stages", "file", "files", "reads", "clients", "compression", "study")
# Tahoe takes some twenty files a second: the rest would take it as long each.
SLACK_BYTES = 4 << 30
TAHOE_FILES = {"tahoe": 1000}


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """``slices`` of a CT study, of which Tahoe gets ``tahoe_slices``; it is left out where that is 0."""

    slices: int
    tahoe_slices: int
    rounds: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Lines of the history are compared with lines of the same plan. The first scheme has all scenarios."""

    name: str
    schemes: tuple[Scheme, ...]
    rounds: int
    stage_rounds: int
    file_bytes: int
    folders: tuple[tuple[ManyFiles, int], ...]
    """Each with its rounds."""
    range_file_bytes: int
    ranges: int
    clients: int
    client_bytes: int
    study: StudyPlan
    unsynced: bool = True
    fills_memory: bool = True
    parts: frozenset[str] = field(default=frozenset(PARTS))

    @property
    def disk_bytes(self) -> int:
        """More than a run ever has on the disk at once."""
        folders = sum(many.files * many.file_bytes * rounds for many, rounds in self.folders)
        clients = self.client_bytes * self.clients * self.rounds
        # Of large files: every system's shares, what repairs add, and moorage's with and without compression.
        return 9 * self.file_bytes * self.rounds + 4 * (folders + self.range_file_bytes + clients) + SLACK_BYTES


FULL = Plan(
    name="full",
    schemes=(Scheme(4, 6), Scheme(10, 14)),
    rounds=5,
    stage_rounds=5,
    file_bytes=512 * MIB,
    folders=((ManyFiles(200, 500 * KB), 5), (ManyFiles(20_000, 4 * KB, TAHOE_FILES), 3)),
    range_file_bytes=1024 * MIB,
    ranges=30,
    clients=4,
    client_bytes=64 * MIB,
    study=StudyPlan(900, 30, 3),
)
QUICK = Plan(
    name="quick",
    schemes=(Scheme(4, 6),),
    rounds=1,
    stage_rounds=2,
    file_bytes=32 * MIB,
    folders=((ManyFiles(10, 500 * KB), 1), (ManyFiles(1000, 4 * KB, {"tahoe": 10}), 1)),
    range_file_bytes=32 * MIB,
    ranges=3,
    clients=2,
    client_bytes=8 * MIB,
    study=StudyPlan(6, 0, 1),
    fills_memory=False,
)


def narrowed(plan: Plan, parts: frozenset[str], rounds: int) -> Plan:
    """Some parts of a plan, large files and clients in so many rounds and nothing else in more."""
    return replace(
        plan,
        name=f"{plan.name} {rounds} {' '.join(sorted(parts))}",
        parts=parts,
        rounds=rounds,
        folders=tuple((many, min(rounds, own)) for many, own in plan.folders),
        study=replace(plan.study, rounds=min(rounds, plan.study.rounds)),
    )

"""Durations in, medians, spreads and ratios out: what a comparison prints and stores. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MIB = 1 << 20
STEPS = ("put", "get")


@dataclass(frozen=True, slots=True)
class Timing:
    """One step of one system in one round."""

    wall_s: float
    cpu_s: float
    """Of all the system's processes together."""


@dataclass(frozen=True, slots=True)
class Measured:
    """All rounds of one system. ``stored_ratio`` is bytes on its disks per byte put."""

    timings: Mapping[str, Sequence[Timing]]
    stored_ratio: float

    def median_s(self, step: str) -> float:
        return statistics.median(timing.wall_s for timing in self.timings[step])

    def spread_s(self, step: str) -> tuple[float, float]:
        """The fastest and the slowest round."""
        walls = [timing.wall_s for timing in self.timings[step]]
        return min(walls), max(walls)

    def cpu_s(self, step: str) -> float:
        """The median over the rounds."""
        return statistics.median(timing.cpu_s for timing in self.timings[step])


def ratios(ours: Measured, theirs: Measured) -> dict[str, float]:
    """How many times as fast we are, by step, from medians."""
    return {step: theirs.median_s(step) / ours.median_s(step) for step in STEPS}


def ratio_spread(ours: Measured, theirs: Measured, step: str) -> tuple[float, float, float]:
    """The smallest, the median and the largest ratio of one round: what else the machine did weighs on both alike."""
    pairs = zip(theirs.timings[step], ours.timings[step], strict=True)
    each = sorted(their.wall_s / our.wall_s for their, our in pairs)
    return each[0], statistics.median(each), each[-1]


def table(systems: Mapping[str, Measured], size_bytes: int) -> list[str]:
    """Lines for a terminal."""
    lines = [f"{'':10}{'step':6}{'median':>10}{'fastest':>10}{'slowest':>10}{'rate':>14}{'CPU per GB':>14}"]
    for name, measured in systems.items():
        for step in STEPS:
            fastest_s, slowest_s = measured.spread_s(step)
            median_s = measured.median_s(step)
            rate = f"{size_bytes / MIB / median_s:.1f} MiB/s"
            cpu = f"{measured.cpu_s(step) / size_bytes * 1e9:.1f} s"
            walls = "".join(f"{wall_s:>8.2f} s" for wall_s in (median_s, fastest_s, slowest_s))
            lines.append(f"{name:10}{step:6}{walls}{rate:>14}{cpu:>14}")
    lines += [f"{name:10}stores {measured.stored_ratio:.3f} x" for name, measured in systems.items()]
    return lines


def as_json(measured: Measured, size_bytes: int) -> dict[str, object]:
    """One system's part of the results file."""
    steps = {
        step: {
            "wall_s": [round(timing.wall_s, 4) for timing in measured.timings[step]],
            "cpu_s": [round(timing.cpu_s, 2) for timing in measured.timings[step]],
            "median_s": round(measured.median_s(step), 4),
            "median_mib_per_s": round(size_bytes / MIB / measured.median_s(step), 2),
        }
        for step in STEPS
    }
    return {**steps, "stored_ratio": round(measured.stored_ratio, 4)}

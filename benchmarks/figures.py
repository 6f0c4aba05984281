"""What was measured, and its medians, spreads and ratios. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

MIB = 1 << 20
GB = 1e9
OURS = "moorage"


@dataclass(frozen=True, slots=True)
class Timing:
    """One step of one system in one round. What was not measured is 0."""

    wall_s: float
    cpu_s: float = 0.0
    """Of all the system's processes together."""
    wire_bytes: int = 0
    stored_bytes: int = 0
    """By how much its disks filled."""
    client_peak_bytes: int = 0
    peer_peak_bytes: int = 0
    """Of the peer that had most."""


class Spread(NamedTuple):
    """Of one quantity over the rounds, or of a ratio."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(min(values), statistics.median(values), max(values))


@dataclass(frozen=True, slots=True)
class Figure:
    """One step of one scenario, by system. ``size_bytes``: the user data that it handles in one round."""

    scenario: str
    step: str
    size_bytes: int
    series: Mapping[str, Sequence[Timing]]
    notes: Sequence[str] = field(default=())

    @property
    def name(self) -> str:
        return f"{self.scenario}: {self.step}"

    def wall_s(self, system: str) -> Spread:
        return Spread.of([timing.wall_s for timing in self.series[system]])

    def median(self, system: str, quantity: str) -> float:
        """Of any field of ``Timing``."""
        return statistics.median(float(getattr(timing, quantity)) for timing in self.series[system])

    def cpu_s_per_gb(self, system: str) -> float:
        return self.median(system, "cpu_s") / self.size_bytes * GB if self.size_bytes else 0.0

    def wire_per_stored(self, system: str) -> float:
        """Bytes on the wire for each byte that came to lie on a disk; 0 where one of them is not known."""
        stored = self.median(system, "stored_bytes")
        return self.median(system, "wire_bytes") / stored if stored > 0 else 0.0

    def times_as_fast(self, other: str, ours: str = OURS) -> Spread | None:
        """How many times as fast ``ours`` is as ``other``: by medians, and the least and the most.

        Round by round where both took part in the same rounds: what else the machine did weighs on both alike.
        Otherwise by the extremes of all rounds. None when one of them was not measured.
        """
        if not self.series.get(other) or not self.series.get(ours):
            return None
        theirs, mine = self.wall_s(other), self.wall_s(ours)
        pairs = list(zip(self.series[other], self.series[ours], strict=False))
        if len(self.series[other]) == len(self.series[ours]):
            each = [their.wall_s / our.wall_s for their, our in pairs]
            return Spread(min(each), theirs.middle / mine.middle, max(each))
        return Spread(theirs.low / mine.high, theirs.middle / mine.middle, theirs.high / mine.low)

    def as_json(self) -> dict[str, object]:
        """This figure's part of the results file, every round in it."""
        return {
            "scenario": self.scenario,
            "step": self.step,
            "size_bytes": self.size_bytes,
            "systems": {name: _series_json(series) for name, series in self.series.items()},
            "times_as_fast_as": {
                name: [round(value, 3) for value in ratio]
                for name in self.series
                if name != OURS and (ratio := self.times_as_fast(name)) is not None
            },
            "notes": list(self.notes),
        }


def _series_json(series: Sequence[Timing]) -> dict[str, object]:
    return {
        "wall_s": [round(timing.wall_s, 5) for timing in series],
        "cpu_s": [round(timing.cpu_s, 3) for timing in series],
        "wire_bytes": [timing.wire_bytes for timing in series],
        "stored_bytes": [timing.stored_bytes for timing in series],
        "client_peak_bytes": [timing.client_peak_bytes for timing in series],
        "peer_peak_bytes": [timing.peer_peak_bytes for timing in series],
        "median_s": round(Spread.of([timing.wall_s for timing in series]).middle, 5),
    }

"""The fewest faults that still break the same promise: delta debugging (Zeller & Hildebrandt, TSE 2002)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from tests.sim.nemesis import Fault

Fails = Callable[[Sequence[Fault]], str]
"""What a universe with these faults fails by; empty when it does not."""


def kind_of(failure: str) -> str:
    """A failure without its names and numbers: what two failures have in common when one bug made them."""
    return re.sub(r"[0-9a-f]{6,}|[0-9]+|peer-\d+", "#", failure).split(":")[0][:80]


def minimise(
    schedule: Sequence[Fault], failure: str, fails: Fails, *, runs_max: int = 60
) -> tuple[tuple[Fault, ...], int]:
    """Leave out faults, half of them first, then ever smaller parts, while the same kind of failure stays.

    Returns:
        The faults that are left, and how many universes it took (at most ``runs_max``).
    """
    kept, kind, runs = list(schedule), kind_of(failure), 0
    size = max(1, len(kept) // 2)
    while kept and runs < runs_max:
        at = 0
        shorter = False
        while at < len(kept) and runs < runs_max:
            trial = kept[:at] + kept[at + size :]
            runs += 1
            if kind_of(fails(trial)) == kind:
                kept, shorter = trial, True
            else:
                at += size
        if size == 1 and not shorter:
            break
        size = max(1, size // 2)
    return tuple(kept), runs

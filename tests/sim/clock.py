"""A wall clock that follows trio's (virtual) time."""

from __future__ import annotations

import trio

# 2027-01-15 08:00:00 UTC
START_S = 1_800_000_000.0


def virtual_time_s() -> float:
    """Trio's time; 0 outside of trio."""
    try:
        return trio.current_time()
    except RuntimeError:
        return 0.0


class SimClock:
    """``core.ports.Clock``. ``skew_s`` may be changed at any time: the clock jumps."""

    def __init__(self, *, start_s: float = START_S, skew_s: float = 0.0) -> None:
        self.start_s = start_s
        self.skew_s = skew_s

    def now(self) -> float:
        return self.start_s + self.skew_s + virtual_time_s()

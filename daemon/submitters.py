"""How many leaves each submitter may bring in a while (a token bucket each)."""

from __future__ import annotations

from core.errors import BusyError
from core.ids import PeerId
from core.ports import Clock

# What the operator is made for, and four seconds of it at once: as many as may wait for their commit.
LEAVES_PER_S = 5_000.0
BURST_LEAVES = 20_000.0
# Submitters remembered; one that was forgotten may begin anew.
SUBMITTERS_MAX = 256


class Submitters:
    """Counts by peer. The clock may jump: a bucket is then full, or fills again from now on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left: dict[PeerId, tuple[float, float]] = {}

    def count(self, submitter: PeerId, leaves: int) -> None:
        """Raises BusyError when these are too many too soon."""
        now_s = self._clock.now()
        left, at_s = self._left.pop(submitter, (BURST_LEAVES, now_s))
        left = min(BURST_LEAVES, left + max(0.0, now_s - at_s) * LEAVES_PER_S)
        enough = left >= leaves
        self._left[submitter] = (left - leaves if enough else left, now_s)
        if len(self._left) > SUBMITTERS_MAX:
            del self._left[next(iter(self._left))]
        if not enough:
            raise BusyError(f"more than {LEAVES_PER_S:.0f} leaves a second: try again shortly")

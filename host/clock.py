"""The system's wall clock."""

from __future__ import annotations

import time


class RealClock:
    """``core.ports.Clock``."""

    def now(self) -> float:
        return time.time()

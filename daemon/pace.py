"""Reading and sending no faster than an operator allows, and not while others are being served."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from core.limits import MIB

# Credit for an idle time: after a pause at most this much runs unpaced.
BURST_S = 0.5
# While requests were served within the last second, background work stands back...
QUIET_S = 1.0
# ... but not for ever: a peer that is always busy is swept, too.
STAND_BACK_MAX_S = 10.0


def always_quiet() -> float:
    """For work that somebody is waiting for: it yields to nobody."""
    return float("inf")


class Pace:
    """A token bucket of bytes on trio's clock.

    Args:
        mib_s: at most so many MiB a second on average; 0: no limit.
        quiet_s: for how many seconds nobody has been served.
        hurry: returns when work that waits here should come to an end; what it takes then is waited for later.
    """

    def __init__(
        self,
        mib_s: float,
        quiet_s: Callable[[], float] = always_quiet,
        hurry: Callable[[], Awaitable[None]] = trio.sleep_forever,
    ) -> None:
        self._bytes_s = mib_s * MIB
        self._quiet_s = quiet_s
        self._hurry = hurry
        self._free_at = float("-inf")

    async def take(self, size_bytes: int) -> None:
        """Wait until ``size_bytes`` more are due. A piece larger than the burst passes, and is waited for after it."""
        await self._stand_back()
        if not self._bytes_s:
            await trio.lowlevel.checkpoint()
            return
        now = trio.current_time()
        start = max(self._free_at, now - BURST_S)
        self._free_at = start + size_bytes / self._bytes_s
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(max(0.0, start - now)):
            await self._hurry()

    async def _stand_back(self) -> None:
        with trio.move_on_after(STAND_BACK_MAX_S):
            quiet_s = self._quiet_s()
            while quiet_s < QUIET_S:
                await trio.sleep(max(0.05, QUIET_S - quiet_s))
                quiet_s = self._quiet_s()


class Traffic:
    """How long nobody has been served, from a counter of requests."""

    def __init__(self, served: Callable[[], int]) -> None:
        self._served = served
        self._last = served()
        self._changed_at = float("-inf")

    def quiet_s(self) -> float:
        now = self._served()
        if now != self._last:
            self._last, self._changed_at = now, trio.current_time()
        return trio.current_time() - self._changed_at

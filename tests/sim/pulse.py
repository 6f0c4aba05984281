"""How busy a universe is: what a loop without a pause does not show otherwise, since virtual time costs nothing."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tests.sim.truth import ViolationError

WINDOW_S = 60.0
# Of all tasks of seven daemons and three clients: the busiest minute that was seen took 45,000. One daemon that looks
# at its objects again and again takes 450,000.
STEPS_MAX = 200_000


class Pulse(trio.abc.Instrument):
    """Counts steps of tasks. ``watch`` raises ViolationError for a window that has too many."""

    def __init__(self) -> None:
        self._steps = 0
        self.most = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        del task
        self._steps += 1

    async def watch(self, look: Callable[[], None]) -> None:
        """``look`` is called once a window, and may raise, too."""
        while True:
            before = self._steps
            await trio.sleep(WINDOW_S)
            look()
            self.most = max(self.most, self._steps - before)
            if self.most > STEPS_MAX:
                raise ViolationError(f"{self.most} steps of tasks within {WINDOW_S:g} s: something does not pause")

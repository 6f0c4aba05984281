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
    """Counts steps of tasks. Too many in one window end ``scope``, and ``check`` then raises ViolationError."""

    def __init__(self, steps_max: int = STEPS_MAX) -> None:
        self._steps_max = steps_max
        self._steps = 0
        self.scope = trio.CancelScope()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        del task
        self._steps += 1
        if self._steps > self._steps_max:
            # A loop that never sleeps holds virtual time still: nobody else would ever get to stop it.
            self.scope.cancel()

    async def watch(self, look: Callable[[], None]) -> None:
        """A new window every minute. ``look`` is called once in each, and may raise."""
        while True:
            self._steps = 0
            await trio.sleep(WINDOW_S)
            look()

    def check(self) -> None:
        if self._steps > self._steps_max:
            raise ViolationError(
                f"more than {self._steps_max} steps of tasks within {WINDOW_S:g} s: something does not pause"
            )

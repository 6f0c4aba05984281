"""A loop without a pause ends a universe, whether or not it lets virtual time pass."""

from __future__ import annotations

import pytest
import trio

from tests.sim.determinism import run_seeded
from tests.sim.pulse import WINDOW_S, Pulse
from tests.sim.truth import ViolationError


async def universe(pause_s: float) -> None:
    pulse = Pulse(steps_max=2000)
    trio.lowlevel.add_instrument(pulse)

    async def loop() -> None:
        while True:  # noqa: ASYNC110 - the loop is what is looked for
            await trio.sleep(pause_s)

    with pulse.scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(loop)
            nursery.start_soon(pulse.watch, lambda: None)
            await trio.sleep(10 * WINDOW_S)
            nursery.cancel_scope.cancel()
    pulse.check()


@pytest.mark.parametrize("pause_s", [0, 0.001])
def test_a_loop_that_does_not_pause_is_found(pause_s: float) -> None:
    with pytest.raises(ViolationError, match="does not pause"):
        run_seeded(1, universe, pause_s)


def test_a_loop_that_pauses_is_not() -> None:
    run_seeded(1, universe, 1.0)

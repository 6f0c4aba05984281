"""What a holder that is dead, and one whose answers come late, may cost a put and a get."""

from __future__ import annotations

import pytest

from client.patience import LATE_PATIENCE_S
from tests.client.late_holders import LATE_S, sick_seconds, some_extents, some_slices

# TLS, welcome, greeting; then shards, index, manifest, a last look, receipt: each needs the answer to the one before.
PUT_ROUND_TRIPS = 3 + 5
# What jobs and the quick holders take, by and large.
WORK_S = 0.5


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_a_late_holder_costs_a_put_its_round_trips_and_a_get_nothing(seed: int, dark: bool) -> None:
    seconds = sick_seconds(seed, some_slices(seed), dark=dark)
    waited_s = LATE_PATIENCE_S - 3 * LATE_S if dark else 0.0
    assert seconds["put"] < PUT_ROUND_TRIPS * LATE_S + waited_s + WORK_S
    assert seconds["first"] < LATE_S
    assert seconds["get"] < LATE_S


def test_a_late_holder_does_not_hold_up_each_extent_of_a_put() -> None:
    """Its answers to one extent may come while the others hear of the next."""
    assert sick_seconds(1, some_extents(3), dark=False)["put"] < (PUT_ROUND_TRIPS + 1) * LATE_S + WORK_S

"""A comparison's arithmetic: medians, spreads, and which way round a ratio is."""

from __future__ import annotations

import pytest

from benchmarks.figures import MIB, Measured, Timing, as_json, ratio_spread, ratios, table


def measured(*walls_s: float) -> Measured:
    timings = [Timing(wall_s, 2 * wall_s) for wall_s in walls_s]
    return Measured({"put": timings, "get": timings[::-1]}, 1.5)


def test_twice_as_fast_is_two() -> None:
    assert ratios(ours=measured(1, 1, 9), theirs=measured(2, 2, 2)) == {"put": 2.0, "get": 2.0}


def test_the_spread_of_a_ratio_is_of_rounds_not_of_extremes() -> None:
    assert ratio_spread(measured(1, 2, 4), measured(2, 6, 16), "put") == (2.0, 3.0, 4.0)


def test_a_slow_round_shows_in_the_spread_and_not_in_the_median() -> None:
    slow = measured(1.0, 1.2, 30.0)
    assert slow.median_s("put") == pytest.approx(1.2)
    assert slow.spread_s("put") == (1.0, 30.0)
    assert slow.cpu_s("get") == pytest.approx(2.4)


def test_the_table_names_every_system_and_the_file_holds_every_round() -> None:
    lines = "\n".join(table({"tahoe": measured(2.0), "moorage": measured(0.5)}, 8 * MIB))
    assert "4.0 MiB/s" in lines
    assert "16.0 MiB/s" in lines
    put = as_json(measured(0.5, 1.0, 0.25), 8 * MIB)["put"]
    assert put == {"wall_s": [0.5, 1.0, 0.25], "cpu_s": [1.0, 2.0, 0.5], "median_s": 0.5, "median_mib_per_s": 16.0}

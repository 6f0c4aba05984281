"""A comparison's arithmetic: medians, spreads, and which way round a ratio is."""

from __future__ import annotations

import pytest

from benchmarks.figures import MIB, Figure, Timing
from benchmarks.tables import figure_lines, fraction_lines, ratio_lines


def series(*walls_s: float) -> list[Timing]:
    return [Timing(wall_s, 2 * wall_s, wire_bytes=300, stored_bytes=150) for wall_s in walls_s]


def figure(ours: list[Timing], theirs: list[Timing]) -> Figure:
    return Figure("4+2", "put", 8 * MIB, {"moorage": ours, "tahoe": theirs})


def test_twice_as_fast_is_two() -> None:
    ratio = figure(series(1, 1, 9), series(2, 2, 2)).times_as_fast("tahoe")
    assert ratio is not None
    assert ratio.middle == 2.0


def test_the_spread_of_a_ratio_is_of_rounds_not_of_extremes() -> None:
    assert figure(series(1, 2, 4), series(2, 6, 16)).times_as_fast("tahoe") == (2.0, 3.0, 4.0)


def test_with_rounds_that_were_not_shared_the_spread_is_of_extremes() -> None:
    assert figure(series(1, 2, 4), series(8)).times_as_fast("tahoe") == (2.0, 4.0, 8.0)


def test_a_system_that_cannot_do_a_step_has_no_ratio() -> None:
    only_ours = Figure("4+2", "repair", 8 * MIB, {"moorage": series(1.0)})
    assert only_ours.times_as_fast("restic") is None
    assert figure([], series(1.0)).times_as_fast("tahoe") is None


def test_a_slow_round_shows_in_the_spread_and_not_in_the_median() -> None:
    slow = figure(series(1.0, 1.2, 30.0), series(1.0)).wall_s("moorage")
    assert slow.middle == pytest.approx(1.2)
    assert (slow.low, slow.high) == (1.0, 30.0)


def test_cpu_is_per_gigabyte_of_user_data_and_wire_per_byte_that_was_stored() -> None:
    ours = figure(series(1.0), series(1.0))
    assert ours.cpu_s_per_gb("moorage") == pytest.approx(2.0 / (8 * MIB) * 1e9)
    assert ours.wire_per_stored("moorage") == pytest.approx(2.0)
    nothing_stored = Figure("4+2", "get", 8 * MIB, {"moorage": [Timing(1.0, wire_bytes=5)]})
    assert nothing_stored.wire_per_stored("moorage") == 0.0


def test_the_tables_name_every_system_and_the_file_holds_every_round() -> None:
    ours = figure(series(0.5, 1.0, 0.25), series(2.0, 2.0, 2.0))
    lines = "\n".join(figure_lines([ours]))
    assert "16.8 MB/s" in lines
    assert "4.2 MB/s" in lines
    assert "4.00 (2.00 to 8.00)" in "\n".join(ratio_lines([ours]))
    stored = ours.as_json()
    assert stored["times_as_fast_as"] == {"tahoe": [2.0, 4.0, 8.0]}
    assert isinstance(stored["systems"], dict)
    assert stored["systems"]["moorage"]["wall_s"] == [0.5, 1.0, 0.25]


def test_a_fraction_is_printed_as_percent() -> None:
    (line,) = fraction_lines({"put": (0.714, "400 MB/s")})
    assert "71% of 400 MB/s" in line

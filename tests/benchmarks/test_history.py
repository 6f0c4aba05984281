"""A line a run: only like is compared with like, and a busy machine is not taken for slow code."""

from __future__ import annotations

from pathlib import Path

from benchmarks.figures import Figure, Timing
from benchmarks.history import Line, append_history, last_comparable, make_line, read_history, slower

MACHINE = {"processor": "Xeon", "cores": 2, "python": "3.11.7", "load_before": 0.1}


def line(
    ours: tuple[float, ...], theirs: tuple[float, ...] = (), *, plan: str = "full", cores: int = 2, when: str = "now"
) -> Line:
    series = {"moorage": [Timing(wall_s) for wall_s in ours], "tahoe": [Timing(wall_s) for wall_s in theirs]}
    figure = Figure("4+2", "put", 1000, {name: timings for name, timings in series.items() if timings})
    software = {"moorage": "0.1.0", "tahoe": "1.20.0"}
    return make_line([figure], when=when, plan=plan, machine={**MACHINE, "cores": cores}, software=software)


def test_a_run_is_compared_with_the_newest_of_the_same_plan_and_machine() -> None:
    history = [
        line((1.0,), when="first"),
        line((1.0,), when="second"),
        line((1.0,), plan="quick", when="other plan"),
        line((1.0,), cores=64, when="other machine"),
    ]
    found = last_comparable(history, line((1.0,)))
    assert found is not None
    assert found["when"] == "second"
    assert last_comparable(history, line((1.0,), cores=3)) is None


def test_a_run_on_a_busy_machine_is_nothing_to_compare_with() -> None:
    busy = line((1.0,))
    busy["machine"]["load_before"] = 7.3
    assert last_comparable([busy], line((1.0,))) is None


def test_half_again_as_long_is_slower() -> None:
    (change,) = slower(line((1.0, 1.1, 1.2)), line((1.6, 1.65, 1.7)))
    assert change.name == "4+2: put"
    assert "50 % slower" in change.words


def test_within_the_tolerance_nothing_is_said() -> None:
    assert not slower(line((1.0, 1.0, 1.0)), line((1.09, 1.09, 1.09)))


def test_slow_rounds_beside_one_as_fast_as_ever_are_noise() -> None:
    assert not slower(line((1.0, 1.0, 1.0)), line((0.98, 1.5, 1.5)))


def test_a_machine_that_is_slower_for_all_is_not_to_blame_us_for() -> None:
    before = line((1.0, 1.0, 1.0), (4.0, 4.0, 4.0))
    assert not slower(before, line((1.5, 1.5, 1.5), (6.0, 6.0, 6.0)))
    assert slower(before, line((1.5, 1.5, 1.5), (4.0, 4.0, 4.0)))


def test_what_only_one_run_measured_is_passed_over() -> None:
    other = line((9.0,))
    other["figures"] = {"10+4: put": other["figures"]["4+2: put"]}
    assert not slower(line((1.0,)), other)


def test_lines_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    assert read_history(path) == []
    lines = [line((1.0, 2.0)), line((3.0,), (4.0,))]
    for item in lines:
        append_history(item, path)
    assert read_history(path) == lines

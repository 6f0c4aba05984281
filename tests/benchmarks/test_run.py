"""A run's verdict: how much of the limit was reached, and whether the last run was faster."""

from __future__ import annotations

import pytest

from benchmarks.__main__ import EXIT_SLOWER, compare, fractions_of
from benchmarks.figures import Figure, Timing
from benchmarks.history import Line, make_line
from benchmarks.stages import Limit

LIMITS = {"4+2": {flow: Limit(cpu_s=2.0, disk_s=0.1, cores=2) for flow in ("put", "get")}}


def figure(scenario: str, step: str, wall_s: float) -> Figure:
    systems = ("moorage", "moorage, unsynced", "tahoe")
    return Figure(scenario, step, 500_000_000, {name: [Timing(wall_s)] for name in systems})


def line(wall_s: float) -> Line:
    software = {"commit": "abc", "tahoe": "1.20.0"}
    figures = [Figure("4+2", "put", 1, {"moorage": [Timing(wall_s)]})]
    return make_line(figures, when="then", plan="full", machine={"cores": 2}, software=software)


def test_half_a_gigabyte_in_a_second_is_half_of_a_gigabyte_a_second() -> None:
    found = fractions_of([figure("4+2, one file of 477 MiB", "put", 1.0)], LIMITS)
    assert set(found) == {"4+2, one file of 477 MiB: put", "4+2, one file of 477 MiB: put, unsynced"}
    fraction, words = found["4+2, one file of 477 MiB: put"]
    assert fraction == pytest.approx(0.5)
    assert "1000 MB/s" in words
    assert "cores" in words


@pytest.mark.parametrize(
    ("scenario", "step"),
    [("4+2, one file of 477 MiB", "verify"), ("10+4, one file of 477 MiB", "put"), ("4+2, 200 files of 500 KB", "put")],
)
def test_only_large_files_of_schemes_whose_stages_were_measured_have_a_limit(scenario: str, step: str) -> None:
    assert not fractions_of([figure(scenario, step, 1.0)], LIMITS)


def test_a_run_that_is_slower_than_the_last_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(line(2.0), [line(1.0)]) == EXIT_SLOWER
    assert "4+2: put: 1.000 s before, 2.000 s now" in capsys.readouterr().out


def test_a_busy_machine_is_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    busy = line(2.0)
    busy["machine"]["load_before"] = 5.0
    assert compare(busy, [line(1.0)]) == 0
    assert "others were at work" in capsys.readouterr().out


def test_a_first_run_and_a_faster_one_pass() -> None:
    assert compare(line(2.0), []) == 0
    assert compare(line(1.0), [line(2.0)]) == 0

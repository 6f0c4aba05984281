"""The shipped care against the model, at failure rates that nobody should have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks import durability
from benchmarks.durability import Run, poisson_interval, ratio_of, read_runs, run_trial, trials

ROOT = Path(__file__).resolve().parent.parent.parent


def by_trial() -> Mapping[str, list[Run]]:
    return {name: [run for run in read_runs() if run.trial == name] for name in trials()}


def test_recorded_runs_lose_as_much_as_the_model_says() -> None:
    for name, runs in by_trial().items():
        ratio = ratio_of(runs)
        assert ratio.low <= 1.25, name
        assert ratio.high >= 0.8, name


def test_no_run_is_recorded_twice() -> None:
    seeds = [(run.trial, run.seed) for run in read_runs()]
    assert len(set(seeds)) == len(seeds)


def test_the_limits_of_a_count_hold_the_count() -> None:
    for count in (0, 1, 10, 300):
        low, high = poisson_interval(count)
        assert low <= count <= high


def test_the_documented_plot_is_current() -> None:
    assert (ROOT / "docs" / "durability.svg").read_text("utf-8") == durability.plot()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_fresh_run_loses_as_much_as_the_model_says() -> None:
    ratio = ratio_of([run_trial("4+2 on 6 peers, 3 sites", 1000, 150.0)])
    assert ratio.low <= 1.25
    assert ratio.high >= 0.8

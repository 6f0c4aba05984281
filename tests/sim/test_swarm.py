"""A few universes in every test run; `make sim` runs fresh ones. Schedules, replays and shortening besides."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.settings import SweepSettings
from tests.sim.minimise import kind_of, minimise
from tests.sim.nemesis import KINDS, Fault, make_schedule, parse_schedule, schedule_text
from tests.sim.profiles import LONG, PROFILES, STORM, Profile
from tests.sim.swarm import Verdict, peer_names, run_seed

# As dense as theirs, over sooner.
BRIEF = {
    "storm": dataclasses.replace(
        STORM, span_s=100.0, clients=1, pause_s=30.0, objects_max=2, sweep=SweepSettings(period_days=0.004, samples=2)
    ),
    "long": dataclasses.replace(
        LONG, span_s=4 * 3600.0, clients=1, pause_s=3600.0, objects_max=2, sweep=SweepSettings(period_days=0.1)
    ),
}
SEED = 1


@pytest.fixture(scope="module")
def storm() -> Verdict:
    return run_seed(SEED, BRIEF["storm"])


def assert_kept(verdict: Verdict) -> None:
    assert not verdict.failure, "\n".join([*verdict.events, verdict.failure])
    assert verdict.objects
    assert verdict.applied.total() > 0


def test_a_pool_keeps_its_promises_in_a_storm(storm: Verdict) -> None:
    assert_kept(storm)


def test_a_pool_keeps_its_promises_for_hours() -> None:
    assert_kept(run_seed(SEED, BRIEF["long"]))


def test_a_seed_is_one_universe_in_any_process(storm: Verdict) -> None:
    code = (
        "from tests.sim.swarm import run_seed\n"
        "from tests.sim.test_swarm import BRIEF, SEED\n"
        "print(run_seed(SEED, BRIEF['storm']).digest)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert told == f"{storm.digest}\n"


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
def test_every_kind_of_fault_occurs_in_some_seed(profile: Profile) -> None:
    seen = {fault.kind for seed in range(25) for fault in make_schedule(seed, profile, peer_names(profile))}
    assert seen == set(profile.rates)
    assert seen <= set(KINDS)


@given(st.integers(0, 2**32))
def test_a_schedule_can_be_written_down(seed: int) -> None:
    schedule = make_schedule(seed, STORM, peer_names(STORM))
    assert parse_schedule(schedule_text(schedule)) == schedule
    assert make_schedule(seed, STORM, peer_names(STORM)) == schedule


def test_faults_keep_their_meaning_when_others_are_left_out() -> None:
    faults = make_schedule(1, STORM, peer_names(STORM))
    assert len({fault.draw for fault in faults}) == len(faults)


def test_a_failure_is_traced_to_the_fewest_faults() -> None:
    schedule = make_schedule(1, STORM, peer_names(STORM))
    guilty = {schedule[3], schedule[len(schedule) // 2]}

    def fails(trial: Sequence[Fault]) -> str:
        return "object 0123456789ab is lost: all of it" if guilty <= set(trial) else ""

    kept, runs = minimise(schedule, "object ba9876543210 is lost: half of it", fails, runs_max=200)
    assert set(kept) == guilty
    assert runs < 120


def test_two_failures_of_one_bug_are_told_to_be_the_same() -> None:
    assert kind_of("peer-3 lost object 0011aabbccdd: x") == kind_of("peer-12 lost object 99887766ffee: y")
    assert kind_of("peer-3 lost") != kind_of("peer-3 found")

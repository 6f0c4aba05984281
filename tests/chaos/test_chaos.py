"""Real pools survive what is done to them, briefly; ``make chaos`` does more of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.arena import Run
from tests.chaos.mixed import schedule
from tests.chaos.scenarios import SCENARIOS, Scenario
from tests.wheel import build_wheel, install_wheel

SEED = "brief"
KILLS = 25
CUTS = 2
SECONDS = 10.0


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    wheel = build_wheel(tmp_path_factory.mktemp("build"))
    return install_wheel(tmp_path_factory.mktemp("installed") / "venv", wheel).command


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_nothing_is_lost_forked_or_left_over(scenario: Scenario, installed: Path, tmp_path: Path) -> None:
    lacks = scenario.lacks()
    if lacks:
        pytest.skip(lacks)
    scenario.play(Run(installed, tmp_path, SEED, kills=KILLS, cuts=CUTS, seconds=SECONDS))


def test_a_schedule_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    one, other, another = (Run(tmp_path, tmp_path, seed).chance("schedule") for seed in ("1", "1", "2"))
    first = schedule(one, 30, 6, without=frozenset())
    assert schedule(other, 30, 6, without=frozenset()) == first
    assert schedule(another, 30, 6, without=frozenset()) != first


def test_a_schedule_has_only_what_the_machine_has(tmp_path: Path) -> None:
    events = schedule(Run(tmp_path, tmp_path, "1").chance("schedule"), 200, 6, without=frozenset({"power-cut"}))
    kinds = {event.kind for event in events}
    assert "power-cut" not in kinds
    assert {"kill-daemon", "disk", "loss"} <= kinds

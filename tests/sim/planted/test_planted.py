"""Every planted bug is caught by its recorded seed, and by nothing but the bug."""

from __future__ import annotations

import gc
from collections.abc import Generator
from statistics import median

import pytest

from tests.sim.planted.__main__ import SEEDS_MAX, caught_by
from tests.sim.planted.plant import Plant
from tests.sim.planted.table import read_seeds
from tests.sim.planted.tables import PLANTS, STORIES

FOUND = read_seeds()
CLEAN = sorted({(plant.story, FOUND[plant.name].seed) for plant in PLANTS})


@pytest.fixture(autouse=True, scope="module")
def quick_collection() -> Generator[None]:
    """Each simulated run begins with a collection: of what is new."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def test_every_plant_has_its_seed() -> None:
    assert {plant.name for plant in PLANTS} == set(FOUND)
    assert len(PLANTS) >= 30
    assert max(row.seed for row in FOUND.values()) < SEEDS_MAX
    assert median(row.seed for row in FOUND.values()) <= 5


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_planted_bug_is_caught_by_its_seed(plant: Plant) -> None:
    assert caught_by(plant, FOUND[plant.name].seed), plant.bug


@pytest.mark.parametrize(("story", "seed"), CLEAN)
def test_the_sound_code_passes_where_a_planted_bug_is_caught(story: str, seed: int) -> None:
    STORIES[story](seed)

"""Search seeds: ``python -m tests.sim.planted [NAME ...]``. Without names for all plants, and writes the tables."""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path

from tests.sim.planted.plant import Plant
from tests.sim.planted.table import SEEDS_FILE, Found, document, format_seeds
from tests.sim.planted.tables import PLANTS, STORIES

SEEDS_MAX = 150
RATED_SEEDS = 20


def search(plant: Plant) -> Found | None:
    """The first seed that catches it, and how many of the first ones do; None when none does."""
    first, seconds, caught, tried = None, 0.0, 0, 0
    for seed in range(SEEDS_MAX):
        if first is not None and seed >= RATED_SEEDS:
            break
        began_s = time.process_time()
        failed = caught_by(plant, seed)
        tried += seed < RATED_SEEDS
        caught += failed and seed < RATED_SEEDS
        if failed and first is None:
            first, seconds = seed, time.process_time() - began_s
    return None if first is None else Found(first, caught, tried, seconds)


def caught_by(plant: Plant, seed: int) -> bool:
    """Whether the story fails with the defect in place."""
    with plant.planted():
        try:
            STORIES[plant.story](seed)
        except Exception:  # however it shows
            return True
    return False


def main(names: list[str]) -> int:
    gc.collect()
    gc.freeze()
    found: dict[str, Found] = {}
    chosen = [plant for plant in PLANTS if not names or plant.name in names]
    for plant in chosen:
        result = search(plant)
        print(f"{plant.name:32} {result or 'ESCAPES'}", flush=True)
        if result is not None:
            found[plant.name] = result
    if not names:
        SEEDS_FILE.write_text(format_seeds(found))
        document(Path("docs/reliability.md"), PLANTS, found)
    print(f"{len(found)} of {len(chosen)} caught")
    return len(found) < len(chosen)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

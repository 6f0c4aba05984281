"""What a search found: ``seeds.toml`` for the tests, a section of docs/reliability.md for people."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.sim.planted.plant import Plant

SEEDS_FILE = Path(__file__).with_name("seeds.toml")
HEADING = "## Planted bugs"


class Found(NamedTuple):
    """``seed`` is the first that catches it, in ``seconds`` of CPU; ``caught`` of the first ``tried`` do."""

    seed: int
    caught: int
    tried: int
    seconds: float


def read_seeds() -> dict[str, Found]:
    rows = tomllib.loads(SEEDS_FILE.read_text())
    return {name: Found(row["seed"], row["caught"], row["tried"], row["seconds"]) for name, row in rows.items()}


def format_seeds(found: Mapping[str, Found]) -> str:
    lines = ["# Written by `python -m tests.sim.planted`."]
    for name, row in found.items():
        columns = f"seed = {row.seed}, caught = {row.caught}, tried = {row.tried}, seconds = {row.seconds:.3f}"
        lines.append(f"{name} = {{ {columns} }}")
    return "\n".join(lines) + "\n"


def section(plants: Sequence[Plant], found: Mapping[str, Found]) -> str:
    """The section of docs/reliability.md."""
    needed = [row.seed + 1 for row in found.values()]
    lines = [
        HEADING,
        "",
        f"A test that never fails proves little. {len(plants)} defects are planted one at a time, each in place of one",
        "function of the production code while a test runs (`tests/sim/planted`), and seeded stories must catch them:",
        f"{len(found)} are caught within 150 seeds (median {median(needed):g}, at most {max(needed)} seeds tried).",
        "The fast tests run the recorded seed of each with and without its defect.",
        "`python -m tests.sim.planted` searches anew and writes this table.",
        "",
        "| bug | breaks | story | seed | seeds that catch it | CPU s |",
        "|---|---|---|---|---|---|",
    ]
    for plant in plants:
        row = found.get(plant.name)
        result = f"{row.seed} | {row.caught} of {row.tried} | {row.seconds:.2f}" if row else "escapes | 0 |"
        lines.append(f"| {plant.bug} | {plant.promise} | {plant.story} | {result} |")
    return "\n".join(lines) + "\n"


def document(path: Path, plants: Sequence[Plant], found: Mapping[str, Found]) -> None:
    """Replace the section, or add it at the end."""
    text = path.read_text() if path.exists() else "# Reliability\n"
    before, _, rest = text.partition(HEADING + "\n")
    _, heading, after = rest.partition("\n## ")
    path.write_text(before.rstrip("\n") + "\n\n" + section(plants, found) + (heading + after))

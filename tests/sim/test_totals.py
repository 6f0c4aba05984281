from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.sim.swarm import Verdict
from tests.sim.totals import Totals, keep, kept

VERDICTS = [
    Verdict(1, "storm", applied=Counter(kill=2), rebuilt=5, needless=1, sim_s=1800.0, cpu_s=20.0),
    Verdict(2, "long", failure="lost", applied=Counter(kill=1, rot=4), rebuilt=15, sim_s=5400.0, cpu_s=60.0),
]


def test_a_run_says_what_its_seeds_came_to() -> None:
    lines = str(Totals.of(VERDICTS, 40.0)).splitlines()
    assert lines[0] == "2 seeds, 1 failed"
    assert lines[1] == "2.0 simulated hours in 40 s: 0.05 per second of wall clock, 0.03 per second of CPU"
    assert lines[2] == "faults: 3 kill, 4 rot"
    assert lines[-1] == "shards rebuilt: 20, of them needlessly: 1 (5.0 %)"


def test_kept_runs_come_back_and_add_up(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    one, other = (Totals.of([verdict], 30.0) for verdict in VERDICTS)
    keep(file, one, "first")
    keep(file, other, "second")
    assert kept(file) == [("first", one), ("second", other)]
    assert sum((totals for _, totals in kept(file)), Totals()) == Totals.of(VERDICTS, 60.0)

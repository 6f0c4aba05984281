"""What trying to compress costs where nothing can be compressed: puts with it and without, in turn."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from benchmarks.figures import MIB, OURS, Figure, Timing
from benchmarks.lab import Lab
from benchmarks.pool import MooragePool
from benchmarks.sources import make_source
from benchmarks.systems import System

UNCOMPRESSED = f"{OURS}, uncompressed"


def incompressible(lab: Lab, systems: Sequence[System], scheme: str, *, size_bytes: int, rounds: int) -> list[Figure]:
    """Each put has bytes of its own: what is stored already is not stored again."""
    pools = [system for system in systems if isinstance(system, MooragePool) and system.name == OURS]
    series: dict[str, list[Timing]] = {OURS: [], UNCOMPRESSED: []}
    for pool in pools:
        switches = {OURS: "on", UNCOMPRESSED: "off"}
        for number in range(rounds):
            print(f"{scheme}, compression, round {number + 1} of {rounds}", flush=True)
            for turn, name in enumerate(switches if number % 2 == 0 else reversed(switches)):
                source = lab.work / "source"
                make_source(source, size_bytes, seed=f"compression {number} {turn}")
                series[name].append(lab.timed(pool, partial(pool.put_compressing, source, switches[name]))[1])
                source.unlink()
    scenario = f"{scheme}, {size_bytes // MIB} MiB that do not compress"
    return [Figure(scenario, "put", size_bytes, series)] if pools else []

"""Cost by peers and by objects: production code at growing sizes, counted, fitted and compared with models.

``python -m benchmarks.scale`` counts everything at sizes that take some minutes and writes
benchmarks/scale-runs.jsonl; ``--only status --peers 1000`` counts a part, ``--plot docs/scale.svg`` draws what was
counted, ``--table`` prints it; ``python -m tests.documented`` writes the tables into docs/scale.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.scale_client import count_catalogue, count_log, count_placement
from benchmarks.scale_directory import count_crawl, count_directory
from benchmarks.scale_growth import Count, growths, to_line
from benchmarks.scale_peer import count_plan, count_store
from benchmarks.scale_plot import plot_svg
from benchmarks.scale_pool import count_status
from benchmarks.scale_sweep import count_sweep
from benchmarks.scale_tables import RUNS, growth_table, objects_table, peers_table, read_runs

MILLION = 1_000_000
PARTS: dict[str, tuple[Callable[[int], Iterable[Count]], tuple[int, ...]]] = {
    "directory": (count_directory, (6, 60, 300, 1000, 3000, 10_000)),
    "crawl": (count_crawl, (6, 60, 300, 1000, 3000, 10_000)),
    "placement": (count_placement, (6, 60, 300, 1000, 3000, 10_000)),
    "status": (lambda peers: count_status(peers, objects=MILLION), (6, 60, 300, 1000)),
    "sweep-peers": (lambda peers: count_sweep(peers, 6, by="peers"), (6, 12, 24, 48)),
    "sweep-objects": (lambda objects: count_sweep(6, objects, by="objects"), (2, 4, 8, 16)),
    "plan": (count_plan, (1000, 10_000, 100_000, MILLION)),
    "store": (count_store, (600, 6000, 30_000)),
    "catalogue": (count_catalogue, (1000, 10_000, 100_000)),
    "log": (count_log, (10_000, 100_000, MILLION, 10 * MILLION)),
}
"""Each part of the counts, and its sizes: peers, or objects (of one peer, of one client)."""


def run(only: Sequence[str], sizes: Sequence[int]) -> list[Count]:
    """Count, and say what takes how long."""
    found: list[Count] = []
    for name, (count, usual) in PARTS.items():
        for size in (sizes or usual) if not only or name in only else ():
            begun_s = time.perf_counter()
            found += count(size)
            print(f"{name} {size}: {time.perf_counter() - begun_s:.1f} s", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[*PARTS], default=[], help="count these parts alone")
    parser.add_argument("--sizes", nargs="+", type=int, default=[], help="at these sizes instead of the usual ones")
    parser.add_argument("--keep", action="store_true", help="add to benchmarks/scale-runs.jsonl; later counts replace")
    parser.add_argument("--table", action="store_true", help="print what was kept, count nothing")
    parser.add_argument("--plot", type=Path, help="draw what was kept into this SVG file, count nothing")
    arguments = parser.parse_args()
    if arguments.plot is not None:
        arguments.plot.write_text(plot_svg(growths(read_runs())), "utf-8")
        return
    if not arguments.table:
        found = run(arguments.only, arguments.sizes)
        if not arguments.keep:
            print(growth_table("peers", growths(found)) + "\n" + growth_table("objects", growths(found)))
            return
        kept = {item[:4]: item for item in [*(read_runs() if RUNS.exists() else []), *found]}
        RUNS.write_text("".join(f"{to_line(item)}\n" for item in kept.values()), "utf-8")
    print(peers_table() + "\n" + objects_table())


if __name__ == "__main__":
    main()

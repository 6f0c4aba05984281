"""What a change does: this checkout's moorage and another's, by turns, on the same bytes.

    python -m benchmarks.by_turns OTHER [--size-mib 512] [--scheme 4+2] [--rounds 5] [--objects N]
        [--without-agent]

OTHER is a folder with a checkout in which ``make test`` or ``make demo`` has set up its environment; with
``--without-agent`` it may be this one. One large file is put, got, verified and repaired; with ``--objects`` so many
small ones are, one command for each put and one for all else. Medians, in brackets the fastest and the slowest;
CPU-seconds are those of client and peers together.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import MIB, OURS, Figure, Spread
from benchmarks.lab import Lab, Tools, run_in_lab, sites_of
from benchmarks.memory import fill_page_cache
from benchmarks.pool import MooragePool
from benchmarks.sources import make_folder
from benchmarks.whole import Turn, figures_of, in_turns, print_turn, whole_file
from erasure.scheme import Scheme

SMALL_FILE_BYTES = 20_000
QUANTITIES = ("wall_s", "cpu_s")
SMALL_STEPS: Sequence[str] = ("put", "sweep", "repair")


def small_turn(lab: Lab, pool: MooragePool, files: Sequence[Path]) -> Turn:
    """Every file an object of its own; all are swept, one holder loses its shards, all are repaired."""
    began_s = time.time()
    _, put = lab.timed(pool, lambda: [pool.put(file) for file in files])
    _, sweep = lab.timed(pool, lambda: pool.order("sweep"))
    if not pool.lose_holder(began_s):
        raise SystemExit(f"{pool.name}: the holder had nothing to lose")
    _, repair = lab.timed(pool, lambda: pool.order("repair"))
    turn = dict(zip(SMALL_STEPS, (put, sweep, repair), strict=True))
    print_turn(pool, turn)
    return turn


def small_objects(lab: Lab, pools: Sequence[MooragePool], scheme: str, *, objects: int, rounds: int) -> list[Figure]:
    """Each round's objects are new, and those of earlier rounds stay."""
    turns: dict[str, list[Turn]] = {pool.name: [] for pool in pools}
    for number in range(rounds):
        folder = lab.folder("objects")
        make_folder(folder, files=objects, file_bytes=SMALL_FILE_BYTES, seed=f"by turns {number}")
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        for pool in in_turns(pools, number):
            turns[pool.name].append(small_turn(lab, pool, files))
    return figures_of(f"{scheme}, {objects} objects", SMALL_STEPS, objects * SMALL_FILE_BYTES, turns)


def line_of(figure: Figure, other: str) -> str:
    """One step: both wall times, both CPU times, and the ratios of the medians."""
    spreads = {
        name: [Spread.of([getattr(timing, quantity) for timing in figure.series[name]]) for quantity in QUANTITIES]
        for name in (other, OURS)
    }
    cells = [f"{each.middle:6.2f} ({each.low:.2f} to {each.high:.2f})" for name in spreads for each in spreads[name]]
    wall, cpu = (after.middle / before.middle for before, after in zip(spreads[other], spreads[OURS], strict=True))
    return f"{figure.step:8}" + "".join(f"{cell:26}" for cell in cells) + f"{wall:6.2f}{cpu:6.2f}"


def measure(words: argparse.Namespace, lab: Lab) -> int:
    scheme: Scheme = words.scheme
    other = MooragePool(
        lab.folder("other"),
        peers=scheme.total,
        sites=sites_of(scheme),
        scheme=str(scheme),
        other=words.other.resolve(),
        with_agent=not words.without_agent,
    )
    pools = [other, lab.pool(scheme)]
    fill_page_cache(lab.work)
    with lab.started(pools):
        if words.objects:
            figures = small_objects(lab, pools, str(scheme), objects=words.objects, rounds=words.rounds)
        else:
            figures = whole_file(lab, pools, str(scheme), size_bytes=words.size_mib * MIB, rounds=words.rounds)
    heads = ("other, s", "other, CPU-s", "this, s", "this, CPU-s")
    print(f"{'':8}" + "".join(f"{head:26}" for head in heads) + "  time   CPU")
    for figure in figures:
        print(line_of(figure, other.name))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.by_turns", description="Compare two checkouts.")
    parser.add_argument("other", type=Path, help="the folder of the other checkout")
    parser.add_argument("--scheme", type=Scheme.parse, default=Scheme(4, 6))
    parser.add_argument("--size-mib", type=int, default=512)
    parser.add_argument("--objects", type=int, default=0, help="so many small objects instead of one large file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without-agent", action="store_true", help="the other's commands load their own modules")
    words = parser.parse_args()
    tools = Tools(None, None, None)
    free_bytes = words.size_mib * MIB * (4 * words.rounds + 4)
    return run_in_lab("benchmarks.by_turns", lambda: tools, lambda lab: measure(words, lab), free_bytes)


if __name__ == "__main__":
    sys.exit(main())

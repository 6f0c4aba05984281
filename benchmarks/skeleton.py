"""What is left of a put and a get when all but their stages is taken away, beside the shipped program by turns.

    python -m benchmarks.skeleton [--scheme 4+2] [--size-mib 512] [--files 1] [--rounds 5]

The sum of the stages (`benchmarks.stages`) knows nothing of threads that wait for one another or for the interpreter's
lock. The skeleton does: the shipped functions read, code, hash, store, check, open and write the same bytes, and the
same TLS carries the same messages between as many processes, each step in a blocking thread of its own. It has no event
loop, no answers or windows, no look for peers, quorum or hedging, no index, manifest, receipt or ledger, and its
processes run already. What it takes is about what a program in this language with these libraries can reach.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.figures import MIB, Spread
from benchmarks.lab import Lab, Tools, run_in_lab
from benchmarks.line import make_papers
from benchmarks.memory import fill_page_cache
from benchmarks.pool import MooragePool
from benchmarks.skeleton_client import Skeleton
from benchmarks.skeleton_peer import run_peer
from benchmarks.sources import make_folder
from benchmarks.stages import FLOWS, Limit, limits_of, measure_stages, measure_together
from benchmarks.trees import differences
from erasure.scheme import Scheme
from host.memory import keep_freed_memory


@contextmanager
def started(lab: Lab, scheme: Scheme) -> Generator[Skeleton]:
    """With a process for each share; killed and its files deleted afterwards."""
    client, peer = make_papers()
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(scheme.total)]
    folders = [lab.folder(f"skeleton-{share}") for share in range(scheme.total)]
    processes = [
        context.Process(target=run_peer, args=(peer, str(folder), there), daemon=True)
        for folder, (_, there) in zip(folders, pipes, strict=True)
    ]
    try:
        for folder, process in zip(folders, processes, strict=True):
            folder.mkdir()
            process.start()
        yield Skeleton(client, [int(here.recv()) for here, _ in pipes], scheme)
    finally:
        for process in processes:
            process.kill()
            process.join()


def measure(words: argparse.Namespace, lab: Lab) -> int:
    scheme: Scheme = words.scheme
    size_bytes = words.size_mib * MIB
    keep_freed_memory()
    walls: dict[str, tuple[list[float], list[float]]] = {flow: ([], []) for flow in FLOWS}
    fill_page_cache(lab.work)
    limits: list[Mapping[str, Limit]] = []
    for measure_all in (measure_stages, measure_together):
        folder = lab.folder("stages")
        folder.mkdir()
        limits.append(limits_of(measure_all(scheme, folder, words.rounds)))
    pool = lab.pool(scheme)
    with lab.started([pool]), started(lab, scheme) as skeleton:
        for number in range(words.rounds):
            source = make_sources(lab, words.files, size_bytes, number)
            turns: list[Callable[[], tuple[float, float]]] = [
                partial(whole_turn, lab, pool, source),
                partial(bare_turn, lab, skeleton, source),
            ]
            for which in (0, 1) if number % 2 == 0 else (1, 0):
                for flow, wall_s in zip(FLOWS, turns[which](), strict=True):
                    walls[flow][which].append(wall_s)
            shutil.rmtree(source)
    print("\n".join(lines_of(walls, limits, size_bytes)))
    return 0


def make_sources(lab: Lab, files: int, size_bytes: int, number: int) -> Path:
    """A folder of random files of ``size_bytes`` in all; other bytes for each ``number``."""
    folder = lab.folder("source")
    make_folder(folder, files=files, file_bytes=size_bytes // files, seed=f"skeleton {number}")
    return folder


def whole_turn(lab: Lab, pool: MooragePool, source: Path) -> tuple[float, float]:
    """Seconds of a put and a get by the shipped program."""
    folder = lab.folder("restored")
    stored, put = lab.timed(pool, lambda: pool.put_tree(source))
    restored, get = lab.timed(pool, lambda: pool.get_tree(stored, folder))
    compare(source, restored)
    shutil.rmtree(folder)
    return put.wall_s, get.wall_s


def bare_turn(lab: Lab, skeleton: Skeleton, source: Path) -> tuple[float, float]:
    """Seconds of the skeleton's."""
    folder = lab.folder("restored")
    os.sync()
    began = time.perf_counter()
    kept = skeleton.put(source)
    put_s = time.perf_counter() - began
    os.sync()
    began = time.perf_counter()
    skeleton.get(kept, folder)
    get_s = time.perf_counter() - began
    compare(source, folder / source.name)
    shutil.rmtree(folder)
    return put_s, get_s


def compare(source: Path, restored: Path) -> None:
    if found := differences(source, restored):
        raise SystemExit(f"{restored} is not what was put: {found[0]}")


def lines_of(
    walls: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    limits: Sequence[Mapping[str, Limit]],
    size_bytes: int,
) -> list[str]:
    """Medians, in brackets the fastest and the slowest."""
    heads = ("stages, one core busy", "stages, all cores busy", "skeleton", "moorage")
    lines = [f"{'':5}" + "".join(f"{head:>26}" for head in heads)]
    for flow, (whole, bare) in walls.items():
        cells = [f"{size_bytes / each[flow].bytes_per_s:.2f} s" for each in limits]
        spreads = (Spread.of(bare), Spread.of(whole))
        cells += [f"{each.middle:.2f} s ({each.low:.2f} to {each.high:.2f})" for each in spreads]
        lines.append(f"{flow:5}" + "".join(f"{cell:>26}" for cell in cells))
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.skeleton", description="A put and a get, laid bare.")
    parser.add_argument("--scheme", type=Scheme.parse, default=Scheme(4, 6))
    parser.add_argument("--size-mib", type=int, default=512)
    parser.add_argument("--files", type=int, default=1, help="into so many files the bytes are divided")
    parser.add_argument("--rounds", type=int, default=5)
    words = parser.parse_args()
    tools = Tools(None, None, None)
    free_bytes = words.size_mib * MIB * (4 * words.rounds + 4)
    return run_in_lab("benchmarks.skeleton", lambda: tools, lambda lab: measure(words, lab), free_bytes)


if __name__ == "__main__":
    sys.exit(main())

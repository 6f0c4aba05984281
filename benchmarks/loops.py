"""How long the event loops of client and peers are held up while files are put, got, verified, swept and repaired.

python -m benchmarks.loops [--size-mib 512] [--files 5000] [--rounds 3]

What holds a loop up keeps everybody else of that process waiting: the answer to a ping above all. A step that waits
for the interpreter's lock or for a processor counts as well; how much of it was computing is shown beside it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import MIB
from benchmarks.lab import HERE, Lab, Tools, run_in_lab
from benchmarks.loop_watch import FOLDER, Step, read_steps
from benchmarks.pool import CHECKOUT, MooragePool
from benchmarks.sources import make_folder, make_source
from erasure.scheme import Scheme

BAR_S = 0.020
SCHEME = Scheme(4, 6)
SMALL_FILE_BYTES = 4000


@dataclass(frozen=True, slots=True)
class Span:
    """One command, on the system's monotonic clock."""

    command: str
    began_s: float
    ended_s: float


class Course:
    """The commands of one run, one after another."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def take(self, command: str, act: Callable[[], str | Path | None]) -> str:
        began_s = time.monotonic()
        result = act()
        self.spans.append(Span(command, began_s, time.monotonic()))
        return str(result)


def run_commands(lab: Lab, pool: MooragePool, course: Course, *, size_bytes: int, files: int, number: int) -> None:
    """Everything once, on fresh bytes."""
    source, folder, restored = lab.work / "source", lab.folder("many"), lab.folder("restored")
    make_source(source, size_bytes, seed=f"loops {number}")
    make_folder(folder, files=files, file_bytes=SMALL_FILE_BYTES, seed=f"loops {number}")
    began_s = time.time()
    stored = course.take("put", lambda: pool.put(source))
    course.take("get", lambda: pool.get(stored, restored))
    shutil.rmtree(restored)
    course.take("verify", lambda: pool.verify(stored))
    if not pool.lose_holder(began_s):
        raise SystemExit("the holder had nothing to lose")
    course.take("repair", lambda: pool.repair(stored))
    many = course.take(f"put {files:,} files", lambda: pool.put_tree(folder))
    course.take(f"get {files:,} files", lambda: pool.get_tree(many, restored))
    shutil.rmtree(restored)
    source.unlink()


def _cell(steps: Sequence[Step]) -> str:
    """The longest, what of it was computing, and how many were over the bar."""
    if not steps:
        return f"{'< 2 ms':>8}{'':34}"
    worst = max(steps, key=lambda step: step.wall_s)
    over = sum(step.wall_s > BAR_S for step in steps)
    computing = max(steps, key=lambda step: step.cpu_s)
    name = computing.task.rpartition(".")[2]
    return f"{1000 * worst.wall_s:5.1f} ms{1000 * computing.cpu_s:7.1f} ms{over:5d}  {name:19.19}"


def print_table(spans: Sequence[Span], steps: dict[int, list[Step]], peers: set[int]) -> None:
    print(f"{'':18}{'client: longest, computing, over 20 ms':42} peers: longest, computing, over 20 ms")
    for command in dict.fromkeys(span.command for span in spans):
        mine: list[Step] = []
        theirs: list[Step] = []
        for span in spans:
            for pid, found in steps.items():
                if span.command == command:
                    within = [step for step in found if span.began_s <= step.ended_s <= span.ended_s]
                    (theirs if pid in peers else mine).extend(within)
        print(f"{command:18}{_cell(mine)} {_cell(theirs)}")


def measure(words: argparse.Namespace, lab: Lab) -> int:
    folder = lab.work / "steps"
    folder.mkdir()
    pool = lab.pool(SCHEME)
    pool.commands.environment |= {
        FOLDER: str(folder),
        "PYTHONPATH": os.pathsep.join([str(HERE / "startup"), str(CHECKOUT)]),
    }
    course = Course()
    pool.start()
    peers = set(pool.peer_pids)
    try:
        for number in range(words.rounds):
            run_commands(lab, pool, course, size_bytes=words.size_mib * MIB, files=words.files, number=number)
    finally:
        pool.stop()
    print_table(course.spans, read_steps(folder), peers)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loops")
    parser.add_argument("--size-mib", type=int, default=512)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    words = parser.parse_args()
    none = Tools(None, None, None)
    return run_in_lab(
        "benchmarks.loops", lambda: none, lambda lab: measure(words, lab), words.size_mib * MIB * (3 * words.rounds + 3)
    )


if __name__ == "__main__":
    sys.exit(main())

"""Put and get beside Tahoe-LAFS 1.20: same machine, same run, same bytes, same code (any 4 of 6), turn by turn.

    python -m benchmarks.against_tahoe [--size-mib 512] [--rounds 3] [--only tahoe|moorage]

Each round makes fresh random bytes (nothing to compress, nothing stored before), puts and gets them on both
systems, in an order that changes from round to round, and compares what comes back. Tahoe is used through its
HTTP gateway, moorage through its command line, process start included. moorage returns from a put when the
bytes are synced to disk on every peer; Tahoe never syncs. All processes share this machine's cores and disk,
so figures show work done per byte, not what a network of machines would reach.
"""

from __future__ import annotations

import argparse
import datetime
import filecmp
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Protocol, TypeVar

from benchmarks.figures import MIB, STEPS, Measured, Timing, as_json, ratio_spread, ratios, table
from benchmarks.pool import MooragePool
from benchmarks.processes import cpu_s, private_world, settle_in
from benchmarks.tahoe import TahoeGrid, install

HERE = Path(__file__).resolve().parent
RESULTS, WORK = HERE / "results", HERE / "work"
NEEDED, TOTAL, SITES = 4, 6, 3
# Each round leaves 1.5 copies on either system and needs the source and one restored file.
DISK_PER_BYTE = 2 * TOTAL / NEEDED
INSIDE = "MOORAGE_BENCHMARK_INSIDE"
NOTES = (
    "tahoe is used through its HTTP gateway (no process start); moorage by its command line (process start included)",
    "moorage syncs every shard to disk before a put returns; tahoe never syncs",
    "tahoe's nodes are frozen while moorage is timed, because idle ones poll each other every second; "
    "moorage's peers keep running while tahoe is timed",
    "all processes share one machine; sources and stored bytes are mostly in the page cache",
)

T = TypeVar("T")


class System(Protocol):
    """What is compared. Between ``start`` and ``stop`` it holds processes."""

    @property
    def name(self) -> str: ...
    @property
    def pids(self) -> list[int]: ...
    def start(self) -> None: ...
    def put(self, source: Path) -> str: ...
    def get(self, stored: str, folder: Path) -> Path: ...
    def stored_bytes(self) -> int: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def stop(self) -> None: ...


def make_source(path: Path, size_bytes: int, seed: int) -> None:
    """Random bytes, the same for the same seed."""
    generator = random.Random(seed)
    with path.open("wb") as file:
        for start in range(0, size_bytes, 8 * MIB):
            file.write(generator.randbytes(min(8 * MIB, size_bytes - start)))


def timed(system: System, step: Callable[[], T]) -> tuple[T, Timing]:
    """One step of ``system`` while the disk has nothing left to write for the other."""
    os.sync()
    cpu_before, began = cpu_s(system.pids), time.perf_counter()
    result = step()
    wall_s = time.perf_counter() - began
    return result, Timing(wall_s, cpu_s(system.pids) - cpu_before)


def take_turn(system: System, source: Path, folder: Path) -> dict[str, Timing]:
    """Put, get, compare; the time of each step."""
    system.resume()
    stored, put = timed(system, lambda: system.put(source))
    restored, get = timed(system, lambda: system.get(stored, folder))
    system.pause()
    if not filecmp.cmp(source, restored, shallow=False):
        raise SystemExit(f"{system.name} gave other bytes back")
    shutil.rmtree(folder)
    print(f"  {system.name:8} put {put.wall_s:7.2f} s   get {get.wall_s:7.2f} s", flush=True)
    return {"put": put, "get": get}


def compare(systems: list[System], work: Path, size_bytes: int, rounds: int) -> dict[str, Measured]:
    """All rounds on running systems."""
    turns: dict[str, list[dict[str, Timing]]] = {system.name: [] for system in systems}
    for system in systems:
        system.pause()
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", flush=True)
        source = work / "source"
        make_source(source, size_bytes, number)
        for system in systems if number % 2 == 0 else reversed(systems):
            turns[system.name].append(take_turn(system, source, work / "restored"))
    return {
        system.name: Measured(
            {step: [turn[step] for turn in turns[system.name]] for step in STEPS},
            system.stored_bytes() / (size_bytes * rounds),
        )
        for system in systems
    }


def describe_machine() -> dict[str, object]:
    processors = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in processors if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def describe_software() -> dict[str, str]:
    git = ["git", "-C", str(HERE), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {"moorage": version("moorage"), "commit": commit, "tahoe-lafs": "1.20.0"}


def report(
    systems: dict[str, Measured], words: argparse.Namespace, *, private: bool, before: dict[str, object]
) -> None:
    """Print the figures and write them to RESULTS."""
    size_bytes = words.size_mib * MIB
    print("\n".join(table(systems, size_bytes)))
    factors = ratios(systems["moorage"], systems["tahoe"]) if len(systems) > 1 else {}
    for step, factor in factors.items():
        low, middle, high = ratio_spread(systems["moorage"], systems["tahoe"], step)
        print(
            f"moorage's {step} is {factor:.2f} times as fast as tahoe's by the medians; "
            f"round by round {middle:.2f} ({low:.2f} to {high:.2f})"
        )
    now = datetime.datetime.now(datetime.UTC)
    path = RESULTS / f"{now:%Y%m%dT%H%M%SZ}-against-tahoe.json"
    result = {
        "schema": 1,
        "when": now.isoformat(timespec="seconds"),
        "machine": before,
        "software": describe_software(),
        "private_network": private,
        "size_bytes": size_bytes,
        "rounds": words.rounds,
        "scheme": f"{NEEDED}+{TOTAL - NEEDED}",
        "systems": {name: as_json(measured, size_bytes) for name, measured in systems.items()},
        "times_as_fast_as_tahoe": {step: round(factor, 3) for step, factor in factors.items()},
        "notes": NOTES,
    }
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written to {path}")


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit("told to stop")


def run_inside(words: argparse.Namespace, work: Path) -> None:
    """Measure, in a private world where there is one. Ends what it started, also when told to stop."""
    private = settle_in()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    before = describe_machine()
    systems: list[System] = []
    if words.only != "moorage":
        systems.append(TahoeGrid(install(), work / "tahoe", needed=NEEDED, total=TOTAL))
    if words.only != "tahoe":
        scheme = f"{NEEDED}+{TOTAL - NEEDED}"
        systems.append(MooragePool(work / "pool", peers=TOTAL, sites=SITES, scheme=scheme))
    with ExitStack() as ends:
        for system in systems:
            print(f"starting {system.name}", flush=True)
            ends.callback(system.stop)
            system.start()
        measured = compare(systems, work, words.size_mib * MIB, words.rounds)
    report(measured, words, private=private, before=before)


def run_outside(words: argparse.Namespace) -> int:
    """Prepare what needs the network, then measure in a process of its own; its exit status."""
    needed_bytes = int(words.size_mib * MIB * (words.rounds * DISK_PER_BYTE + 2))
    WORK.mkdir(exist_ok=True)
    if shutil.disk_usage(WORK).free < needed_bytes:
        raise SystemExit(f"{WORK}: {needed_bytes:,} bytes of free disk needed")
    if words.only != "moorage":
        install()
    world = private_world()
    if not world:
        print("no private network here: Tahoe's log ports listen on all addresses until the end of this run")
    with tempfile.TemporaryDirectory(dir=WORK) as work:
        command = [*world, sys.executable, "-m", "benchmarks.against_tahoe", *sys.argv[1:]]
        inside = subprocess.Popen(command, cwd=HERE.parent, env={**os.environ, INSIDE: work})
        # Killing ``unshare`` takes its whole world along; without one, the worker is asked and cleans up.
        signal.signal(signal.SIGTERM, lambda _number, _frame: inside.kill() if world else inside.terminate())
        while True:
            try:
                return inside.wait()
            except KeyboardInterrupt:
                # The terminal sent it inside too, where it is obeyed.
                continue


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.against_tahoe", description="Compare put and get with Tahoe-LAFS."
    )
    parser.add_argument("--size-mib", type=int, default=512, help="of each object")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("tahoe", "moorage"), help="measure one of them")
    words = parser.parse_args()
    work = os.environ.get(INSIDE)
    if work is None:
        return run_outside(words)
    run_inside(words, Path(work))
    return 0


if __name__ == "__main__":
    sys.exit(main())

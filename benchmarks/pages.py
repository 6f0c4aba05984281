"""What it costs to write a file: into any memory, into memory that another file has just let go, past the page cache.

    python -m benchmarks.pages [--size-mib 256] [--rounds 5]

CPU-seconds per GB, the sync included; medians, in brackets the least and the most. "Any memory" is what nobody has had
before as long as there is such, which on a virtual machine its host may still have to find.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import MIB, Spread
from benchmarks.lab import WORK
from core.buffers import unfilled_aligned
from host.direct import DirectWriter
from host.disk import RealDisk, write_fully

WRITE_BYTES = 2 * MIB


def write_file(path: Path, size_bytes: int, *, direct: bool) -> float:
    """CPU-seconds."""
    data = unfilled_aligned(WRITE_BYTES)
    data[:] = os.urandom(WRITE_BYTES)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        began = time.process_time()
        writer = DirectWriter.over(descriptor) if direct else None
        if direct and writer is None:
            raise SystemExit(f"{path.parent}: this file system writes nothing past the page cache")
        for at in range(0, size_bytes, WRITE_BYTES):
            if writer is None:
                write_fully(descriptor, at, data)
            else:
                writer.write_at(at, data)
        os.fsync(descriptor)
        return time.process_time() - began
    finally:
        os.close(descriptor)


def measure(folder: Path, size_bytes: int, rounds: int) -> dict[str, list[float]]:
    """By what was done, the CPU-seconds of each round."""
    disk = RealDisk()

    def anywhere(number: int) -> float:
        return write_file(folder / f"any-{number}", size_bytes, direct=False)

    def let_go(number: int) -> float:
        disk.uncache(str(folder / f"any-{number}"))
        return write_file(folder / f"let-go-{number}", size_bytes, direct=False)

    def past(number: int) -> float:
        return write_file(folder / f"past-{number}", size_bytes, direct=True)

    ways: dict[str, Callable[[int], float]] = {"any memory": anywhere, "just let go": let_go, "past the cache": past}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            found[name].append(way(number))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages")
    parser.add_argument("--size-mib", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    words = parser.parse_args()
    WORK.mkdir(exist_ok=True)
    size_bytes = words.size_mib * MIB
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        for name, series in measure(Path(folder), size_bytes, words.rounds).items():
            spread = Spread.of([seconds / size_bytes * 1e9 for seconds in series])
            print(f"{name:16}{spread.middle:6.2f} ({spread.low:.2f} to {spread.high:.2f}) CPU-s per GB")


if __name__ == "__main__":
    main()

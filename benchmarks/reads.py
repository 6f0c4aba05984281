"""Reading a little of something large: the first byte of a file, and 64 KiB from anywhere in it."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from typing import cast

from benchmarks.figures import MIB, OURS, Figure, Timing
from benchmarks.lab import Lab
from benchmarks.pool import MooragePool
from benchmarks.sources import make_source
from benchmarks.systems import System
from benchmarks.tahoe import TahoeGrid

RANGE_BYTES = 64 << 10
OPEN_CLIENT = f"{OURS}, open"
WORKER = (sys.executable, "-m", "benchmarks.open_client")
WORKER_DEADLINE_S = 600
FIRST_BYTE, RANGE = "first byte", "64 KiB range"


def first_byte_of_pool(pool: MooragePool, stored: str, path: str) -> float:
    """Seconds from the start of the command to the first byte that it writes."""
    began = time.perf_counter()
    with pool.cat(stored, path) as process:
        assert process.stdout is not None
        first = process.stdout.read(1)
        seconds = time.perf_counter() - began
        process.kill()
    return _seconds_to(first, seconds)


def first_byte_of_grid(grid: TahoeGrid, stored: str) -> float:
    """Seconds from the request to the first byte of the answer's body."""
    began = time.perf_counter()
    with closing(grid.read(stored)) as pieces:
        first = next(pieces, b"")
    return _seconds_to(first, time.perf_counter() - began)


def _seconds_to(first: bytes, seconds: float) -> float:
    if not first:
        raise SystemExit("a file that was stored has no first byte")
    return seconds


def range_of_pool(pool: MooragePool, stored: str, path: str, offset: int) -> tuple[float, bytes]:
    """By the command, its start and its end included."""
    began = time.perf_counter()
    with pool.cat(stored, path, "--range", f"{offset}-{offset + RANGE_BYTES - 1}") as process:
        data, _ = process.communicate()
    return time.perf_counter() - began, data


def range_of_grid(grid: TahoeGrid, stored: str, offset: int) -> tuple[float, bytes]:
    began = time.perf_counter()
    data = b"".join(grid.read(stored, (offset, offset + RANGE_BYTES - 1)))
    return time.perf_counter() - began, data


def ranges_of_open_client(
    pool: MooragePool,
    stored: str,
    path: str,
    offsets: Sequence[int],
    *,
    size_bytes: int = RANGE_BYTES,
    met: bool = True,
) -> list[float]:
    """By one client that stays open, as the gateway of the other does; the bytes are the command's, compared before.

    Unless ``met``, the first one's seconds count from the opening of the home on: what a program takes that has
    loaded its modules and has no connection yet.
    """
    request = {"object": stored, "path": path, "offsets": list(offsets), "bytes": size_bytes, "met": met}
    command = [*WORKER, str(pool.client_home)]
    output = pool.commands.output(command, deadline_s=WORKER_DEADLINE_S, words=json.dumps(request))
    return cast(list[float], json.loads(output))


def read_little(lab: Lab, systems: Sequence[System], scheme: str, *, size_bytes: int, reads: int) -> list[Figure]:
    """``reads`` ranges at random places, and a third as many first bytes."""
    source = lab.work / "source"
    make_source(source, size_bytes, seed="reads")
    places = random.Random(size_bytes)
    offsets = [places.randrange(size_bytes - RANGE_BYTES) for _ in range(reads)]
    firsts: dict[str, list[Timing]] = {}
    ranges: dict[str, list[Timing]] = {}
    with source.open("rb") as file:

        def check(system: System, offset: int, seconds: float, data: bytes) -> Timing:
            file.seek(offset)
            if data != file.read(RANGE_BYTES):
                raise SystemExit(f"{system.name} gave other bytes of a range")
            return Timing(seconds)

        for system in systems:
            if not isinstance(system, MooragePool | TahoeGrid):
                continue
            print(f"{scheme}, {reads} reads of {size_bytes // MIB} MiB: {system.name}", flush=True)
            system.resume()
            stored = system.put(source)
            if isinstance(system, TahoeGrid):
                seconds = [first_byte_of_grid(system, stored) for _ in range(max(1, reads // 3))]
                timed = [check(system, at, *range_of_grid(system, stored, at)) for at in offsets]
            else:
                seconds = [first_byte_of_pool(system, stored, source.name) for _ in range(max(1, reads // 3))]
                timed = [check(system, at, *range_of_pool(system, stored, source.name, at)) for at in offsets]
                ranges[OPEN_CLIENT] = [
                    Timing(second) for second in ranges_of_open_client(system, stored, source.name, offsets)
                ]
            firsts[system.name], ranges[system.name] = [Timing(second) for second in seconds], timed
            system.pause()
    source.unlink()
    scenario = f"{scheme}, from one file of {size_bytes // MIB} MiB"
    return [Figure(scenario, FIRST_BYTE, 0, firsts), Figure(scenario, RANGE, 0, ranges)]

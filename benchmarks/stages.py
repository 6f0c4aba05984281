"""What each stage of a put and a get costs, as the shipped code does it, and what this machine could reach at most.

    python -m benchmarks.stages [--scheme 4+2] [--rounds 5] [--together]

Each stage runs alone, on one extent of random bytes that are in the page cache, and is counted in CPU time per GB of
user data. On a machine where client and peers share the cores, nothing can be faster than the cores divided by the sum
of all stages, nor than the disk takes the bytes: the limit that a whole put or get is compared with. Where cores share
a cache, a memory or, as hyperthreads do, more than that, two do less than twice the work of one: ``--together`` runs
each stage on all of them at the same time.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import cast

from benchmarks.line import line_costs
from benchmarks.machine import cores
from benchmarks.sources import make_source
from benchmarks.stage_jobs import SAMPLE_BYTES, GetJobs, PutJobs
from core.limits import FRAME_BODY_MAX_BYTES
from erasure.codec import kernel_name
from erasure.scheme import Scheme
from host.memory import keep_freed_memory

GB = 1e9
# A core that has not come so far as the others in this time has failed.
MEET_DEADLINE_S = 120.0
FLOWS = ("put", "get")


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of ``flow`` on one side. ``cpu_s`` and ``wall_s`` are of all rounds, for one GB of user data."""

    flow: str
    side: str
    name: str
    cpu_s: Sequence[float]
    wall_s: Sequence[float] = field(default=())
    on_disk: bool = False

    @property
    def median_cpu_s(self) -> float:
        return statistics.median(self.cpu_s)


@dataclass(frozen=True, slots=True)
class Limit:
    """The least time that one GB of user data takes on a machine: by its cores and by its disk."""

    cpu_s: float
    disk_s: float
    cores: int

    @property
    def seconds(self) -> float:
        return max(self.cpu_s / self.cores, self.disk_s)

    @property
    def set_by(self) -> str:
        return "disk" if self.disk_s > self.cpu_s / self.cores else "cores"

    @property
    def bytes_per_s(self) -> float:
        return GB / self.seconds

    def fraction(self, size_bytes: int, wall_s: float) -> float:
        """How much of the limit a flow reached that moved ``size_bytes`` in ``wall_s``."""
        return size_bytes / wall_s / self.bytes_per_s


def limit_of(stages: Sequence[Stage], flow: str, cores: int) -> Limit:
    """The sum over the flow's stages; the disk's part is the slowest stage that waits for it."""
    ours = [stage for stage in stages if stage.flow == flow]
    disk_s = max((statistics.median(stage.wall_s) for stage in ours if stage.on_disk), default=0.0)
    return Limit(sum(stage.median_cpu_s for stage in ours), disk_s, cores)


def _measured(job: Callable[[], None], rounds: int, meet: Callable[[], object]) -> tuple[list[float], list[float]]:
    """CPU and wall seconds per GB; the first turn, which warms everything up, does not count."""
    cpu_s: list[float] = []
    wall_s: list[float] = []
    for _ in range(rounds + 1):
        meet()
        began, wall_began = time.process_time(), time.perf_counter()
        job()
        wall_s.append((time.perf_counter() - wall_began) / SAMPLE_BYTES * GB)
        cpu_s.append((time.process_time() - began) / SAMPLE_BYTES * GB)
    return cpu_s[1:], wall_s[1:]


def measure_stages(
    scheme: Scheme, folder: Path, rounds: int, *, meet: Callable[[], object] = lambda: None
) -> list[Stage]:
    """Every stage of both flows. Takes some seconds and needs SAMPLE_BYTES times three of room in ``folder``.

    ``meet`` is called before each turn of each stage.
    """
    source = folder / "stage-source"
    make_source(source, SAMPLE_BYTES, seed=f"stages {scheme}")
    put = PutJobs(source, folder, scheme)
    stages: list[Stage] = []

    def run(flow: str, side: str, name: str, job: Callable[[], None], *, on_disk: bool = False) -> None:
        cpu_s, wall_s = _measured(job, rounds, meet)
        stages.append(Stage(flow, side, name, cpu_s, wall_s, on_disk))

    run("put", "client", "read and digest the file", put.read_and_digest)
    run("put", "client", "try to compress", put.compress)
    run("put", "client", "seal (AES-256-GCM)", put.seal)
    run("put", "client", "lay out shares", put.split)
    run("put", "client", f"check shares ({kernel_name()})", put.checks)
    run("put", "client", "share digests", put.leaves)
    meet()
    stages += _line("put", SAMPLE_BYTES * scheme.total // scheme.needed, rounds)
    run("put", "peers", "check share digests", put.holders_digest)
    run("put", "peers", "write and sync", put.holders_write, on_disk=True)
    get = GetJobs(put, folder)
    run("get", "peers", "read and check shares", get.holders_read)
    meet()
    stages += _line("get", SAMPLE_BYTES, rounds)
    run("get", "client", "check shares against the root", get.verify)
    run("get", "client", "join shares", get.join)
    run("get", "client", "open (AES-256-GCM)", get.open)
    run("get", "client", "digest the file", get.digest)
    run("get", "client", "write and sync the file", get.write, on_disk=True)
    source.unlink()
    return stages


def _line(flow: str, size_bytes: int, rounds: int) -> list[Stage]:
    costs = line_costs(max(size_bytes, FRAME_BODY_MAX_BYTES), rounds)
    scale = GB / SAMPLE_BYTES
    sender, receiver = ("client", "peers") if flow == "put" else ("peers", "client")
    return [
        Stage(flow, sender, "TLS, send", [cost.sender_s * scale for cost in costs]),
        Stage(flow, receiver, "TLS, receive", [cost.receiver_s * scale for cost in costs]),
    ]


def measure_together(scheme: Scheme, folder: Path, rounds: int) -> list[Stage]:
    """As ``measure_stages``, with each stage on every core at the same time; room for all of them in ``folder``."""
    copies = cores()
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(copies, timeout=MEET_DEADLINE_S)
    ends = [context.Pipe(duplex=False) for _ in range(copies)]
    processes: list[SpawnProcess] = []
    try:
        for number, (_, there) in enumerate(ends):
            own = folder / f"core-{number}"
            own.mkdir()
            # Not a daemon: it has a child of its own at the other end of a line.
            process = context.Process(target=_measure_one, args=(scheme, own, rounds, barrier, there))
            process.start()
            processes.append(process)
            there.close()
        by_core = [cast("list[Stage]", here.recv()) for here, _ in ends]
    except EOFError as error:
        raise SystemExit("the stages failed on one of the cores") from error
    finally:
        for process in processes:
            process.terminate()
            process.join()
    return [_merged(stages) for stages in zip(*by_core, strict=True)]


def _measure_one(scheme: Scheme, folder: Path, rounds: int, barrier: Barrier, there: Connection) -> None:
    keep_freed_memory()
    try:
        there.send(measure_stages(scheme, folder, rounds, meet=barrier.wait))
        there.close()
    except BaseException:
        barrier.abort()
        raise


def _merged(stages: Sequence[Stage]) -> Stage:
    """So many GB were moved in the wall time of one."""
    return replace(
        stages[0],
        cpu_s=[cost for stage in stages for cost in stage.cpu_s],
        wall_s=[wall / len(stages) for stage in stages for wall in stage.wall_s],
    )


def stage_lines(stages: Sequence[Stage], limits: Mapping[str, Limit]) -> list[str]:
    """Lines for a terminal."""
    lines: list[str] = []
    for flow in FLOWS:
        lines.append(f"{flow:34}{'CPU per GB':>12}{'least':>10}{'most':>10}")
        for stage in (stage for stage in stages if stage.flow == flow):
            figures = (stage.median_cpu_s, min(stage.cpu_s), max(stage.cpu_s))
            median, least, most = (f"{figure:.3f} s" for figure in figures)
            lines.append(f"  {stage.side:7}{stage.name:25}{median:>12}{least:>10}{most:>10}")
        limit = limits[flow]
        lines.append(
            f"  sum {limit.cpu_s:.2f} CPU-s per GB on {limit.cores} cores, disk {limit.disk_s:.2f} s per GB: "
            f"at most {limit.bytes_per_s / 1e6:.0f} MB/s"
        )
    return lines


def stages_json(stages: Sequence[Stage], limits: Mapping[str, Limit]) -> dict[str, object]:
    """The stages' part of the results file."""
    rows = [
        {
            "flow": stage.flow,
            "side": stage.side,
            "name": stage.name,
            "cpu_s_per_gb": [round(value, 4) for value in stage.cpu_s],
            "median_cpu_s_per_gb": round(stage.median_cpu_s, 4),
        }
        for stage in stages
    ]
    bounds = {
        flow: {"cpu_s_per_gb": round(limit.cpu_s, 3), "disk_s_per_gb": round(limit.disk_s, 3), "cores": limit.cores}
        for flow, limit in limits.items()
    }
    return {"stages": rows, "limits": bounds}


def limits_of(stages: Sequence[Stage]) -> dict[str, Limit]:
    """Of both flows on this machine."""
    return {flow: limit_of(stages, flow, cores()) for flow in FLOWS}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description="Measure each stage by itself.")
    parser.add_argument("--scheme", type=Scheme.parse, default=Scheme(4, 6))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--together", action="store_true", help="each stage on all cores at the same time")
    words = parser.parse_args()
    keep_freed_memory()
    measure = measure_together if words.together else measure_stages
    with tempfile.TemporaryDirectory(dir=Path(__file__).resolve().parent) as folder:
        stages = measure(words.scheme, Path(folder), words.rounds)
    print("\n".join(stage_lines(stages, limits_of(stages))))
    return 0


if __name__ == "__main__":
    sys.exit(main())

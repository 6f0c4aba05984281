"""Where a benchmark runs: in a private world if there is one, in a folder of its own, with systems that end with it.

A benchmark's command prepares outside what needs the network, then runs itself again inside.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TypeVar

from benchmarks.figures import Timing
from benchmarks.pool import MooragePool, find_unsyncing
from benchmarks.processes import private_world, settle_in
from benchmarks.restic import ResticRepository, find_restic
from benchmarks.systems import System, timed
from benchmarks.tahoe import TahoeGrid
from benchmarks.tahoe_program import install
from erasure.scheme import Scheme

HERE = Path(__file__).resolve().parent
WORK = HERE / "work"
INSIDE = "MOORAGE_BENCHMARK_INSIDE"
SITES = 3

T = TypeVar("T")
AnySystem = TypeVar("AnySystem", bound=System)


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs that moorage is compared with; None: not to be had here, or not wanted."""

    tahoe: Path | None
    restic: Path | None
    unsyncing: Path | None
    missing: Sequence[str] = field(default=())
    """In words, what cannot be had."""


def find_tools(*, tahoe: bool = True, restic: bool = True, unsynced: bool = True) -> Tools:
    """Those that are wanted; what is not on this machine is installed for the benchmarks alone."""
    restic_path = find_restic() if restic else None
    unsyncing = find_unsyncing() if unsynced else None
    wanted = (("restic", restic, restic_path), ("libeatmydata, for moorage unsynced", unsynced, unsyncing))
    missing = [name for name, is_wanted, path in wanted if is_wanted and path is None]
    return Tools(install() if tahoe else None, restic_path, unsyncing, missing)


def sites_of(scheme: Scheme) -> int:
    """As few as let no site hold more shares than may be lost, but no fewer than SITES."""
    return max(SITES, -(-scheme.total // scheme.spare))


class Lab:
    """``work`` is empty at first; ``private``: nothing else uses this loopback."""

    def __init__(self, work: Path, tools: Tools, *, private: bool) -> None:
        self.work = work
        self.tools = tools
        self.private = private

    @contextmanager
    def started(self, systems: Sequence[AnySystem]) -> Generator[Sequence[AnySystem]]:
        """All of them started and paused; ended and their files deleted afterwards."""
        with ExitStack() as ends:
            ends.callback(self._clear)
            for system in systems:
                print(f"starting {system.name}", flush=True)
                ends.callback(system.stop)
                system.start()
                system.pause()
            yield systems

    def _clear(self) -> None:
        for path in self.work.iterdir():
            shutil.rmtree(path, ignore_errors=True)

    def timed(self, system: System, step: Callable[[], T]) -> tuple[T, Timing]:
        return timed(system, step, private=self.private)

    def folder(self, name: str) -> Path:
        """A new name in ``work``: nothing is there."""
        path = self.work / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    def pool(self, scheme: Scheme, *, peers: int = 0, unsynced: bool = False) -> MooragePool:
        return MooragePool(
            self.folder(f"pool-{scheme}{'-unsynced' if unsynced else ''}"),
            peers=max(peers, scheme.total),
            sites=sites_of(scheme),
            scheme=str(scheme),
            unsyncing=self.tools.unsyncing if unsynced else None,
        )

    def pools(self, scheme: Scheme, *, unsynced: bool) -> list[MooragePool]:
        """moorage, and moorage without syncs where that is wanted and can be had."""
        without = [self.pool(scheme, unsynced=True)] if unsynced and self.tools.unsyncing else []
        return [self.pool(scheme), *without]

    def grids(self, scheme: Scheme, *, nodes: int = 0) -> list[TahoeGrid]:
        """One, or none where Tahoe is not wanted."""
        if self.tools.tahoe is None:
            return []
        folder = self.folder(f"tahoe-{scheme}")
        return [TahoeGrid(self.tools.tahoe, folder, needed=scheme.needed, total=scheme.total, nodes=nodes)]

    def repositories(self) -> list[ResticRepository]:
        """One, or none where restic cannot be had."""
        return [] if self.tools.restic is None else [ResticRepository(self.tools.restic, self.folder("restic"))]


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit("told to stop")


def run_in_lab(module: str, find: Callable[[], Tools], inside: Callable[[Lab], int], free_bytes: int) -> int:
    """Run ``inside`` in a process of its own; its exit status. ``module`` is the caller, started again with its words.

    ``find`` is called outside, where the network is, and inside, where it finds what was installed.
    """
    work = os.environ.get(INSIDE)
    if work is not None:
        private = settle_in()
        signal.signal(signal.SIGTERM, _stop)
        signal.signal(signal.SIGINT, _stop)
        return inside(Lab(Path(work), find(), private=private))
    WORK.mkdir(exist_ok=True)
    if shutil.disk_usage(WORK).free < free_bytes:
        raise SystemExit(f"{WORK}: {free_bytes:,} bytes of free disk needed")
    find()
    world = private_world()
    if not world:
        print("no private network here: Tahoe's log ports listen on all addresses until the end of this run")
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        return _watch([*world, sys.executable, "-m", module, *sys.argv[1:]], folder, is_world=bool(world))


def _watch(command: Sequence[str], folder: str, *, is_world: bool) -> int:
    worker = subprocess.Popen(command, cwd=HERE.parent, env={**os.environ, INSIDE: folder})
    # Killing ``unshare`` takes its whole world along; without one, the worker is asked and cleans up.
    signal.signal(signal.SIGTERM, lambda _number, _frame: worker.kill() if is_world else worker.terminate())
    while True:
        try:
            return worker.wait()
        except KeyboardInterrupt:
            # The terminal sent it inside too, where it is obeyed.
            continue

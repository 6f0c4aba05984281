"""What is compared: the steps that a system can do, and how a step is measured."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from benchmarks.figures import Timing
from benchmarks.processes import Commands, cpu_s, loopback_bytes, peak_bytes, reset_peak

T = TypeVar("T")


class System(Protocol):
    """Between ``start`` and ``stop`` it holds processes.

    What ``put`` and ``put_tree`` return names what was stored, for the other calls.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def commands(self) -> Commands: ...
    @property
    def peer_pids(self) -> Sequence[int]: ...
    @property
    def client_pids(self) -> Sequence[int]:
        """Of clients that live from ``start`` to ``stop``."""
        ...

    @property
    def gateway_bytes(self) -> int:
        """What went over loopback between the benchmark and the system's own gateway: no part of the system."""
        ...

    def start(self) -> None: ...
    def put(self, source: Path) -> str: ...
    def get(self, stored: str, folder: Path) -> Path:
        """The restored file, in ``folder``, which is made."""
        ...

    def put_tree(self, source: Path) -> str: ...
    def get_tree(self, stored: str, folder: Path) -> Path:
        """The restored folder, in ``folder``, which is made."""
        ...

    def verify(self, stored: str) -> None:
        """Have every stored byte of a file looked at; ends the benchmark when something is wrong."""
        ...

    def stored_bytes(self) -> int: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def stop(self) -> None: ...


class Repairing(System, Protocol):
    """A system that spreads shares over holders and rebuilds what one has lost."""

    def lose_holder(self, since_s: float) -> int:
        """Delete what one holder was given since then (seconds of the wall clock); how many files that was."""
        ...

    def repair(self, stored: str) -> None:
        """Rebuild what a file lacks; ends the benchmark when that fails."""
        ...


def timed(system: System, step: Callable[[], T], *, private: bool) -> tuple[T, Timing]:
    """One step, begun when the disk has nothing left to write for the other. ``private``: loopback is ours alone."""
    pids = [*system.peer_pids, *system.client_pids]
    stored_before = system.stored_bytes()
    os.sync()
    reset_peak(pids)
    system.commands.peak_bytes = 0
    wire_before, cpu_before = loopback_bytes() - system.gateway_bytes, cpu_s(pids)
    began = time.perf_counter()
    result = step()
    wall_s = time.perf_counter() - began
    system.commands.settle()
    cpu_spent_s = cpu_s(pids) - cpu_before
    wire = loopback_bytes() - system.gateway_bytes - wire_before
    return result, Timing(
        wall_s=wall_s,
        cpu_s=cpu_spent_s,
        wire_bytes=wire if private else 0,
        stored_bytes=max(0, system.stored_bytes() - stored_before),
        client_peak_bytes=max(_most(system.client_pids), system.commands.peak_bytes),
        peer_peak_bytes=_most(system.peer_pids),
    )


def _most(pids: Iterable[int]) -> int:
    return max((peak_bytes(pid) for pid in pids), default=0)

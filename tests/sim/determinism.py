"""Trio programs whose every step follows from a seed.

Trio shuffles ready tasks by a private generator and lets private details of memory order a few more things; both are
switched off by private names, which ``tests/sim/test_determinism.py`` checks for.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import importlib
import os
import random
import secrets
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Generator
from types import ModuleType
from typing import Any, NoReturn, TypeVar, TypeVarTuple, Unpack

import trio
from trio._core import _io_epoll, _run
from trio.testing import MockClock

from tests.sim.chance import derive
from tests.sim.entropy import seeded_cryptography
from tests.sim.patches import replaced

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# Code that has to reach the world through its ports.
PORTED = ("core.", "erasure.", "anchor.", "wire.", "dht.", "client.", "daemon.")
_DOORS: tuple[tuple[ModuleType, tuple[str, ...]], ...] = (
    (os, ("urandom", "getrandom", "open", "fsync", "listdir")),
    (random, ("random", "randint", "choice", "shuffle", "getrandbits", "uniform", "sample", "choices", "randrange")),
    (secrets, ("token_bytes", "token_hex", "randbits", "choice")),
    (time, ("time", "time_ns", "monotonic", "perf_counter", "sleep")),
    (uuid, ("uuid1", "uuid4")),
)


class ForbiddenError(RuntimeError):
    """Code under simulation reached past its ports."""


class _Steps(trio.abc.Instrument):
    """Digests which task ran when: two runs of one digest had the same schedule."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        self._numbers: dict[trio.lowlevel.Task, int] = {}

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        number = self._numbers.setdefault(task, len(self._numbers))
        self._digest.update(f"{number} {task.name} {trio.current_time()!r};".encode())

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def run_seeded(
    seed: int, program: Callable[[Unpack[Ts]], Awaitable[T]], *args: *Ts, guarded: bool = True
) -> tuple[T, str]:
    """Run ``program`` in virtual time on a schedule that ``seed`` decides.

    Args:
        guarded: threads, waits for real file descriptors, and real clocks, chance and files as called by the layers
            of moorage raise ForbiddenError.

    Returns:
        What the program returned, and a digest of all steps that its tasks took.
    """
    steps = _Steps()
    # Made before the guards: it reads the real clock at every step, which must not cost a look at who asks.
    clock = MockClock(autojump_threshold=0)
    switches = _switches(derive(seed, "schedule").getrandbits(64))
    with switches, seeded_cryptography(seed), _guards() if guarded else contextlib.nullcontext():
        result = trio.run(program, *args, clock=clock, instruments=[steps])
    return result, steps.hexdigest()


@contextlib.contextmanager
def _switches(schedule: int) -> Generator[None, None, None]:
    module: Any = _run
    flag, state, collecting = module._ALLOW_DETERMINISTIC_SCHEDULING, module._r.getstate(), gc.isenabled()
    gc.collect()
    # Collected generators are finalised by tasks of their own: when that happens is an input of the schedule.
    gc.disable()
    module._ALLOW_DETERMINISTIC_SCHEDULING = True
    module._r.seed(schedule)
    try:
        yield
    finally:
        module._ALLOW_DETERMINISTIC_SCHEDULING = flag
        module._r.setstate(state)
        if collecting:
            gc.enable()


@contextlib.contextmanager
def _guards() -> Generator[None, None, None]:
    with contextlib.ExitStack() as stack:
        for module, names in _DOORS:
            for name in names:
                if hasattr(module, name):
                    stack.enter_context(replaced(module, name, _watched(f"{module.__name__}.{name}", module, name)))
        stack.enter_context(replaced(importlib.import_module("trio._threads"), "start_thread_soon", _no_thread))
        stack.enter_context(replaced(_io_epoll.EpollIOManager, "_epoll_wait", _waiting_only_for_wakeup()))
        yield


def _watched(label: str, module: ModuleType, name: str) -> Callable[..., object]:
    real = getattr(module, name)

    def watched(*args: Any, **options: Any) -> object:
        caller = f"{sys._getframe(1).f_globals.get('__name__', '')}."
        if caller.startswith(PORTED):
            raise ForbiddenError(f"{label} called by {caller[:-1]}: take it from core.ports")
        return real(*args, **options)

    return watched


def _no_thread(*_args: object, **_options: object) -> NoReturn:
    raise ForbiddenError("a thread was started: use Ports.threads")


def _waiting_only_for_wakeup() -> Callable[..., Awaitable[None]]:
    module: Any = _run
    real: Any = _io_epoll.EpollIOManager._epoll_wait

    async def wait(manager: object, descriptor: Any, kind: str) -> None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        if number != module.GLOBAL_RUN_CONTEXT.runner.entry_queue.wakeup.wakeup_sock.fileno():
            raise ForbiddenError("a real file descriptor was waited for: use Ports.net")
        await real(manager, descriptor, kind)

    return wait

"""A process that has the modules of commands loaded, and forks one for each command that is given in its home.

It runs no command itself, starts no thread and no event loop, so what it forks is as fresh as a process that has just
loaded them (docs/decisions/0018-an-agent-forks-commands.md). `cli.forked` is what the child does, `cli.front` the
other end.
"""

from __future__ import annotations

import argparse
import errno
import gc
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module

from cli.background import running_agent
from cli.forked import be_command
from cli.front import READY, STATUS_BYTES, address_of
from cli.homes import read_home
from cli.likeness import peer_of, seen_of, told_of_itself
from cli.owner import owner_of
from core.errors import EXIT_OK, HomeError

# Commands that wait to be forked; what comes on top starts without the agent.
BACKLOG = 64
# Commands under way: two descriptors each, of the 1,024 that a process may have. What comes on top starts without it.
COMMANDS_MAX = 256
# Where descriptors or memory for another connection are short, it is not asked for again at once.
SHORTAGE_PAUSE_S = 0.05
# How soon the agent of a home that was removed, or moved, notices and ends.
LOOK_EVERY_MS = 5000
# The modules that `cli.front.COMMANDS` load when they run, and those that these load in functions.
PRELOADED = (
    "cli.care",
    "cli.catalogue",
    "cli.contents",
    "cli.get",
    "cli.put",
    "cli.receipts",
    "cli.view",
    "cryptography.hazmat.backends.openssl.backend",
    "dht.node",
    "encodings.idna",
    "erasure.isal",
)


def run_agent(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT. Raises HomeError (no home, another agent runs in it, no pidfds or /proc here)."""
    try:
        os.close(os.pidfd_open(os.getpid()))
        seen_of(os.getpid())
    except (OSError, AttributeError) as error:
        text = "the agent needs Linux 5.3 or later with /proc; without it commands start by themselves"
        raise HomeError(f"{text} ({error})") from error
    home = read_home(arguments.home).folder
    with bind(home) as listener:
        load()
        agent = Agent(listener, home)
        if not arguments.quiet:
            print(f"moorage: the agent of {home} is ready", file=sys.stderr, flush=True)
        agent.serve()
    return EXIT_OK


def load() -> None:
    """Have all modules, and leave them out of every later collection, which would copy their pages in each child."""
    gc.disable()
    for name in PRELOADED:
        import_module(name)
    gc.collect()
    gc.freeze()
    gc.enable()


def bind(home: str) -> socket.socket:
    """A socket that only one process can have, at which nobody listens yet. Raises HomeError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    address = address_of(home)
    assert address is not None, "it was read"
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        if error.errno != errno.EADDRINUSE:
            raise HomeError(f"the agent of {home} gets no socket: {error.strerror}") from error
        pid = running_agent(home)
        who = f"another agent, process {pid}," if pid else "an agent that is starting, or another user or container,"
        raise HomeError(f"{who} has the socket of {home}: stop it first") from error
    return listener


class Agent:
    """Forks a process for each connection to ``listener``, which is bound to the address of ``home``."""

    def __init__(self, listener: socket.socket, home: str) -> None:
        self._listener = listener
        self._home = home
        self._address = address_of(home)
        self._modules = _files_of_modules()
        self._changes = _changes_of(self._modules)
        # Whatever its starter had: children are waited for, and begin with no signal blocked.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self._told = told_of_itself()
        self._seen = seen_of(os.getpid())
        self._poll = select.poll()
        self._watched: dict[int, Callable[[], None]] = {}
        self._commands: set[int] = set()
        self._stopping = False
        self._signals = 0
        listener.listen(BACKLOG)

    def serve(self) -> None:
        """Until SIGTERM or SIGINT, the end of its owner, or a change of its home or of any module that it has loaded.

        Then nobody listens any more, and it ends with the last command under way, or at a second signal.
        """
        woken, waker = socket.socketpair()
        with woken, waker:
            waker.setblocking(False)
            signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda _number, _frame: None)  # the byte that wakes is enough
            self._watch(woken.fileno(), select.POLLIN, partial(self._on_signal, woken))
            self._watch(self._listener.fileno(), select.POLLIN, self._accept)
            self._watch_owner()
            while not self._stopping and address_of(self._home) == self._address:
                self._wait()
            self._unwatch(self._listener.fileno())
            self._listener.close()
            while self._commands and self._signals < 2:
                self._wait()

    def _wait(self) -> None:
        # Taken before any is done, which may close a descriptor and give its number to another.
        for then in [self._watched[descriptor] for descriptor, _ in self._poll.poll(LOOK_EVERY_MS)]:
            then()

    def _on_signal(self, woken: socket.socket) -> None:
        self._signals += len(woken.recv(1))
        self._stopping = True

    def _watch_owner(self) -> None:
        owner = owner_of(os.environ)
        if owner is not None:
            try:
                watched = os.pidfd_open(owner)
            except ProcessLookupError:
                self._stopping = True
            else:
                self._watch(watched, select.POLLIN, partial(self._on_owner_gone, watched))

    def _on_owner_gone(self, watched: int) -> None:
        self._unwatch(watched)
        self._stopping = True

    def _watch(self, descriptor: int, events: int, then: Callable[[], None]) -> None:
        self._watched[descriptor] = then
        self._poll.register(descriptor, events)

    def _unwatch(self, descriptor: int) -> None:
        if self._watched.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def _accept(self) -> None:
        try:
            front, _ = self._listener.accept()
        except OSError:
            time.sleep(SHORTAGE_PAUSE_S)
            return
        _, user = peer_of(front)
        if user != os.geteuid() or len(self._commands) == COMMANDS_MAX:
            front.close()
        elif _changes_of(self._modules) != self._changes:
            # A part of the program of before beside one of now is neither.
            front.close()
            self._stopping = True
        else:
            self._fork(front)

    def _fork(self, front: socket.socket) -> None:
        """Where processes or descriptors are short, the front finds out for itself: it is not told READY."""
        assert threading.active_count() == 1, "a lock that another thread holds would stay held in the child"
        try:
            pid = os.fork()
        except OSError:
            front.close()
            return
        if pid == 0:
            be_command(front, told=self._told, seen=self._seen)
        try:
            ended = os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            front.close()
            return
        self._commands.add(pid)
        self._watch(ended, select.POLLIN, partial(self._reap, pid, ended, front))
        self._watch(front.fileno(), 0, partial(self._end, pid, front))
        with suppress(OSError):  # it is gone: noticed at the next look
            front.send(READY)

    def _end(self, pid: int, front: socket.socket) -> None:
        """The front is gone: whoever killed it meant the command."""
        if front.fileno() in self._watched:  # not reaped a moment ago
            self._unwatch(front.fileno())
            os.kill(pid, signal.SIGKILL)

    def _reap(self, pid: int, ended: int, front: socket.socket) -> None:
        self._unwatch(ended)
        self._unwatch(front.fileno())
        os.close(ended)
        self._commands.remove(pid)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with suppress(OSError):  # the command told it itself, as a rule, and the front is gone
            front.send(status.to_bytes(STATUS_BYTES, "big", signed=True))
        front.close()


def _files_of_modules() -> list[str]:
    found = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return [path for path in found if path is not None]


def _changes_of(paths: Sequence[str]) -> list[tuple[int, int] | None]:
    """When each was last written (ns), and its size; None where it is gone."""
    changes: list[tuple[int, int] | None] = []
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:
            changes.append(None)
        else:
            changes.append((found.st_mtime_ns, found.st_size))
    return changes

"""A process that has the modules of commands loaded, and forks one for each command that is given in its home.

It runs no command itself, starts no thread and no event loop, so what it forks is as fresh as a process that has just
loaded them (docs/decisions/0018-an-agent-forks-commands.md). `cli.front` is the other end.
"""

from __future__ import annotations

import argparse
import gc
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import NoReturn

from cli.front import (
    GO,
    LENGTH_BYTES,
    PID_BYTES,
    READY,
    REASON_MAX_BYTES,
    STATUS_BYTES,
    STREAMS,
    address_of,
    peer_of,
    what_must_be_same,
)
from cli.homes import read_home
from cli.main import main as run_command
from cli.owner import owner_of
from cli.request import Request
from core.errors import EXIT_ERROR, EXIT_OK, HomeError, MalformedError
from core.limits import MIB

# Commands that wait to be forked; what comes on top starts without the agent.
BACKLOG = 64
# Words and environment: the kernel takes 2 MiB of both for a process, and their text is up to four times as long.
REQUEST_MAX_BYTES = 8 * MIB
# A front that has not sent its request, or does not say GO, in this time is stopped, or gone.
FRONT_DEADLINE_S = 5.0
# How soon the agent of a home that was removed, or moved, notices and ends.
LOOK_EVERY_MS = 5000
# What Python itself ends with when the last of the output cannot be written.
EXIT_OUTPUT_LOST = 120
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
    """Serve until SIGTERM or SIGINT. Raises HomeError (no home, another agent runs in it, no pidfds here)."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (OSError, AttributeError) as error:
        raise HomeError("the agent needs Linux 5.3 or later; without it commands start by themselves") from error
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
        raise HomeError(f"another agent runs in {home}: stop it first") from error
    return listener


class Agent:
    """Forks a process for each connection to ``listener``, which is bound to the address of ``home``."""

    def __init__(self, listener: socket.socket, home: str) -> None:
        self._listener = listener
        self._home = home
        self._address = address_of(home)
        self._modules = _files_of_modules()
        self._changes = _changes_of(self._modules)
        self._same = what_must_be_same()
        self._poll = select.poll()
        self._watched: dict[int, Callable[[], None]] = {}
        self._stopping = False
        listener.listen(BACKLOG)

    def serve(self) -> None:
        """Until SIGTERM or SIGINT, the end of its owner, or a change of its home or of any module that it has loaded.

        Commands under way go on: each tells its front itself how it ended.
        """
        woken, waker = socket.socketpair()
        with woken, waker:
            waker.setblocking(False)
            signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda _number, _frame: None)  # the byte that wakes is enough
            self._watch(woken.fileno(), select.POLLIN, self._stop)
            self._watch(self._listener.fileno(), select.POLLIN, self._accept)
            self._watch_owner()
            while not self._stopping and address_of(self._home) == self._address:
                # Taken before any is done, which may close a descriptor and give its number to another.
                for then in [self._watched[descriptor] for descriptor, _ in self._poll.poll(LOOK_EVERY_MS)]:
                    then()

    def _stop(self) -> None:
        self._stopping = True

    def _watch_owner(self) -> None:
        owner = owner_of(os.environ)
        if owner is not None:
            try:
                self._watch(os.pidfd_open(owner), select.POLLIN, self._stop)
            except ProcessLookupError:
                self._stop()

    def _watch(self, descriptor: int, events: int, then: Callable[[], None]) -> None:
        self._watched[descriptor] = then
        self._poll.register(descriptor, events)

    def _unwatch(self, descriptor: int) -> None:
        if self._watched.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def _accept(self) -> None:
        front, _ = self._listener.accept()
        _, user = peer_of(front)
        if user != os.geteuid():
            front.close()
            return
        if _changes_of(self._modules) != self._changes:
            # A part of the program of before beside one of now is neither.
            front.close()
            self._stop()
            return
        assert threading.active_count() == 1, "a lock that another thread holds would stay held in the child"
        try:
            pid = os.fork()
        except OSError:  # too many processes: the front finds out for itself
            front.close()
            return
        if pid == 0:
            _be_command(front, self._same)
        ended = os.pidfd_open(pid)
        self._watch(ended, select.POLLIN, partial(self._reap, pid, ended, front))
        self._watch(front.fileno(), 0, partial(self._end, pid, front))

    def _end(self, pid: int, front: socket.socket) -> None:
        """The front is gone: whoever killed it meant the command."""
        if front.fileno() in self._watched:  # not reaped a moment ago
            self._unwatch(front.fileno())
            os.kill(pid, signal.SIGKILL)

    def _reap(self, pid: int, ended: int, front: socket.socket) -> None:
        self._unwatch(ended)
        self._unwatch(front.fileno())
        os.close(ended)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with suppress(OSError):  # the command told it itself, as a rule, and the front is gone
            front.send(_status(status))
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


def _status(status: int) -> bytes:
    return status.to_bytes(STATUS_BYTES, "big", signed=True)


# --- in the child -------------------------------------------------------------------------------


def _be_command(front: socket.socket, same: Mapping[str, str]) -> NoReturn:
    """Take on what the front has, and run its command. Nothing of the agent's is ended or removed here."""
    status = EXIT_ERROR
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        _close_all_but(front.fileno())
        words = _take_on(front, same)
        if words is not None:
            status = _run(words)
            front.send(_status(status))
    except BaseException:
        traceback.print_exc()  # a bug of ours: into the agent's log, or where the command complains
    finally:
        os._exit(status)


def _close_all_but(kept: int) -> None:
    """Lock, listener and others' fronts: whoever waits for their end must not wait for this process."""
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor > 2 and descriptor != kept:
            with suppress(OSError):  # the listing's own
                os.close(descriptor)


def _take_on(front: socket.socket, same: Mapping[str, str]) -> Sequence[str] | None:
    """The words of the command, once the front has said GO; None where it has not, or must run it itself."""
    front.settimeout(FRONT_DEADLINE_S)
    try:
        front.sendall(READY)
        request, descriptors = _receive(front)
        different = [name for name, value in request.same.items() if same.get(name) != value]
        if different:
            raise ValueError(f"this command's {' and '.join(different)} is not the agent's")
        request.take_on(descriptors[: len(STREAMS)], descriptors[-1])
    except (OSError, ValueError, MalformedError) as error:
        with suppress(OSError):
            front.sendall(bytes(PID_BYTES) + str(error).encode()[:REASON_MAX_BYTES])
        return None
    try:
        front.sendall(os.getpid().to_bytes(PID_BYTES, "big"))
        is_given = front.recv(len(GO)) == GO
    except OSError:
        return None
    front.settimeout(None)
    return request.words if is_given else None


def _receive(front: socket.socket) -> tuple[Request, list[int]]:
    """The request, and descriptors of the STREAMS and the working folder. Raises OSError, MalformedError."""
    data, descriptors, _, _ = socket.recv_fds(front, LENGTH_BYTES + REQUEST_MAX_BYTES, len(STREAMS) + 1)
    size = int.from_bytes(data[:LENGTH_BYTES], "big")
    while len(data) < LENGTH_BYTES + min(size, REQUEST_MAX_BYTES):
        part = front.recv(REQUEST_MAX_BYTES)
        if not part:
            break
        data += part
    if len(data) != LENGTH_BYTES + size or len(descriptors) != len(STREAMS) + 1:
        raise MalformedError("a request to the agent is cut off, or too long")
    return Request.parse(data[LENGTH_BYTES:]), descriptors


def _run(words: Sequence[str]) -> int:
    """The exit status, its output written: what a process of its own does from its first line to its end."""
    sys.argv = ["moorage", *words]
    try:
        status = run_command(words)
    except SystemExit as end:  # argparse's, after help
        status = end.code if isinstance(end.code, int) else EXIT_OK if end.code is None else EXIT_ERROR
    except BaseException:  # a bug: told as Python tells it at the end of a process
        traceback.print_exc()
        status = EXIT_ERROR
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the outcome is known
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError as error:
        print(f"moorage: the output could not be written: {error.strerror}", file=sys.stderr)
        return EXIT_OUTPUT_LOST
    return status

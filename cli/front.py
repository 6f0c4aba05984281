"""Give a command to the home's agent, which has its modules loaded (docs/decisions/0018-an-agent-forks-commands.md).

This process stays in front of the one that works: it has the terminal and the shell's eye, passes signals on, and ends
as the other one does. Every start with an agent loads this, so it loads little itself, and C modules in place of those
that give them enums and selectors: with these it would take half as long again. Without an agent it costs a look for a
socket.
"""

from __future__ import annotations

import _signal as signal  # pyright: ignore[reportMissingModuleSource] - it is a part of Python
import os
import sys

from cli.likeness import INT_BYTES, differences, peer_of, seen_of, seen_of_peer, told_of_itself
from cli.words import command_of, home_of

# As in typing, which is not loaded for a name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Sequence
    from types import FrameType, TracebackType
    from typing import Self

AGENT_VARIABLE = "MOORAGE_AGENT"
OFF = "off"
# What works for somebody who waits, in any process: not what runs for months, starts others or looks at this machine.
COMMANDS = frozenset({"put", "get", "cat", "ls", "verify", "sweep", "repair", "status", "peers", "events", "receipt"})
# An agent that does not answer within this is stopped, or on a machine with no time for it.
ANSWER_DEADLINE_S = 2.0
LENGTH_BYTES = 4
PID_BYTES = 4
REASON_MAX_BYTES = 1000
STATUS_BYTES = 2
READY = b"\1"
GO = b"\2"

STREAMS = ("stdin", "stdout", "stderr")
# Unless whoever started this process has it ignore them (nohup, a shell's background jobs).
_PASSED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)


def run_by_agent(words: Sequence[str]) -> int | None:
    """The exit status of a command that the home's agent has run; None where this process must run it itself.

    If the command was ended by a signal, so is this process.
    """
    if command_of(words) not in COMMANDS or os.environ.get(AGENT_VARIABLE) == OFF:
        return None
    address = address_of(home_of(words))
    if address is None:
        return None
    import _socket

    agent = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    agent.settimeout(ANSWER_DEADLINE_S)
    with _Passing() as passing:
        try:
            agent.connect(address)
            _send_request(agent, words)
            worker = os.pidfd_open(_receive_pid(agent))
            agent.sendall(GO)
        except OSError as reason:
            agent.close()
            is_told = "-v" in words or "--verbose" in words
            if is_told and not isinstance(reason, ConnectionRefusedError):  # nobody listens, as a rule
                print(f"moorage: not by the agent: {reason}", file=sys.stderr)
            return None
        passing.to(worker)
        agent.settimeout(None)
        status = _receive(agent, STATUS_BYTES)
    if status is None:
        from core.errors import EXIT_TRY_AGAIN

        text = "the agent was killed, and with it what it knew of this command: look what was done, and give it again"
        print(f"moorage: {text}", file=sys.stderr)
        return EXIT_TRY_AGAIN
    return _end_as(int.from_bytes(status, "big", signed=True))


def address_of(home: str) -> bytes | None:
    """An abstract Unix address (unix(7)): no file that is copied with the home, or left by an agent that was killed.

    It goes with the folder, not with its path. None where there is none, or the system has no such addresses.
    """
    if sys.platform != "linux":
        return None
    try:
        found = os.stat(home)
    except OSError:
        return None
    return f"\0moorage agent {found.st_dev}:{found.st_ino}".encode()


class _Passing:
    """While it is open, signals that would stop this process go to the one that works for it, once that has begun.

    Where it never does, what has come meanwhile ends this process.
    """

    def __init__(self) -> None:
        self._worker: int | None = None
        self._early: list[int] = []

    def __enter__(self) -> Self:
        for number in _PASSED:
            if signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, self._pause if number == signal.SIGTSTP else self._pass)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in _PASSED:
            if signal.getsignal(number) in (self._pass, self._pause):
                signal.signal(number, signal.SIG_DFL)
        if self._worker is None and self._early:
            os.kill(os.getpid(), self._early[0])

    def to(self, worker: int) -> None:
        """``worker`` is a pidfd: a number might be another's by the time of a signal."""
        self._worker = worker
        for number in self._early:
            self._send(worker, number)

    def _pass(self, number: int, _frame: FrameType | None) -> None:
        if self._worker is None:
            self._early.append(number)
        else:
            self._send(self._worker, number)

    def _pause(self, _number: int, _frame: FrameType | None) -> None:
        if self._worker is not None:
            self._send(self._worker, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        if self._worker is not None:
            self._send(self._worker, signal.SIGCONT)

    @staticmethod
    def _send(worker: int, number: int) -> None:
        try:
            signal.pidfd_send_signal(worker, number)
        except OSError:  # it has ended
            return


def _send_request(agent: socket, words: Sequence[str]) -> None:
    """Raises OSError, and ConnectionAbortedError that says why this command is none for the agent."""
    import _socket

    if peer_of(agent)[1] != os.geteuid():
        raise ConnectionAbortedError("another user listens there")
    # A descriptor of ours is a way into what we see, and one who sees less may listen.
    different = differences(seen_of(os.getpid()), seen_of_peer(agent))
    if different:
        raise ConnectionAbortedError(different)
    request = describe(words)
    # What lies unread in a socket is open: a reader of our output would wait for an agent that is stopped.
    if _receive(agent, len(READY)) != READY:
        raise ConnectionAbortedError("it has no room for another command, or is about to end")
    folder = os.open(".", os.O_PATH | os.O_DIRECTORY)
    try:
        message = len(request).to_bytes(LENGTH_BYTES, "big") + request
        descriptors = b"".join(each.to_bytes(INT_BYTES, sys.byteorder) for each in (0, 1, 2, folder))
        sent = agent.sendmsg([message], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)])
        if sent < len(message):  # to send nothing would be an error where the agent has answered and gone
            agent.sendall(message[sent:])
    finally:
        os.close(folder)


def _receive_pid(agent: socket) -> int:
    """Whoever waits for GO to begin with the command. Raises OSError."""
    pid = _receive(agent, PID_BYTES)
    if pid is None:
        raise ConnectionAbortedError("it ended")
    if not any(pid):
        raise ConnectionAbortedError(agent.recv(REASON_MAX_BYTES).decode(errors="replace"))
    return int.from_bytes(pid, "big")


def _receive(agent: socket, size: int) -> bytes | None:
    """``size`` bytes; None where there are fewer. Raises TimeoutError."""
    data = b""
    while len(data) < size:
        try:
            part = agent.recv(size - len(data))
        except ConnectionError:
            return None
        if not part:
            return None
        data += part
    return data


def _end_as(status: int) -> int:
    """The exit status; below 0 it is the signal that ended the other process, and ends this one."""
    if status < 0:
        if -status != signal.SIGKILL:  # which nobody can catch
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
        return 128 - status  # it is blocked
    return status


def describe(words: Sequence[str]) -> bytes:
    """What this process was given, as text of Python literals that `cli.request` parses.

    Raises ConnectionAbortedError (there is what cannot be told).
    """
    import resource

    streams = [getattr(sys, name) for name in STREAMS]
    if None in streams:
        raise ConnectionAbortedError("a standard stream is closed")
    limits = [number for name, number in vars(resource).items() if name.startswith("RLIMIT_")]
    umask = os.umask(0o077)
    os.umask(umask)
    fields = (
        told_of_itself(),
        list(words),
        dict(os.environb),
        [text for stream in streams for text in (stream.encoding, stream.errors)],
        [number for number in range(1, signal.NSIG) if signal.getsignal(number) == signal.SIG_IGN],
        [each for number in limits for each in (number, *resource.getrlimit(number))],
        sorted(os.sched_getaffinity(0)),
        os.getpriority(os.PRIO_PROCESS, 0),
        umask,
    )
    return repr(fields).encode()

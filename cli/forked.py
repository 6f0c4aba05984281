"""A process that the agent has forked becomes the command of a front, and ends as that command ends."""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

from cli.front import (
    GO,
    LENGTH_BYTES,
    PID_BYTES,
    REASON_MAX_BYTES,
    STATUS_BYTES,
    STREAMS,
)
from cli.likeness import differences, seen_of_peer
from cli.main import main as run_command
from cli.request import Request
from core.errors import EXIT_ERROR, EXIT_OK, MalformedError
from core.limits import MIB

# Words and environment: the kernel takes 2 MiB of both for a process, and their text is up to four times as long.
REQUEST_MAX_BYTES = 8 * MIB
# A front that has not sent its request, or does not say GO, in this time is stopped, or gone.
FRONT_DEADLINE_S = 5.0
# What Python itself ends with when the last of the output cannot be written.
EXIT_OUTPUT_LOST = 120


def be_command(front: socket.socket, *, told: Mapping[str, str], seen: Mapping[str, str]) -> NoReturn:
    """Take on what the front has, and run its command. Nothing of the agent's is ended or removed here.

    ``told`` and ``seen``: what `cli.likeness.told_of_itself` and `seen_of` say of the agent.
    """
    status = EXIT_ERROR
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        _close_all_but(front.fileno())
        words = _take_on(front, told, seen)
        if words is not None:
            status = _run(words)
            with suppress(OSError):  # front and agent are gone, and nobody asks
                front.send(status.to_bytes(STATUS_BYTES, "big", signed=True))
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


def _take_on(front: socket.socket, told: Mapping[str, str], seen: Mapping[str, str]) -> Sequence[str] | None:
    """The words of the command, once the front has said GO; None where it has not, or must run it itself."""
    front.settimeout(FRONT_DEADLINE_S)
    try:
        if differences(seen_of_peer(front), seen):
            # Before a byte of its is read: what that costs holds this machine up, and not what holds the other end
            # down. A front of ours has found out for itself, and says why.
            return None
        request, descriptors = _receive(front)
        different = differences(request.told, told)
        if different:
            raise ValueError(different)
        request.take_on(descriptors[: len(STREAMS)], descriptors[-1])
    except (OSError, ValueError, MalformedError) as error:
        with suppress(OSError):
            front.sendall(bytes(PID_BYTES) + str(error).encode()[:REASON_MAX_BYTES])
        return None
    try:
        front.sendall(os.getpid().to_bytes(PID_BYTES, "big"))
        is_given = _is_given(front)
    except OSError:
        return None
    front.settimeout(None)
    return request.words if is_given else None


def _is_given(front: socket.socket) -> bool:
    """Whether the front says GO in time; if not, it fails to say it from then on. Raises OSError."""
    try:
        answer = front.recv(len(GO))
    except TimeoutError:
        front.shutdown(socket.SHUT_RD)
        answer = front.recv(len(GO))  # said in the moment between
    return answer == GO


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

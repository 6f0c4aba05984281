"""Whether one process can stand in for another: what each knows of itself, and what the kernel says of both.

Loaded at every start with an agent: C modules, for the reason that `cli.front` gives.
"""

from __future__ import annotations

import _signal as signal  # pyright: ignore[reportMissingModuleSource] - it is a part of Python
import errno
import os
import sys

# As in typing, which is not loaded for a name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Mapping

# Of a number in a system call's structure.
INT_BYTES = 4
# asm-generic/socket.h; Linux 6.5.
SO_PEERPIDFD = 77
_NAMESPACES = ("mnt", "net", "pid", "user")
# They change an interpreter or a library, which look at them once.
_STARTING = ("PYTHON", "LD_", "MALLOC_", "GLIBC_", "OPENSSL_", "SSLKEYLOGFILE")


def told_of_itself() -> dict[str, str]:
    """What only a process knows of itself, by name, and cannot change once it runs: its program and how it began."""
    variables = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith(_STARTING))
    # Which of LANG's ways to UTF-8 was taken makes no difference: no file is opened without its encoding being named.
    flags = [value for name, value in zip(sys.flags.__match_args__, sys.flags, strict=True) if name != "utf8_mode"]
    encodings = (sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())
    program = (sys.executable, sys.version, os.path.realpath(__file__), flags, sys.warnoptions, encodings)
    return {"program": repr(program), "PYTHON or LD variables": repr(variables)}


def seen_of(pid: int) -> dict[str, str]:
    """What the kernel says of a process, by name: user, rights, view of the system, how it is scheduled (proc(5)).

    The same at both ends, or one would lend the other what it has not. Raises OSError: the process is gone, in another
    container, or has more rights than this one.
    """
    if pid <= 0 or os.readlink("/proc/self") != str(os.getpid()):
        raise ProcessLookupError("the other end is in another container")
    folder = f"/proc/{pid}"
    # By nothing but newlines: a process may have other line breaks in its name.
    lines = [line.partition(":") for line in _text_of(f"{folder}/status").split("\n")]
    status = {name: value for name, _, value in lines}
    rights = [each for each in status.items() if each[0].startswith(("Cap", "NoNewPrivs", "Seccomp"))]
    root = os.stat(f"{folder}/root")
    namespaces = [os.readlink(f"{folder}/ns/{name}") for name in _NAMESPACES]
    priority = os.sched_getparam(pid).sched_priority
    scheduling = (os.sched_getscheduler(pid), priority, _text_of(f"{folder}/oom_score_adj"))
    return {
        "user": repr([status[name].split() for name in ("Uid", "Gid", "Groups")]),
        "rights": repr((rights, _label_of(folder))),
        "view of the system": repr((namespaces, root.st_dev, root.st_ino)),
        "scheduling": repr(scheduling),
        "blocked signals": status["SigBlk"].strip(),
    }


def seen_of_peer(connection: socket) -> dict[str, str]:
    """As ``seen_of``, of the process at the other end, which itself could say anything. Raises OSError."""
    import _socket

    found = seen_of(peer_of(connection)[0])
    try:
        process = connection.getsockopt(_socket.SOL_SOCKET, SO_PEERPIDFD)
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:
            raise
        return found  # an older kernel, and numbers of processes are not used again this soon
    try:
        signal.pidfd_send_signal(process, 0)  # raises where it is gone: what was found may be another's by then
    finally:
        os.close(process)
    return found


def _label_of(folder: str) -> str:
    """What a security module goes by; empty where none is loaded."""
    try:
        return _text_of(f"{folder}/attr/current")
    except OSError:
        return ""


def _text_of(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> str:
    """Why what has ``one`` cannot stand in for what has ``other``; empty where it can."""
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return f"this command's {' and '.join(names)} is not the agent's" if names else ""


def peer_of(connection: socket) -> tuple[int, int]:
    """Process and user at the other end (SO_PEERCRED, unix(7)); where this end connected, of who listens there."""
    import _socket

    credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 3 * INT_BYTES)
    pid, user = (int.from_bytes(credentials[at : at + INT_BYTES], sys.byteorder) for at in (0, INT_BYTES))
    return pid, user

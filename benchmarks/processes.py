"""Processes of a measured system: their CPU time and disk use, and a private world that takes them all with it.

Where the kernel allows it, a benchmark runs in network and process namespaces of its own: nothing it starts
can be reached from outside, and when it ends, however it ends, the kernel ends every process in it.
"""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

# linux/if.h and linux/sockios.h
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
STAT_USER_TIME, STAT_SYSTEM_TIME = 11, 12


def private_world() -> list[str]:
    """The words before a command that run it in its own namespaces; none where that is not allowed."""
    if shutil.which("unshare") is None:
        return []
    own_user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    words = ["unshare", *own_user, "--net", "--pid", "--fork", "--mount-proc", "--kill-child", "--"]
    tried = subprocess.run([*words, "true"], capture_output=True, check=False)
    return words if tried.returncode == 0 else []


def settle_in() -> bool:
    """Call first in a command that may run in a private world; True in one. Starts its loopback and its reaper.

    Process 1 inherits the orphans of its namespace; left unreaped they would look alive to who waits for their end.
    """
    if os.getpid() != 1:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        name = b"lo".ljust(16, b"\0")
        answer = fcntl.ioctl(any_socket, SIOCGIFFLAGS, name + bytes(24))
        (flags,) = struct.unpack_from("<H", answer, 16)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, name + struct.pack("<H22x", flags | IFF_UP))
    sys.stdout.flush()
    worker = os.fork()
    if worker == 0:
        return True
    while True:
        try:
            ended, status = os.wait()
        except KeyboardInterrupt:
            # The terminal sent it to the worker too, which cleans up; its end ends this loop.
            continue
        if ended == worker:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def cpu_s(pids: Iterable[int]) -> float:
    """User and system time of living processes, and of this process's children that have ended (proc(5))."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[STAT_USER_TIME]) + int(fields[STAT_SYSTEM_TIME])
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ticks / os.sysconf("SC_CLK_TCK") + ended.ru_utime + ended.ru_stime


def folder_bytes(folders: Iterable[Path]) -> int:
    """The sizes of all files in them."""
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())


def output_of(command: Sequence[str | Path], *, deadline_s: float) -> str:
    """Standard output; the command's own complaint and the end of the benchmark if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=deadline_s, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stderr.strip()[-2000:]}")
    return done.stdout

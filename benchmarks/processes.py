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
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

# linux/if.h and linux/sockios.h
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
STAT_PARENT = 1
# User and system time of the process, and of its children that have ended.
STAT_TIMES = slice(11, 15)
# proc(5), clear_refs: the peak begins anew at what is resident now.
RESET_PEAK = "5"
WATCH_PERIOD_S = 0.02
SETTLE_POLL_S = 0.001


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
    """User and system time of living processes, and of all children of theirs and of this process that have ended."""
    ticks = sum(int(field) for pid in pids for field in stat_of(pid)[STAT_TIMES])
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ticks / os.sysconf("SC_CLK_TCK") + ended.ru_utime + ended.ru_stime


def stat_of(pid: int) -> list[str]:
    """What follows a process' name in its line (proc(5)); nothing when it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def children_of(parent: int) -> list[int]:
    """Processes whose parent this is, also such as have ended and were not waited for yet."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    return [pid for pid in pids if stat_of(pid)[STAT_PARENT : STAT_PARENT + 1] == [str(parent)]]


def folder_bytes(folders: Iterable[Path]) -> int:
    """The sizes of all files in them."""
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())


def files_since(folder: Path, since_s: float) -> list[Path]:
    """The files in it that were last written at ``since_s`` (seconds of the wall clock) or later."""
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_mtime >= since_s]


def reset_peak(pids: Iterable[int]) -> None:
    """Let ``peak_bytes`` of these processes count from now."""
    for pid in pids:
        with suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK)


def peak_bytes(pid: int) -> int:
    """The most memory that a process had resident; 0 when it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def loopback_bytes() -> int:
    """What has travelled over this network namespace's loopback."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, counts = line.partition(":")
        if name.strip() == "lo":
            return int(counts.split()[0])
    return 0


class Commands:
    """Runs a system's short-lived commands. ``peak_bytes``: the most memory that one had since it was last set.

    ``agent``: the process that forks another for each command, which does its work and whose memory counts with the
    command's; None where there is no such thing.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """``environment`` is added to this process's own."""
        self.environment = {**os.environ, **(environment or {})}
        self.peak_bytes = 0
        self.agent: int | None = None

    def output(
        self, command: Sequence[str | Path], *, deadline_s: float, good: Iterable[int] = (0,), words: str = ""
    ) -> str:
        """Standard output; the command's own complaint and the end of the benchmark if its status is not ``good``."""
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=self.environment
        ) as process:
            done = threading.Event()
            watcher = threading.Thread(target=self._watch, args=(process.pid, done))
            watcher.start()
            try:
                output, complaint = process.communicate(words, timeout=deadline_s)
            except BaseException:  # whatever it is, the command must not outlive its benchmark
                process.kill()
                raise
            finally:
                done.set()
                watcher.join()
        if process.returncode not in good:
            raise SystemExit(
                f"{' '.join(map(str, command))}: exit {process.returncode}\n{(complaint or output).strip()[-2000:]}"
            )
        return output

    def settle(self) -> None:
        """Wait until the agent has noticed the end of what worked for it: only then does that count as its child's."""
        while self.agent is not None and children_of(self.agent):
            time.sleep(SETTLE_POLL_S)

    def _watch(self, pid: int, done: threading.Event) -> None:
        workers: list[int] = []  # of several commands at once the largest is taken
        while True:
            if self.agent is not None and not workers:
                workers = children_of(self.agent)
            largest = max((peak_bytes(worker) for worker in workers), default=0)
            self.peak_bytes = max(self.peak_bytes, peak_bytes(pid) + largest)
            if done.wait(WATCH_PERIOD_S):
                return

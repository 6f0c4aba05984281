"""Daemons of the installed wheel, each of which can be started in its own way, killed, and kept running."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cli.pool import running_pid

START_DEADLINE_S = 30.0
# A daemon drains for up to ten seconds; the machine may be busy.
STOP_DEADLINE_S = 20.0
COMMAND_DEADLINE_S = 120.0
POLL_S = 0.02


@dataclass
class Peer:
    """One daemon. ``prefix`` and ``environment`` are how its next start is wrapped."""

    name: str
    home: Path
    prefix: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    wanted: bool = False
    """Somebody starts it again when it ends."""
    stopping: bool = False
    """It was told to end: status 0 is right."""
    process: subprocess.Popen[bytes] | None = None
    mutex: threading.RLock = field(default_factory=threading.RLock)


@dataclass(frozen=True)
class Done:
    """A command that ended. ``status`` is negative for a signal."""

    words: tuple[str, ...]
    status: int
    output: bytes
    complaint: str


class Fleet:
    """A pool in ``folder``, its commands, and what was observed of both.

    Args:
        command: the installed launcher.
        outside: a folder for logs and temporary files, which faults of the pool's disks do not reach.
        prefix: what all processes are started by, such as ``ip netns exec``.
    """

    def __init__(
        self,
        command: Path,
        folder: Path,
        outside: Path,
        *,
        peers: int = 6,
        sites: int = 3,
        scheme: str = "2+2",
        prefix: Sequence[str] = (),
    ) -> None:
        self.command = command
        self.folder = folder
        self.outside = outside
        self.temporary = outside / "tmp"
        self.prefix = tuple(prefix)
        self._shape = ["--peers", str(peers), "--sites", str(sites), "--scheme", scheme]
        self.peers = [Peer(f"peer-{number}", folder / f"peer-{number}") for number in range(1, peers + 1)]
        self.client = folder / "client"
        self.wrong: list[str] = []
        """What must never happen, and did."""
        self.counts: Counter[str] = Counter()
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper")
        self._clients: dict[int, subprocess.Popen[bytes]] = {}
        self._wrapping = threading.local()
        self._mutex = threading.Lock()

    # --- life -----------------------------------------------------------------------------------

    def make(self, settings: str = '[store]\nreserve = "1 MiB"\n') -> None:
        """The homes. ``settings`` are those of every peer; the small reserve is for small disks."""
        self.temporary.mkdir(parents=True, exist_ok=True)
        made = self.run("pool", "up", "--dir", str(self.folder), *self._shape, home=None)
        assert made.status == 0, made.complaint
        assert self.run("pool", "down", "--dir", str(self.folder), home=None).status == 0
        for peer in self.peers:
            (peer.home / "settings.toml").write_text(settings)

    def up(self) -> None:
        """Start every daemon, and whoever ends from now on."""
        for peer in self.peers:
            peer.wanted = True
            self.start(peer)
        for peer in self.peers:
            self.await_start(peer)
        if not self._keeper.is_alive():
            self._keeper.start()

    def start(self, peer: Peer) -> None:
        with peer.mutex:
            if peer.process is not None and peer.process.poll() is None:
                return
            # On a disk that became read-only the old one stays, and is right: it comes back on its port.
            with suppress(OSError):
                (peer.home / "state" / "address").unlink()
            with open(self.log_of(peer), "ab") as log:
                peer.stopping = False
                peer.process = subprocess.Popen(
                    [*self.prefix, *peer.prefix, str(self.command), "--home", str(peer.home), "daemon"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    cwd="/",
                    env=self.environment(peer.environment),
                )
            self.counts["daemon starts"] += 1

    def log_of(self, peer: Peer) -> Path:
        """Outside its home, which may be on a disk that fails."""
        return self.outside / f"{peer.name}.log"

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_", "MOORAGE"))}
        return {**kept, "TMPDIR": str(self.temporary), **(more or {})}

    def await_start(self, peer: Peer) -> None:
        """Until it listens."""
        deadline = time.monotonic() + START_DEADLINE_S
        while not (peer.home / "state" / "address").exists():
            if time.monotonic() > deadline:
                raise AssertionError(f"{peer.name} does not listen:\n{self.log_of(peer).read_text()[-2000:]}")
            time.sleep(POLL_S)

    def _keep(self) -> None:
        """Be the supervisor that a daemon has in a hospital."""
        while not self._closing.wait(POLL_S):
            for peer in self.peers:
                with peer.mutex:
                    if peer.wanted and peer.process is not None and (status := peer.process.poll()) is not None:
                        self._note_end(peer, status)
                        self.start(peer)

    def _note_end(self, peer: Peer, status: int) -> None:
        # A signal may come before Python has its handlers: 143 is never seen, a status of -15 is.
        if status in (-signal.SIGKILL, -signal.SIGTERM) or (status == 0 and peer.stopping):
            return
        self.counts[f"daemon ended with status {status}"] += 1
        time.sleep(0.2)

    def stop(self, peer: Peer) -> int:
        """SIGTERM, and its status; SIGKILL when it does not listen to that, which is wrong."""
        with peer.mutex:
            peer.wanted = False
            if peer.process is None:
                return 0
            self.signal(peer, signal.SIGCONT)
            self.signal(peer, signal.SIGTERM)
            try:
                return peer.process.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.wrong.append(f"{peer.name} did not end within {STOP_DEADLINE_S:.0f} s of SIGTERM")
                peer.process.kill()
                return peer.process.wait()

    def signal(self, peer: Peer, number: signal.Signals) -> bool:
        """False when it does not run."""
        with peer.mutex:
            if peer.process is None or peer.process.poll() is not None:
                return False
            peer.stopping = peer.stopping or number is signal.SIGTERM
            peer.process.send_signal(number)
            return True

    def kill(self, peer: Peer) -> bool:
        """kill -9, and wait for its end; the keeper starts it again."""
        with peer.mutex:
            killed = self.signal(peer, signal.SIGKILL)
            if peer.process is not None and killed:
                peer.process.wait()
        return killed

    def down(self) -> None:
        """Every daemon ends by SIGTERM with status 0."""
        for peer in self.peers:
            peer.wanted = False
            self.signal(peer, signal.SIGCONT)
            self.signal(peer, signal.SIGTERM)
        for peer in self.peers:
            status = self.stop(peer)
            if status not in (0, -signal.SIGTERM, -signal.SIGKILL):
                self.wrong.append(f"{peer.name} ended with status {status} after SIGTERM")

    def blackout(self) -> None:
        """What a power cut does to processes: all are gone at once, clients too."""
        for peer in self.peers:
            peer.wanted = False
        for peer in self.peers:
            self.kill(peer)
        for process in self.clients():
            process.kill()

    def close(self) -> None:
        self._closing.set()
        if self._keeper.is_alive():
            self._keeper.join()
        self.blackout()
        for process in self.clients():
            process.wait()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)

    def processes(self) -> list[int]:
        """Processes that have this pool's folder among their words."""
        wanted = os.fsencode(str(self.folder)) + b"/"
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and int(entry.name) != os.getpid():
                    words = (entry / "cmdline").read_bytes()
                    if wanted in words.replace(b"\0", b"/"):
                        found.append(int(entry.name))
            except OSError:
                continue
        return found

    # --- commands -------------------------------------------------------------------------------

    @contextmanager
    def started(self, *words: str, home: Path | None) -> Iterator[subprocess.Popen[bytes]]:
        """A command under way, which ``clients`` lists meanwhile."""
        first = ["--home", str(home)] if home is not None else []
        process = subprocess.Popen(
            [*self.prefix, *getattr(self._wrapping, "prefix", ()), str(self.command), *first, "--json", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment(),
            cwd="/",
        )
        with self._mutex:
            self._clients[process.pid] = process
        try:
            yield process
        finally:
            with self._mutex:
                del self._clients[process.pid]
            if process.poll() is None:
                process.kill()
                process.communicate()

    @contextmanager
    def wrapped(self, prefix: Sequence[str]) -> Iterator[None]:
        """Commands of this thread are started by ``prefix``, such as a tracer that makes calls fail."""
        self._wrapping.prefix = tuple(prefix)
        try:
            yield
        finally:
            self._wrapping.prefix = ()

    def clients(self) -> list[subprocess.Popen[bytes]]:
        """Commands under way, in the order of their start."""
        with self._mutex:
            return [process for process in self._clients.values() if process.poll() is None]

    def run(self, *words: str, home: Path | None = None, deadline_s: float = COMMAND_DEADLINE_S) -> Done:
        """One command, to its end. One that hangs or shows a traceback is wrong."""
        with self.started(*words, home=home) as process:
            try:
                output, complaint = process.communicate(timeout=deadline_s)
            except subprocess.TimeoutExpired:
                self.wrong.append(f"{' '.join(words)} did not end within {deadline_s:.0f} s")
                process.kill()
                output, complaint = process.communicate()
        done = Done(words, process.returncode, output, complaint.decode("utf-8", "replace"))
        # A SIGINT before Python has come to our first line shows Python's own traceback, which no program can prevent.
        if "Traceback" in done.complaint and "site-packages/moorage/" in done.complaint:
            self.wrong.append(f"{' '.join(words)} shows a traceback:\n{done.complaint[-6000:]}")
        return done

    def ask(self, *words: str, home: Path | None = None) -> Done:
        return self.run(*words, home=self.client if home is None else home)

    def pids_of_locks(self) -> list[int]:
        """Daemons that hold their homes' locks."""
        return [pid for peer in self.peers if (pid := running_pid(str(peer.home))) is not None]

    def logs(self) -> Mapping[str, str]:
        return {
            peer.name: self.log_of(peer).read_text("utf-8", "replace")
            for peer in self.peers
            if self.log_of(peer).exists()
        }


def wait_until(true: Callable[[], bool], *, what: str, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"no {what} within {within_s:.0f} s")
        time.sleep(POLL_S)

"""A real pool for tests: daemons are processes on loopback, every command is a process of its own."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anchor.manifest import Manifest, parse_manifest
from cli.background import launcher, running_agent
from cli.homes import read_home
from cli.pool import running_pid
from core.ids import ObjectId, ShardRoot
from erasure.shardfile import ShardLayout, read_layout, scan_shard

COMMAND_DEADLINE_S = 100.0
LONG_AGO_NS = 1_500_000_000_123_456_789


@dataclass(frozen=True)
class Ran:
    """A command that ended."""

    words: tuple[str, ...]
    status: int
    output: bytes
    complaint: str
    seconds: float

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.output)
        assert value["schema"] == 1
        return value


class Running:
    """A command under way."""

    def __init__(
        self, words: Sequence[str], environment: dict[str, str] | None = None, prefix: Sequence[str] = ()
    ) -> None:
        self.words = tuple(words)
        self._began = time.monotonic()
        self.process = subprocess.Popen(
            [*prefix, *launcher(), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def wait(self, *, expect: int | None = 0) -> Ran:
        """Its end; ``expect`` None takes any status."""
        try:
            output, complaint = self.process.communicate(timeout=COMMAND_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            output, complaint = self.process.communicate()
            raise AssertionError(f"{self.words} did not end: {output!r} {complaint!r}") from None
        ran = Ran(
            self.words,
            self.process.returncode,
            output,
            complaint.decode("utf-8", "replace"),
            time.monotonic() - self._began,
        )
        if expect is not None:
            assert ran.status == expect, f"{' '.join(self.words)}: status {ran.status}\n{ran.complaint}\n{ran.output!r}"
        # A traceback is never how a command tells its user something.
        assert "Traceback" not in ran.complaint, ran.complaint
        return ran

    def kill(self) -> None:
        """SIGKILL, and forget it."""
        self.process.kill()
        self.process.communicate()


def run(*words: str | Path, expect: int | None = 0, prefix: Sequence[str] = ()) -> Ran:
    """One command with no home of its own."""
    return Running([str(word) for word in words], prefix=prefix).wait(expect=expect)


class Pool:
    """A pool in ``folder``."""

    def __init__(self, folder: Path, *, peers: int = 6, sites: int | None = 3, scheme: str = "4+2") -> None:
        self.folder = folder
        self.names = [f"peer-{number}" for number in range(1, peers + 1)]
        self._running: list[Running] = []
        self._shape = ["--peers", str(peers), "--scheme", scheme]
        self._shape += [] if sites is None else ["--sites", str(sites)]

    # --- life ---------------------------------------------------------------------------------

    def up(self) -> Ran:
        """Start what does not run; all answer afterwards."""
        return run("--json", "pool", "up", "--dir", self.folder, *self._shape)

    def down(self) -> Ran:
        return run("--json", "pool", "down", "--dir", self.folder)

    def destroy(self) -> None:
        """No process outlives its test, whatever state it is in."""
        self.abandon()
        for pid in (self.agent, *map(self.pid, self.names)):
            if pid is not None:
                os.kill(pid, signal.SIGKILL)

    def pid(self, name: str) -> int | None:
        return running_pid(str(self.home(name))) if self.home(name).exists() else None

    @property
    def agent(self) -> int | None:
        """The process that forks this pool's commands."""
        return running_agent(str(self.home("client")))

    def signal(self, number: signal.Signals, *names: str) -> None:
        for name in names:
            pid = self.pid(name)
            assert pid is not None, f"{name} does not run"
            os.kill(pid, number)

    def kill(self, *names: str) -> None:
        """kill -9, and wait until they are gone."""
        self.signal(signal.SIGKILL, *names)
        wait_until(lambda: all(self.pid(name) is None for name in names), what=f"the end of {names}")

    def stop(self, *names: str) -> None:
        """SIGSTOP: alive, sockets open, and silent."""
        self.signal(signal.SIGSTOP, *names)

    def go_on(self, *names: str) -> None:
        self.signal(signal.SIGCONT, *names)

    # --- commands -----------------------------------------------------------------------------

    def start(
        self, *words: str | Path, home: str | Path = "client", json_output: bool = True, prefix: Sequence[str] = ()
    ) -> Running:
        first = ["--home", str(self.home(home) if isinstance(home, str) else home)]
        first += ["--json"] if json_output else []
        started = Running([*first, *(str(word) for word in words)], prefix=prefix)
        self._running.append(started)
        return started

    def abandon(self) -> None:
        """End what a failed test left under way."""
        for command in self._running:
            if command.process.poll() is None:
                command.kill()
        self._running.clear()

    def run(
        self,
        *words: str | Path,
        home: str | Path = "client",
        expect: int | None = 0,
        json_output: bool = True,
        prefix: Sequence[str] = (),
    ) -> Ran:
        return self.start(*words, home=home, json_output=json_output, prefix=prefix).wait(expect=expect)

    def put(self, *paths: str | Path, scheme: str | None = None) -> dict[str, Any]:
        return self.run("put", *paths, *(["--scheme", scheme] if scheme else [])).json

    def get(self, stored: str, to: Path) -> dict[str, Any]:
        return self.run("get", stored, "--to", to).json

    def verify(self, stored: str, *, full: bool = True, expect: int | None = 0) -> dict[str, Any]:
        """The health of one object."""
        (health,) = self.run("verify", stored, *(["--full"] if full else []), expect=expect).json["objects"]
        assert isinstance(health, dict)
        return health

    def sweep(self, *stored: str, home: str = "peer-1", full: bool = True, expect: int | None = 0) -> dict[str, Any]:
        return self.run("sweep", *(["--full"] if full else []), *stored, home=home, expect=expect).json

    # --- what lies where ----------------------------------------------------------------------

    def home(self, name: str) -> Path:
        return self.folder / name

    def peer_id(self, name: str) -> str:
        home = read_home(str(self.home(name)))
        return str(home.identity.peer)

    def shards(self, *names: str) -> list[Path]:
        """Files under the shard folders of some peers, or of all."""
        folders = [self.home(name) / "shards" for name in names or self.names]
        return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())

    def manifest(self, stored: str) -> Manifest:
        return parse_manifest(
            (self.home("client") / "manifests" / stored).read_bytes(), expected=ObjectId.parse(stored)
        )

    def roots(self, stored: str) -> list[str]:
        """The names of all shards of an object, from its manifest."""
        return [str(root) for extent in self.manifest(stored).all_extents() for root in extent.roots]

    def shards_of(self, stored: str, *names: str) -> list[Path]:
        wanted = frozenset(self.roots(stored))
        return [path for path in self.shards(*names) if path.name in wanted]

    def holder(self, path: Path) -> str:
        """The peer in whose home a file lies."""
        return path.relative_to(self.folder).parts[0]

    def quarantined(self) -> list[Path]:
        return [path for name in self.names for path in (self.home(name) / "quarantine").glob("*")]


def wait_until(true: Callable[[], bool], *, what: str, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"no {what} within {within_s} s"
        time.sleep(0.05)


# --- shard files ------------------------------------------------------------------------------


def _reader(path: Path) -> Callable[[int, int], bytes]:
    data = path.read_bytes()
    return lambda offset, length: data[offset : offset + length]


def layout_of(path: Path) -> ShardLayout:
    """Where the shares of a whole shard file lie."""
    _, layout = read_layout(_reader(path), path.stat().st_size, ShardRoot.parse(path.name))
    return layout


def is_whole(path: Path) -> bool:
    return path.is_file() and scan_shard(_reader(path), path.stat().st_size, ShardRoot.parse(path.name)).whole


def flip(path: Path, at: int) -> None:
    """Change one bit of the byte at ``at``; a negative one counts from the end."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    with open(path, "r+b") as file:
        file.write(data)


# --- trees ------------------------------------------------------------------------------------


def random_file(path: Path, size_bytes: int, seed: int = 0) -> Path:
    """Random bytes, the same for the same seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = random.Random(f"{path.name} {seed}")
    with open(path, "wb") as file:
        file.writelines(generator.randbytes(min(left, 1 << 22)) for left in range(size_bytes, 0, -(1 << 22)))
    return path


def picture(root: Path) -> dict[bytes, tuple[object, ...]]:
    """Everything that a restore must bring back: names, kinds, modes, times, bytes, link targets; by relative path."""
    top = os.fsencode(root)
    found: dict[bytes, tuple[object, ...]] = {}

    def look(path: bytes, relative: bytes) -> None:
        info = os.lstat(path)
        if os.path.islink(path):
            found[relative] = ("link", os.readlink(path), info.st_mtime_ns)
        elif os.path.isdir(path):
            found[relative] = ("folder", info.st_mode, info.st_mtime_ns)
            for name in os.listdir(path):
                look(path + b"/" + name, relative + b"/" + name)
        else:
            with open(path, "rb") as file:
                found[relative] = ("file", info.st_mode, info.st_mtime_ns, file.read())

    look(top, b"")
    return found


def assert_same(wanted: Path, found: Path) -> None:
    """Both trees are equal in all that a restore brings back."""
    one, other = picture(wanted), picture(found)
    wrong = sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))
    assert not wrong, f"{len(wrong)} paths differ: {wrong[:5]}"


def kinds(findings: Iterable[dict[str, Any]]) -> list[str]:
    """Kinds of findings, sorted, remedies left out."""
    remedies = {"repaired", "relocated", "quarantined"}
    return sorted(finding["kind"] for finding in findings if finding["kind"] not in remedies)

"""A moorage pool on loopback, driven by its command line as a user would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TypedDict, cast

from benchmarks.debian import package_file
from benchmarks.figures import OURS
from benchmarks.processes import Commands, files_since, folder_bytes, free_ports
from cli.background import running_agent
from cli.front import AGENT_VARIABLE, OFF

COMMAND = Path(sys.executable).parent / "moorage"
CHECKOUT = Path(__file__).resolve().parent.parent
COMPRESSING = (sys.executable, "-m", "benchmarks.uncompressed")
POOL_DEADLINE_S = 120
TRANSFER_DEADLINE_S = 3600
UNSYNCED = f"{OURS}, unsynced"


class Peer(TypedDict):
    """What ``pool up --json`` says of each peer, as far as it is used here."""

    pid: int
    home: str
    address: str


class PoolAnswer(TypedDict):
    peers: list[Peer]


class PutAnswer(TypedDict):
    object: str


class RepairAnswer(TypedDict):
    rebuilt: int
    unrepaired: int


def find_unsyncing() -> Path | None:
    """Debian's libeatmydata, which makes fsync and its like do nothing; None where it cannot be had."""
    return package_file("libeatmydata1", f"usr/lib/{os.uname().machine}-linux-gnu/libeatmydata.so")


class MooragePool:
    """``peers`` daemons on ``sites`` sites; every put and get is a process of its own, its start included."""

    gateway_bytes = 0

    def __init__(
        self,
        folder: Path,
        *,
        peers: int,
        sites: int,
        scheme: str,
        unsyncing: Path | None = None,
        other: Path | None = None,
        with_agent: bool = True,
    ) -> None:
        """``unsyncing``: preloaded into all of its processes. ``other``: the checkout whose moorage this is.

        ``with_agent``: as `pool up` starts it; otherwise every command loads its own modules.
        """
        self.name = str(other) if other else UNSYNCED if unsyncing else OURS
        self.version = version("moorage")
        self._command = other / ".venv" / "bin" / "moorage" if other else COMMAND
        environment = {"PYTHONPATH": str(other or CHECKOUT)} | ({"LD_PRELOAD": str(unsyncing)} if unsyncing else {})
        environment |= {} if with_agent else {AGENT_VARIABLE: OFF}
        self.commands = Commands(environment)
        self._folder = folder
        self._shape = ("--peers", str(peers), "--sites", str(sites), "--scheme", scheme)
        self._scheme = scheme
        self.peers: list[Peer] = []

    def start(self) -> None:
        """Returns when all peers answer; also when some were killed meanwhile."""
        answer = self._run("pool", "up", "--dir", self._folder, *self._shape, deadline_s=POOL_DEADLINE_S)
        self.peers = cast(PoolAnswer, answer)["peers"]
        self.commands.agent = running_agent(str(self.client_home))
        self.commands.settle()

    def _run(self, *words: str | Path, deadline_s: float) -> object:
        return json.loads(self.commands.output([self._command, "--json", *words], deadline_s=deadline_s))

    def client_words(self, *words: str | Path) -> list[str | Path]:
        """A command of the pool's client, but for the program's name."""
        return ["--json", "--home", self.client_home, *words]

    @property
    def client_home(self) -> Path:
        return self._folder / "client"

    def _run_client(self, *words: str | Path, program: Sequence[str | Path] = ()) -> object:
        command = [*(program or [self._command]), *self.client_words(*words)]
        return json.loads(self.commands.output(command, deadline_s=TRANSFER_DEADLINE_S))

    @property
    def client_pids(self) -> list[int]:
        return [] if self.commands.agent is None else [self.commands.agent]

    @property
    def peer_pids(self) -> list[int]:
        return [peer["pid"] for peer in self.peers]

    def put(self, source: Path) -> str:
        """The object's id."""
        return cast(PutAnswer, self._run_client("put", source, "--scheme", self._scheme))["object"]

    def put_compressing(self, source: Path, switch: str) -> str:
        """The same by a client whose compression is ``on`` or ``off``, which the product has no switch for."""
        answer = self._run_client("put", source, "--scheme", self._scheme, program=(*COMPRESSING, switch))
        return cast(PutAnswer, answer)["object"]

    def get(self, stored: str, folder: Path) -> Path:
        """The restored file."""
        self._run_client("get", stored, "--to", folder)
        (target,) = (path for path in folder.rglob("*") if path.is_file())
        return target

    def put_tree(self, source: Path) -> str:
        """The folder is one object."""
        return self.put(source)

    def get_tree(self, stored: str, folder: Path) -> Path:
        self._run_client("get", stored, "--to", folder)
        (target,) = folder.iterdir()
        return target

    def cat(self, stored: str, path: str, *words: str) -> subprocess.Popen[bytes]:
        """The command that writes a file, or a range of it, to its standard output."""
        command = [self._command, *self.client_words("cat", stored, path, *words)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, env=self.commands.environment)

    def verify(self, stored: str) -> None:
        """Every share is read and digested by its holder."""
        self._run_client("verify", "--full", stored)

    def lose_holder(self, since_s: float) -> int:
        """The first peer loses its new shards, as if its disk had been replaced by an older copy of it."""
        lost = files_since(Path(self.peers[0]["home"]) / "shards", since_s)
        for path in lost:
            path.unlink()
        return len(lost)

    def repair(self, stored: str) -> None:
        answer = cast(RepairAnswer, self._run_client("repair", stored))
        if not answer["rebuilt"] or answer["unrepaired"]:
            raise SystemExit(f"{self.name} did not repair {stored}: {answer}")

    def order(self, job: str) -> None:
        """``sweep`` or ``repair`` of all that the peers hold; ends the benchmark when something is left undone."""
        answer = cast(RepairAnswer, self._run_client(job))
        if answer["unrepaired"]:
            raise SystemExit(f"{self.name}: {job} left something undone: {answer}")

    def stored_bytes(self) -> int:
        return folder_bytes(Path(peer["home"]) / "shards" for peer in self.peers)

    def _home(self, number: int) -> Path:
        return self._folder / f"peer-{number}"

    def kill(self, number: int) -> None:
        """The peer of that number, from 1, dies."""
        home = str(self._home(number))
        (peer,) = (each for each in self.peers if each["home"] == home)
        os.kill(peer["pid"], signal.SIGKILL)
        while Path(f"/proc/{peer['pid']}").exists():
            time.sleep(0.01)
        self.peers.remove(peer)

    def revive(self) -> None:
        """Returns when all that were killed answer again."""
        self.start()

    def delay(self, number: int, late: Callable[[int], int]) -> None:
        """Have everybody reach the peer of that number, from 1, at the port that ``late`` gives for its own."""
        self.kill(number)
        (port,) = free_ports(1)
        settings = f'[network]\nlisten = "127.0.0.1:{port}"\nadvertise = "127.0.0.1:{late(port)}"\n'
        (self._home(number) / "settings.toml").write_text(settings)
        self.start()

    def pause(self) -> None:
        """Nothing: an idle pool costs next to nothing, and a frozen one would spend its next turn on waking up."""

    def resume(self) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Ends every daemon, also those of a start that failed halfway."""
        if self._folder.exists():
            self._run("pool", "down", "--dir", self._folder, deadline_s=POOL_DEADLINE_S)

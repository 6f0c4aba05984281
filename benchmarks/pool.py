"""A moorage pool on loopback, driven by its command line as a user would."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TypedDict, cast

from benchmarks.processes import folder_bytes, output_of

COMMAND = Path(sys.executable).parent / "moorage"
POOL_DEADLINE_S = 120
TRANSFER_DEADLINE_S = 3600


class Peer(TypedDict):
    """What ``pool up --json`` says of each peer, as far as it is used here."""

    pid: int
    home: str


class PoolAnswer(TypedDict):
    peers: list[Peer]


class PutAnswer(TypedDict):
    object: str


class MooragePool:
    """``peers`` daemons on ``sites`` sites; every put and get is a process of its own, its start included."""

    name = "moorage"

    def __init__(self, folder: Path, *, peers: int, sites: int, scheme: str) -> None:
        self._folder = folder
        self._shape = ("--peers", str(peers), "--sites", str(sites), "--scheme", scheme)
        self._scheme = scheme
        self._peers: list[Peer] = []

    def start(self) -> None:
        """Returns when all peers answer."""
        answer = self._run("pool", "up", "--dir", self._folder, *self._shape, deadline_s=POOL_DEADLINE_S)
        self._peers = cast(PoolAnswer, answer)["peers"]

    def _run(self, *words: str | Path, deadline_s: float) -> object:
        return json.loads(output_of([COMMAND, "--json", *words], deadline_s=deadline_s))

    def _run_client(self, *words: str | Path) -> object:
        return self._run("--home", self._folder / "client", *words, deadline_s=TRANSFER_DEADLINE_S)

    @property
    def pids(self) -> list[int]:
        return [peer["pid"] for peer in self._peers]

    def put(self, source: Path) -> str:
        """The object's id."""
        return cast(PutAnswer, self._run_client("put", source, "--scheme", self._scheme))["object"]

    def get(self, stored: str, folder: Path) -> Path:
        """The restored file."""
        self._run_client("get", stored, "--to", folder)
        (target,) = (path for path in folder.rglob("*") if path.is_file())
        return target

    def stored_bytes(self) -> int:
        return folder_bytes(Path(peer["home"]) / "shards" for peer in self._peers)

    def pause(self) -> None:
        """Nothing: an idle pool costs next to nothing, and a frozen one would spend its next turn on waking up."""

    def resume(self) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Ends every daemon, also those of a start that failed halfway."""
        if self._folder.exists():
            self._run("pool", "down", "--dir", self._folder, deadline_s=POOL_DEADLINE_S)

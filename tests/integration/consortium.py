"""A consortium of real processes: every hospital has homes of its own, and a daemon."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.pool import running_pid
from tests.integration.pool import Ran, Running, run, wait_until

POOL = "consortium.example"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass
class Consortium:
    """Hospitals by name, in the order in which they joined."""

    folder: Path
    members: list[str] = field(default_factory=list)
    started: list[Running] = field(default_factory=list)

    def home(self, name: str, which: str = "client") -> Path:
        return self.folder / name / which

    def run(self, name: str, *words: str | Path, expect: int | None = 0) -> Ran:
        """A command in a hospital's client home."""
        return run("--home", self.home(name), "--json", *words, expect=expect)

    def _member(self, name: str) -> list[str]:
        address = f"127.0.0.1:{free_port()}"
        return ["--dir", str(self.folder / name), "--organisation", name, "--listen", address, "--scheme", "2+1"]

    def found(self, name: str) -> dict[str, Any]:
        ran = run("--json", "consortium", "init", "--pool", POOL, *self._member(name)).json
        self.members.append(name)
        return ran

    def invitation(self, by: str) -> str:
        token: str = self.run(by, "consortium", "invite").json["token"]
        return token

    def start_joining(self, name: str, by: str, *, token: str = "") -> Running:
        return Running(["--json", "consortium", "join", token or self.invitation(by), *self._member(name)])

    def proposals(self, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.run(name, "consortium", "approve").json["proposals"]
        return found

    def wait_for_proposal(self, name: str, organisation: str) -> str:
        ids: list[str] = []

        def is_there() -> bool:
            ids[:] = [item["proposal"] for item in self.proposals(name) if item["organisation"] == organisation]
            return bool(ids)

        wait_until(is_there, what=f"proposal about {organisation}")
        return ids[0]

    def approve(self, organisation: str, *by: str) -> dict[str, Any]:
        """What the last of them was told."""
        said: dict[str, Any] = {}
        for name in by:
            said = self.run(name, "consortium", "approve", self.wait_for_proposal(name, organisation)).json
        return said

    def take_in(self, name: str) -> None:
        """All members approve."""
        joining = self.start_joining(name, self.members[0])
        try:
            self.approve(name, *self.members)
            joining.wait()
        finally:
            if joining.process.poll() is None:
                joining.kill()
        self.members.append(name)

    def epoch(self, name: str, which: str = "client") -> int:
        epoch: int = run("--home", self.home(name, which), "--json", "roster", "show").json["epoch"]
        return epoch

    def shards(self, name: str) -> list[Path]:
        return sorted(path for path in (self.folder / name / "peer-1" / "shards").rglob("*") if path.is_file())

    def log_folder(self, name: str) -> Path:
        """Of its organisation's log."""
        (folder,) = (self.home(name, "peer-1") / "ledger" / "log").iterdir()
        return folder

    def stop(self, name: str) -> None:
        """Its ledger peer, as a power cut would."""
        home = str(self.home(name, "peer-1"))
        pid = running_pid(home)
        assert pid is not None, name
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: running_pid(home) is None, what=f"end of {name}")

    def start(self, name: str) -> None:
        home = str(self.home(name, "peer-1"))
        self.started.append(Running(["--home", home, "daemon"]))
        wait_until(lambda: running_pid(home) is not None, what=f"daemon of {name}")

    def log(self, name: str) -> str:
        return (self.home(name, "peer-1") / "daemon.log").read_text()

    def destroy(self) -> None:
        """No process outlives its test."""
        for home in self.folder.glob("*/peer-*"):
            pid = running_pid(str(home))
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
        for running in self.started:
            running.wait(expect=None)


@contextmanager
def consortium(folder: Path, *names: str) -> Iterator[Consortium]:
    """Founded by the first, joined by the others."""
    pool = Consortium(folder)
    try:
        pool.found(names[0])
        for name in names[1:]:
            pool.take_in(name)
        yield pool
    finally:
        pool.destroy()

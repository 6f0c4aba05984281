"""restic with a repository on this disk: no peers, no network, no spare copies; what a local backup costs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.debian import package_file
from benchmarks.processes import Commands, folder_bytes

PACKAGE, INSIDE = "restic", "usr/bin/restic"
VERSION_DEADLINE_S = 20
TRANSFER_DEADLINE_S = 3600


def find_restic() -> Path | None:
    """Debian's program; None where it cannot be had."""
    return package_file(PACKAGE, INSIDE)


class ResticRepository:
    """Every turn has a new repository, because restic checks whole ones. Commands include their process's start."""

    name = "restic"
    gateway_bytes = 0
    peer_pids: Sequence[int] = ()
    client_pids: Sequence[int] = ()

    def __init__(self, command: Path, folder: Path) -> None:
        self._command = command
        self._folder = folder
        self._turn = 0
        self.commands = Commands({"RESTIC_PASSWORD": "benchmark", "RESTIC_CACHE_DIR": str(folder / "cache")})

    @property
    def version(self) -> str:
        return self.commands.output([self._command, "version"], deadline_s=VERSION_DEADLINE_S).split()[1]

    @property
    def _repository(self) -> Path:
        return self._folder / f"repository-{self._turn}"

    def _run(self, *words: str | Path) -> str:
        command = [self._command, "--repo", self._repository, *words]
        return self.commands.output(command, deadline_s=TRANSFER_DEADLINE_S)

    def start(self) -> None:
        self._folder.mkdir()

    def put(self, source: Path) -> str:
        """The snapshot's id."""
        lines = self._run("backup", "--json", "--quiet", source).splitlines()
        return str(json.loads(lines[-1])["snapshot_id"])

    def get(self, stored: str, folder: Path) -> Path:
        return _only_file(self._restore(stored, folder))

    def put_tree(self, source: Path) -> str:
        return self.put(source)

    def get_tree(self, stored: str, folder: Path) -> Path:
        """restic restores the whole path from the root on."""
        source = json.loads(self._run("snapshots", "--json", stored))[0]["paths"][0]
        return self._restore(stored, folder) / Path(source).relative_to("/")

    def _restore(self, stored: str, folder: Path) -> Path:
        self._run("restore", stored, "--target", folder)
        return folder

    def verify(self, stored: str) -> None:
        self._run("check", "--read-data")

    def stored_bytes(self) -> int:
        return folder_bytes([self._repository])

    def pause(self) -> None:
        """Nothing: nothing of it runs between commands."""

    def resume(self) -> None:
        """Make the turn's repository, in place of the last one."""
        shutil.rmtree(self._repository, ignore_errors=True)
        self._turn += 1
        self._run("init", "--repository-version", "2")

    def stop(self) -> None:
        """Nothing to end."""


def _only_file(folder: Path) -> Path:
    (found,) = (path for path in folder.rglob("*") if path.is_file())
    return found

"""Damaged files set aside: renamed to ``NAME.N`` in HOME/quarantine, kept until they are replaced."""

from __future__ import annotations

from core.ports import Disk
from daemon.folders import Folders


class Quarantine:
    """Methods raise OSError. The caller sees to it that only one at a time takes files of one name."""

    def __init__(self, disk: Disk, folders: Folders) -> None:
        self._disk = disk
        self._folder = folders.quarantine

    def take(self, path: str, name: str) -> None:
        """Move ``path`` here, durably. What is here already under that name stays."""
        taken = frozenset(self._disk.list_folder(self._folder))
        number = next(number for number in range(len(taken) + 1) if f"{name}.{number}" not in taken)
        self._disk.rename(path, f"{self._folder}/{name}.{number}")
        self._disk.sync_folder(self._folder)
        self._disk.sync_folder(path.rpartition("/")[0])

    def discard(self, name: str) -> int:
        """Delete the files kept under this name; how many there were. Folders are left for the operator."""
        kept = [
            file
            for file in self._disk.list_folder(self._folder)
            if file.rpartition(".")[0] == name and not self._is_folder(file)
        ]
        for file in kept:
            self._disk.unlink(f"{self._folder}/{file}")
        if kept:
            self._disk.sync_folder(self._folder)
        return len(kept)

    def _is_folder(self, file: str) -> bool:
        found = self._disk.stat(f"{self._folder}/{file}")
        return found is not None and found.is_folder

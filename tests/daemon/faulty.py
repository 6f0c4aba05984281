"""A disk that notes what is asked of it and fails on demand; the files themselves lie on a real disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

from core.ports import Buffer, Disk, DiskFile, FileStat
from host.disk import RealDisk


class FaultyFile:
    def __init__(self, file: DiskFile, path: str, note: Callable[[str, str], None]) -> None:
        self._file = file
        self._path = path
        self._note = note

    def read_at(self, offset: int, length: int) -> bytes:
        self._note("read", self._path)
        return self._file.read_at(offset, length)

    def write_at(self, offset: int, data: Buffer) -> None:
        try:
            self._note("write", self._path)
        except OSError:
            # What a failing disk leaves behind is a part of what it was given.
            self._file.write_at(offset, memoryview(data)[: len(data) // 2])
            raise
        self._file.write_at(offset, data)

    def size(self) -> int:
        return self._file.size()

    def sync(self) -> None:
        self._note("sync", self._path)
        self._file.sync()

    def close(self) -> None:
        self._file.close()


class FaultyDisk:
    """``fail(errno, operation, part)``: from now on that operation on paths that contain ``part`` fails."""

    def __init__(self) -> None:
        self._disk: Disk = RealDisk()
        self._faults: list[tuple[int, str, str]] = []
        self.log: list[tuple[str, str]] = []
        self.free: int | None = None

    def fail(self, number: int, operation: str, part: str = "") -> None:
        self._faults.append((number, operation, part))

    def heal(self) -> None:
        self._faults.clear()

    def _note(self, operation: str, path: str) -> None:
        for number, which, part in self._faults:
            if which == operation and part in path:
                raise OSError(number, os.strerror(number), path)
        self.log.append((operation, path))

    @contextmanager
    def _opened(self, path: str, mode: Literal["read", "create", "update"]) -> Generator[DiskFile, None, None]:
        self._note("open" if mode == "read" else "create", path)
        with self._disk.open(path, mode) as file:
            yield FaultyFile(file, path, self._note)

    def open(self, path: str, mode: Literal["read", "create", "update"]) -> AbstractContextManager[DiskFile]:
        return self._opened(path, mode)

    def file_system(self, path: str) -> str:
        return self._disk.file_system(path)

    def stat(self, path: str) -> FileStat | None:
        return self._disk.stat(path)

    def list_folder(self, path: str) -> list[str]:
        return self._disk.list_folder(path)

    def make_folders(self, path: str) -> None:
        self._note("make", path)
        self._disk.make_folders(path)

    def rename(self, source: str, target: str) -> None:
        self._note("rename", target)
        self._disk.rename(source, target)

    def unlink(self, path: str) -> None:
        self._note("unlink", path)
        self._disk.unlink(path)

    def uncache(self, path: str) -> None:
        self.log.append(("uncache", path))
        self._disk.uncache(path)

    def sync_folder(self, path: str) -> None:
        self._note("sync-folder", path)
        self._disk.sync_folder(path)

    def free_bytes(self, path: str) -> int:
        return self._disk.free_bytes(path) if self.free is None else self.free

    def lock(self, path: str, *, wait: bool) -> AbstractContextManager[bool]:
        return self._disk.lock(path, wait=wait)

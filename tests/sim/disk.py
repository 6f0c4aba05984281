"""``core.ports.Disk`` on a simulated drive."""

from __future__ import annotations

import contextlib
import errno
import posixpath
from collections.abc import Generator
from types import TracebackType
from typing import Literal, Self

from core.ports import Buffer, FileStat
from tests.sim.drive import SECTOR_BYTES, File, Folder, SimDrive, failure, overwrite
from tests.sim.life import Life


class SimFile:
    """``core.ports.DiskFile``."""

    __slots__ = ("_drive", "_file", "_open", "_path", "_writable")

    def __init__(self, drive: SimDrive, file: File, path: str, *, writable: bool) -> None:
        self._drive = drive
        self._file = file
        self._path = path
        self._writable = writable
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read_at(self, offset: int, length: int) -> bytes:
        self._call(self._drive.faults.read_error_p)
        if any(sector in _sectors(offset, length) for sector in self._file.bad_sectors):
            raise failure(errno.EIO, self._path)
        data = bytes(self._file.live[offset : offset + length])
        return data if self._drive.misread is None else self._drive.misread(self._path, offset, data)

    def write_at(self, offset: int, data: Buffer) -> None:
        self._call(self._drive.faults.write_error_p)
        if not self._writable:
            raise failure(errno.EBADF, self._path)
        self._drive.check_writable(self._path)
        piece = bytes(data)
        growth = max(0, offset + len(piece) - len(self._file.live))
        room = self._drive.faults.capacity_bytes - self._drive.used_bytes
        fits = len(piece) if growth <= room else max(0, len(piece) - (growth - room))
        self._write(offset, piece[:fits])
        self._drive.step("write", self._path)
        if fits < len(piece):
            raise failure(errno.ENOSPC, self._path)

    def _write(self, offset: int, piece: bytes) -> None:
        if not piece:
            return
        file = self._file
        before = len(file.live)
        overwrite(file.live, offset, piece)
        self._drive.used_bytes += len(file.live) - before
        file.pending.append((offset, piece))
        file.bad_sectors -= {sector for sector in file.bad_sectors if sector in _sectors(offset, len(piece))}
        file.modified_ns = self._drive.tick_ns

    def size(self) -> int:
        self._call()
        return len(self._file.live)

    def sync(self) -> None:
        drive, file = self._drive, self._file
        try:
            self._call(drive.faults.sync_error_p)
        except OSError:
            file.pending.clear()
            raise
        drive.step("sync", self._path)
        for offset, piece in file.pending:
            overwrite(file.durable, offset, piece)
        file.pending.clear()
        if drive.faults.names_ordered:
            drive.settle_names(None)

    def close(self) -> None:
        self._open = False

    def _call(self, error_p: float = 0.0) -> None:
        self._drive.call(self._path, error_p)
        if not self._open:
            raise failure(errno.EBADF, self._path)


class SimDisk:
    """``core.ports.Disk`` for one life of a node. ``SimDisk()`` alone is an empty drive that never fails."""

    def __init__(self, drive: SimDrive | None = None, life: Life | None = None) -> None:
        self.drive = drive or SimDrive()
        self._life = life or Life()
        self.drive.attach(self._life)

    def open(self, path: str, mode: Literal["read", "create", "update"]) -> SimFile:
        self._call(path)
        drive = self.drive
        node = drive.find(path)
        if isinstance(node, Folder):
            raise failure(errno.EEXIST if mode == "create" else errno.EISDIR, path)
        if mode == "read":
            return SimFile(drive, drive.file(path), path, writable=False)
        if node is not None and mode == "create":
            raise failure(errno.EEXIST, path)
        folder, name = drive.parent(path)
        drive.check_writable(path)
        if node is None:
            node = File(modified_ns=drive.tick_ns)
            drive.change_names((folder, name, node))
            drive.step("create", path)
        return SimFile(drive, node, path, writable=True)

    def stat(self, path: str) -> FileStat | None:
        self._call(path)
        try:
            node = self.drive.find(path)
        except NotADirectoryError:
            return None
        match node:
            case File():
                return FileStat(len(node.live), is_folder=False, modified_ns=node.modified_ns)
            case Folder():
                return FileStat(0, is_folder=True, modified_ns=0)
            case None:
                return None

    def list_folder(self, path: str) -> list[str]:
        self._call(path, self.drive.faults.read_error_p)
        try:
            return sorted(self.drive.folder(path).live)
        except FileNotFoundError:
            return []

    def make_folders(self, path: str) -> None:
        self._call(path)
        drive = self.drive
        folder, done = drive.root, "/"
        for name in posixpath.normpath(path).split("/")[1:]:
            done = posixpath.join(done, name)
            node = folder.live.get(name)
            if name and node is None:
                drive.check_writable(done)
                node = Folder()
                drive.change_names((folder, name, node))
                drive.step("make folder", done)
            if name and folder.durable.get(name, (None, 0))[0] is not node:
                # Also one that a killed process made and did not come to sync.
                drive.step("sync folder", posixpath.dirname(done))
                drive.settle_names(folder)
            if isinstance(node, File):
                raise failure(errno.EEXIST, done)
            folder = node or folder

    def rename(self, source: str, target: str) -> None:
        self._call(source)
        drive = self.drive
        drive.check_writable(source)
        (from_folder, from_name), (to_folder, to_name) = drive.parent(source), drive.parent(target)
        moved, replaced = from_folder.live.get(from_name), to_folder.live.get(to_name)
        if moved is None:
            raise failure(errno.ENOENT, source)
        if moved is replaced:
            return
        match moved, replaced:
            case File(), Folder():
                raise failure(errno.EISDIR, target)
            case Folder(), File():
                raise failure(errno.ENOTDIR, target)
            case Folder(), Folder(live=inner) if inner:
                raise failure(errno.ENOTEMPTY, target)
            case _:
                drive.change_names((from_folder, from_name, None), (to_folder, to_name, moved))
                drive.step("rename", target)

    def unlink(self, path: str) -> None:
        self._call(path)
        drive = self.drive
        drive.check_writable(path)
        drive.file(path)
        folder, name = drive.parent(path)
        drive.change_names((folder, name, None))
        drive.step("unlink", path)

    def uncache(self, path: str) -> None:
        """Nothing: this drive has no memory in front of it that a reader could notice."""

    def sync_folder(self, path: str) -> None:
        self._call(path, self.drive.faults.sync_error_p)
        folder = self.drive.folder(path)
        self.drive.step("sync folder", path)
        self.drive.settle_names(folder)

    def file_system(self, path: str) -> str:
        self._call(path)
        return self.drive.file_system

    def free_bytes(self, path: str) -> int:
        self._call(path)
        if self.drive.find(path) is None:
            raise failure(errno.ENOENT, path)
        return max(0, self.drive.faults.capacity_bytes - self.drive.used_bytes)

    @contextlib.contextmanager
    def lock(self, path: str, *, wait: bool) -> Generator[bool, None, None]:
        # As the real one: only making the file is a write.
        with self.open(path, "update" if self.drive.find(path) is None else "read"):
            pass
        locked = self.drive.locked
        if path in locked:
            # One thread runs everything here: nobody could ever let go.
            assert not wait, f"deadlock: {path} is locked by another job"
            yield False
            return
        locked.add(path)
        try:
            yield True
        finally:
            if not self._life.dead:
                locked.remove(path)

    def _call(self, path: str, error_p: float = 0.0) -> None:
        self._life.check()
        self.drive.call(path, error_p)


def _sectors(offset: int, length: int) -> range:
    return range(offset // SECTOR_BYTES, (offset + length - 1) // SECTOR_BYTES + 1) if length else range(0)

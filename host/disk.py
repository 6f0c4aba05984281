"""The real file system, by POSIX calls."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
from collections.abc import Generator
from types import TracebackType
from typing import Literal, Self

from core.ports import Buffer, FileStat
from host.mounts import file_system_of

# A pipe under a name that we read must not hang a disk thread; on plain files O_NONBLOCK means nothing.
_OPEN_FLAGS = {
    "read": os.O_RDONLY | os.O_NONBLOCK,
    "create": os.O_RDWR | os.O_CREAT | os.O_EXCL,
    "update": os.O_RDWR | os.O_CREAT,
}
# Remembered so that a write into a known folder costs no sync of its parent; the 65,536 of a store fit.
_DURABLE_FOLDERS_MAX = 100_000


def write_fully(descriptor: int, offset: int, data: Buffer) -> None:
    """All of ``data`` at ``offset``, in as many calls as the system makes of it. Raises OSError."""
    rest = memoryview(data).cast("B")
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        if not written:
            raise OSError(errno.EIO, "nothing was written")
        offset += written
        rest = rest[written:]


class RealFile:
    """A ``core.ports.DiskFile``; also the context manager that closes it."""

    __slots__ = ("_descriptor", "_path")

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self._path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read_at(self, offset: int, length: int) -> bytes:
        with _Naming(self._path):
            data = os.pread(self._descriptor, length, offset)
            if len(data) == length or not data:
                return data
            # Linux gives at most 2 GiB at once, and less where a signal or a network file system says so.
            parts = [data]
            missing = length - len(data)
            while missing and (data := os.pread(self._descriptor, missing, offset + length - missing)):
                parts.append(data)
                missing -= len(data)
        return b"".join(parts)

    def write_at(self, offset: int, data: Buffer) -> None:
        with _Naming(self._path):
            write_fully(self._descriptor, offset, data)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def sync(self) -> None:
        # After an error the kernel forgets what it could not write (Rebello et al., ATC 2020): the caller must
        # write everything again, to another file.
        with _Naming(self._path):
            os.fsync(self._descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


class _Naming:
    """Say in an OSError of a descriptor which file it was: the system does not."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            error.filename = self._path


def _is_folder(path: str) -> bool:
    """``os.path.isdir`` says that there is none on a disk that fails; here that raises OSError."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


class RealDisk:
    """A ``core.ports.Disk``.

    Args:
        private: new files and folders are for this user alone (modes 0600 and 0700). Otherwise the process'
            umask decides, which is what restored files want.
    """

    def __init__(self, *, private: bool = True) -> None:
        self._file_mode = 0o600 if private else 0o666
        self._folder_mode = 0o700 if private else 0o777
        self._durable: set[str] = set()

    def open(self, path: str, mode: Literal["read", "create", "update"]) -> RealFile:
        descriptor = os.open(path, _OPEN_FLAGS[mode] | os.O_CLOEXEC | os.O_NOCTTY, self._file_mode)
        file = RealFile(descriptor, path)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            file.close()
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return file

    def stat(self, path: str) -> FileStat | None:
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return FileStat(found.st_size, stat.S_ISDIR(found.st_mode), found.st_mtime_ns)

    def list_folder(self, path: str) -> list[str]:
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def make_folders(self, path: str) -> None:
        base = os.path.normpath(path)
        if base in self._durable and _is_folder(base):
            return
        missing: list[str] = []
        while not _is_folder(base):
            missing.append(base)
            base = os.path.dirname(base)
        # Another thread or an earlier process may have made ``base`` and not yet synced its name.
        with contextlib.suppress(PermissionError):
            self.sync_folder(os.path.dirname(base))
        for folder in reversed(missing):
            try:
                os.mkdir(folder, self._folder_mode)
            except FileExistsError:
                if not _is_folder(folder):
                    raise
            self.sync_folder(os.path.dirname(folder))
        if len(self._durable) < _DURABLE_FOLDERS_MAX:
            self._durable.add(os.path.normpath(path))

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def uncache(self, path: str) -> None:
        if sys.platform != "linux":
            return
        with contextlib.suppress(OSError):
            descriptor = os.open(path, _OPEN_FLAGS["read"] | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)

    def sync_folder(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def file_system(self, path: str) -> str:
        return file_system_of(path)

    def free_bytes(self, path: str) -> int:
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize

    @contextlib.contextmanager
    def lock(self, path: str, *, wait: bool) -> Generator[bool, None, None]:
        """By flock(2): the kernel lets go when the process dies. The lock's file stays."""
        # Read-only: flock needs no more, and a disk that became read-only can still be served.
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, self._file_mode)
        try:
            yield _flock(descriptor, wait=wait)
        finally:
            os.close(descriptor)


def _flock(descriptor: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True

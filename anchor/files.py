"""Small files that must be there after a power cut, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Generator

from core.errors import LedgerError, StoreFullError, StoreReadOnlyError
from core.ports import Disk

BESIDE_SUFFIX = ".tmp"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


@contextlib.contextmanager
def disk_errors(what: str) -> Generator[None]:
    """Turn OSError into StoreFullError, StoreReadOnlyError or (all else) LedgerError naming ``what``."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFullError(f"{what}: no space left on the disk") from error
        if error.errno in _READ_ONLY:
            raise StoreReadOnlyError(f"{what}: the disk refuses writes: {error}") from error
        raise LedgerError(f"{what}: the disk fails: {error}") from error


def folder_of(path: str) -> str:
    return path.rpartition("/")[0]


def read_file(disk: Disk, path: str) -> bytes | None:
    """All bytes of a file; None when there is none."""
    try:
        with disk.open(path, "read") as file:
            return file.read_at(0, file.size())
    except FileNotFoundError:
        return None


def replace_file(disk: Disk, path: str, data: bytes) -> None:
    """Write beside, sync, rename: ``path`` has its old or its new bytes at any time.

    The new name survives a power cut only after ``disk.sync_folder(folder_of(path))``.
    """
    # One that a crash left may hold more bytes than we are about to write.
    remove_beside(disk, path)
    beside = path + BESIDE_SUFFIX
    with disk.open(beside, "create") as file:
        file.write_at(0, data)
        file.sync()
    disk.rename(beside, path)


def remove_beside(disk: Disk, path: str) -> None:
    """Remove what a crash amid ``replace_file`` left. Only safe while nobody else writes ``path``."""
    if disk.stat(path + BESIDE_SUFFIX) is not None:
        disk.unlink(path + BESIDE_SUFFIX)


def replace_file_durably(disk: Disk, path: str, data: bytes) -> None:
    """``replace_file``, then sync the folder."""
    replace_file(disk, path, data)
    disk.sync_folder(folder_of(path))

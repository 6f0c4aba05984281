"""Small files written whole and durable, or not at all. Plain functions over the disk port: one thread job each."""

from __future__ import annotations

import math
import posixpath
from contextlib import AbstractContextManager, suppress

from core.ports import Buffer, Disk, DiskFile

PART_SUFFIX = ".part"
# Each attempt but the last was met by another process that clears at that very moment.
WORKSHOP_ATTEMPTS = 5


def write_file(disk: Disk, path: str, data: Buffer, *, token: str) -> None:
    """Replace ``path`` by ``data``: temporary file, sync, rename, sync of the folder. Raises OSError.

    ``token`` makes the temporary name unique among concurrent writers. A crash leaves the old file, or the new
    one, and perhaps a temporary one, which ``remove_parts`` clears.
    """
    folder = posixpath.dirname(path)
    disk.make_folders(folder)
    temporary = f"{path}.{token}{PART_SUFFIX}"
    try:
        with _create(disk, temporary) as file:
            file.write_at(0, data)
            file.sync()
        disk.rename(temporary, path)
    except BaseException:
        # Also when memory ran out, or somebody pressed Ctrl-C.
        with suppress(OSError):
            disk.unlink(temporary)
        raise
    disk.sync_folder(folder)


def write_file_in_workshop(disk: Disk, workshop: str, path: str, data: Buffer, *, token: str) -> None:
    """As ``write_file``, for folders in which several processes write: the temporary file is made in ``workshop``.

    It is locked meanwhile, so that ``clear_workshop`` can tell it from one that a crash left. ``workshop`` lies on
    the same file system.
    """
    disk.make_folders(workshop)
    disk.make_folders(posixpath.dirname(path))
    for attempt in range(1, WORKSHOP_ATTEMPTS + 1):
        temporary = posixpath.join(workshop, f"{token}-{attempt}{PART_SUFFIX}")
        with disk.lock(temporary, wait=False) as ours:
            if not ours:
                continue
            try:
                with disk.open(temporary, "update") as file:
                    file.write_at(0, data)
                    file.sync()
                disk.rename(temporary, path)
            except FileNotFoundError:
                # Cleared between the making of the file and its lock.
                if attempt < WORKSHOP_ATTEMPTS:
                    continue
                raise
            except OSError:
                with suppress(OSError):
                    disk.unlink(temporary)
                raise
        disk.sync_folder(posixpath.dirname(path))
        disk.sync_folder(workshop)
        return
    raise FileNotFoundError(f"{workshop} is cleared all the time")


def clear_workshop(disk: Disk, workshop: str) -> None:
    """Remove what crashed processes left in ``workshop``, while others may write there. Raises OSError."""
    for name in disk.list_folder(workshop):
        temporary = posixpath.join(workshop, name)
        with disk.lock(temporary, wait=False) as abandoned:
            if abandoned:
                disk.unlink(temporary)


def _create(disk: Disk, path: str) -> AbstractContextManager[DiskFile]:
    try:
        return disk.open(path, "create")
    except FileExistsError:
        # Tokens are unique among those who write now: an earlier process died over this one.
        disk.unlink(path)
        return disk.open(path, "create")


def read_file(disk: Disk, path: str, *, max_bytes: int) -> bytes | None:
    """The file's bytes (at most ``max_bytes`` and one more, for the reader's own size check), None when absent."""
    try:
        with disk.open(path, "read") as file:
            return file.read_at(0, max_bytes + 1)
    except FileNotFoundError:
        return None


def remove_parts(disk: Disk, folder: str, *, before_ns: float = math.inf) -> None:
    """Remove temporary files that a crash left in ``folder``. Only safe while nobody writes there.

    Where others may be writing, ``before_ns`` spares what was modified since then (nanoseconds since the epoch).
    """
    for name in disk.list_folder(folder):
        if not name.endswith(PART_SUFFIX):
            continue
        path = posixpath.join(folder, name)
        found = disk.stat(path)
        if found is not None and found.modified_ns < before_ns:
            disk.unlink(path)

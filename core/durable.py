"""Small files written whole and durable, or not at all. Plain functions over the disk port: one thread job each."""

from __future__ import annotations

import posixpath
from contextlib import suppress

from core.ports import Buffer, Disk

PART_SUFFIX = ".part"


def write_file(disk: Disk, path: str, data: Buffer, *, token: str) -> None:
    """Replace ``path`` by ``data``: temporary file, sync, rename, sync of the folder. Raises OSError.

    ``token`` makes the temporary name unique among concurrent writers. A crash leaves the old file, or the new
    one, and perhaps a temporary one, which ``remove_parts`` clears.
    """
    folder = posixpath.dirname(path)
    disk.make_folders(folder)
    temporary = f"{path}.{token}{PART_SUFFIX}"
    try:
        with disk.open(temporary, "create") as file:
            file.write_at(0, data)
            file.sync()
        disk.rename(temporary, path)
    except OSError:
        with suppress(OSError):
            disk.unlink(temporary)
        raise
    disk.sync_folder(folder)


def read_file(disk: Disk, path: str, *, max_bytes: int) -> bytes | None:
    """The file's bytes (at most ``max_bytes`` and one more, for the reader's own size check), None when absent."""
    try:
        with disk.open(path, "read") as file:
            return file.read_at(0, max_bytes + 1)
    except FileNotFoundError:
        return None


def remove_parts(disk: Disk, folder: str) -> None:
    """Remove temporary files that a crash left in ``folder``. Only safe while nobody writes there."""
    for name in disk.list_folder(folder):
        if name.endswith(PART_SUFFIX):
            disk.unlink(posixpath.join(folder, name))

"""The real files that a get restores (port ``core.trees.TargetTree``)."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from itertools import count
from typing import NamedTuple

from core.durable import PART_SUFFIX
from core.errors import TargetError
from core.limits import MIB
from core.listing import Entry, Kind, RelativePath
from core.ports import Buffer
from host.direct import DirectWriter
from host.disk import write_fully
from host.mounts import file_system_of

# A restore that would leave less than this on the target disk is refused: a full disk hurts everybody on it.
TARGET_RESERVE_BYTES = 16 * MIB
PART_PREFIX = ".moorage-"
# What link() says where there are no hard links (FAT, some network mounts).
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
# Files that are synced together, one journal entry serving many: a thousand single files take a disk twice the time.
# Each is an open file; the usual limit of a process is 1,024 of them.
UNNAMED_FILES_MAX = 128
UNNAMED_BYTES_MAX = 64 * MIB
# Of a large file each such piece is sent to the disk while the next ones arrive.
EARLY_WRITE_BYTES = 1 * MIB
# Files of this size go past the page cache: whoever restores smaller ones, images above all, looks at them next.
DIRECT_FILE_BYTES = 64 * MIB
# Over a network each such write would wait for the other machine's disk.
DIRECT_FILE_SYSTEMS = frozenset({"btrfs", "ext4", "overlay", "xfs"})


class _Part(NamedTuple):
    """A file that is being written."""

    descriptor: int
    name: bytes
    direct: DirectWriter | None


class RestoreTree:
    """See ``TargetTree``. Everything lands below ``folder``; nothing that exists is overwritten or followed."""

    def __init__(self, folder: str) -> None:
        self._folder = os.path.abspath(os.fsencode(folder))
        # Open files under the names of parts, by the path that each will have.
        self._parts: dict[bytes, _Part] = {}
        # Entries that are called as parts are: leftovers of another restore that somebody put.
        self._taken: frozenset[bytes] = frozenset()
        # Complete and on their way to the disk, still under the names of parts.
        self._unnamed: list[Entry] = []
        self._unnamed_bytes = 0

    def _path(self, entry: Entry) -> bytes:
        return self._folder + b"/" + entry.path.raw

    def _part(self, path: RelativePath) -> bytes:
        # Not NAME.part: that may be somebody's file or another entry, and NAME may be as long as names can be.
        folder = path.parent + b"/" if path.parent else b""
        for salt in count():
            digest = blake2b(path.raw, digest_size=8, salt=salt.to_bytes(4, "big")).hexdigest()
            part = folder + f"{PART_PREFIX}{digest}{PART_SUFFIX}".encode()
            if part not in self._taken:
                return self._folder + b"/" + part
        raise AssertionError

    def prepare(self, entries: Sequence[Entry]) -> None:
        nowhere: set[bytes] = set()
        for entry in entries:
            # Below a folder that is not there nothing can be in the way.
            if entry.path.parent not in nowhere and not self._has_folder(entry):
                nowhere.add(entry.path.parent)
        self._taken = frozenset(
            entry.path.raw for entry in entries if entry.path.raw.rpartition(b"/")[2].startswith(PART_PREFIX.encode())
        )
        needed = sum(entry.size_bytes for entry in entries)
        with _as_target_error(self._folder):
            os.makedirs(self._folder, exist_ok=True)
            space = os.statvfs(self._folder)
        free = space.f_bavail * space.f_frsize
        if needed + TARGET_RESERVE_BYTES > free:
            raise TargetError(
                f"{os.fsdecode(self._folder)}: the files take {needed} bytes, the disk has {free} free: make room or "
                "restore elsewhere"
            )

    def _has_folder(self, entry: Entry) -> bool:
        """Whether the folder that the entry goes to is there. Nothing may be in the way, nor a link lead out."""
        names = entry.path.raw.split(b"/")
        for depth in range(1, len(names) + 1):
            is_last = depth == len(names)
            path = self._folder + b"/" + b"/".join(names[:depth])
            try:
                found = os.lstat(path)
            except FileNotFoundError:
                return is_last
            except OSError as error:
                raise TargetError(f"{os.fsdecode(path)}: {error.strerror}") from error
            if stat.S_ISDIR(found.st_mode) and (not is_last or entry.kind is Kind.FOLDER):
                continue
            raise TargetError(f"{os.fsdecode(path)} exists already: nothing was restored; choose another folder")
        return True

    def make_folders(self, entries: Sequence[Entry]) -> None:
        wanted = (entry.path.raw if entry.kind is Kind.FOLDER else entry.path.parent for entry in entries)
        for name in dict.fromkeys(wanted):
            folder = self._folder + b"/" + name if name else self._folder
            with _as_target_error(folder):
                self._make_folder(folder)

    def _make_folder(self, path: bytes) -> None:
        """``os.makedirs`` without recursion, and without following a link below the folder that was asked for."""
        missing = [path]
        while missing:
            try:
                os.mkdir(missing[-1])
            except FileNotFoundError:
                missing.append(os.path.dirname(missing[-1]))
                continue
            except FileExistsError:
                if missing[-1] != self._folder and not stat.S_ISDIR(os.lstat(missing[-1]).st_mode):
                    raise
            missing.pop()

    def write_at(self, entry: Entry, offset: int, data: Buffer) -> None:
        try:
            part = self._open_part(entry)
            if part.direct is not None:
                part.direct.write_at(offset, data)
            else:
                write_fully(part.descriptor, offset, data)
            if len(data) >= EARLY_WRITE_BYTES:
                # Also what should have passed the page cache by: some file systems put it there all the same.
                _start_writing(part.descriptor, offset, len(data))
        except OSError as error:
            raise _target_error(self._path(entry), error) from error

    def _open_part(self, entry: Entry) -> _Part:
        part = self._parts.get(entry.path.raw)
        if part is None:
            name = self._part(entry.path)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                descriptor = os.open(name, flags, 0o600)
            except FileExistsError:
                # A part that an earlier run left is of no use; a link there would lead out of the tree.
                os.unlink(name)
                descriptor = os.open(name, flags, 0o600)
            part = self._parts[entry.path.raw] = _Part(descriptor, name, None)
            if entry.size_bytes >= DIRECT_FILE_BYTES and self._is_on_local_disk():
                part = self._parts[entry.path.raw] = part._replace(direct=DirectWriter.over(descriptor))
        return part

    def _is_on_local_disk(self) -> bool:
        return file_system_of(os.fsdecode(self._folder)) in DIRECT_FILE_SYSTEMS

    def finish_file(self, entry: Entry) -> None:
        try:
            part = self._open_part(entry)
            if part.direct is not None:
                part.direct.finish()
            descriptor = part.descriptor
            os.fchmod(descriptor, entry.mode)
            os.utime(descriptor, ns=(entry.modified_ns, entry.modified_ns))
            _start_writing(descriptor, 0, entry.size_bytes)
        except OSError as error:
            raise _target_error(self._path(entry), error) from error
        self._unnamed.append(entry)
        self._unnamed_bytes += entry.size_bytes
        if len(self._unnamed) >= UNNAMED_FILES_MAX or self._unnamed_bytes >= UNNAMED_BYTES_MAX:
            self._name_files()

    def _name_files(self) -> None:
        for entry in self._unnamed:
            try:
                os.fsync(self._parts[entry.path.raw].descriptor)
            except OSError as error:
                raise _target_error(self._path(entry), error) from error
        # Each leaves the list as it is named, so that nothing is named twice whatever fails.
        while self._unnamed:
            entry = self._unnamed.pop()
            path = self._path(entry)
            try:
                _name_file(self._parts[entry.path.raw].name, path)
                os.close(self._parts.pop(entry.path.raw).descriptor)
            except OSError as error:
                raise _target_error(path, error) from error
        self._unnamed_bytes = 0

    def finish(self, entries: Sequence[Entry]) -> None:
        self._name_files()
        for entry in entries:
            if entry.kind is Kind.LINK:
                with _as_target_error(self._path(entry)):
                    os.symlink(entry.target, self._path(entry))
                    os.utime(self._path(entry), ns=(entry.modified_ns, entry.modified_ns), follow_symlinks=False)
        folders = [entry for entry in entries if entry.kind is Kind.FOLDER]
        for entry in sorted(folders, key=lambda folder: folder.path.raw.count(b"/"), reverse=True):
            with _as_target_error(self._path(entry)):
                _sync_folder(self._path(entry))
                os.chmod(self._path(entry), entry.mode)
                os.utime(self._path(entry), ns=(entry.modified_ns, entry.modified_ns))
        with _as_target_error(self._folder):
            _sync_folder(self._folder)

    def abandon(self) -> None:
        for part in self._parts.values():
            os.close(part.descriptor)
            with suppress(OSError):
                os.unlink(part.name)
        self._parts.clear()
        self._unnamed.clear()


def _name_file(part: bytes, path: bytes) -> None:
    """Give a complete file its name, unless something appeared there meanwhile. Raises FileExistsError, OSError."""
    try:
        # link() refuses to replace, which rename() would not.
        os.link(part, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
        os.rename(part, path)
    else:
        os.unlink(part)


def _start_writing(descriptor: int, offset: int, length: int) -> None:
    """Set the disk to work on bytes that a later sync waits for: files in a row, and the parts of a large one."""
    if sys.platform == "linux" and length:
        # What Linux does first on this advice is to begin writing what is dirty; nothing waits for it.
        os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_DONTNEED)


def _sync_folder(path: bytes) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _target_error(path: bytes, error: OSError) -> TargetError:
    name = os.fsdecode(path)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TargetError(f"{name}: the disk is full; what was restored whole stays, the rest is missing")
    return TargetError(f"{name}: {error.strerror}")


@contextmanager
def _as_target_error(path: bytes) -> Generator[None]:
    """Where it happens once for a folder; a file's own calls catch what they raise, at a tenth of the cost."""
    try:
        yield
    except OSError as error:
        raise _target_error(path, error) from error

"""Real files: the tree that a put reads, and the tree that a get restores (ports in ``core.trees``)."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

from core.durable import PART_SUFFIX
from core.errors import MalformedError, SourceChangedError, SourceError, TargetError
from core.limits import FILES_PER_OBJECT_MAX, MIB
from core.listing import Entry, Kind, RelativePath
from core.ports import Buffer

# A restore that would leave less than this on the target disk is refused: a full disk hurts everybody on it.
TARGET_RESERVE_BYTES = 16 * MIB
_MODE_BITS = 0o7777
# Files that are synced together, one journal entry serving many: a thousand single files take a disk twice the time.
# Each is an open file; the usual limit of a process is 1,024 of them.
UNNAMED_FILES_MAX = 128
UNNAMED_BYTES_MAX = 64 * MIB
# Of a large file each such piece is sent to the disk while the next ones arrive.
EARLY_WRITE_BYTES = 1 * MIB


@dataclass(frozen=True, slots=True)
class _Seen:
    """What identified a file's content when it was walked."""

    path: bytes
    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int

    @staticmethod
    def of(path: bytes, found: os.stat_result) -> _Seen:
        return _Seen(path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class _Reader:
    def __init__(self, descriptor: int, seen: _Seen) -> None:
        self._descriptor = descriptor
        self._seen = seen

    def read_into(self, offset: int, target: memoryview) -> None:
        at = 0
        while at < len(target):
            got = os.preadv(self._descriptor, [target[at:]], offset + at)
            if not got:
                raise _changed(self._seen.path)
            at += got
        if _Seen.of(self._seen.path, os.fstat(self._descriptor)) != self._seen:
            raise _changed(self._seen.path)


def _changed(path: bytes) -> SourceChangedError:
    return SourceChangedError(f"{os.fsdecode(path)} changed while it was being read: put it again when it is at rest")


def _unreadable(path: bytes, error: OSError) -> SourceError:
    return SourceError(f"{os.fsdecode(path)} cannot be read: {error.strerror}")


class FileTree:
    """Files, folders and links below some paths, each path under its own last name."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._roots = [os.path.abspath(os.fsencode(path)) for path in paths]
        self._seen: dict[RelativePath, _Seen] = {}

    def walk(self) -> list[Entry]:
        """See ``SourceTree.walk``. Links are kept as links, except that a path given by the user is followed."""
        entries: list[Entry] = []
        for root in self._roots:
            name = os.path.basename(root)
            if not name:
                raise SourceError(f"{os.fsdecode(root)} has no name of its own: put its folders one by one")
            entries += self._walk(root, name, top=True)
        if all(entry.kind is Kind.FOLDER for entry in entries):
            names = ", ".join(os.fsdecode(root) for root in self._roots)
            raise SourceError(f"{names}: there is nothing to store, not even an empty file")
        entries.sort(key=lambda entry: entry.path.raw.split(b"/"))
        for before, after in pairwise(entries):
            if before.path == after.path:
                raise SourceError(f"two of the paths would be stored as {after.path}: put them separately")
        return entries

    def _walk(self, path: bytes, name: bytes, *, top: bool) -> Iterator[Entry]:
        try:
            found = os.stat(path, follow_symlinks=top)
        except FileNotFoundError as error:
            raise SourceError(f"{os.fsdecode(path)}: no such file or folder") from error
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            relative = RelativePath(name)
        except MalformedError as error:
            raise SourceError(f"{os.fsdecode(path)}: {error}") from error
        if stat.S_ISREG(found.st_mode):
            yield self._file(path, relative, found)
        elif stat.S_ISDIR(found.st_mode):
            yield _entry(relative, Kind.FOLDER, found)
            yield from self._folder(path, name)
        elif stat.S_ISLNK(found.st_mode):
            yield _entry(relative, Kind.LINK, found, target=os.readlink(path))
        else:
            raise SourceError(
                f"{os.fsdecode(path)} is a {_special(found.st_mode)}: only files, folders and links can be stored"
            )

    def _folder(self, path: bytes, name: bytes) -> Iterator[Entry]:
        try:
            names = sorted(os.listdir(path))
        except OSError as error:
            raise _unreadable(path, error) from error
        for child in names:
            if len(self._seen) > FILES_PER_OBJECT_MAX:
                raise SourceError(f"more than {FILES_PER_OBJECT_MAX} files: put them as several objects")
            yield from self._walk(path + b"/" + child, name + b"/" + child, top=False)

    def _file(self, path: bytes, relative: RelativePath, found: os.stat_result) -> Entry:
        if not os.access(path, os.R_OK):
            raise SourceError(f"{os.fsdecode(path)} cannot be read: permission denied")
        self._seen[relative] = _Seen.of(path, found)
        return _entry(relative, Kind.FILE, found)

    @contextmanager
    def open(self, entry: Entry) -> Generator[_Reader]:
        """See ``SourceTree.open``."""
        seen = self._seen[entry.path]
        try:
            # Not to be led elsewhere, nor held up, by what may have taken the file's place.
            descriptor = os.open(seen.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError as error:
            raise _changed(seen.path) from error
        except OSError as error:
            raise _unreadable(seen.path, error) from error
        try:
            if _Seen.of(seen.path, os.fstat(descriptor)) != seen:
                raise _changed(seen.path)
            yield _Reader(descriptor, seen)
        except OSError as error:
            raise _unreadable(seen.path, error) from error
        finally:
            os.close(descriptor)


def _entry(path: RelativePath, kind: Kind, found: os.stat_result, *, target: bytes = b"") -> Entry:
    size = found.st_size if kind is Kind.FILE else 0
    return Entry(path, kind, size, found.st_mtime_ns, found.st_mode & _MODE_BITS, b"", target, ())


def _special(mode: int) -> str:
    kinds = ((stat.S_ISFIFO, "pipe"), (stat.S_ISSOCK, "socket"), (stat.S_ISBLK, "device"), (stat.S_ISCHR, "device"))
    return next((name for test, name in kinds if test(mode)), "special file")


class RestoreTree:
    """See ``TargetTree``. Everything lands below ``folder``; nothing that exists is overwritten or followed."""

    def __init__(self, folder: str) -> None:
        self._folder = os.path.abspath(os.fsencode(folder))
        self._parts: dict[RelativePath, int] = {}
        # Complete and on their way to the disk, still under the names of parts.
        self._unnamed: list[Entry] = []
        self._unnamed_bytes = 0

    def _path(self, entry: Entry) -> bytes:
        return self._folder + b"/" + entry.path.raw

    def _part(self, path: RelativePath) -> bytes:
        # Not NAME.part: that may be somebody's file or another entry, and NAME may be as long as names can be.
        name = f".moorage-{blake2b(path.raw, digest_size=8).hexdigest()}{PART_SUFFIX}"
        return os.path.join(self._folder, path.parent, name.encode())

    def prepare(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._check_free(entry)
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

    def _check_free(self, entry: Entry) -> None:
        """Nothing may be in the way, and no link may lead out on the way."""
        names = entry.path.raw.split(b"/")
        for depth in range(1, len(names) + 1):
            path = self._folder + b"/" + b"/".join(names[:depth])
            try:
                found = os.lstat(path)
            except FileNotFoundError:
                return
            except OSError as error:
                raise TargetError(f"{os.fsdecode(path)}: {error.strerror}") from error
            is_last = depth == len(names)
            if stat.S_ISDIR(found.st_mode) and (not is_last or entry.kind is Kind.FOLDER):
                continue
            raise TargetError(f"{os.fsdecode(path)} exists already: nothing was restored; choose another folder")

    def make_folders(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            folder = self._path(entry) if entry.kind is Kind.FOLDER else os.path.dirname(self._path(entry))
            with _as_target_error(folder):
                os.makedirs(folder, exist_ok=True)

    def write_at(self, entry: Entry, offset: int, data: Buffer) -> None:
        with _as_target_error(self._path(entry)):
            descriptor = self._open_part(entry)
            view = memoryview(data)
            while view:
                written = os.pwrite(descriptor, view, offset)
                view = view[written:]
                offset += written
            if len(data) >= EARLY_WRITE_BYTES:
                _start_writing(descriptor, offset - len(data), len(data))

    def _open_part(self, entry: Entry) -> int:
        if entry.path not in self._parts:
            # A part that an earlier run left is of no use; a link there would lead out of the tree.
            with suppress(FileNotFoundError):
                os.unlink(self._part(entry.path))
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._parts[entry.path] = os.open(self._part(entry.path), flags, 0o600)
        return self._parts[entry.path]

    def finish_file(self, entry: Entry) -> None:
        with _as_target_error(self._path(entry)):
            descriptor = self._open_part(entry)
            os.fchmod(descriptor, entry.mode)
            os.utime(descriptor, ns=(entry.modified_ns, entry.modified_ns))
            _start_writing(descriptor, 0, entry.size_bytes)
        self._unnamed.append(entry)
        self._unnamed_bytes += entry.size_bytes
        if len(self._unnamed) >= UNNAMED_FILES_MAX or self._unnamed_bytes >= UNNAMED_BYTES_MAX:
            self._name_files()

    def _name_files(self) -> None:
        for entry in self._unnamed:
            with _as_target_error(self._path(entry)):
                os.fsync(self._parts[entry.path])
        # Each leaves the list as it is named, so that nothing is named twice whatever fails.
        while self._unnamed:
            entry = self._unnamed.pop()
            with _as_target_error(self._path(entry)):
                # link() refuses to replace a file that appeared meanwhile, which rename() would not.
                os.link(self._part(entry.path), self._path(entry))
                os.unlink(self._part(entry.path))
                os.close(self._parts.pop(entry.path))
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
        for path, descriptor in self._parts.items():
            os.close(descriptor)
            with suppress(OSError):
                os.unlink(self._part(path))
        self._parts.clear()
        self._unnamed.clear()


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


@contextmanager
def _as_target_error(path: bytes) -> Generator[None]:
    try:
        yield
    except OSError as error:
        name = os.fsdecode(path)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise TargetError(
                f"{name}: the disk is full; what was restored whole stays, the rest is missing"
            ) from error
        raise TargetError(f"{name}: {error.strerror}") from error

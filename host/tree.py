"""The real files that a put reads (port ``core.trees.SourceTree``)."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

from core.errors import MalformedError, SourceChangedError, SourceError
from core.limits import FILES_PER_OBJECT_MAX
from core.listing import Entry, Kind, RelativePath

_MODE_BITS = 0o7777
# What the index holds: the years 1678 to 2262.
TIME_MAX_NS = 2**63 - 1
# What opening a file says when it, or a folder above it, is not what it was.
_MOVED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})


class _Seen(NamedTuple):
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
            entries += self._walk(root, name)
        if all(entry.kind is Kind.FOLDER for entry in entries):
            names = ", ".join(os.fsdecode(root) for root in self._roots)
            raise SourceError(f"{names}: there is nothing to store, not even an empty file")
        entries.sort(key=lambda entry: entry.path.raw.split(b"/"))
        for before, after in pairwise(entries):
            if before.path == after.path:
                raise SourceError(f"two of the paths would be stored as {after.path}: put them separately")
        return entries

    def _walk(self, root: bytes, name: bytes) -> Iterator[Entry]:
        """Depth first, but without recursion: folders may be nested deeper than Python's stack."""
        waiting = [(root, name)]
        while waiting:
            path, name = waiting.pop()
            if len(self._seen) > FILES_PER_OBJECT_MAX:
                raise SourceError(f"more than {FILES_PER_OBJECT_MAX} files: put them as several objects")
            found = self._look(path, follow=path == root)
            try:
                relative = RelativePath(name)
            except MalformedError as error:
                raise SourceError(f"{os.fsdecode(path)}: {error}") from error
            if stat.S_ISDIR(found.st_mode):
                yield _entry(path, relative, Kind.FOLDER, found)
                waiting += [(path + b"/" + child, name + b"/" + child) for child in _children(path)]
            else:
                yield self._leaf(path, relative, found)

    def _look(self, path: bytes, *, follow: bool) -> os.stat_result:
        try:
            return os.stat(path, follow_symlinks=follow)
        except FileNotFoundError as error:
            raise SourceError(f"{os.fsdecode(path)}: no such file or folder") from error
        except OSError as error:
            raise _unreadable(path, error) from error

    def _leaf(self, path: bytes, relative: RelativePath, found: os.stat_result) -> Entry:
        if stat.S_ISREG(found.st_mode):
            return self._file(path, relative, found)
        if stat.S_ISLNK(found.st_mode):
            try:
                return _entry(path, relative, Kind.LINK, found, target=os.readlink(path))
            except OSError as error:
                raise _unreadable(path, error) from error
        raise SourceError(
            f"{os.fsdecode(path)} is a {_special(found.st_mode)}: only files, folders and links can be stored"
        )

    def _file(self, path: bytes, relative: RelativePath, found: os.stat_result) -> Entry:
        if not os.access(path, os.R_OK):
            raise SourceError(f"{os.fsdecode(path)} cannot be read: permission denied")
        self._seen[relative] = _Seen.of(path, found)
        return _entry(path, relative, Kind.FILE, found)

    @contextmanager
    def open(self, entry: Entry) -> Generator[_Reader]:
        """See ``SourceTree.open``."""
        seen = self._seen[entry.path]
        try:
            # Not to be led elsewhere, nor held up, by what may have taken the file's place.
            descriptor = os.open(seen.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            if error.errno in _MOVED:
                raise _changed(seen.path) from error
            raise _unreadable(seen.path, error) from error
        try:
            if _Seen.of(seen.path, os.fstat(descriptor)) != seen:
                raise _changed(seen.path)
            yield _Reader(descriptor, seen)
        except OSError as error:
            raise _unreadable(seen.path, error) from error
        finally:
            os.close(descriptor)


def _children(path: bytes) -> list[bytes]:
    try:
        return os.listdir(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _entry(path: bytes, relative: RelativePath, kind: Kind, found: os.stat_result, *, target: bytes = b"") -> Entry:
    if abs(found.st_mtime_ns) > TIME_MAX_NS:
        raise SourceError(
            f"{os.fsdecode(path)} was last changed at an impossible time ({found.st_mtime:.0f} s): touch it"
        )
    size = found.st_size if kind is Kind.FILE else 0
    return Entry(relative, kind, size, found.st_mtime_ns, found.st_mode & _MODE_BITS, b"", target, ())


def _special(mode: int) -> str:
    kinds = ((stat.S_ISFIFO, "pipe"), (stat.S_ISSOCK, "socket"), (stat.S_ISBLK, "device"), (stat.S_ISCHR, "device"))
    return next((name for test, name in kinds if test(mode)), "special file")

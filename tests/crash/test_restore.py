"""A restore is killed at, or fails in, each system call it makes; real files, and un-synced bytes lost at the end."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import host.restore
from core.errors import TargetError
from core.listing import Entry, Kind, RelativePath
from host.restore import PART_PREFIX, RestoreTree
from tests.sim.life import NodeDead

CONTENTS = {b"folder/one": b"1" * 5000, b"folder/two": b"2" * 300, b"three": b"3" * 1000}
CALLS = frozenset(
    (
        *("makedirs", "statvfs", "lstat", "mkdir", "pwrite", "unlink", "open", "fchmod", "utime", "fsync", "close"),
        *("symlink", "chmod", "link", "posix_fadvise"),
    )
)


def _entry(path: bytes, kind: Kind, size: int = 0, target: bytes = b"") -> Entry:
    return Entry(RelativePath(path), kind, size, 10**18, 0o644 if kind is Kind.FILE else 0o755, b"", target, ())


ENTRIES = [
    _entry(b"folder", Kind.FOLDER),
    *(_entry(path, Kind.FILE, len(data)) for path, data in CONTENTS.items()),
    _entry(b"link", Kind.LINK, target=b"three"),
]


class CountedOs:
    """``os`` whose ``at``-th call fails, or never returns: then what was not synced is lost."""

    def __init__(self, at: int, error: OSError | None) -> None:
        self.calls = 0
        self._at = at
        self._error = error
        self._dirty: set[int] = set()
        self._open: set[int] = set()
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(os, name)
        return self._counted(name, found) if name in CALLS else found

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.dead or (self.calls == self._at and self._error is None):
                self._die()
                raise NodeDead
            if self.calls == self._at and self._error is not None:
                if name == "close":
                    # The descriptor is gone all the same, says POSIX of Linux.
                    call(*args, **kwargs)
                    self._open.discard(args[0])
                raise self._error
            result = call(*args, **kwargs)
            self._note(name, args, result)
            return result

        return counted

    def _note(self, name: str, args: tuple[Any, ...], result: Any) -> None:
        match name:
            case "open":
                self._open.add(result)
            case "pwrite":
                self._dirty.add(args[0])
            case "fsync":
                self._dirty.discard(args[0])
            case "close":
                self._open.discard(args[0])
                assert args[0] not in self._dirty or self._at, "closed before it was synced"
            case _:
                pass

    def _die(self) -> None:
        if not self.dead:
            self.dead = True
            for descriptor in sorted(self._dirty & self._open):
                os.ftruncate(descriptor, 0)
            for descriptor in sorted(self._open):
                os.close(descriptor)


def restore(folder: Path) -> None:
    tree = RestoreTree(str(folder))
    try:
        tree.prepare(ENTRIES)
        tree.make_folders(ENTRIES)
        for entry in ENTRIES:
            if entry.kind is Kind.FILE:
                data = CONTENTS[entry.path.raw]
                half = len(data) // 2
                tree.write_at(entry, half, data[half:])
                tree.write_at(entry, 0, data[:half])
                tree.finish_file(entry)
        tree.finish(ENTRIES)
    finally:
        tree.abandon()


def _check(folder: Path, *, complete: bool) -> None:
    for path, data in CONTENTS.items():
        file = Path(os.fsdecode(os.fsencode(folder) + b"/" + path))
        assert not complete or file.exists()
        assert not file.exists() or file.read_bytes() == data, f"{path!r} is torn"


def _again(folder: Path) -> None:
    """What was named stays, is in the way, and is put away; then the same folder serves, and no part is left."""
    named = [path for path in folder.rglob("*") if not path.is_dir() and not path.name.startswith(PART_PREFIX)]
    if named:
        with pytest.raises(TargetError, match="exists already"):
            restore(folder)
    for path in named:
        path.unlink()
    restore(folder)
    _check(folder, complete=True)
    assert not list(folder.rglob(f"{PART_PREFIX}*"))


def test_a_restore_that_is_killed_at_any_call_leaves_whole_files_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = 1
    while True:
        counted, folder = CountedOs(at, None), tmp_path / str(at)
        monkeypatch.setattr(host.restore, "os", counted)
        with suppress(NodeDead):
            restore(folder)
        monkeypatch.setattr(host.restore, "os", os)
        if not counted.dead:
            break
        _check(folder, complete=False)
        _again(folder)
        at += 1
    _check(folder, complete=True)
    assert at > 30


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EMFILE, errno.EROFS])
def test_a_call_that_fails_is_a_target_error_and_leaves_whole_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    at = 1
    while True:
        counted, folder = CountedOs(at, OSError(code, os.strerror(code))), tmp_path / str(at)
        monkeypatch.setattr(host.restore, "os", counted)
        finished = False
        with suppress(TargetError):
            restore(folder)
            finished = True
        monkeypatch.setattr(host.restore, "os", os)
        assert counted._open == set(), f"call {at} failed and left a file open"
        if counted.calls < at:
            break
        _check(folder, complete=finished)
        if not finished:
            _again(folder)
        at += 1
    assert at > 30

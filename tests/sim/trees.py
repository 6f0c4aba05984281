"""Files in memory, behind the ports that a put reads from and a get restores to."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

from core.listing import Entry, Kind, RelativePath
from core.ports import Buffer


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_into(self, offset: int, target: memoryview) -> None:
        target[:] = self._data[offset : offset + len(target)]


class MemorySource:
    """``core.trees.SourceTree`` over a dict of path to bytes."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = {RelativePath(path.encode()): data for path, data in sorted(files.items())}

    def walk(self) -> list[Entry]:
        return [
            Entry(path, Kind.FILE, len(data), 1_700_000_000_000_000_000, 0o644, b"", b"", ())
            for path, data in self._files.items()
        ]

    def change(self, path: str, data: bytes) -> None:
        self._files[RelativePath(path.encode())] = data

    @contextmanager
    def open(self, entry: Entry) -> Generator[_Reader]:
        yield _Reader(self._files[entry.path])


class MemoryTarget:
    """``core.trees.TargetTree``; ``files`` holds what was finished."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self._parts: dict[RelativePath, bytearray] = {}

    def prepare(self, entries: Sequence[Entry]) -> None: ...

    def make_folders(self, entries: Sequence[Entry]) -> None: ...

    def write_at(self, entry: Entry, offset: int, data: Buffer) -> None:
        part = self._parts.setdefault(entry.path, bytearray(entry.size_bytes))
        part[offset : offset + len(data)] = data

    def finish_file(self, entry: Entry) -> None:
        self.files[str(entry.path)] = bytes(self._parts.pop(entry.path, b""))

    def finish(self, entries: Sequence[Entry]) -> None: ...

    def abandon(self) -> None:
        self._parts.clear()

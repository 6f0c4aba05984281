"""Where a monitor reads a log from: a folder here; elsewhere whatever speaks ``TileSource`` (``host.httptiles``)."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import Protocol, TypeVar

from anchor.tiles import BUNDLE_MAX_BYTES, ReadFile
from core.durable import read_file
from core.errors import LedgerError, MalformedError
from core.ports import Disk, Threads

T = TypeVar("T")

FILE_MAX_BYTES = BUNDLE_MAX_BYTES


class TileSource(Protocol):
    """The files of one log by their tlog-tiles paths, wherever they are. Nothing in them is believed."""

    @property
    def name(self) -> str:
        """For people: a folder, or a URL."""
        ...

    async def read(self, path: str, *, max_bytes: int) -> bytes | None:
        """A file's bytes, None when it is not there.

        Raises PeerUnavailableError (ask again later), MalformedError (longer than ``max_bytes``).
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections; reading again makes new ones."""
        ...


class FolderSource:
    """A log's folder on this machine."""

    def __init__(self, disk: Disk, threads: Threads, folder: str) -> None:
        self._disk = disk
        self._threads = threads
        self._folder = folder

    @property
    def name(self) -> str:
        return self._folder

    async def read(self, path: str, *, max_bytes: int) -> bytes | None:
        return await self._threads.disk(self._read, posixpath.join(self._folder, path), max_bytes)

    async def aclose(self) -> None:
        pass

    def _read(self, path: str, max_bytes: int) -> bytes | None:
        try:
            data = read_file(self._disk, path, max_bytes=max_bytes)
        except (IsADirectoryError, NotADirectoryError):
            return None
        except OSError as error:
            raise LedgerError(f"{path} cannot be read: {error.strerror}") from error
        if data is not None and len(data) > max_bytes:
            raise MalformedError(f"{path}: longer than {max_bytes} bytes")
        return data


class Reader:
    """Lets plain functions that ask for files (``ReadFile``) run over a source that must be waited for.

    A job is run, told that a file is not here yet, and run again once it is: jobs are pure and ask for few files.
    """

    def __init__(self, source: TileSource) -> None:
        self._source = source
        self._files: dict[str, bytes | None] = {}
        self._wanted: list[str] = []
        """What the job asked for that has not been read yet."""

    async def run(self, job: Callable[[ReadFile], T]) -> T:
        """What ``job`` returns or raises."""
        while True:
            try:
                return job(self._file)
            except LookupError:
                if not self._wanted:
                    # A bug of the job's own.
                    raise
            for path in self._wanted:
                self._files[path] = await self._source.read(path, max_bytes=FILE_MAX_BYTES)
            self._wanted.clear()

    def _file(self, path: str) -> bytes | None:
        if path not in self._files:
            self._wanted.append(path)
            raise LookupError(path)
        return self._files[path]

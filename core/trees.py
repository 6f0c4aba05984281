"""Trees of files outside moorage: where a put reads from and a get restores to. Implemented in
``host.tree`` and ``host.restore``.

All methods block and run inside ``Threads.disk`` jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from core.listing import Entry
from core.ports import Buffer


class SourceReader(Protocol):
    def read_into(self, offset: int, target: memoryview) -> None:
        """Fill ``target`` from ``offset``. Raises SourceChangedError when the file no longer is what was walked."""
        ...


class SourceTree(Protocol):
    def walk(self) -> Sequence[Entry]:
        """Every file, folder and link, by ascending path; digests and spans are still empty.

        Raises SourceError: a path is missing, unreadable, a device or pipe, or there is nothing to store.
        """
        ...

    def open(self, entry: Entry) -> AbstractContextManager[SourceReader]:
        """Raises SourceError, SourceChangedError."""
        ...


class TargetTree(Protocol):
    """A restore in progress: bytes go to a ``.part`` beside each file, which is renamed when it is complete."""

    def prepare(self, entries: Sequence[Entry]) -> None:
        """Check before the first byte that nothing is in the way and that there is room. Raises TargetError."""
        ...

    def make_folders(self, entries: Sequence[Entry]) -> None: ...

    def write_at(self, entry: Entry, offset: int, data: Buffer) -> None:
        """A file's bytes come from its first to its last. Raises TargetError (disk full, not permitted)."""
        ...

    def finish_file(self, entry: Entry) -> None:
        """All of the file is written: give it its times and mode, make it durable, then let it have its name.

        The last two may wait for other files, ``finish`` at the latest. Raises TargetError, also for an earlier file.
        """
        ...

    def finish(self, entries: Sequence[Entry]) -> None:
        """Name the files that still wait for it, make links, then give folders their times and modes, deepest first."""
        ...

    def abandon(self) -> None:
        """Remove every ``.part`` that has not got its name."""
        ...

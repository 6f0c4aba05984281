"""What a peer leaves of its shards in the system's page cache: those it stored or served last, up to a bound.

A peer that fills its disks, or reads them through for a sweep, would else push out of memory what everybody else on the
machine has there. And memory that was just let go is the cheapest to write into: new shards take the old ones' pages.
"""

from __future__ import annotations

from core.limits import KIB, MIB
from core.ports import Disk
from daemon.mutex import new_mutex

# Sixteen shards of full extents at 4+2: what a put has just stored is often read again, to verify or to mend it.
CACHED_MAX_BYTES = 256 * MIB
# For files that are announced no more than this is let go at once: they may never come.
ROOM_MAX_BYTES = CACHED_MAX_BYTES // 4
# Smaller files are not followed: there may be millions of them, each would cost a call.
CACHED_MIN_BYTES = 256 * KIB


class CachedShards:
    """Synced files whose pages may stay: the oldest are dropped. Safe in several threads at once."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._mutex = new_mutex()
        # Bytes by path, 1,024 of them at most. The oldest come first.
        self._held: dict[str, int] = {}
        self._held_bytes = 0

    def used(self, path: str, size_bytes: int) -> None:
        """A file was written, or is being read for somebody."""
        if size_bytes < CACHED_MIN_BYTES:
            return
        with self._mutex:
            self._held_bytes += size_bytes - self._held.pop(path, 0)
            self._held[path] = size_bytes
        self._drop_beyond(CACHED_MAX_BYTES)

    def scanned(self, path: str) -> None:
        """A file was read through to check it: nobody wants its bytes, unless it was held before."""
        with self._mutex:
            held = path in self._held
        if not held:
            self._disk.uncache(path)

    def removed(self, path: str) -> None:
        """There is no such file any more."""
        with self._mutex:
            self._held_bytes -= self._held.pop(path, 0)

    def make_room(self, size_bytes: int) -> None:
        """So much may be written soon."""
        self._drop_beyond(CACHED_MAX_BYTES - min(size_bytes, ROOM_MAX_BYTES))

    def _drop_beyond(self, max_bytes: int) -> None:
        doomed: list[str] = []
        with self._mutex:
            while self._held_bytes > max_bytes:
                path = next(iter(self._held))
                self._held_bytes -= self._held.pop(path)
                doomed.append(path)
        for path in doomed:
            self._disk.uncache(path)

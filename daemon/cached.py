"""What a peer leaves of its shards in the system's page cache: those it used last, a bounded part of the memory.

A peer that fills its disks, or reads them through for a sweep, would else push out of memory what everybody else on the
machine has there. And memory that was just let go is the cheapest to write into: new shards take the old ones' pages.
"""

from __future__ import annotations

from core.limits import MIB
from core.ports import Disk
from daemon.mutex import new_mutex

# Sixteen shards of full extents at 4+2: what a put has just stored is often read again, to verify or to mend it.
CACHED_MAX_BYTES = 256 * MIB
# Smaller files are let be: there may be millions of them, each would cost a call.
CACHED_MIN_BYTES = 256 * 1024


class CachedShards:
    """Files that lie on the disk, as they were used: the oldest are dropped. Safe in several threads at once."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._mutex = new_mutex()
        # Bytes by path. The oldest come first.
        self._held: dict[str, int] = {}
        self._held_bytes = 0

    def used(self, path: str, size_bytes: int) -> None:
        """A file's bytes have been read through, or written and synced."""
        if size_bytes < CACHED_MIN_BYTES:
            return
        with self._mutex:
            self._held_bytes += size_bytes - self._held.pop(path, 0)
            self._held[path] = size_bytes
        self.make_room(0)

    def make_room(self, size_bytes: int) -> None:
        """So much is about to be written."""
        doomed: list[str] = []
        with self._mutex:
            while self._held and self._held_bytes + size_bytes > CACHED_MAX_BYTES:
                path = next(iter(self._held))
                self._held_bytes -= self._held.pop(path)
                doomed.append(path)
        for path in doomed:
            self._disk.uncache(path)

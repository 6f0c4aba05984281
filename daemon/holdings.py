"""How many shards a peer holds, and their bytes: kept as they come and go, and compared with the folders now and then.

An operator may delete or add files under the store; the count would be wrong until the next start, and the quota with
it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

from core.ids import ShardRoot
from core.ports import Disk
from daemon.folders import Folders, is_fan_out, root_of_name
from daemon.space import Space


class Holdings:
    """``note`` with the store's mutex held; ``recount`` takes it itself, for one folder at a time."""

    def __init__(self, disk: Disk, folders: Folders, space: Space, mutex: AbstractContextManager[bool]) -> None:
        self._disk = disk
        self._folders = folders
        self._space = space
        self._mutex = mutex
        self.shards = 0
        self._bytes = 0
        self._counts = 0
        self._ahead: set[str] = set()
        """Fan-out folders that the count under way will still look into, by their digits. Only asked for membership."""
        self._behind = (0, 0)
        """Shards and bytes that came, less those that went, where it has looked already."""

    def note(self, root: ShardRoot, shards: int, size_bytes: int) -> None:
        """So many shards (1, 0 or -1) and bytes more are in the place of ``root``."""
        self.shards += shards
        self._bytes += size_bytes
        self._space.use(size_bytes)
        name = str(root)
        if name[:2] not in self._ahead and name[:4] not in self._ahead:
            self._behind = (self._behind[0] + shards, self._behind[1] + size_bytes)

    def recount(self) -> Iterator[None]:
        """Count what is there, a folder at a step, while shards come and go; then correct the figures.

        Of two counts at once the later one is believed. Folders that cannot be listed are passed over.
        Raises OSError when ``shards`` itself cannot be listed, or a shard's size not be had.
        """
        with self._mutex:
            self._counts += 1
            mine = self._counts
            outers = [name for name in self._disk.list_folder(self._folders.shards) if is_fan_out(name)]
            self._ahead, self._behind = set(outers), (0, 0)
        found_shards = found_bytes = 0
        for outer in outers:
            with self._mutex:
                inners = self._fan_out(f"{self._folders.shards}/{outer}")
                self._ahead |= {outer + inner for inner in inners}
                self._ahead.discard(outer)
            for inner in inners:
                with self._mutex:
                    shards, size_bytes = self._count(outer, inner)
                    self._ahead.discard(outer + inner)
                found_shards += shards
                found_bytes += size_bytes
                yield
        with self._mutex:
            if mine == self._counts:
                self._correct(found_shards + self._behind[0], found_bytes + self._behind[1])

    def _correct(self, shards: int, size_bytes: int) -> None:
        self._space.use(size_bytes - self._bytes)
        self.shards, self._bytes = shards, size_bytes

    def _fan_out(self, folder: str) -> list[str]:
        return [name for name in self._names(folder) if is_fan_out(name)]

    def _names(self, folder: str) -> list[str]:
        try:
            return self._disk.list_folder(folder)
        except OSError:
            # The sweep says so, and sets it aside.
            return []

    def _count(self, outer: str, inner: str) -> tuple[int, int]:
        folder = f"{self._folders.shards}/{outer}/{inner}"
        names = [name for name in self._names(folder) if name.startswith(outer + inner)]
        found = [self._disk.stat(f"{folder}/{name}") for name in names if root_of_name(name) is not None]
        sizes = [item.size_bytes for item in found if item is not None]
        return len(sizes), sum(sizes)

"""Shards' names on the disk: given by a rename, and known to be durable before anybody hears of them."""

from __future__ import annotations

from core.ids import ShardRoot
from core.ports import Disk
from daemon.folders import Folders


class Names:
    """Methods block and raise OSError. Safe in several threads at once, but for one root in one at a time."""

    def __init__(self, disk: Disk, folders: Folders) -> None:
        self._disk = disk
        self._folders = folders
        self._settled: set[str] = set()
        """Fan-out folders that are known to be on the disk, and the names in them, but for those of ``_moving``. Only
        asked for membership, as is that."""
        self._moving: set[ShardRoot] = set()
        """Shards that were renamed and whose folders are not synced yet, or could not be."""

    def prepare(self, root: ShardRoot) -> None:
        """Make the shard's folder, durably."""
        folder = self._folders.shard_folder(root)
        outer = folder.rpartition("/")[0]
        # When an operator emptied the disk under us, nothing that was settled still is.
        if any(path in self._settled and self._disk.stat(path) is None for path in (folder, outer)):
            self._settled.clear()
        self._make(folder)

    def _make(self, folder: str) -> None:
        """A fan-out folder, durably, also when it exists: who made it may not have lived to sync its name."""
        if folder in self._settled:
            return
        outer = folder.rpartition("/")[0]
        if self._disk.stat(folder) is None:
            self._disk.make_folders(folder)
        else:
            self._disk.sync_folder(outer)
        if outer not in self._settled:
            self._disk.sync_folder(self._folders.shards)
            self._settled.add(outer)

    def give(self, source: str, root: ShardRoot) -> None:
        """Rename a file of ``incoming``, after ``prepare``; ``settle`` makes it durable."""
        self._moving.add(root)
        self._disk.rename(source, self._folders.shard(root))

    def is_settled(self, root: ShardRoot) -> bool:
        """Whether the name, if it is there, is known to be durable.

        Its writer may not have synced the folder yet, may have failed to, or was killed before it did.
        """
        return self._folders.shard_folder(root) in self._settled and root not in self._moving

    def settle(self, root: ShardRoot) -> None:
        """Make the name of a file that was just given it, or was found under it, durable; after ``prepare``."""
        folder = self._folders.shard_folder(root)
        self._disk.sync_folder(folder)
        self._settled.add(folder)
        self._disk.sync_folder(self._folders.incoming)
        self._moving.discard(root)

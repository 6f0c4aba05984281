"""The shards of one peer, a file each, named by their Merkle roots (docs/format.md, "Shard file").

There is no index: the folders are the truth. Nothing is believed of a file but what hashes to its name. A reader who
meets damage gets an error and leaves a suspect behind; moving the file to quarantine is the sweep's decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from core.errors import BusyError, MoorageError, StoreReadOnlyError
from core.ids import ShardRoot
from core.ports import Clock, Disk
from daemon.census import Stray, walk_roots, walk_strays, why_stray
from daemon.documents import DocumentStore
from daemon.faults import write_fault
from daemon.folders import Folders, root_of_name
from daemon.holdings import Holdings
from daemon.mutex import new_mutex
from daemon.names import Names
from daemon.quarantine import Quarantine
from daemon.reader import ShardRead, ShardReader
from daemon.space import Space, WriteGuard
from daemon.uploads import Upload, UploadPlan
from erasure.shardfile import ShardReport, shard_file_bytes

# Each holds an open file; the usual limit of a process is 1,024 of them.
UPLOADS_MAX = 256
# A shard that is about to be removed waits in ``incoming`` under its name and this.
ASIDE_SUFFIX = ".removed"
# With prefix and number below the 255 bytes of a file name, at up to three bytes a character.
STRAY_NAME_MAX_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """``available_bytes`` may still be stored; ``capacity_bytes`` is that and what is used. ``read_only`` says why the
    disk counts as such, and is empty when it does not.
    """

    shards: int
    used_bytes: int
    promised_bytes: int
    available_bytes: int
    capacity_bytes: int
    uploads: int
    suspects: int
    read_only: str


class ShardStore:
    """All methods are jobs for ``Threads.disk``, safe in several threads at once; ``start`` comes first.

    ``documents`` are the objects' manifests and receipts, on the same disk and under the same quota.
    """

    def __init__(self, disk: Disk, home: str, *, quota_bytes: int | None, reserve_bytes: int, clock: Clock) -> None:
        self._disk = disk
        self._folders = Folders(home)
        self._space = Space(disk, home, quota_bytes=quota_bytes, reserve_bytes=reserve_bytes)
        self._guard = WriteGuard(disk, f"{self._folders.incoming}/probe", clock)
        self._quarantine = Quarantine(disk, self._folders)
        self._reader = ShardReader(disk, self._folders)
        self.documents = DocumentStore(
            disk, self._folders, space=self._space, guard=self._guard, quarantine=self._quarantine
        )
        self._mutex = new_mutex()
        self._holdings = Holdings(disk, self._folders, self._space, self._mutex)
        self._uploads = 0
        self._uploads_begun = 0
        self._names = Names(disk, self._folders)

    # --- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Make the folders, delete what a crash left half written, count what is held.

        One stat per shard: 10 TB take some seconds. A disk that can only be read is no obstacle once the folders exist.
        Raises StoreReadOnlyError, StoreFullError, CorruptError.
        """
        folders = self._folders
        try:
            for folder in (folders.shards, folders.incoming, folders.quarantine):
                self._disk.make_folders(folder)
            # They may have been made by a process that was killed before it synced their names.
            self._disk.sync_folder(folders.home)
            self.documents.start()
            self._clean()
            for _ in self._holdings.recount():
                pass
        except OSError as error:
            raise write_fault(error) from error
        # The pool shall hear at once that nothing can be stored here, not when the first peer has tried.
        with suppress(MoorageError):
            self._guard.probe()

    def _clean(self) -> None:
        # What stays because the disk refuses takes room, and the guard now knows; reading goes on.
        with suppress(MoorageError), self._guard.writing():
            for name in self._disk.list_folder(self._folders.incoming):
                path = f"{self._folders.incoming}/{name}"
                root = root_of_name(name.removesuffix(ASIDE_SUFFIX)) if name.endswith(ASIDE_SUFFIX) else None
                if root is None or self._disk.stat(self._folders.shard(root)) is not None:
                    self._disk.unlink(path)
                else:
                    # Whether it may go was not settled when the process ended.
                    self._put_back(path, root)
            self._disk.sync_folder(self._folders.incoming)
            self.documents.clean()

    def statistics(self) -> StoreStatistics:
        try:
            available_bytes = self._space.available_bytes()
        except StoreReadOnlyError:
            available_bytes = 0
        refusal = self._guard.refusal
        return StoreStatistics(
            shards=self._holdings.shards,
            used_bytes=self._space.used_bytes,
            promised_bytes=self._space.promised_bytes,
            available_bytes=0 if refusal else available_bytes,
            capacity_bytes=self._space.used_bytes + self._space.promised_bytes + available_bytes,
            uploads=self._uploads,
            suspects=len(self._reader.suspects()),
            read_only=refusal,
        )

    # --- writing ------------------------------------------------------------------------------

    def takes_writes(self) -> bool:
        """Whether the disk does, as far as known. One that refused is tried again, once in ``space.PROBE_AFTER_S``."""
        return self._guard.takes_writes()

    def begin(self, plan: UploadPlan) -> Upload:
        """Open an upload and set its room aside; end it with ``commit`` or ``abort``.

        Raises:
            StoreFullError: quota or reserve would be hurt.
            StoreReadOnlyError: the disk refuses writes.
            BusyError: too many uploads are open.
        """
        self._guard.check()
        with self._mutex:
            if self._uploads >= UPLOADS_MAX:
                raise BusyError(f"{UPLOADS_MAX} uploads are open: try again shortly")
            self._uploads += 1
            self._uploads_begun += 1
            path = f"{self._folders.incoming}/{self._uploads_begun}"
        reservation = None
        try:
            reservation = self._space.promise(shard_file_bytes(plan.chunks, plan.expected_bytes))
            self._reader.cached.make_room(self._space.promised_bytes)
            return Upload(
                self._disk,
                path,
                plan,
                space=self._space,
                reservation=reservation,
                guard=self._guard,
                place=self._place,
                on_close=self._upload_closed,
            )
        except BaseException:
            # Whatever ended it, nobody else will give back what was taken for it.
            self._upload_closed()
            if reservation is not None:
                self._space.end(reservation)
            raise

    def _upload_closed(self) -> None:
        with self._mutex:
            self._uploads -= 1

    def _place(self, source: str, root: ShardRoot, size_bytes: int) -> None:
        """Rename a synced file to its final name, durably. A shard of that name, good or bad, is replaced."""
        self._names.prepare(root)
        with self._mutex:
            before = self._disk.stat(self._folders.shard(root))
            self._names.give(source, root)
            self._holdings.note(root, before is None, size_bytes - (before.size_bytes if before else 0))
            self._reader.acquit(root)
        self._names.settle(root)
        self._reader.cached.used(self._folders.shard(root), size_bytes)

    # --- reading: see ``daemon.reader`` for what each raises ----------------------------------

    def have(self, roots: Sequence[ShardRoot]) -> list[bool]:
        """Which shards have a file here: presence, never health."""
        flags = self._reader.have(roots)
        for root, held in zip(roots, flags, strict=True):
            # Whoever hears that a shard is held may not send it again.
            if held and not self._names.is_settled(root):
                with self._guard.writing():
                    self._names.prepare(root)
                    self._names.settle(root)
        return flags

    def read(self, root: ShardRoot, first: int, count: int) -> ShardRead:
        """Up to ``count`` good shares from ``first`` on, with their Merkle paths."""
        return self._reader.read(root, first, count)

    def scan(self, root: ShardRoot) -> ShardReport:
        """Re-read every byte of a shard and compare it with its name."""
        return self._reader.scan(root)

    def suspects(self) -> dict[ShardRoot, str]:
        """Shards that readers met damage in and that have not been scanned, replaced or removed since; with why."""
        return self._reader.suspects()

    # --- what lies there ----------------------------------------------------------------------

    def roots(self, *, after: ShardRoot | None = None) -> Iterator[ShardRoot]:
        """The shards in their places, ascending, above ``after``. Listed as it goes: take a few in each job.

        Folders that cannot be listed are passed over; ``strays`` names them. Raises CorruptError when none can be,
        StoreReadOnlyError when the store is not there at all.
        """
        self._reader.check_mounted()
        return walk_roots(self._disk, self._folders, after=after)

    def strays(self) -> Iterator[Stray]:
        """What lies below ``shards`` and is no shard in its place. Listed as it goes. Raises as ``roots``."""
        self._reader.check_mounted()
        return walk_strays(self._disk, self._folders)

    def recount(self) -> Iterator[None]:
        """Correct the figures of what is held, a folder at each step: take a few in each job.

        Files may have come and gone behind the store's back. Raises StoreReadOnlyError, CorruptError, OSError.
        """
        self._reader.check_mounted()
        yield from self._holdings.recount()
        self.documents.recount()

    def quarantine(self, root: ShardRoot) -> bool:
        """Scan the shard once more and set it aside when it is still damaged; False when it is not, or is newer.

        The second look spares what was replaced meanwhile, and what only a passing read error condemned.

        Raises NoSuchShardError, CorruptError, BusyError, StoreReadOnlyError, StoreFullError.
        """
        path = self._folders.shard(root)
        before = self._reader.stat(root)
        report = self.scan(root)
        if report.whole or report.newer_version:
            return False
        with self._mutex, self._guard.writing():
            found = self._disk.stat(path)
            if found is None or found != before:
                return False
            self._quarantine.take(path, str(root))
            self._forget(root, found.size_bytes)
        return True

    def quarantine_stray(self, stray: Stray) -> bool:
        """Set a stray aside under its own name; False when it is gone, or none any more: a commit may have replaced it.

        Raises StoreReadOnlyError, StoreFullError.
        """
        assert stray.path.startswith(f"{self._folders.shards}/"), stray.path
        # A prefix keeps it apart from shards, a cut keeps the name within what file systems allow.
        name = f"stray.{stray.path.rpartition('/')[2][:STRAY_NAME_MAX_CHARACTERS]}"
        root = root_of_name(stray.path.rpartition("/")[2])
        with self._mutex, self._guard.writing():
            # Commits rename under the same mutex: what is seen here is what is moved.
            found = self._disk.stat(stray.path)
            if found is None or not why_stray(self._disk, self._folders, stray.path):
                return False
            self._quarantine.take(stray.path, name)
            if root is not None and stray.path == self._folders.shard(root):
                self._forget(root, found.size_bytes)
        return True

    def discard_quarantined(self, root: ShardRoot) -> int:
        """Delete what was set aside of a shard, once it is replaced; how many files. Raises StoreReadOnlyError."""
        with self._mutex, self._guard.writing():
            return self._quarantine.discard(str(root))

    def remove(self, root: ShardRoot, *, unless: Callable[[], bool] | None = None) -> bool:
        """Delete a shard, durably; False when it is not here or stays. Whether it may go is for the caller to know.

        ``unless`` is asked when nobody can be told any more that the shard is held; when it says so, or raises, it is
        put back. Raises StoreReadOnlyError, and what ``unless`` raises.
        """
        place = self._folders.shard(root)
        aside = f"{self._folders.incoming}/{root}{ASIDE_SUFFIX}"
        with self._mutex, self._guard.writing():
            found = self._disk.stat(place)
            if found is None:
                return False
            self._disk.rename(place, aside)
            stays = True
            try:
                stays = unless is not None and unless()
            finally:  # also when the question could not be answered
                if stays:
                    self._put_back(aside, root)
            if stays:
                return False
            self._forget(root, found.size_bytes)
            self._disk.unlink(aside)
            self._disk.sync_folder(self._folders.incoming)
            self._disk.sync_folder(self._folders.shard_folder(root))
        return True

    def _put_back(self, aside: str, root: ShardRoot) -> None:
        """Durably, and before anybody hears that it is held. A folder that cannot be synced keeps no shard away."""
        try:
            self._names.prepare(root)
        finally:
            self._names.give(aside, root)
        self._names.settle(root)

    def _forget(self, root: ShardRoot, size_bytes: int) -> None:
        self._holdings.note(root, -1, -size_bytes)
        self._reader.removed(root)

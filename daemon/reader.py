"""Reading shards: every share compared with its leaf before it leaves, every damage remembered as a suspicion."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from core.errors import CorruptError, MalformedError, NewerVersionError, StoreReadOnlyError
from core.ids import ShardRoot
from core.limits import FRAME_BODY_MAX_BYTES
from core.ports import Buffer, Disk, DiskFile, FileStat
from daemon.cached import CachedShards
from daemon.faults import read_fault
from daemon.folders import Folders
from daemon.mutex import new_mutex
from erasure.merkle import leaf_digest
from erasure.shardfile import ShardLayout, ShardReport, read_layout, scan_shard

# Suspects wait for the sweep; beyond so many the disk is sick and the sweep will see for itself.
SUSPECTS_MAX = 4096
# Flows of reads whose next one finds the shard's foot parsed; each is 60 KiB at most.
FLOWS_MAX = 32


@dataclass(frozen=True, slots=True)
class ShardRead:
    """Good shares laid end to end in ``body``, at least one. ``problem``: why there are no more, when damage is why."""

    lengths: tuple[int, ...]
    paths: tuple[bytes, ...]
    problem: str
    body: Buffer = field(repr=False)


class ShardReader:
    """All methods are jobs for ``Threads.disk``, safe in several threads at once."""

    def __init__(self, disk: Disk, folders: Folders) -> None:
        self._disk = disk
        self._folders = folders
        self.cached = CachedShards(disk)
        self._mutex = new_mutex()
        self._suspects: dict[ShardRoot, str] = {}
        # By what the next read of a flow asks for: the shard and its first chunk. The oldest come first.
        self._flows: dict[tuple[ShardRoot, int], ShardLayout] = {}

    def check_mounted(self) -> None:
        """Raises StoreReadOnlyError when the store itself is gone: an unmounted disk is not a thousand lost shards."""
        try:
            there = self._disk.stat(self._folders.incoming) is not None
        except OSError:
            there = False
        if not there:
            raise StoreReadOnlyError(f"{self._folders.home} has lost its folders: is the disk mounted?")

    def stat(self, root: ShardRoot) -> FileStat | None:
        """The shard's file, as the disk sees it. Raises CorruptError, BusyError."""
        try:
            return self._disk.stat(self._folders.shard(root))
        except OSError as error:
            raise read_fault(error, f"shard {root.short}") from error

    def have(self, roots: Sequence[ShardRoot]) -> list[bool]:
        """Which shards have a file here. Presence only. Raises CorruptError, StoreReadOnlyError for a sick disk."""
        found = [self.stat(root) for root in roots]
        if None in found:
            self.check_mounted()
        return [item is not None and not item.is_folder for item in found]

    @contextmanager
    def _reading(self, root: ShardRoot) -> Generator[DiskFile, None, None]:
        """The shard's file; damage seen inside makes it a suspect.

        Raises NoSuchShardError, CorruptError, NewerVersionError, BusyError, StoreReadOnlyError.
        """
        what = f"shard {root.short}"
        try:
            with self._disk.open(self._folders.shard(root), "read") as file:
                yield file
        except FileNotFoundError as error:
            self.check_mounted()
            raise read_fault(error, what) from error
        except OSError as error:
            fault = read_fault(error, what)
            if isinstance(fault, CorruptError):
                self._suspect(root, str(fault))
            raise fault from error
        except NewerVersionError:
            raise
        except (CorruptError, MalformedError) as error:
            self._suspect(root, str(error))
            raise CorruptError(str(error)) from error

    def _suspect(self, root: ShardRoot, problem: str) -> None:
        with self._mutex:
            if len(self._suspects) < SUSPECTS_MAX:
                self._suspects[root] = problem

    def acquit(self, root: ShardRoot) -> None:
        """It was found whole, replaced, or is gone."""
        with self._mutex:
            self._suspects.pop(root, None)

    def removed(self, root: ShardRoot) -> None:
        """It is gone."""
        self.acquit(root)
        self.cached.removed(self._folders.shard(root))

    def suspects(self) -> dict[ShardRoot, str]:
        """Shards that readers met damage in and that have not been scanned, replaced or removed since; with why."""
        with self._mutex:
            return dict(self._suspects)

    def read(self, root: ShardRoot, first: int, count: int) -> ShardRead:
        """Up to ``count`` shares from ``first`` on, each compared with its leaf, and their Merkle paths.

        Fewer come back at the shard's end, at the size of one frame's body, and before a damaged share.

        Raises:
            NoSuchShardError: it is not here.
            CorruptError: already the share ``first`` is damaged or unreadable, or else head or foot.
            MalformedError: the shard has no share ``first``.
            NewerVersionError, BusyError, StoreReadOnlyError
        """
        assert count >= 1, count
        with self._reading(root) as file:
            flowing = self._flowing(root, first)
            layout = flowing or read_layout(file.read_at, file.size(), root)[1]
            chunks = len(layout.lengths)
            found = _read_good(file, layout, root, first, count) if first < chunks else None
        if found is None:
            raise MalformedError(f"shard {root.short} has {chunks} shares, none is number {first}")
        if flowing is not None:
            # The second read of several in a row: samples take a few pages, this will take them all.
            self.cached.used(self._folders.shard(root), layout.offsets[-1])
        self._flow_on(root, first + len(found.lengths), layout)
        if found.problem:
            self._suspect(root, found.problem)
        return found

    def _flowing(self, root: ShardRoot, first: int) -> ShardLayout | None:
        """The shard's layout when a read that ended before ``first`` has checked it: parsing takes half of a read.

        Any other read looks at head and foot anew, so that samples of a shard meet damage there.
        """
        with self._mutex:
            return self._flows.pop((root, first), None)

    def _flow_on(self, root: ShardRoot, end: int, layout: ShardLayout) -> None:
        if end == len(layout.lengths):
            return
        with self._mutex:
            self._flows[root, end] = layout
            if len(self._flows) > FLOWS_MAX:
                del self._flows[next(iter(self._flows))]

    def scan(self, root: ShardRoot) -> ShardReport:
        """Re-read every byte and compare it with the name. Damage and unreadable places are reported, not raised.

        Raises NoSuchShardError, BusyError, StoreReadOnlyError.
        """
        try:
            with self._reading(root) as file:
                report = scan_shard(file.read_at, file.size(), root)
        except CorruptError as error:
            return ShardReport(None, (), (), str(error))
        self.cached.scanned(self._folders.shard(root))
        if report.whole:
            self.acquit(root)
        return report


def _read_good(file: DiskFile, layout: ShardLayout, root: ShardRoot, first: int, count: int) -> ShardRead:
    """The good shares from ``first`` on, up to the first bad one.

    Raises CorruptError when already ``first`` is bad, OSError when it cannot be read.
    """
    end = first + 1
    last = min(first + count, len(layout.lengths))
    while end < last and layout.run(first, end + 1 - first)[1] <= FRAME_BODY_MAX_BYTES:
        end += 1
    offset, length = layout.run(first, end - first)
    problem = ""
    try:
        data = file.read_at(offset, length)
    except OSError as error:
        # One bad sector must not hide the shares before it.
        end = first + 1
        data = file.read_at(offset, layout.lengths[first])
        problem = f"shard {root.short}: cannot be read beyond chunk {first}: {error}"
    view = memoryview(data)
    good = first
    while good < end and leaf_digest(_share(view, layout, good, offset)) == layout.leaves[good]:
        good += 1
    if good < end:
        problem = f"shard {root.short}: share of chunk {good} is damaged"
    if good == first:
        raise CorruptError(problem)
    size_bytes = layout.run(first, good - first)[1]
    paths = tuple(layout.tree.path(chunk) for chunk in range(first, good))
    return ShardRead(layout.lengths[first:good], paths, problem, view[:size_bytes])


def _share(view: memoryview, layout: ShardLayout, chunk: int, offset: int) -> memoryview:
    return view[layout.offsets[chunk] - offset : layout.offsets[chunk + 1] - offset]

"""A shard on its way in: written through as it arrives, hashed in the same pass, durable before it is acknowledged.

No share is kept in memory. The order of a commit is: foot, head, sync of the file, rename, sync of the folder it now
lies in, sync of the folder it came from. A crash at any point leaves the whole shard under its name, or nothing
there and a file in ``incoming`` that the next start deletes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from core.errors import CorruptError, MalformedError
from core.ids import ShardRoot
from core.ports import Buffer, Disk
from daemon.space import Reservation, Space, WriteGuard
from erasure.scheme import Scheme
from erasure.shardfile import HEAD_BYTES, ShardHasher, ShardHead, pack_head


@dataclass(frozen=True, slots=True)
class UploadPlan:
    """What a peer announced: share ``index`` of ``chunks`` chunks, ``expected_bytes`` of shares at most."""

    scheme: Scheme
    index: int
    chunks: int
    expected_bytes: int


class Upload:
    """One shard being received. Methods are jobs for ``Threads.disk``, one at a time.

    After an error nothing is left of it: it is ``closed``, its file gone, its room given back.
    """

    def __init__(
        self,
        disk: Disk,
        path: str,
        plan: UploadPlan,
        *,
        space: Space,
        reservation: Reservation,
        guard: WriteGuard,
        place: Callable[[str, ShardRoot, int], None],
        on_close: Callable[[], None],
    ) -> None:
        """Make the file. ``place(path, root, size_bytes)`` moves it durably under its name.

        Raises what ``WriteGuard.writing`` raises; then nothing was made and the caller keeps the reservation.
        """
        self._disk = disk
        self._path = path
        self._plan = plan
        self._space = space
        self._reservation = reservation
        self._guard = guard
        self._place = place
        self._on_close = on_close
        self._hasher = ShardHasher(plan.scheme, plan.index)
        self._end = HEAD_BYTES
        self._closed = False
        self._placed = False
        with ExitStack() as stack:
            with guard.writing():
                self._file = stack.enter_context(disk.open(path, "create"))
            self._stack = stack.pop_all()

    @property
    def closed(self) -> bool:
        """Committed, aborted or failed: no further call but ``abort`` makes sense."""
        return self._closed

    def write(self, lengths: Sequence[int], data: Buffer) -> None:
        """Append shares, laid end to end in ``data``. Written but not durable when it returns.

        Raises:
            MalformedError: more shares or bytes than were announced, or a share of impossible length.
            StoreFullError, StoreReadOnlyError, BusyError: the disk's refusal.
        """
        assert not self._closed
        assert sum(lengths) == len(data), (lengths, len(data))
        written = False
        try:
            self._check_fits(lengths, len(data))
            view = memoryview(data)
            at = 0
            for length in lengths:
                self._hasher.add(view[at : at + length])
                at += length
            with self._guard.writing():
                self._file.write_at(self._end, data)
            self._end += len(data)
            self._space.wrote(self._reservation, len(data))
            written = True
        finally:
            if not written:
                self.abort()

    def _check_fits(self, lengths: Sequence[int], size_bytes: int) -> None:
        if self._hasher.chunks + len(lengths) > self._plan.chunks:
            raise MalformedError(f"upload: more shares than the {self._plan.chunks} announced")
        if self._end - HEAD_BYTES + size_bytes > self._plan.expected_bytes:
            raise MalformedError(f"upload: more bytes than the {self._plan.expected_bytes} announced")

    def commit(self, root: ShardRoot) -> int:
        """Make the shard durable under its name; the file's size in bytes. The upload is closed either way.

        Raises:
            MalformedError: shares are missing.
            CorruptError: what arrived is not what ``root`` names.
            StoreFullError, StoreReadOnlyError, BusyError: the disk's refusal; it must be sent again from the start.
        """
        assert not self._closed
        try:
            if self._hasher.chunks != self._plan.chunks:
                raise MalformedError(f"upload: {self._hasher.chunks} of {self._plan.chunks} shares have arrived")
            arrived = self._hasher.root()
            if arrived != root:
                raise CorruptError(f"shard {root.short} arrived damaged: what arrived is {arrived.short}")
            with self._guard.writing():
                return self._finish(root)
        finally:
            self.abort()

    def _finish(self, root: ShardRoot) -> int:
        foot = self._hasher.foot()
        plan = self._plan
        self._file.write_at(self._end, foot)
        # Last, so that a file without a good head was never finished.
        self._file.write_at(0, pack_head(ShardHead(plan.scheme, plan.index, plan.chunks, root)))
        self._file.sync()
        self._stack.close()
        size_bytes = self._end + len(foot)
        self._place(self._path, root, size_bytes)
        self._placed = True
        return size_bytes

    def abort(self) -> None:
        """Forget it. Does nothing when the upload is closed."""
        if self._closed:
            return
        self._closed = True
        with suppress(OSError):
            self._stack.close()
        if not self._placed:
            # Already renamed, or on a disk that takes no deletion either: the next start cleans up.
            with suppress(OSError):
                self._disk.unlink(self._path)
        self._space.end(self._reservation)
        self._on_close()

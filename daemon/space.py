"""Room on the disk: what is used, what is promised to uploads, what may still be promised, and whether it takes writes.

Used bytes are those of shards and documents. What lies in quarantine is not charged to the quota, so that a shard's
replacement always finds the room of the one that it replaces; the reserve of free space still holds.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from core.errors import MoorageError, StoreFullError, StoreReadOnlyError
from core.ports import Clock, Disk
from daemon.faults import write_fault
from daemon.mutex import new_mutex

# A disk that refused a write is tried again by one small file, not by a peer's shard, and at most once a minute.
PROBE_AFTER_S = 60.0
PROBE_BYTES = 512


@dataclass(slots=True)
class Reservation:
    """Room promised for one file. ``unwritten_bytes`` of it are not yet missing from the disk's free space."""

    size_bytes: int
    unwritten_bytes: int


class Space:
    """Promises of room against quota and reserve. Safe to use in several threads at once."""

    def __init__(self, disk: Disk, folder: str, *, quota_bytes: int | None, reserve_bytes: int) -> None:
        self._disk = disk
        self._folder = folder
        self._quota_bytes = quota_bytes
        self._reserve_bytes = reserve_bytes
        self._mutex = new_mutex()
        self._used_bytes = 0
        self._promised_bytes = 0
        self._unwritten_bytes = 0

    @property
    def used_bytes(self) -> int:
        return self._used_bytes

    @property
    def promised_bytes(self) -> int:
        return self._promised_bytes

    def _room(self) -> tuple[int, int | None]:
        """Bytes that may still be promised, by the reserve and by the quota."""
        by_reserve = self._disk.free_bytes(self._folder) - self._unwritten_bytes - self._reserve_bytes
        if self._quota_bytes is None:
            return by_reserve, None
        return by_reserve, self._quota_bytes - self._used_bytes - self._promised_bytes

    def available_bytes(self) -> int:
        """What may still be promised. Raises StoreReadOnlyError when the disk does not say."""
        try:
            by_reserve, by_quota = self._room()
        except OSError as error:
            raise StoreReadOnlyError(f"the disk does not tell its free space: {error}") from error
        return max(0, by_reserve if by_quota is None else min(by_reserve, by_quota))

    def promise(self, size_bytes: int) -> Reservation:
        """Set room aside.

        Raises:
            StoreFullError: quota or reserve would be hurt.
            StoreReadOnlyError: the disk does not say how much is free.
        """
        with self._mutex:
            try:
                by_reserve, by_quota = self._room()
            except OSError as error:
                raise StoreReadOnlyError(f"the disk does not tell its free space: {error}") from error
            if by_quota is not None and size_bytes > by_quota:
                raise StoreFullError(f"the quota of {self._quota_bytes} bytes has no room for {size_bytes} more")
            if size_bytes > by_reserve:
                raise StoreFullError(
                    f"{size_bytes} bytes more would leave less than the reserve of {self._reserve_bytes} bytes free"
                )
            self._promised_bytes += size_bytes
            self._unwritten_bytes += size_bytes
            return Reservation(size_bytes, size_bytes)

    def wrote(self, reservation: Reservation, size_bytes: int) -> None:
        """So much of the promise has become a file's bytes."""
        with self._mutex:
            taken = min(size_bytes, reservation.unwritten_bytes)
            reservation.unwritten_bytes -= taken
            self._unwritten_bytes -= taken

    def end(self, reservation: Reservation) -> None:
        """The promise is fulfilled or void. Ending it twice changes nothing."""
        with self._mutex:
            self._promised_bytes -= reservation.size_bytes
            self._unwritten_bytes -= reservation.unwritten_bytes
            reservation.size_bytes = reservation.unwritten_bytes = 0

    def use(self, size_bytes: int) -> None:
        """Files have grown by so much (shrunk, when negative)."""
        with self._mutex:
            self._used_bytes += size_bytes


class WriteGuard:
    """Knows whether the disk takes writes, and turns its refusals into errors. Safe in several threads at once."""

    def __init__(self, disk: Disk, probe_path: str, clock: Clock) -> None:
        self._disk = disk
        self._probe_path = probe_path
        self._clock = clock
        self._mutex = new_mutex()
        self._refusal = ""
        self._refused_at_s = 0.0

    @property
    def refusal(self) -> str:
        """Why the disk counts as read-only; empty when it does not."""
        return self._refusal

    @contextmanager
    def writing(self) -> Generator[None, None, None]:
        """Write inside. An OSError becomes StoreFullError, BusyError or StoreReadOnlyError; the last is remembered."""
        try:
            yield
        except OSError as error:
            fault = write_fault(error)
            if isinstance(fault, StoreReadOnlyError):
                self._refusal, self._refused_at_s = str(fault), self._clock.now()
            raise fault from error

    def check(self) -> None:
        """Raises StoreReadOnlyError while the disk is known to refuse writes; tries it again now and then."""
        if not self._refusal:
            return
        with self._mutex:
            # The wall clock may be set back: then the distance counts.
            if abs(self._clock.now() - self._refused_at_s) < PROBE_AFTER_S:
                raise StoreReadOnlyError(self._refusal)
            self._try()

    def takes_writes(self) -> bool:
        """Whether ``check`` finds that it does."""
        try:
            self.check()
        except MoorageError:
            return False
        return True

    def probe(self) -> None:
        """Find out now, by one small file. Raises StoreReadOnlyError, StoreFullError, BusyError."""
        with self._mutex:
            self._try()

    def _try(self) -> None:
        self._refused_at_s = self._clock.now()
        with self.writing():
            self._probe()
        self._refusal = ""

    def _probe(self) -> None:
        with suppress(FileNotFoundError):
            self._disk.unlink(self._probe_path)
        try:
            with self._disk.open(self._probe_path, "create") as file:
                file.write_at(0, bytes(PROBE_BYTES))
                file.sync()
        except OSError:
            # On a full disk it would stay until the next start: nobody probes that again.
            with suppress(OSError):
                self._disk.unlink(self._probe_path)
            raise
        self._disk.unlink(self._probe_path)

"""Manifests and receipts: one small file per object each, written whole and durable or not at all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from anchor.manifest import object_id
from core.durable import PART_SUFFIX, read_file, remove_parts, write_file
from core.errors import CorruptError, MalformedError, MalformedIdError
from core.ids import ObjectId
from core.limits import MANIFEST_MAX_BYTES, RECEIPT_MAX_BYTES
from core.ports import Buffer, Disk
from daemon.faults import read_fault
from daemon.folders import Folders
from daemon.mutex import new_mutex
from daemon.quarantine import Quarantine
from daemon.space import Space, WriteGuard

DocumentKind = Literal["manifest", "receipt"]
KINDS: tuple[DocumentKind, ...] = ("manifest", "receipt")


def _max_bytes(kind: DocumentKind) -> int:
    return MANIFEST_MAX_BYTES if kind == "manifest" else RECEIPT_MAX_BYTES


def _nobody(name: ObjectId) -> None:
    del name


class DocumentStore:
    """All methods are jobs for ``Threads.disk``, safe in several threads at once."""

    def __init__(
        self, disk: Disk, folders: Folders, *, space: Space, guard: WriteGuard, quarantine: Quarantine
    ) -> None:
        self._disk = disk
        self._folders = folders
        self._space = space
        self._guard = guard
        self._quarantine = quarantine
        self._mutex = new_mutex()
        self._writes = 0
        self._bytes = 0
        self._watch: Callable[[ObjectId], None] = _nobody

    def _folder(self, kind: DocumentKind) -> str:
        return self._folders.manifests if kind == "manifest" else self._folders.receipts

    def _path(self, kind: DocumentKind, name: ObjectId) -> str:
        return f"{self._folder(kind)}/{name}"

    def _size(self, kind: DocumentKind, name: ObjectId) -> int:
        """0 when there is none: an empty document is none, too."""
        found = self._disk.stat(self._path(kind, name))
        return found.size_bytes if found else 0

    def start(self) -> None:
        """Make the folders, count what is in them. Raises OSError, CorruptError."""
        for kind in KINDS:
            self._disk.make_folders(self._folder(kind))
        self.recount()

    def recount(self) -> None:
        """Correct the figures: files may have come and gone behind our back. Raises OSError, CorruptError."""
        with self._mutex:
            counted = sum(self._size(kind, name) for kind in KINDS for name in self.names(kind))
            self._use(counted - self._bytes)

    def _use(self, size_bytes: int) -> None:
        self._bytes += size_bytes
        self._space.use(size_bytes)

    def watch(self, came: Callable[[ObjectId], None]) -> None:
        """Have ``came`` called with each manifest that is put, before anybody is told that it is held."""
        self._watch = came

    def clean(self) -> None:
        """Delete what a crash left half written, before the first ``put``. Raises OSError.

        What is here may have been named by a process that was killed before it synced the folder.
        """
        for kind in KINDS:
            remove_parts(self._disk, self._folder(kind))
            self._disk.sync_folder(self._folder(kind))

    def put(self, kind: DocumentKind, name: ObjectId, data: Buffer) -> None:
        """Keep an object's document in place of an earlier one. Durable when it returns.

        Whether a receipt proves anything is for the caller to check; a manifest's bytes are compared with its name.

        Raises:
            MalformedError: it is empty or too long.
            CorruptError: a manifest whose bytes are not the object's.
            StoreFullError, StoreReadOnlyError, BusyError: the disk's refusal.
        """
        if not 0 < len(data) <= _max_bytes(kind):
            raise MalformedError(f"{kind} of {len(data)} bytes: 1 to {_max_bytes(kind)} are allowed")
        if kind == "manifest" and object_id(bytes(data)) != name:
            raise CorruptError(f"manifest {name.short}: its bytes do not match its name")
        self._guard.check()
        reservation = self._space.promise(len(data))
        try:
            with self._mutex, self._guard.writing():
                self._writes += 1
                before = self._size(kind, name)
                write_file(self._disk, self._path(kind, name), data, token=str(self._writes))
                self._use(len(data) - before)
        finally:
            self._space.end(reservation)
            if kind == "manifest":
                # Also when it failed: it may have its name all the same.
                self._watch(name)

    def get(self, kind: DocumentKind, name: ObjectId) -> bytes:
        """The document's bytes; a manifest's have been compared with its name.

        Raises:
            NoSuchShardError: none is held.
            CorruptError: a manifest that is not the object's, or a file that cannot be read.
        """
        what = f"{kind} {name.short}"
        try:
            data = read_file(self._disk, self._path(kind, name), max_bytes=_max_bytes(kind))
            if data is None:
                raise FileNotFoundError
        except OSError as error:
            raise read_fault(error, what) from error
        if not data or len(data) > _max_bytes(kind):
            raise CorruptError(f"{what}: {len(data)} bytes are impossible")
        if kind == "manifest" and object_id(data) != name:
            raise CorruptError(f"{what}: its bytes do not match its name")
        return data

    def has(self, kind: DocumentKind, name: ObjectId) -> bool:
        """Whether there is such a file: presence, never health. Raises CorruptError when the disk does not say."""
        try:
            return self._disk.stat(self._path(kind, name)) is not None
        except OSError as error:
            raise read_fault(error, f"{kind} {name.short}") from error

    def stored_s(self, kind: DocumentKind, name: ObjectId) -> float:
        """When it was last stored, by the file's own time (seconds since 1970), which may lie; 0.0: not known."""
        try:
            found = self._disk.stat(self._path(kind, name))
        except OSError:
            return 0.0
        return found.modified_ns / 1e9 if found is not None else 0.0

    def names(self, kind: DocumentKind) -> tuple[ObjectId, ...]:
        """Ids of the objects whose document is held, ascending. Foreign files are passed over. Raises CorruptError."""
        try:
            files = self._disk.list_folder(self._folder(kind))
        except OSError as error:
            raise read_fault(error, f"the list of {kind}s") from error
        found: list[ObjectId] = []
        # Names are hexadecimal, so their order is that of the ids.
        for file in files:
            if file.endswith(PART_SUFFIX):
                continue
            with suppress(MalformedIdError):
                found.append(ObjectId.parse(file))
        return tuple(found)

    def quarantine(self, kind: DocumentKind, name: ObjectId) -> bool:
        """Set a damaged document aside; False when none is there. Raises StoreReadOnlyError."""
        with self._mutex, self._guard.writing():
            size_bytes = self._size(kind, name)
            if not size_bytes:
                return False
            self._quarantine.take(self._path(kind, name), f"{kind}.{name}")
            self._use(-size_bytes)
            return True

    def discard_quarantined(self, kind: DocumentKind, name: ObjectId) -> int:
        """Delete what was set aside of it, once it is replaced; how many files. Raises StoreReadOnlyError."""
        with self._mutex, self._guard.writing():
            return self._quarantine.discard(f"{kind}.{name}")

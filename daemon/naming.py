"""Which manifests here name a shard, without reading all of them for each question.

A manifest is named by the hash of its bytes, so what has been read of one stays true; what may change is which are
here. The store tells of those that come. One that went is still mentioned, and keeps what it named, until all are read
anew, at each tidying: it may come back. Nothing of this is kept on the disk.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Container, Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from itertools import islice

from anchor.manifest import Manifest, parse_manifest
from core.errors import MoorageError, NoSuchShardError
from core.ids import DIGEST_BYTES, ObjectId, ShardRoot
from core.ports import Threads
from daemon.documents import DocumentStore
from daemon.mutex import new_mutex

# Manifests read in one disk job.
SLICE = 256
PREFIX_BYTES = 8
# Of the first digits, three: with ten million names a bucket has 2,500, and to move half of these is a microsecond.
BUCKET_BITS = 12


class PrefixMap:
    """Numbers (below 2**32) by digests, of which the first 8 bytes are kept: 12 bytes of memory each, log n steps.

    Digests that begin alike are not told apart: there may be more numbers than were added for one, never fewer.
    """

    def __init__(self) -> None:
        self._buckets: dict[int, tuple[array[int], array[int]]] = {}

    def add(self, digest: bytes, number: int) -> None:
        prefix = int.from_bytes(digest[:PREFIX_BYTES], "big")
        bucket = prefix >> 8 * PREFIX_BYTES - BUCKET_BITS
        prefixes, numbers = self._buckets.setdefault(bucket, (array("Q"), array("I")))
        at = bisect_left(prefixes, prefix)
        prefixes.insert(at, prefix)
        numbers.insert(at, number)

    def find(self, digest: bytes) -> list[int]:
        prefix = int.from_bytes(digest[:PREFIX_BYTES], "big")
        found: list[int] = []
        if (bucket := self._buckets.get(prefix >> 8 * PREFIX_BYTES - BUCKET_BITS)) is not None:
            prefixes, numbers = bucket
            at = bisect_left(prefixes, prefix)
            while at < len(prefixes) and prefixes[at] == prefix:
                insort(found, numbers[at])
                at += 1
        return found


class NamedRoots:
    """The roots that some manifests name, and which of these name them: 44 bytes for each manifest, 12 for each root.

    That two roots begin alike may keep one piece of trash; nothing is ever removed by it.
    """

    def __init__(self) -> None:
        self._objects = bytearray()
        self._numbers = PrefixMap()
        self._roots = PrefixMap()

    def add(self, name: ObjectId, manifest: Manifest) -> None:
        """Once, however often."""
        if self.has(name):
            return
        number = len(self)
        self._objects += name.raw
        self._numbers.add(name.raw, number)
        for root in {root: None for _, _, root, _ in manifest.shards()}:
            self._roots.add(root.raw, number)

    def has(self, name: ObjectId) -> bool:
        return name in (self._object(number) for number in self._numbers.find(name.raw))

    def _object(self, number: int) -> ObjectId:
        return ObjectId(bytes(self._objects[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]))

    def objects(self, root: ShardRoot) -> list[ObjectId]:
        """Whose manifests may name it. Those that do are all there."""
        return [self._object(number) for number in self._roots.find(root.raw)]

    def __contains__(self, root: ShardRoot) -> bool:
        return bool(self._roots.find(root.raw))

    def __len__(self) -> int:
        """How many manifests."""
        return len(self._objects) // DIGEST_BYTES


class Naming:
    """What the manifests of a store name. Methods but ``complete`` are jobs for ``Threads.disk``, safe in several
    threads at once; ``complete`` or ``renewal`` come first."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents
        self._mutex = new_mutex()
        self._named: NamedRoots | None = None
        self._unread: dict[ObjectId, None] = {}
        """Manifests that came since, or could not be read."""
        self._renewals: dict[int, dict[ObjectId, None]] = {}
        """For each reading of all that goes on, by a number: what came since it began."""
        self._begun = 0
        documents.watch(self._came)

    def _came(self, name: ObjectId) -> None:
        with self._mutex:
            for unread in (self._unread, *tuple(self._renewals.values())):
                unread[name] = None

    def renewal(self) -> Generator[None]:
        """Read all manifests anew, one at each step: take a few in each job. Until the end, answers come from what was
        read before.

        Raises CorruptError when they cannot be listed, NoSuchShardError when one is gone as soon as it was listed:
        perhaps the disk is.
        """
        named = NamedRoots()
        unread: dict[ObjectId, None] = {}
        with self._mutex:
            self._begun += 1
            number = self._begun
            self._renewals[number] = unread
        try:
            for name in self._documents.names("manifest"):
                try:
                    named.add(name, manifest_here(self._documents, name))
                except NoSuchShardError:
                    raise
                except MoorageError:
                    with self._mutex:
                        unread[name] = None
                yield
            with self._mutex:
                self._named, self._unread = named, unread
        finally:
            # Without the mutex: it may be given up by whoever holds it.
            self._renewals.pop(number, None)

    @property
    def manifests(self) -> int:
        """How many were read."""
        return len(self._named) if self._named is not None else 0

    async def complete(self, threads: Threads) -> None:
        """Read all manifests, if nobody has, and those that came since. Raises as ``renewal``."""
        if self._named is None:
            with closing(self.renewal()) as steps:
                while await threads.disk(some, steps):
                    pass
        while await threads.disk(self.catch_up):
            pass

    def catch_up(self) -> bool:
        """Read some of the manifests that came, so that a question need not; whether there is more to do.

        The mutex is not held meanwhile: whoever puts a manifest waits for it.
        """
        with self._mutex:
            names = [*islice(self._unread, SLICE)] if self._named is not None else []
        read = 0
        for name in names:
            # What cannot be read, or is not there, is left to the next question.
            with suppress(MoorageError):
                manifest = manifest_here(self._documents, name)
                with self._mutex:
                    if self._named is not None:
                        self._named.add(name, manifest)
                    self._unread.pop(name, None)
                read += 1
        return read == SLICE

    def _take_in(self) -> tuple[NamedRoots, MoorageError | None]:
        """All that was read, and why something could not be."""
        assert self._named is not None
        problem: MoorageError | None = None
        for name in list(self._unread):
            try:
                if not self._named.has(name):
                    # It may be gone again.
                    with suppress(NoSuchShardError):
                        self._named.add(name, manifest_here(self._documents, name))
            except MoorageError as error:
                problem = error
            else:
                del self._unread[name]
        return self._named, problem

    def _all_read(self) -> NamedRoots:
        named, problem = self._take_in()
        if problem is not None:
            raise problem
        return named

    def unnamed(self, roots: Sequence[ShardRoot]) -> list[ShardRoot]:
        """Those of ``roots`` that no manifest names. Raises MoorageError when one cannot be read: it may name any."""
        with self._mutex:
            named = self._all_read()
            return [root for root in roots if root not in named]

    def objects(self, root: ShardRoot) -> list[ObjectId]:
        """Objects whose manifests may name the shard, all that do among them. Raises as ``unnamed``."""
        with self._mutex:
            return self._all_read().objects(root)

    def objects_of_each(self, roots: Sequence[ShardRoot]) -> dict[ShardRoot, list[ObjectId]]:
        """``objects`` for each of ``roots``. Raises as ``unnamed``."""
        with self._mutex:
            named = self._all_read()
            return {root: named.objects(root) for root in roots}

    def mentioned(self, roots: Iterable[ShardRoot]) -> list[ObjectId]:
        """Objects whose manifests may name any of ``roots``, of those that can be read, ascending."""
        with self._mutex:
            named = self._take_in()[0]
            return sorted({name for root in roots for name in named.objects(root)})

    def names_any(self, name: ObjectId, roots: Container[ShardRoot]) -> bool:
        """Whether the object's manifest can be read and names any of ``roots``."""
        try:
            return any(root in roots for _, _, root, _ in manifest_here(self._documents, name).shards())
        except MoorageError:
            return False


def manifest_here(documents: DocumentStore, name: ObjectId) -> Manifest:
    """Raises as ``DocumentStore.get``."""
    return parse_manifest(documents.get("manifest", name), expected=name)


def some(steps: Iterator[None]) -> bool:
    """Take a job's worth of steps; whether there are more."""
    return len(list(islice(steps, SLICE))) == SLICE

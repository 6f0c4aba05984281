"""The stages of a put and a get, each as a job that handles one extent the way the shipped code does."""

from __future__ import annotations

from itertools import accumulate, pairwise
from pathlib import Path

from blake3 import blake3

from client.coding import CodedBatch, chunks_per_batch, code_batch
from client.plan import plan_plain
from client.source import ExtentReader
from core.buffers import unfilled_aligned
from core.compression import ChunkCompressor, Codec
from core.errors import MoorageError
from core.ids import ShardRoot
from core.limits import CHUNK_BYTES, EXTENT_BYTES, EXTENT_CHUNKS, SEALED_CHUNK_MAX_BYTES, TAG_BYTES
from core.listing import Entry, Kind, RelativePath
from core.sealing import KEY_BYTES, ChunkSealer
from daemon.reader import ShardRead
from daemon.store import ShardStore
from daemon.uploads import UploadPlan
from erasure.codec import check_into, join_into, share_bytes, split_into
from erasure.merkle import ShareChecker, leaf_digest, root_of_leaves
from erasure.scheme import Scheme
from erasure.shardfile import ShardHasher
from host.clock import RealClock
from host.disk import RealDisk
from host.restore import RestoreTree
from host.tree import FileTree

# One extent: what a put reads, codes and sends as one.
SAMPLE_BYTES = EXTENT_BYTES
SAMPLE_KEY = bytes(KEY_BYTES)


def _batches(scheme: Scheme) -> list[tuple[int, int]]:
    """(first chunk, count) of every batch of the sample."""
    step = chunks_per_batch(scheme)
    return [(first, min(step, EXTENT_CHUNKS - first)) for first in range(0, EXTENT_CHUNKS, step)]


class PutJobs:
    """The client's stages on ``source``, a file of SAMPLE_BYTES, and what its holders do with the shares."""

    def __init__(self, source: Path, folder: Path, scheme: Scheme) -> None:
        self._tree = FileTree([str(source)])
        self._plan = plan_plain(self._tree.walk())
        self._folder = folder
        self.scheme = scheme
        self.plain = memoryview(bytearray(SAMPLE_BYTES))
        self.read_and_digest()
        self._place = memoryview(bytearray(SEALED_CHUNK_MAX_BYTES))
        self.batches: list[CodedBatch] = [
            code_batch(self.plain, first, count, SAMPLE_KEY, scheme) for first, count in _batches(scheme)
        ]
        if any(codec != Codec.STORED for batch in self.batches for codec in batch.codecs):
            raise SystemExit("the sample can be compressed: the stages would be of fewer bytes than they say")

    def _chunk(self, number: int) -> memoryview:
        return self.plain[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES]

    def read_and_digest(self) -> None:
        ExtentReader(self._tree, self._plan).read(self._plan.extents[0], self.plain)

    def compress(self) -> None:
        compressor = ChunkCompressor()
        for number in range(EXTENT_CHUNKS):
            compressor.compress(self._chunk(number))

    def seal(self) -> None:
        sealer = ChunkSealer(SAMPLE_KEY)
        for number in range(EXTENT_CHUNKS):
            sealer.seal_into(number, Codec.STORED, self._chunk(number), self._place)

    def split(self) -> None:
        """The sealed chunk to its shares, in memory that is new for each batch."""
        size = share_bytes(SEALED_CHUNK_MAX_BYTES, self.scheme.needed)
        for _, count in _batches(self.scheme):
            rooms = [memoryview(bytearray(count * size)) for _ in range(self.scheme.total)]
            for at in range(0, count * size, size):
                split_into(self._place, self.scheme, [room[at : at + size] for room in rooms[: self.scheme.needed]])

    def checks(self) -> None:
        needed = self.scheme.needed
        for batch in self.batches:
            check_into(batch.bodies[:needed], self.scheme, batch.bodies[needed:])

    def leaves(self) -> None:
        for batch in self.batches:
            spans = list(pairwise(accumulate(batch.share_lengths, initial=0)))
            for body in batch.bodies:
                for at, end in spans:
                    leaf_digest(body[at:end])

    def holders_digest(self) -> None:
        """What every holder computes while its shard arrives, its root included."""
        for index in range(self.scheme.total):
            hasher = ShardHasher(self.scheme, index)
            for batch in self.batches:
                spans = pairwise(accumulate(batch.share_lengths, initial=0))
                for at, end in spans:
                    hasher.add(batch.bodies[index][at:end])
            hasher.root()

    def holders_write(self) -> None:
        """All shards to new files and down to the disk: the sync of one waits while others are written."""
        disk = RealDisk(private=True)
        paths = [str(self._folder / f"shard-{index}") for index in range(self.scheme.total)]
        for index, path in enumerate(paths):
            with disk.open(path, "create") as file:
                at = 0
                for batch in self.batches:
                    file.write_at(at, batch.bodies[index])
                    at += len(batch.bodies[index])
        for path in paths:
            with disk.open(path, "update") as file:
                file.sync()
            disk.unlink(path)

    def root(self, index: int) -> ShardRoot:
        return root_of_leaves(self.scheme, index, [leaf for batch in self.batches for leaf in batch.leaves[index]])


class GetJobs:
    """The stages of a get of what ``put`` made. All first shares are there, as with holders that are all well."""

    def __init__(self, put: PutJobs, folder: Path) -> None:
        self._put = put
        self._scheme = put.scheme
        self._folder = folder
        self._store = ShardStore(
            RealDisk(private=True), str(folder), quota_bytes=None, reserve_bytes=0, clock=RealClock()
        )
        self._store.start()
        self._roots = [put.root(index) for index in range(self._scheme.needed)]
        for index, root in enumerate(self._roots):
            self._keep(index, root)
        self._reads = self._read_all()
        self._sealed = memoryview(bytearray(EXTENT_CHUNKS * SEALED_CHUNK_MAX_BYTES))
        self.plain = unfilled_aligned(SAMPLE_BYTES)
        self.join()

    def _keep(self, index: int, root: ShardRoot) -> None:
        batches = self._put.batches
        size = sum(len(batch.bodies[index]) for batch in batches)
        upload = self._store.begin(UploadPlan(self._scheme, index, EXTENT_CHUNKS, size))
        for batch in batches:
            upload.write(batch.share_lengths, batch.bodies[index])
        upload.commit(root)

    def _read_all(self) -> list[list[ShardRead]]:
        """By batch, then by share."""
        found: list[list[ShardRead]] = []
        for first, count in _batches(self._scheme):
            reads = [self._store.read(root, first, count) for root in self._roots]
            if any(len(read.lengths) != count for read in reads):
                raise MoorageError("a holder gave less than a batch at once")
            found.append(reads)
        return found

    def holders_read(self) -> None:
        """Each answer's memory serves the next one, as where answers are sent."""
        for first, count in _batches(self._scheme):
            for root in self._roots:
                self._store.read(root, first, count)

    def verify(self) -> None:
        for (first, _), reads in zip(_batches(self._scheme), self._reads, strict=True):
            for index, read in enumerate(reads):
                view, at = memoryview(read.body), 0
                checker = ShareChecker(self._roots[index], self._scheme, index, EXTENT_CHUNKS)
                for offset, (length, path) in enumerate(zip(read.lengths, read.paths, strict=True)):
                    checker.check(first + offset, view[at : at + length], path)
                    at += length

    def _sealed_chunk(self, number: int) -> memoryview:
        return self._sealed[number * SEALED_CHUNK_MAX_BYTES :][: CHUNK_BYTES + TAG_BYTES]

    def join(self) -> None:
        size = share_bytes(SEALED_CHUNK_MAX_BYTES, self._scheme.needed)
        for (first, count), reads in zip(_batches(self._scheme), self._reads, strict=True):
            views = [memoryview(read.body) for read in reads]
            for offset in range(count):
                shares = {index: view[offset * size :][:size] for index, view in enumerate(views)}
                join_into(shares, self._sealed_chunk(first + offset), self._scheme)

    def open(self) -> None:
        sealer = ChunkSealer(SAMPLE_KEY)
        for number in range(EXTENT_CHUNKS):
            target = self.plain[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES]
            sealer.open_into(number, Codec.STORED, self._sealed_chunk(number), target)

    def digest(self) -> None:
        """Batch by batch, as the pieces come."""
        hasher = blake3()
        for first, count in _batches(self._scheme):
            hasher.update(self.plain[first * CHUNK_BYTES : (first + count) * CHUNK_BYTES])
        hasher.digest()

    def write(self) -> None:
        tree = RestoreTree(str(self._folder / "restored"))
        entry = Entry(RelativePath(b"file"), Kind.FILE, SAMPLE_BYTES, 0, 0o600, b"", b"", ())
        tree.prepare([entry])
        tree.make_folders([entry])
        for first, count in _batches(self._scheme):
            at = first * CHUNK_BYTES
            tree.write_at(entry, at, self.plain[at : at + count * CHUNK_BYTES])
        tree.finish_file(entry)
        tree.finish([entry])
        (self._folder / "restored" / "file").unlink()

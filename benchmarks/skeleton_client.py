"""The skeleton's client: a blocking thread for each step of a put and a get, and queues between them."""

from __future__ import annotations

import os
import queue
import socket
import threading
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from anchor.manifest import Extent
from benchmarks.handshake import contexts_of
from benchmarks.line import PATIENCE_S, Papers
from benchmarks.skeleton_line import BlockingLine
from client.coding import CodedBatch, chunks_per_batch, code_batch
from client.fetch import ShareRun, Source, verify_run
from client.get import FileWriter
from client.index import SealedExtent
from client.plan import PlannedExtent, plan_plain
from client.reader import Piece, open_batch
from client.source import BUFFERS, ExtentReader
from core.ids import DIGEST_BYTES, PeerId
from core.limits import EXTENT_BYTES, SEALED_CHUNK_MAX_BYTES
from core.listing import Entry, Kind
from core.sealing import KEY_BYTES
from erasure.codec import share_bytes
from erasure.merkle import root_of_leaves
from erasure.scheme import Scheme
from host.restore import RestoreTree
from host.tree import FileTree
from wire.messages import Message, Ping, Read, Shares, UploadBegin, UploadCommit, UploadData

KEY = bytes(KEY_BYTES)
NOBODY = PeerId(bytes(DIGEST_BYTES))
# Batches between two threads.
QUEUE_BATCHES = 2


class KeptExtent(NamedTuple):
    """Where the skeleton's index would name an extent."""

    extent: Extent
    sealed: SealedExtent


class Kept(NamedTuple):
    """What a get needs to know of a put."""

    entries: Sequence[Entry]
    extents: Sequence[KeptExtent]


def run_all(jobs: Sequence[Callable[[], None]]) -> None:
    """Each in a thread of its own, until all are done. A failure ends the benchmark: the others would wait for it."""

    def guarded(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException:  # whatever it is
            traceback.print_exc()
            os._exit(1)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Skeleton:
    """A client of ``peers``, one for each share."""

    def __init__(self, papers: Papers, ports: Sequence[int], scheme: Scheme) -> None:
        self._context = contexts_of(papers).connecting
        self._ports = ports
        self._scheme = scheme

    def _line(self, share: int) -> BlockingLine:
        connection = socket.create_connection(("127.0.0.1", self._ports[share]), PATIENCE_S)
        return BlockingLine(connection, self._context, server_side=False)

    # --- put ------------------------------------------------------------------------------------

    def put(self, source: Path) -> Kept:
        """A reader, a coder, and a sender for each peer."""
        tree = FileTree([str(source)])
        plan = plan_plain(tree.walk())
        full: queue.Queue[tuple[PlannedExtent, memoryview]] = queue.Queue(1)
        empty: queue.Queue[memoryview] = queue.Queue()
        for _ in range(BUFFERS):
            empty.put(memoryview(bytearray(EXTENT_BYTES)))
        lanes: list[queue.Queue[Message]] = [queue.Queue(QUEUE_BATCHES) for _ in range(self._scheme.total)]
        kept: list[KeptExtent] = []
        reader = ExtentReader(tree, plan)

        def read() -> None:
            for extent in plan.extents:
                buffer = empty.get()
                reader.read(extent, buffer[: extent.plain_bytes])
                full.put((extent, buffer))

        def code() -> None:
            for _ in plan.extents:
                extent, buffer = full.get()
                kept.append(self._code(extent, buffer[: extent.plain_bytes], lanes))
                empty.put(buffer)
            for lane in lanes:
                lane.put(Ping())

        run_all([read, code, *(partial(self._send, share, lane) for share, lane in enumerate(lanes))])
        return Kept(reader.entries_with_digests(), kept)

    def _code(
        self,
        extent: PlannedExtent,
        plain: memoryview,
        lanes: Sequence[queue.Queue[Message]],
    ) -> KeptExtent:
        size_bytes = extent.chunks * share_bytes(SEALED_CHUNK_MAX_BYTES, self._scheme.needed)
        for share, lane in enumerate(lanes):
            lane.put(UploadBegin(1, self._scheme.needed, self._scheme.total, share, extent.chunks, size_bytes))
        batches: list[CodedBatch] = []
        for first, count in self._batches(extent.chunks):
            batch = code_batch(plain, first, count, KEY, self._scheme)
            batches.append(batch._replace(bodies=()))
            for body, lane in zip(batch.bodies, lanes, strict=True):
                lane.put(UploadData(1, batch.share_lengths, body))
        roots = tuple(
            root_of_leaves(self._scheme, share, [leaf for batch in batches for leaf in batch.leaves[share]])
            for share in range(self._scheme.total)
        )
        for root, lane in zip(roots, lanes, strict=True):
            lane.put(UploadCommit(1, root))
        lengths = tuple(length for batch in batches for length in batch.sealed_lengths)
        codecs = b"".join(batch.codecs for batch in batches)
        return KeptExtent(
            Extent(extent.chunks, sum(lengths), extent.group, roots),
            SealedExtent(KEY, extent.plain_bytes, lengths, codecs),
        )

    def _batches(self, chunks: int) -> list[tuple[int, int]]:
        step = chunks_per_batch(self._scheme)
        return [(first, min(step, chunks - first)) for first in range(0, chunks, step)]

    def _send(self, share: int, lane: queue.Queue[Message]) -> None:
        line = self._line(share)
        while True:
            message = lane.get()
            line.send(message)
            if isinstance(message, Ping):
                break
        # The answer says that all is on the peer's disk.
        next(line.messages())
        line.close()

    # --- get ------------------------------------------------------------------------------------

    def get(self, kept: Kept, folder: Path) -> None:
        """A receiver that checks for each needed peer, one that opens, one that digests and writes."""
        tree = RestoreTree(str(folder))
        tree.prepare(kept.entries)
        tree.make_folders(kept.entries)
        batches = [(each, *batch) for each in kept.extents for batch in self._batches(each.extent.chunks)]
        lanes: list[queue.Queue[ShareRun]] = [queue.Queue(QUEUE_BATCHES) for _ in range(self._scheme.needed)]
        opened: queue.Queue[memoryview] = queue.Queue(1)

        def open_all() -> None:
            for each, first, count in batches:
                runs = {share: lane.get() for share, lane in enumerate(lanes)}
                opened.put(open_batch(runs, each.sealed, first, count, self._scheme))

        def write() -> None:
            writer = FileWriter(tree, [entry for entry in kept.entries if entry.kind is Kind.FILE])
            at = 0
            for _ in batches:
                plain = opened.get()
                at += writer.write(Piece(at, plain))
            writer.check_complete()
            tree.finish(kept.entries)

        receivers = [partial(self._receive, share, lane, batches) for share, lane in enumerate(lanes)]
        run_all([open_all, write, *receivers])

    def _receive(self, share: int, lane: queue.Queue[ShareRun], batches: Sequence[tuple[KeptExtent, int, int]]) -> None:
        line = self._line(share)
        for each, first, count in batches:
            line.send(Read(each.extent.roots[share], first, count))
        line.send(Ping())
        for (each, first, _), answer in zip(batches, line.messages(), strict=False):
            assert isinstance(answer, Shares), answer
            shares = verify_run(each.extent, self._scheme, share, first, answer)
            lane.put(ShareRun(Source(share, NOBODY), shares))
        line.close()

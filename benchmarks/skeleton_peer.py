"""A peer of the skeleton: a process with the shipped store, and a thread each for its line and its disk."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection as Pipe

from benchmarks.handshake import contexts_of
from benchmarks.line import Papers
from benchmarks.skeleton_line import BlockingLine
from daemon.reader import ShardRead
from daemon.store import ShardStore
from daemon.uploads import Upload, UploadPlan
from erasure.scheme import Scheme
from host.clock import RealClock
from host.disk import RealDisk
from host.memory import keep_freed_memory
from wire.messages import Done, Message, Ping, Read, Shares, UploadBegin, UploadCommit, UploadData

# Frames between its two threads.
QUEUE_FRAMES = 2


class SkeletonPeer:
    def __init__(self, folder: str) -> None:
        self._store = ShardStore(RealDisk(private=True), folder, quota_bytes=None, reserve_bytes=0, clock=RealClock())
        self._store.start()
        self._upload: Upload | None = None

    def serve(self, line: BlockingLine) -> None:
        """One put or get: all that comes before a Ping is carried out, and then answered, in order."""
        jobs: queue.Queue[Message] = queue.Queue(QUEUE_FRAMES)
        reads: list[Read] = []
        worker = threading.Thread(target=self._write_all, args=(jobs,), daemon=True)
        worker.start()
        for message in line.messages():
            if isinstance(message, Read):
                reads.append(message)
            else:
                jobs.put(message)
                if isinstance(message, Ping):
                    break
        worker.join()
        self._answer(line, reads)
        line.send(Done())

    def _write_all(self, jobs: queue.Queue[Message]) -> None:
        while not isinstance(message := jobs.get(), Ping):
            self._write(message)

    def _write(self, message: Message) -> None:
        match message:
            case UploadBegin():
                scheme = Scheme(message.needed, message.total)
                plan = UploadPlan(scheme, message.index, message.chunks, message.expected_bytes)
                self._upload = self._store.begin(plan)
            case UploadData() if self._upload is not None:
                self._upload.write(message.lengths, message.body)
            case UploadCommit() if self._upload is not None:
                self._upload.commit(message.root)
            case _:
                raise AssertionError(message)

    def _answer(self, line: BlockingLine, reads: Sequence[Read]) -> None:
        read: queue.Queue[ShardRead] = queue.Queue(QUEUE_FRAMES)
        reader = threading.Thread(target=self._read_all, args=(reads, read), daemon=True)
        reader.start()
        for _ in reads:
            found = read.get()
            line.send(Shares(found.lengths, found.paths, found.body))

    def _read_all(self, reads: Sequence[Read], read: queue.Queue[ShardRead]) -> None:
        for each in reads:
            read.put(self._store.read(each.root, each.first, each.count))


def run_peer(papers: Papers, folder: str, pipe: Pipe) -> None:
    """Says at which port it listens, and serves one connection after the other until it is killed."""
    keep_freed_memory()
    peer = SkeletonPeer(folder)
    context = contexts_of(papers).accepting
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pipe.send(listener.getsockname()[1])
        while True:
            connection, _ = listener.accept()
            line = BlockingLine(connection, context, server_side=True)
            peer.serve(line)
            line.close()

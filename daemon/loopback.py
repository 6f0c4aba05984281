"""A peer among the peers: care asks its own store as it asks others', without the network in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import trio

from client.asker import Asker, Conversation
from core.errors import MoorageError
from core.ids import PeerId
from core.limits import REQUEST_DEADLINE_S
from core.ports import Threads
from daemon.store import ShardStore
from daemon.uploads import Upload, UploadPlan
from erasure.scheme import Scheme
from wire.messages import Done, Message, UploadAbort, UploadBegin, UploadCommit, UploadData

Answer = Callable[[Message], Awaitable[Message]]
"""A request that is no upload, answered or refused: ``daemon.desk.Desk.answer`` for one's own identity."""


class Loopback:
    """``client.asker.Asker`` over the peers and this one, whom nothing is sent."""

    def __init__(self, me: PeerId, answer: Answer, store: ShardStore, threads: Threads, peers: Asker) -> None:
        self._me = me
        self._answer = answer
        self._store = store
        self._threads = threads
        self._peers = peers

    async def request(self, peer: PeerId, message: Message, /, *, deadline_s: float = REQUEST_DEADLINE_S) -> Message:
        if peer == self._me:
            return await self._answer(message)
        return await self._peers.request(peer, message, deadline_s=deadline_s)

    async def session(self, peer: PeerId, /) -> Conversation:
        if peer == self._me:
            return OwnConversation(self._store, self._threads)
        return await self._peers.session(peer)

    def avoid(self, peer: PeerId, failure: MoorageError, /) -> None:
        if peer != self._me:
            self._peers.avoid(peer, failure)


class _Answered:
    """A reply that is there already."""

    def __init__(self, failure: MoorageError | None) -> None:
        self.arrived = trio.Event()
        self.arrived.set()
        self._failure = failure

    async def answer(self, *, deadline_s: float = REQUEST_DEADLINE_S) -> Message:
        del deadline_s
        if self._failure is not None:
            raise self._failure
        return Done()

    def abandon(self) -> None: ...


class OwnConversation:
    """One upload into the own store, message by message. Whoever abandons it sends UploadAbort, as on a connection.

    As there, what follows a failure is answered with it.
    """

    usable = True

    def __init__(self, store: ShardStore, threads: Threads) -> None:
        self._store = store
        self._threads = threads
        self._uploads: dict[int, Upload | MoorageError] = {}
        self._number = 0

    def next_upload(self) -> int:
        self._number += 1
        return self._number

    async def post(self, message: Message, /) -> _Answered:
        try:
            await self._carry_out(message)
        except MoorageError as error:
            return _Answered(error)
        return _Answered(None)

    async def request(self, message: Message, /, *, deadline_s: float = REQUEST_DEADLINE_S) -> Message:
        del deadline_s
        await self._carry_out(message)
        return Done()

    async def _carry_out(self, message: Message) -> None:
        disk = self._threads.disk
        match message:
            case UploadBegin():
                scheme = Scheme(message.needed, message.total)
                plan = UploadPlan(scheme, message.index, message.chunks, message.expected_bytes)
                with self._kept(message.upload):
                    self._uploads[message.upload] = await disk(self._store.begin, plan)
            case UploadData():
                with self._kept(message.upload):
                    await disk(_sound(self._uploads[message.upload]).write, message.lengths, message.body)
            case UploadCommit():
                await disk(_sound(self._uploads.pop(message.upload)).commit, message.root)
            case UploadAbort():
                upload = self._uploads.pop(message.upload, None)
                if isinstance(upload, Upload):
                    await disk(upload.abort)
            case _:
                raise AssertionError(message)

    @contextmanager
    def _kept(self, upload: int) -> Generator[None]:
        """A failure of its upload is kept for what comes after it: the upload itself has given up its file then."""
        try:
            yield
        except MoorageError as error:
            self._uploads[upload] = error
            raise


def _sound(upload: Upload | MoorageError) -> Upload:
    if isinstance(upload, MoorageError):
        raise upload
    return upload

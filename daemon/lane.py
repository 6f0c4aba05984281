"""One upload of one connection: its messages are carried out in the order in which they came."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from core.errors import MoorageError, PeerUnavailableError, ProtocolError
from core.limits import UPLOAD_WINDOW_FRAMES
from core.ports import Threads
from daemon.store import ShardStore
from daemon.uploads import Upload, UploadPlan
from erasure.scheme import Scheme
from wire.messages import Done, Failure, Message, UploadAbort, UploadBegin, UploadCommit, UploadData

# What an honest client may have unanswered: the window of data, the beginning before it, the end behind it.
LANE_MESSAGES_MAX = UPLOAD_WINDOW_FRAMES + 2

UploadMessage = UploadBegin | UploadData | UploadCommit | UploadAbort


class Lane:
    """Lives from UploadBegin to UploadCommit or UploadAbort.

    After a failure, or when nothing comes for ``idle_s``, its file is gone, but the lane stays: it answers with that
    failure what the client sends before it has heard of it.

    Args:
        failure: fail from the beginning.
        reply: sends an answer under a message's number.
        release: called once for each message, when nothing of it is held any more.
    """

    def __init__(
        self,
        *,
        store: ShardStore,
        threads: Threads,
        idle_s: float,
        failure: MoorageError | None,
        reply: Callable[[int, Message], Awaitable[None]],
        release: Callable[[Message], None],
    ) -> None:
        self._store = store
        self._threads = threads
        self._idle_s = idle_s
        self._reply = reply
        self._release = release
        self._upload: Upload | None = None
        self._scope = trio.CancelScope()
        self._inlet, self._outlet = trio.open_memory_channel[tuple[int, UploadMessage]](LANE_MESSAGES_MAX)
        self.failure = failure
        self.committed = False

    def put(self, number: int, message: UploadMessage) -> None:
        """Queue a message. Raises ProtocolError when more are unanswered than the window allows."""
        try:
            self._inlet.send_nowait((number, message))
        except trio.WouldBlock:
            raise ProtocolError(f"upload {message.upload}: more than {LANE_MESSAGES_MAX} messages unanswered") from None

    def stop(self) -> None:
        """End without an answer to what is still queued; only for a lane that has failed."""
        self._scope.cancel()

    async def run(self, ended: Callable[[], None]) -> None:
        """Carry out until the end. ``ended`` is called before the last answer: the upload's number is free then."""
        try:
            with self._scope:
                last = False
                while not last:
                    number, message = await self._next()
                    try:
                        answer = await self._carry_out(message)
                        last = isinstance(message, UploadCommit | UploadAbort)
                        if last:
                            ended()
                        await self._reply(number, answer)
                    finally:
                        self._release(message)
        finally:
            ended()
            self._drain()
            await self._drop()

    async def _next(self) -> tuple[int, UploadMessage]:
        with trio.move_on_after(self._idle_s):
            return await self._outlet.receive()
        self.failure = self.failure or PeerUnavailableError(f"nothing came for {self._idle_s:.0f} s: begin again")
        await self._drop()
        return await self._outlet.receive()

    def _drain(self) -> None:
        while True:
            try:
                _, message = self._outlet.receive_nowait()
            except trio.WouldBlock:
                return
            self._release(message)

    async def _carry_out(self, message: UploadMessage) -> Message:
        try:
            if self.failure is None:
                await self._do(message)
        except MoorageError as error:
            self.failure = error
        if isinstance(message, UploadAbort) or self.failure is None:
            return Done()
        return Failure.of(self.failure)

    async def _do(self, message: UploadMessage) -> None:
        match message:
            case UploadBegin():
                scheme = Scheme(message.needed, message.total)
                plan = UploadPlan(scheme, message.index, message.chunks, message.expected_bytes)
                self._upload = await self._threads.disk(self._store.begin, plan)
            case UploadData():
                assert self._upload is not None
                await self._threads.disk(self._upload.write, message.lengths, message.body)
            case UploadCommit():
                assert self._upload is not None
                await self._threads.disk(self._upload.commit, message.root)
                self.committed = True
            case UploadAbort():
                await self._drop()

    async def _drop(self) -> None:
        if self._upload is not None and not self._upload.closed:
            # The room and the file must be given back, also when the connection is being torn down.
            with trio.CancelScope(shield=True):
                await self._threads.disk(self._upload.abort)

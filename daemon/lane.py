"""One upload of one connection: its messages are carried out in the order in which they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import trio

from core.errors import MoorageError, PeerUnavailableError, ProtocolError
from core.limits import LINE_BYTES_PER_S_MIN, UPLOAD_WINDOW_FRAMES
from core.ports import Threads
from daemon.store import ShardStore
from daemon.uploads import Upload, UploadPlan
from erasure.scheme import Scheme
from wire.messages import Done, Failure, Message, UploadAbort, UploadBegin, UploadCommit, UploadData

# What an honest client may have unanswered: the window of data, the beginning before it, the end behind it.
LANE_MESSAGES_MAX = UPLOAD_WINDOW_FRAMES + 2

UploadMessage = UploadBegin | UploadData | UploadCommit | UploadAbort
# A request's number and its answer.
Answer: TypeAlias = tuple[int, Message]


class Lane:
    """Lives from UploadBegin to UploadCommit or UploadAbort.

    After a failure, or when nothing comes for ``idle_s``, its file is gone, but the lane stays: it answers with that
    failure what the client sends before it has heard of it.

    Args:
        moved_bytes: what its connection has moved so far: a thin line may be busy with other uploads for long.
        failure: fail from the beginning.
        reply: sends answers.
        release: called once for each message, when nothing of it is held any more.
    """

    def __init__(
        self,
        *,
        store: ShardStore,
        threads: Threads,
        idle_s: float,
        moved_bytes: Callable[[], int],
        failure: MoorageError | None,
        reply: Callable[[Sequence[Answer]], Awaitable[None]],
        release: Callable[[Message], None],
    ) -> None:
        self._store = store
        self._threads = threads
        self._idle_s = idle_s
        self._moved_bytes = moved_bytes
        self._reply = reply
        self._release = release
        self._upload: Upload | None = None
        self._scope = trio.CancelScope()
        self._queue: deque[tuple[int, UploadMessage]] = deque()
        self._arrived = trio.Event()
        self._unanswered = 0
        self.failure = failure
        self.committed = False

    def put(self, number: int, message: UploadMessage) -> None:
        """Queue a message. Raises ProtocolError when more are unanswered than the window allows."""
        if self._unanswered == LANE_MESSAGES_MAX:
            raise ProtocolError(f"upload {message.upload}: more than {LANE_MESSAGES_MAX} messages unanswered")
        self._unanswered += 1
        self._queue.append((number, message))
        self._arrived.set()

    def stop(self) -> None:
        """End without an answer to what is still queued; only for a lane that has failed."""
        self._scope.cancel()

    async def run(self, ended: Callable[[], None]) -> None:
        """Carry out until the end. ``ended`` is called before the last answer: the upload's number is free then."""
        try:
            with self._scope:
                last = False
                while not last:
                    batch = await self._next()
                    try:
                        answers = await self._carry_out([message for _, message in batch])
                        last = isinstance(batch[-1][1], UploadCommit | UploadAbort)
                        if last:
                            ended()
                        await self._reply(
                            [(number, answer) for (number, _), answer in zip(batch, answers, strict=True)]
                        )
                    finally:
                        self._unanswered -= len(batch)
                        for _, message in batch:
                            self._release(message)
        finally:
            ended()
            while self._queue:
                self._release(self._queue.popleft()[1])
            await self._drop()

    async def _next(self) -> list[tuple[int, UploadMessage]]:
        """What has come, up to the upload's end: a holder that is behind catches up in large steps."""
        if not self._queue and await self._is_idle():
            self.failure = self.failure or PeerUnavailableError(f"nothing came for {self._idle_s:.0f} s: begin again")
            await self._drop()
            await self._arrival()
        batch = [self._queue.popleft()]
        while self._queue and not isinstance(batch[-1][1], UploadCommit | UploadAbort):
            batch.append(self._queue.popleft())
        return batch

    async def _is_idle(self) -> bool:
        """Wait for a message: True when none came in time, while the line had little else to carry."""
        while True:
            moved_bytes = self._moved_bytes()
            with trio.move_on_after(self._idle_s):
                await self._arrival()
                return False
            if self._moved_bytes() - moved_bytes < self._idle_s * LINE_BYTES_PER_S_MIN:
                return True

    async def _arrival(self) -> None:
        while not self._queue:
            self._arrived = trio.Event()
            await self._arrived.wait()

    async def _carry_out(self, messages: Sequence[UploadMessage]) -> list[Message]:
        if self.failure is not None:
            return self._answers(messages)
        return await self._threads.disk(self._answers, messages)

    def _answers(self, messages: Sequence[UploadMessage]) -> list[Message]:
        """One disk job, however many there are: to get to a thread and back costs as much as to write 256 KiB."""
        answers: list[Message] = []
        for message in messages:
            try:
                if self.failure is None:
                    self._do(message)
            except MoorageError as error:
                self.failure = error
            given_up = isinstance(message, UploadAbort)
            answers.append(Done() if given_up or self.failure is None else Failure.of(self.failure))
        return answers

    def _do(self, message: UploadMessage) -> None:
        match message:
            case UploadBegin():
                scheme = Scheme(message.needed, message.total)
                plan = UploadPlan(scheme, message.index, message.chunks, message.expected_bytes)
                self._upload = self._store.begin(plan)
            case UploadData():
                assert self._upload is not None
                self._upload.write(message.lengths, message.body)
            case UploadCommit():
                assert self._upload is not None
                self._upload.commit(message.root)
                self.committed = True
            case UploadAbort():
                if self._upload is not None:
                    self._upload.abort()

    async def _drop(self) -> None:
        if self._upload is not None and not self._upload.closed:
            # The room and the file must be given back, also when the connection is being torn down.
            with trio.CancelScope(shield=True):
                await self._threads.disk(self._upload.abort)

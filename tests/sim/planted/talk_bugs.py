"""Defects of conversations: what is acknowledged, which answer is whose, and how long a silent peer is waited for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import trio

from client.session import Pending, Session
from client.tasks import first_error
from core.errors import MoorageError, PeerUnavailableError, ProtocolError
from core.limits import REQUEST_DEADLINE_S
from daemon.conversation import Conversation
from daemon.desk import Desk
from daemon.documents import DocumentKind
from daemon.lane import Lane
from tests.sim.planted.plant import plant, plants_of
from wire.frames import FrameParser
from wire.messages import Done, Failure, Message, StoreManifest, StoreReceipt, UploadAbort, UploadCommit, parse_message

DURABLE = "what is acknowledged is durable"
ANSWERS = "an answer is that to its own question"
PATIENCE = "no command waits for ever"


@plant(Lane, "run", story="talk", bug="a holder answers a commit before it has written", promise=DURABLE)
async def answered_before_written(self: Any, ended: Callable[[], None]) -> None:
    try:
        with self._scope:
            last = False
            while not last:
                batch = await self._next()
                try:
                    last = isinstance(batch[-1][1], UploadCommit | UploadAbort)
                    if last:
                        ended()
                    await self._reply([(number, Done()) for number, _ in batch])
                    await self._carry_out([message for _, message in batch])
                finally:
                    self._unanswered -= len(batch)
                    for _, message in batch:
                        self._release(message)
    finally:
        ended()
        while self._queue:
            self._release(self._queue.popleft()[1])
        await self._drop()


@plant(Desk, "_keep", story="put", bug="a holder acknowledges a paper that its disk refused", promise=DURABLE)
async def refused_paper_acknowledged(self: Any, kind: DocumentKind, message: StoreManifest | StoreReceipt) -> Done:
    data = bytes(message.body)
    with suppress(MoorageError):
        await self._threads.disk(self._store.documents.put, kind, message.object, data)
    return Done()


@plant(Session, "_receive_all", story="talk", bug="an answer goes to whoever has waited longest", promise=ANSWERS)
async def longest_waiting_answered(self: Any, parser: FrameParser) -> None:
    while True:
        count = await self._connection.receive_into(parser.room(), expected_bytes=parser.expected_bytes)
        if not count:
            raise PeerUnavailableError("the connection was closed")
        self._hear()
        for frame in parser.took(count):
            _, message = parse_message(frame)
            number = next(iter(self._waiting), 0)
            pending = self._waiting.get(number)
            if pending is not None:
                self.forget(number)
                pending.arrive(message)
        self._owes = bool(self._waiting)


@plant(
    Session, "_new_number", story="talk", bug="the number of a request that was given up is used anew", promise=ANSWERS
)
def number_used_anew(self: Any) -> int:
    return next(number for number in range(1, len(self._waiting) + 2) if number not in self._waiting)


@plant(Conversation, "_answer", story="talk", bug="a holder answers under the newest number", promise=ANSWERS)
async def newest_number_answered(self: Any, number: int, message: Message) -> None:
    self._newest = number
    try:
        try:
            answer = await self._desk.answer(self._remote, message)
        except ProtocolError:
            raise
        except MoorageError as error:
            answer = Failure.of(error)
        await self._reply([(self._newest, answer)])
    finally:
        self._release(message)


@plant(Session, "_watch", story="talk", bug="nobody notices that a peer has fallen silent", promise=PATIENCE)
async def silence_unnoticed(self: Any) -> None:
    del self
    await trio.sleep_forever()


@plant(Pending, "answer", story="put", bug="an answer is waited for without a deadline", promise=PATIENCE)
async def answer_without_deadline(self: Any, *, deadline_s: float = REQUEST_DEADLINE_S) -> Message:
    del deadline_s
    try:
        await self._arrived.wait()
    finally:
        self.abandon()
    if self._answer is None:
        raise self._session.reason()
    if isinstance(self._answer, Failure):
        raise self._answer.error()
    answer: Message = self._answer
    return answer


@plant(Session, "serve", story="talk", bug="a greeting is waited for without a deadline", promise=PATIENCE)
async def greeting_without_deadline(
    self: Any, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    try:
        parser = await self._greet()
        self._greeted = True
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_all)
            nursery.start_soon(self._watch)
            await self._receive_all(parser)
            nursery.cancel_scope.cancel()
    except* MoorageError as group:
        self._fail(first_error(group))
    finally:
        self._fail(PeerUnavailableError("the connection was closed"))
        if not self._greeted:
            task_status.started()
        with trio.move_on_after(1.0, shield=True):
            await self._connection.aclose()


PLANTS = plants_of(globals())

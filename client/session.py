"""One connection to one peer: many requests at a time, each with its answer or an error.

A peer that owes an answer is pinged when it falls silent, and given up when it stays so: slow disks are
waited for, hung peers are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

import trio

from client.greeting import check_greeting
from client.tasks import first_error
from core.errors import MoorageError, PeerUnavailableError
from core.limits import (
    FRAME_BODY_MAX_BYTES,
    HANDSHAKE_DEADLINE_S,
    LINE_BYTES_PER_S_MIN,
    PING_AFTER_S,
    REQUEST_DEADLINE_S,
    REQUESTS_IN_FLIGHT_MAX,
    SILENCE_MAX_S,
)
from core.ports import Connection, Identity
from wire.frames import FrameParser, frame_prefix
from wire.messages import MESSAGE_ID_MAX, Failure, Hello, Message, Ping, message_head, parse_message

# Frames waiting for the socket: enough to keep it busy, few enough to bound memory (2 MiB).
SEND_QUEUE_FRAMES = 1
# A peer that takes no frame whole for so long is gone, whatever it says meanwhile; a large frame has longer, as long
# as the thinnest line needs for it.
SEND_DEADLINE_S = 30.0
# So much that moved over a thin line is a sign of life. A hung peer's system takes pings and small requests, too, but
# hardly so many in the time in which a silent peer is given up.
SIGN_OF_LIFE_BYTES = 16 * 1024

# How often a peer that owes an answer is looked at.
WATCH_S = 0.5
WATCH_MIN_S = 0.001


OnBug: TypeAlias = Callable[[Exception], None]


class Pending:
    """A request on its way. Take its ``answer`` once; a pending request that nobody takes must be ``abandon``ed."""

    def __init__(self, session: Session, number: int, kind: str) -> None:
        self._session = session
        self._number = number
        # Not the message: its body's memory is wanted elsewhere once it is sent.
        self._kind = kind
        self.arrived = trio.Event()
        self._answer: Message | None = None
        self._moved_at_first = session.moved_bytes
        self._ahead_bytes = FRAME_BODY_MAX_BYTES * (session.in_flight + 1)
        self._line_free_at: float | None = None

    def look(self, moved_bytes: int) -> None:
        """Called by the session now and then: what has moved so far."""
        if self._line_free_at is None and moved_bytes - self._moved_at_first >= self._ahead_bytes:
            self._line_free_at = trio.current_time()

    def arrive(self, answer: Message | None) -> None:
        """Called by the session: the answer, or None when there will be none."""
        self._answer = answer
        self.arrived.set()

    def abandon(self) -> None:
        self._session.forget(self._number)

    async def answer(self, *, deadline_s: float = REQUEST_DEADLINE_S) -> Message:
        """What the peer answered. Raises as ``Session.request`` does.

        Time in which a thin line is busy with what was asked for before, or with this, does not count.
        """
        began = trio.current_time()
        try:
            while not self.arrived.is_set() and (due := self._due_at(began, deadline_s)) > trio.current_time():
                with trio.move_on_at(due):
                    await self.arrived.wait()
        finally:
            self.abandon()
        if not self.arrived.is_set():
            name = self._session.remote.name
            raise PeerUnavailableError(f"{name} took longer than {deadline_s:.0f} s for {self._kind}")
        if self._answer is None:
            raise self._session.reason()
        if isinstance(self._answer, Failure):
            raise self._answer.error()
        return self._answer

    def _due_at(self, began: float, deadline_s: float) -> float:
        if self._line_free_at is not None:
            return max(began, self._line_free_at) + deadline_s
        moved_bytes = self._session.moved_bytes - self._moved_at_first
        # In whole signs of life: pings must not draw it out.
        return began + deadline_s + moved_bytes // SIGN_OF_LIFE_BYTES * SIGN_OF_LIFE_BYTES / LINE_BYTES_PER_S_MIN


class Session:
    """Requests over one connection. ``serve`` must run in a nursery for as long as the session is used.

    ``on_bug`` is told what ended the session unexpectedly; without it that is raised.
    """

    def __init__(self, connection: Connection, hello: Hello, *, on_bug: OnBug | None = None) -> None:
        self.remote: Identity = connection.remote
        self.failure: MoorageError | None = None
        self.hung = False
        self.remote_epoch = 0
        """Of the roster that the other side goes by, as it greeted."""
        self._scope = trio.CancelScope()
        self._greeted = False
        self._connection = connection
        self._on_bug = on_bug
        self._hello = hello
        self._waiting: dict[int, Pending] = {}
        self._uploads = 0
        self._next_id = 1
        self._heard_at = trio.current_time()
        self._moved_when_heard = 0
        self._slots = trio.Semaphore(REQUESTS_IN_FLIGHT_MAX - 1)
        self._outbox, self._to_send = trio.open_memory_channel[tuple[int, Message]](SEND_QUEUE_FRAMES)
        # An asker that gives up takes nothing from what the peer owes: only a sign of life does.
        self._owes = False
        self._owing = trio.Event()

    @property
    def usable(self) -> bool:
        return self.failure is None

    @property
    def moved_bytes(self) -> int:
        return self._connection.moved_bytes

    @property
    def in_flight(self) -> int:
        return len(self._waiting)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Greet, then carry requests until the connection ends. Never raises: ``failure`` says why it ended."""
        try:
            with self._scope:
                await self._serve(task_status)
        except* trio.TooSlowError:
            self._fail(PeerUnavailableError(f"{self.remote.name} does not answer"))
        except* MoorageError as group:
            self._fail(first_error(group))
        except* Exception as group:  # a daemon outlives a bug that one peer's answers bring out; a command need not
            if self._on_bug is None:
                raise
            self._on_bug(group)
        finally:
            self._fail(PeerUnavailableError(f"{self.remote.name}: the connection was closed"))
            if not self._greeted:
                task_status.started()
            with trio.move_on_after(1.0, shield=True):
                await self._connection.aclose()

    async def _serve(self, task_status: trio.TaskStatus[None]) -> None:
        with trio.fail_after(HANDSHAKE_DEADLINE_S):
            parser = await self._greet()
        self._greeted = True
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_all)
            nursery.start_soon(self._watch)
            await self._receive_all(parser)
            nursery.cancel_scope.cancel()

    def end(self, why: MoorageError) -> None:
        """Have nothing to do with the other side any more."""
        self.failure = self.failure or why
        self._scope.cancel()

    async def request(self, message: Message, *, deadline_s: float = REQUEST_DEADLINE_S) -> Message:
        """The peer's answer.

        Raises:
            MoorageError: what the peer answered instead (the class of its code).
            PeerUnavailableError: it is gone, hung, or took longer than ``deadline_s``.
        """
        return await (await self.post(message)).answer(deadline_s=deadline_s)

    async def post(self, message: Message) -> Pending:
        """Put a request in the queue, in order, without waiting for its answer. Raises PeerUnavailableError."""
        if self.failure is not None:
            raise self.failure
        await self._slots.acquire()
        number = self._new_number()
        pending = Pending(self, number, message.KIND)
        if not self._owes:
            # Silence counts from now: until now the peer owed us nothing.
            self._hear()
            self._owes = True
            self._owing.set()
        self._waiting[number] = pending
        try:
            await self._outbox.send((number, message))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.forget(number)
            raise self.reason() from None
        except BaseException:  # a cancelled sender must not leave its slot taken
            self.forget(number)
            raise
        return pending

    def _new_number(self) -> int:
        number = self._next_id
        while number in self._waiting:
            number = number % MESSAGE_ID_MAX + 1
        self._next_id = number % MESSAGE_ID_MAX + 1
        return number

    def next_upload(self) -> int:
        """A number for a new upload on this connection."""
        self._uploads += 1
        return self._uploads

    def forget(self, number: int) -> None:
        """Stop waiting for the answer to request ``number``; its slot is free again."""
        if self._waiting.pop(number, None) is not None:
            self._slots.release()

    def reason(self) -> MoorageError:
        return self.failure or PeerUnavailableError(f"{self.remote.name}: the connection was closed")

    def _fail(self, error: MoorageError) -> None:
        if self.failure is None:
            self.failure = error
        self._to_send.close()
        for pending in self._waiting.values():
            pending.arrive(None)

    async def _greet(self) -> FrameParser:
        await self._write(0, self._hello)
        parser = FrameParser()
        while True:
            count = await self._connection.receive_into(parser.room())
            if not count:
                raise PeerUnavailableError(f"{self.remote.name} closed the connection without a greeting")
            for frame in parser.took(count):
                self.remote_epoch = check_greeting(parse_message(frame)[1], self._hello, self.remote)
                return parser

    async def _write(self, number: int, message: Message) -> None:
        body = message.body_of()
        deadline_s = SEND_DEADLINE_S + len(body) / LINE_BYTES_PER_S_MIN
        with trio.move_on_after(deadline_s) as patience:
            await self._connection.send_all(frame_prefix(message_head(number, message), len(body)), body)
        if patience.cancelled_caught:
            self.hung = True
            raise PeerUnavailableError(f"{self.remote.name} has taken no frame for {deadline_s:.0f} s")

    async def _send_all(self) -> None:
        async for number, message in self._to_send:
            # Its asker may have given up meanwhile; then the peer need not be bothered.
            if number in self._waiting or number == 0:
                await self._write(number, message)

    async def _receive_all(self, parser: FrameParser) -> None:
        while True:
            count = await self._connection.receive_into(parser.room(), expected_bytes=parser.expected_bytes)
            if not count:
                raise PeerUnavailableError(f"{self.remote.name} closed the connection")
            self._hear()
            for frame in parser.took(count):
                number, message = parse_message(frame)
                pending = self._waiting.get(number)
                # Nobody waits: it is the answer to a ping, or to a request that was given up.
                if pending is not None:
                    self.forget(number)
                    pending.arrive(message)
            self._owes = bool(self._waiting)

    def _hear(self) -> None:
        self._heard_at = trio.current_time()
        self._moved_when_heard = self.moved_bytes

    def _look_at_line(self) -> None:
        """Over a thin line a frame takes longer than a silent peer is waited for: that bytes move is a sign of life."""
        moved_bytes = self.moved_bytes
        for pending in self._waiting.values():
            pending.look(moved_bytes)
        if moved_bytes - self._moved_when_heard >= SIGN_OF_LIFE_BYTES:
            self._hear()

    async def _watch(self) -> None:
        """Ping a peer that owes an answer and is silent; give it up when it stays silent."""
        pinged = -math.inf
        while True:
            if not self._owes:
                self._owing = trio.Event()
                await self._owing.wait()
            self._look_at_line()
            silent_s = trio.current_time() - self._heard_at
            if silent_s >= SILENCE_MAX_S:
                self.hung = True
                raise PeerUnavailableError(f"{self.remote.name} has been silent for {silent_s:.1f} s")
            if silent_s >= PING_AFTER_S and self._heard_at >= pinged and self._ping():
                pinged = trio.current_time()
            next_at = PING_AFTER_S if silent_s < PING_AFTER_S else SILENCE_MAX_S
            # Rounded down to no time at all it would be asked again at once.
            await trio.sleep(max(WATCH_MIN_S, min(WATCH_S, next_at - silent_s)))

    def _ping(self) -> bool:
        """False when there is no room: other frames are in the queue, and the peer's taking them is a sign of life."""
        with suppress(trio.WouldBlock):
            self._outbox.send_nowait((0, Ping()))
            return True
        return False

"""One connection: greeting, then requests and answers until it ends. Whatever the peer says, only this ends.

Requests are answered as they are done, each under its own number. What a peer can make us hold is bounded: requests
in flight, data frames in flight (for this connection and for all), uploads, answers. At a bound we stop reading; and
because a peer that owes an answer and falls silent counts as hung, we then send ``Done`` under number 0, for which
nobody waits, once a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import trio

from core.errors import BusyError, MoorageError, PeerRefusedError, PeerUnavailableError, ProtocolError
from core.limits import (
    CONNECTION_IDLE_S,
    HANDSHAKE_DEADLINE_S,
    KIB,
    LINE_BYTES_PER_S_MIN,
    PING_AFTER_S,
    REQUESTS_IN_FLIGHT_MAX,
)
from core.ports import Buffer, Connection, Identity, Threads
from daemon.desk import Desk
from daemon.inbox import Counters, Inbox
from daemon.lane import Answer, Lane, UploadMessage
from daemon.store import ShardStore
from wire.frames import frame_prefix
from wire.messages import (
    PROTOCOL_VERSION,
    Done,
    Failure,
    GetManifest,
    GetReceipt,
    Hello,
    Message,
    Read,
    StoreManifest,
    StoreReceipt,
    UploadAbort,
    UploadBegin,
    UploadCommit,
    UploadData,
    message_head,
)

CLOSE_DEADLINE_S = 1.0
# One TLS record (RFC 8446, section 5.1) takes so much.
SMALL_BYTES = 16 * KIB
# Messages that carry up to a frame body in or out.
DATA_MESSAGES = (UploadData, Read, StoreManifest, StoreReceipt, GetManifest, GetReceipt)


@dataclass(frozen=True, slots=True)
class ConversationLimits:
    """Patience in seconds and bounds per connection."""

    idle_s: float = CONNECTION_IDLE_S
    # A peer that takes no answer for this long is gone; a large one has longer, as long as the thinnest line needs.
    send_deadline_s: float = 30.0
    # A client between two batches may be busy coding other extents; a repairer may read the next one over thin lines,
    # which takes up to REQUEST_DEADLINE_S and a frame's time, and again where a source failed.
    upload_idle_s: float = 330.0
    # 12 frames are 25 MiB. A put that has more under way waits in the kernel.
    data_frames: int = 12
    # Extents that one client has under way at this peer; each is an open file here.
    uploads: int = 16


class Conversation:
    """Serves one connection. ``data_frames`` is shared by all connections; while ``stopping``, no upload begins."""

    def __init__(
        self,
        connection: Connection,
        *,
        hello: Hello,
        desk: Desk,
        store: ShardStore,
        threads: Threads,
        limits: ConversationLimits,
        counters: Counters,
        data_frames: trio.Semaphore,
        stopping: Callable[[], bool],
        heard: Callable[[Identity, int], None] | None = None,
    ) -> None:
        self._connection = connection
        self._remote = connection.remote
        self._hello = hello
        self._desk = desk
        self._store = store
        self._threads = threads
        self._limits = limits
        self._counters = counters
        self._all_data = data_frames
        self._stopping = stopping
        self._heard = heard
        self._own_data = trio.Semaphore(limits.data_frames)
        self._data_held = 0
        self._requests = trio.Semaphore(REQUESTS_IN_FLIGHT_MAX)
        self._lanes: dict[int, Lane] = {}
        self._inbox = Inbox(connection, counters, trio.current_time())
        # No buffer: whoever has an answer holds it until the socket takes it, which bounds what is in memory.
        self._outbox, self._to_send = trio.open_memory_channel[Sequence[Answer]](0)

    async def run(self) -> None:
        """Until the peer closes, falls silent or breaks a rule.

        Raises:
            MalformedError, ProtocolError: it broke the protocol.
            PeerUnavailableError: it is gone, or took no answers.
        """
        try:
            if not await self._greet():
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_all)
                nursery.start_soon(self._watch, nursery.cancel_scope)
                try:
                    await self._receive_all(nursery)
                finally:
                    nursery.cancel_scope.cancel()
                    await self._hang_up()
        finally:
            for _ in range(self._data_held):
                self._all_data.release()

    async def _hang_up(self) -> None:
        """Before the uploads are cleared away: the other side must not wait for our disk to hear that this is over."""
        with trio.move_on_after(CLOSE_DEADLINE_S, shield=True):
            # The sender unwinds first.
            await trio.lowlevel.checkpoint()
            await self._connection.aclose()

    # --- greeting -----------------------------------------------------------------------------

    async def _greet(self) -> bool:
        with trio.move_on_after(HANDSHAKE_DEADLINE_S):
            first = await self._inbox.next()
            if first is None:
                return False
            number, theirs = first
            if not isinstance(theirs, Hello):
                raise ProtocolError(f"{self._remote.name} did not greet")
            refusal = self._refusal(theirs)
            if refusal is None and self._heard is not None:
                self._heard(self._remote, theirs.epoch)
            await self._write([(number, Failure.of(refusal) if refusal else self._hello)])
            return refusal is None
        return False

    def _refusal(self, theirs: Hello) -> PeerRefusedError | None:
        if theirs.pool != self._hello.pool:
            return PeerRefusedError(f"this peer belongs to pool {self._hello.pool.short}, not {theirs.pool.short}")
        if theirs.version != PROTOCOL_VERSION:
            return PeerRefusedError(
                f"this peer speaks protocol {PROTOCOL_VERSION}, not {theirs.version}: upgrade the older side"
            )
        return None

    # --- out ----------------------------------------------------------------------------------

    async def _write(self, answers: Sequence[Answer]) -> None:
        parts: list[Buffer] = []
        for number, message in answers:
            body = message.body_of()
            parts += (frame_prefix(message_head(number, message), len(body)), body)
        size_bytes = sum(len(part) for part in parts)
        if size_bytes <= SMALL_BYTES:
            # Many small answers are one record and one system call.
            parts = [b"".join(parts)]
        with trio.move_on_after(self._limits.send_deadline_s + size_bytes / LINE_BYTES_PER_S_MIN) as patience:
            await self._connection.send_all(*parts)
        if patience.cancelled_caught:
            raise PeerUnavailableError(f"{self._remote.name} takes no answers")
        self._counters.sent_bytes += size_bytes

    async def _send_all(self) -> None:
        async for answers in self._to_send:
            await self._write(answers)

    async def _reply(self, answers: Sequence[Answer]) -> None:
        self._counters.failures += sum(isinstance(message, Failure) for _, message in answers)
        await self._outbox.send(answers)

    # --- in -----------------------------------------------------------------------------------

    async def _watch(self, scope: trio.CancelScope) -> None:
        """End a connection that nobody uses."""
        while True:
            left_s = self._inbox.heard_at + self._limits.idle_s - trio.current_time()
            uploading = any(lane.failure is None for lane in self._lanes.values())
            busy = uploading or self._requests.value < REQUESTS_IN_FLIGHT_MAX
            if left_s <= 0 and not busy:
                scope.cancel()
            await trio.sleep(left_s if left_s > 0 else self._limits.idle_s)

    async def _receive_all(self, nursery: trio.Nursery) -> None:
        while (item := await self._inbox.next()) is not None:
            number, message = item
            self._counters.requests += 1
            await self._acquire(self._requests)
            if self._remote.role == "guest" and isinstance(message, UploadBegin):
                raise ProtocolError(f"{self._remote.name} is a guest, and sent {message.KIND}")
            if isinstance(message, DATA_MESSAGES):
                await self._acquire(self._own_data)
                await self._acquire(self._all_data)
                self._data_held += 1
            match message:
                case UploadBegin():
                    self._begin(nursery, number, message)
                case UploadData() | UploadCommit() | UploadAbort():
                    self._continue(number, message)
                case _:
                    nursery.start_soon(self._answer, number, message)

    async def _acquire(self, semaphore: trio.Semaphore) -> None:
        """Wait for room, showing now and then that it is us who are slow, not dead."""
        with suppress(trio.WouldBlock):
            semaphore.acquire_nowait()
            return
        while True:
            with trio.move_on_after(PING_AFTER_S):
                await semaphore.acquire()
                return
            await self._reply([(0, Done())])

    def _release(self, message: Message) -> None:
        self._requests.release()
        if isinstance(message, DATA_MESSAGES):
            self._data_held -= 1
            self._own_data.release()
            self._all_data.release()

    async def _answer(self, number: int, message: Message) -> None:
        try:
            try:
                answer = await self._desk.answer(self._remote, message)
            except ProtocolError:
                raise
            except MoorageError as error:
                answer = Failure.of(error)
            await self._reply([(number, answer)])
        finally:
            self._release(message)

    # --- uploads ------------------------------------------------------------------------------

    def _begin(self, nursery: trio.Nursery, number: int, message: UploadBegin) -> None:
        if message.upload in self._lanes:
            raise ProtocolError(f"upload {message.upload} is open already")
        failed = [upload for upload, lane in self._lanes.items() if lane.failure is not None]
        refusal = None
        if self._stopping():
            refusal = BusyError("this peer is stopping: it takes no new shards")
        elif len(self._lanes) - len(failed) >= self._limits.uploads:
            refusal = BusyError(f"{self._limits.uploads} uploads are open on this connection")
        if len(failed) >= self._limits.uploads:
            # The oldest: its client has had the longest time to end it.
            self._lanes.pop(failed[0]).stop()
        lane = Lane(
            store=self._store,
            threads=self._threads,
            idle_s=self._limits.upload_idle_s,
            moved_bytes=lambda: self._connection.moved_bytes,
            failure=refusal,
            reply=self._reply,
            release=self._release,
        )
        self._lanes[message.upload] = lane
        lane.put(number, message)
        nursery.start_soon(lane.run, lambda: self._end(message.upload, lane))

    def _continue(self, number: int, message: UploadMessage) -> None:
        lane = self._lanes.get(message.upload)
        if lane is None:
            raise ProtocolError(f"upload {message.upload} was not begun")
        lane.put(number, message)

    def _end(self, upload: int, lane: Lane) -> None:
        if self._lanes.get(upload) is lane:
            del self._lanes[upload]
            self._counters.shards_committed += lane.committed

"""The peer as others see it: the handler for ``core.ports.Net.serve``, and its figures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace

import trio

from client.tasks import first_error
from core.errors import BusyError, MalformedError, MoorageError, ProtocolError
from core.ports import FRAMES, Connection, Identity, Threads
from daemon.conversation import CLOSE_DEADLINE_S, Conversation, ConversationLimits
from daemon.desk import Desk, Handlers, Rosters
from daemon.inbox import Counters
from daemon.store import ShardStore
from daemon.web import WebServer
from wire.frames import frame_prefix
from wire.messages import Failure, message_head


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds for all connections together.

    ``data_frames`` whole frames of about 2 MiB may be in memory: with 36 of them and the interpreter, a busy daemon
    stays below 150 MiB. Every connection may besides have one frame under way; members of the pool who begin one each
    and stall can make it 530 MiB more, for as long as an idle connection lives.
    """

    connections: int = 256
    data_frames: int = 36


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """``counters``: since the start, as of now."""

    connections: int
    connections_total: int
    connections_refused: int
    counters: Counters


class Server:
    """Serves connections until their nursery is cancelled."""

    def __init__(
        self,
        *,
        me: Identity,
        store: ShardStore,
        threads: Threads,
        handlers: Handlers,
        limits: ServerLimits | None = None,
        conversation_limits: ConversationLimits | None = None,
        rosters: Rosters | None = None,
    ) -> None:
        self._store = store
        self._threads = threads
        self._handlers = handlers
        self.web: WebServer | None = None
        """Whoever answers HTTP, in a ledger peer."""
        self._limits = limits or ServerLimits()
        self._conversation_limits = conversation_limits or ConversationLimits()
        self._desk = Desk(me=me, store=store, threads=threads, handlers=handlers, rosters=rosters)
        self._data_frames = trio.Semaphore(self._limits.data_frames)
        self._counters = Counters()
        self._connections = 0
        self._total = 0
        self._refused = 0
        self._stopping = False
        self._rosters = rosters
        self._open: dict[Connection, trio.CancelScope] = {}

    def stop_uploads(self) -> None:
        """From now on refuse new uploads as busy; those under way may finish."""
        self._stopping = True

    def dismiss(self, organisations: Collection[str]) -> None:
        """End the connections of members of these organisations."""
        for connection, scope in list(self._open.items()):
            if connection.remote.organisation in organisations:
                scope.cancel()

    def statistics(self) -> ServerStatistics:
        return ServerStatistics(self._connections, self._total, self._refused, replace(self._counters))

    async def serve_connection(self, connection: Connection) -> None:
        """Converse until the connection ends, in frames or (with a ledger peer) HTTP; abort its uploads and close it.

        A peer that is gone or breaks the protocol is no error here. Bugs are: they pass through.
        """
        self._total += 1
        self._connections += 1
        try:
            if self._connections > self._limits.connections:
                self._refused += 1
                if connection.protocol == FRAMES:
                    await self._refuse(connection)
            elif connection.protocol == FRAMES:
                await self._attend(connection, self._converse)
            elif self.web is not None and connection.remote.role != "guest":
                # A guest may apply, by frames, and read nothing.
                await self._attend(connection, self.web.serve_connection)
        finally:
            self._connections -= 1
            with trio.move_on_after(CLOSE_DEADLINE_S, shield=True):
                await connection.aclose()

    async def _attend(self, connection: Connection, talk: Callable[[Connection], Awaitable[None]]) -> None:
        """Until it ends, or its organisation is dismissed."""
        try:
            with trio.CancelScope() as scope:
                self._open[connection] = scope
                await talk(connection)
        finally:
            self._open.pop(connection, None)

    async def _refuse(self, connection: Connection) -> None:
        busy = Failure.of(BusyError(f"{self._limits.connections} connections are open: try again shortly"))
        with trio.move_on_after(CLOSE_DEADLINE_S):
            await connection.send_all(frame_prefix(message_head(0, busy), 0))

    async def _converse(self, connection: Connection) -> None:
        conversation = Conversation(
            connection,
            hello=self._handlers.hello(),
            desk=self._desk,
            store=self._store,
            threads=self._threads,
            limits=self._conversation_limits,
            counters=self._counters,
            data_frames=self._data_frames,
            stopping=lambda: self._stopping,
            heard=self._heard,
        )
        try:
            await conversation.run()
        except* MoorageError as group:
            self._counters.protocol_errors += isinstance(first_error(group), MalformedError | ProtocolError)

    def _heard(self, remote: Identity, epoch: int) -> None:
        if self._rosters is not None:
            self._rosters.heard(remote, epoch)

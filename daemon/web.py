"""The answering side of HTTP on the peers' port: requests of members, one after the other, everything bounded."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

import h11
import trio

from core.errors import MoorageError, PeerUnavailableError
from core.limits import CONNECTION_IDLE_S, KIB, LINE_BYTES_PER_S_MIN
from core.ports import Connection
from wire.web import TEXT, WEB_BODY_MAX_BYTES, WEB_HEAD_MAX_BYTES, WebAnswer, WebRequest

# A head that comes in one piece may be so much longer than WEB_HEAD_MAX_BYTES.
RECEIVE_BYTES = 16 * KIB
_SERVER = "moorage"


@dataclass(frozen=True, slots=True)
class WebLimits:
    """Patience in seconds and bounds per connection."""

    idle_s: float = CONNECTION_IDLE_S
    # From a request's first byte to its last; honest ones are a few KiB.
    request_deadline_s: float = 10.0
    # A taker of a large answer has longer, as long as the thinnest line needs.
    send_deadline_s: float = 30.0
    # A witness is asked ten times a second: a new connection every quarter of an hour costs nothing and lets a
    # connection that was let in under an old roster end.
    requests: int = 10_000
    # Large answers in memory at a time, the largest a bundle of 16 MiB: to all, and to one organisation, whose slow
    # takers so leave room for others.
    large_at_once: int = 8
    large_per_organisation: int = 3
    # An answer up to this length is sent in one piece; what is longer is not copied once more for it.
    joined_max_bytes: int = 16 * KIB


Handler = Callable[[WebRequest], Awaitable[WebAnswer]]


class WebServer:
    """Serves connections; ``handler`` answers. What it raises as MoorageError becomes status 500.

    Args:
        is_large: whether the answer to a request may be large. Those wait for one another; the others never wait.
    """

    def __init__(
        self, handler: Handler, limits: WebLimits | None = None, *, is_large: Callable[[WebRequest], bool]
    ) -> None:
        self.handler = handler
        self._limits = limits or WebLimits()
        self._is_large = is_large
        self._large = trio.Semaphore(self._limits.large_at_once)
        self._large_of: dict[str, trio.Semaphore] = {}
        """By organisation: as many as the roster has had."""

    async def serve_connection(self, connection: Connection) -> None:
        """Until either side has enough. Raises PeerUnavailableError when the connection breaks."""
        talk = _Talk(connection, self._limits)
        for _ in range(self._limits.requests):
            request = await talk.request()
            if request is None:
                return
            async with self._room_for(request):
                await talk.answer(request, await self._answer(request))
            if not talk.goes_on:
                return

    @contextlib.asynccontextmanager
    async def _room_for(self, request: WebRequest) -> AsyncGenerator[None]:
        if not self._is_large(request):
            yield
            return
        limit = self._limits.large_per_organisation
        async with self._large_of.setdefault(request.asker.organisation, trio.Semaphore(limit)), self._large:
            yield

    async def _answer(self, request: WebRequest) -> WebAnswer:
        try:
            return await self.handler(request)
        except MoorageError as error:
            return plain(500, str(error))


def plain(status: int, text: str) -> WebAnswer:
    return WebAnswer(status, f"{text}\n".encode("utf-8", "replace"), {"content-type": TEXT})


class _Talk:
    """HTTP over one connection, by h11, which knows when it is whose turn."""

    def __init__(self, connection: Connection, limits: WebLimits) -> None:
        self._connection = connection
        self._limits = limits
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=WEB_HEAD_MAX_BYTES)
        self._begun = False
        self.goes_on = True

    async def request(self) -> WebRequest | None:
        """The next request; None when there is none, or none that makes sense (which the other side was told)."""
        scope = trio.CancelScope(deadline=trio.current_time() + self._limits.idle_s)
        try:
            with scope:
                return await self._read(scope)
            if self._begun:
                await self._refuse(408, "the request came too slowly")
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint or 400, str(error))
        self.goes_on = False
        return None

    async def _read(self, scope: trio.CancelScope) -> WebRequest | None:
        head: h11.Request | None = None
        body = bytearray()
        self._begun = False
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                if self._h11.they_are_waiting_for_100_continue:
                    await self._send(h11.InformationalResponse(status_code=100, headers=[]))
                data = await self._connection.receive_some(RECEIVE_BYTES)
                if data and not self._begun:
                    self._begun = True
                    scope.deadline = trio.current_time() + self._limits.request_deadline_s
                self._h11.receive_data(data)
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > WEB_BODY_MAX_BYTES:
                    raise h11.RemoteProtocolError("the body is too long", error_status_hint=413)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                method, target = head.method.decode("ascii"), head.target.decode("ascii")
                return WebRequest(method, target, bytes(body), self._connection.remote)
            else:
                return None

    async def answer(self, request: WebRequest, answer: WebAnswer) -> None:
        """Raises PeerUnavailableError."""
        headers = [*answer.headers.items(), ("content-length", str(len(answer.body))), ("server", _SERVER)]
        events: list[h11.Event] = [h11.Response(status_code=answer.status, headers=headers)]
        if request.method != "HEAD":
            events.append(h11.Data(data=answer.body))
        await self._send(*events, h11.EndOfMessage())
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
        else:
            self.goes_on = False

    async def _refuse(self, status: int, text: str) -> None:
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = plain(status, text)
            headers = [*answer.headers.items(), ("content-length", str(len(answer.body))), ("connection", "close")]
            response = h11.Response(status_code=status, headers=headers)
            await self._send(response, h11.Data(data=answer.body), h11.EndOfMessage())

    async def _send(self, *events: h11.Event) -> None:
        parts = [part for event in events if (part := self._h11.send(event))]
        size_bytes = sum(len(part) for part in parts)
        with trio.move_on_after(self._limits.send_deadline_s + size_bytes / LINE_BYTES_PER_S_MIN) as patience:
            for piece in [b"".join(parts)] if size_bytes <= self._limits.joined_max_bytes else parts:
                await self._connection.send_all(piece)
        if patience.cancelled_caught:
            raise PeerUnavailableError(f"{self._connection.remote.name} takes no answers")

"""The asking side of HTTP: one connection to one peer, kept alive from one request to the next."""

from __future__ import annotations

import h11
import trio

from core.errors import MoorageError, PeerUnavailableError
from core.limits import CONNECTION_IDLE_S, KIB
from core.ports import HTTP, Buffer, Connection, Net
from core.version import VERSION
from wire.web import WEB_HEAD_MAX_BYTES, WebAnswer, WebPlace

# How long one exchange may take, unless its asker says otherwise.
WEB_DEADLINE_S = 10.0
RECEIVE_BYTES = 64 * KIB
# Before the other side ends it for being idle, so that a request seldom meets a connection that just closed.
_STALE_AFTER_S = CONNECTION_IDLE_S / 2


class WebClient:
    """Asks one peer, one request at a time. ``aclose`` it."""

    def __init__(self, net: Net, place: WebPlace) -> None:
        self._net = net
        self._place = place
        self._turn = trio.Lock()
        self._connection: Connection | None = None
        self._talk = h11.Connection(h11.CLIENT)
        self._used_at = 0.0

    async def get(self, path: str, *, max_bytes: int, deadline_s: float = WEB_DEADLINE_S) -> WebAnswer:
        """``path`` is put behind the place's. Raises PeerUnavailableError, PeerRefusedError."""
        return await self._ask("GET", path, b"", max_bytes=max_bytes, deadline_s=deadline_s)

    async def post(self, path: str, body: bytes, *, max_bytes: int, deadline_s: float = WEB_DEADLINE_S) -> WebAnswer:
        """As ``get``; asked a second time when a kept connection turns out to be closed."""
        return await self._ask("POST", path, body, max_bytes=max_bytes, deadline_s=deadline_s)

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.aclose()

    async def _ask(self, method: str, path: str, body: bytes, *, max_bytes: int, deadline_s: float) -> WebAnswer:
        async with self._turn:
            try:
                with trio.fail_after(deadline_s):
                    if self._connection is not None and trio.current_time() - self._used_at < _STALE_AFTER_S:
                        try:
                            return await self._exchange(self._connection, method, path, body, max_bytes)
                        except MoorageError:
                            # It was closed since; what is asked here may be asked twice.
                            pass
                    await self._renew()
                    assert self._connection is not None
                    return await self._exchange(self._connection, method, path, body, max_bytes)
            except trio.TooSlowError:
                raise PeerUnavailableError(f"{self._place.host}: no answer within {deadline_s:g} s") from None

    async def _renew(self) -> None:
        await self.aclose()
        self._talk = h11.Connection(h11.CLIENT, max_incomplete_event_size=WEB_HEAD_MAX_BYTES)
        self._connection = await self._net.connect(self._place.address, HTTP)

    async def _exchange(self, connection: Connection, method: str, path: str, body: bytes, max_bytes: int) -> WebAnswer:
        whole = False
        try:
            headers = [("Host", self._place.host), ("User-Agent", f"moorage/{VERSION}")]
            if body:
                headers.append(("Content-Length", str(len(body))))
            request = h11.Request(method=method, target=self._place.path + path, headers=headers)
            await connection.send_all(self._bytes_of(request, h11.Data(data=body), h11.EndOfMessage()))
            answer = await self._receive(connection, max_bytes)
            if self._talk.our_state is h11.DONE and self._talk.their_state is h11.DONE:
                self._talk.start_next_cycle()
                self._used_at = trio.current_time()
                whole = True
            return answer
        except h11.ProtocolError as error:
            raise PeerUnavailableError(f"{self._place.host}: its HTTP makes no sense: {error}") from error
        finally:
            if not whole:
                with trio.CancelScope(shield=True):
                    await self.aclose()

    def _bytes_of(self, *events: h11.Event) -> Buffer:
        return b"".join(self._talk.send(event) or b"" for event in events)

    async def _receive(self, connection: Connection, max_bytes: int) -> WebAnswer:
        status, headers, body = 0, dict[str, str](), bytearray()
        while True:
            event = self._talk.next_event()
            if event is h11.NEED_DATA:
                self._talk.receive_data(await connection.receive_some(RECEIVE_BYTES))
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > max_bytes:
                    raise PeerUnavailableError(f"{self._place.host}: its answer is longer than {max_bytes} bytes")
            elif isinstance(event, h11.EndOfMessage):
                return WebAnswer(status, bytes(body), headers)
            elif event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                raise PeerUnavailableError(f"{self._place.host}: hung up before it answered")

"""Reading a log from any static web server: HTTP/1.1 over TCP or TLS, one kept connection."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

import h11
import trio

from core.errors import MalformedError, PeerUnavailableError, UsageError
from core.limits import CONNECT_DEADLINE_S, HANDSHAKE_DEADLINE_S, KIB
from core.version import VERSION

# A bundle of 16 MiB over a thin line; what answers at all sends its first byte much sooner.
ANSWER_DEADLINE_S = 60.0
_RECEIVE_BYTES = 64 * KIB
_NOT_THERE = (404, 410)
_PORTS = {"http": 80, "https": 443}


class HttpClient:
    """Requests to one server. One task at a time.

    Args:
        url: ``http://`` or ``https://``; paths of requests stand below its path.
        context: of TLS; by default the system's certificate authorities are believed.
    """

    def __init__(self, url: str, context: ssl.SSLContext | None = None) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise UsageError(f"{url}: {error}") from error
        if parts.scheme not in _PORTS or not parts.hostname or parts.query or parts.fragment or parts.username:
            raise UsageError(f"{url}: not of the form http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH")
        self.url = url.rstrip("/")
        self._host, self._port = parts.hostname, port or _PORTS[parts.scheme]
        self._authority = parts.netloc
        self._path = parts.path.rstrip("/")
        self._context = (context or ssl.create_default_context()) if parts.scheme == "https" else None
        self._stream: trio.abc.Stream | None = None
        self._state = h11.Connection(h11.CLIENT)

    async def get(self, path: str, *, max_bytes: int) -> bytes | None:
        """A resource's bytes; None when it is not there. Raises PeerUnavailableError, MalformedError (too long)."""
        status, body = await self.request("GET", path, max_bytes=max_bytes)
        if status in _NOT_THERE:
            return None
        if status != 200:
            raise PeerUnavailableError(f"{self.url}/{path}: the server answers {status}")
        return body

    async def request(
        self, method: str, path: str, *, body: bytes = b"", kind: str = "", max_bytes: int
    ) -> tuple[int, bytes]:
        """Status and body. ``path`` is appended to the URL's (empty: the URL itself)."""
        where = f"{self.url}/{path}" if path else self.url
        fresh = self._stream is None
        try:
            with trio.fail_after(ANSWER_DEADLINE_S):
                try:
                    return await self._exchange(method, path, body, kind, max_bytes)
                except (trio.BrokenResourceError, h11.RemoteProtocolError):
                    await self.aclose()
                    if fresh:
                        raise
                    # The server closed the kept connection meanwhile.
                    return await self._exchange(method, path, body, kind, max_bytes)
        except trio.TooSlowError as error:
            await self.aclose()
            raise PeerUnavailableError(f"{where}: no answer in time") from error
        except (OSError, ssl.SSLError, trio.BrokenResourceError, h11.ProtocolError) as error:
            await self.aclose()
            raise PeerUnavailableError(f"{where}: {error.__cause__ or error}") from error
        except MalformedError as error:
            await self.aclose()
            raise MalformedError(f"{where}: {error}") from error

    async def _connect(self) -> trio.abc.Stream:
        with trio.fail_after(CONNECT_DEADLINE_S + HANDSHAKE_DEADLINE_S):
            stream: trio.abc.Stream = await trio.open_tcp_stream(self._host, self._port)
            if self._context is not None:
                tls = trio.SSLStream(stream, self._context, server_hostname=self._host, https_compatible=True)
                try:
                    await tls.do_handshake()
                except BaseException:  # also when the deadline passes: nobody else knows of the connection
                    await trio.aclose_forcefully(stream)
                    raise
                stream = tls
        self._state = h11.Connection(h11.CLIENT)
        return stream

    async def _exchange(self, method: str, path: str, body: bytes, kind: str, max_bytes: int) -> tuple[int, bytes]:
        stream = self._stream = self._stream or await self._connect()
        state = self._state
        headers = [("Host", self._authority), ("User-Agent", f"moorage/{VERSION}"), ("Accept-Encoding", "identity")]
        if body:
            headers += [("Content-Type", kind), ("Content-Length", str(len(body)))]
        target = f"{self._path}/{path}" if path else self._path or "/"
        sent = [state.send(h11.Request(method=method, target=target, headers=headers))]
        sent += [state.send(h11.Data(data=body))] if body else []
        sent.append(state.send(h11.EndOfMessage()))
        await stream.send_all(b"".join(part for part in sent if part))
        status, parts, size = 0, list[bytes](), 0
        while True:
            event = state.next_event()
            if event is h11.NEED_DATA:
                state.receive_data(bytes(await stream.receive_some(_RECEIVE_BYTES)))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                size += len(event.data)
                if size > max_bytes:
                    raise MalformedError(f"longer than {max_bytes} bytes")
                parts.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                break
        if state.our_state is h11.DONE and state.their_state is h11.DONE:
            state.start_next_cycle()
        else:
            await self.aclose()
        return status, b"".join(parts)

    async def aclose(self) -> None:
        """Forget the connection; the next request makes a new one."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await trio.aclose_forcefully(stream)


class HttpTiles:
    """A ``client.tilesource.TileSource`` over a web server."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    @property
    def name(self) -> str:
        return self._client.url

    async def read(self, path: str, *, max_bytes: int) -> bytes | None:
        return await self._client.get(path, max_bytes=max_bytes)

    async def aclose(self) -> None:
        await self._client.aclose()

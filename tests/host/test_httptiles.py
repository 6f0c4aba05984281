"""Reading from web servers that are slow, broken or hostile: an error that says so, never a hang or a flood."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from core.errors import MalformedError, MoorageError, PeerUnavailableError, UsageError
from host.httptiles import HttpClient, HttpTiles

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@dataclass
class Server:
    """Answers each request on a connection with the next of its scripted bytes; then it closes."""

    answers: list[list[bytes]]
    url: str = ""
    requests: list[bytes] = field(default_factory=list[bytes])

    async def serve(self, stream: trio.SocketStream) -> None:
        script = self.answers.pop(0) if self.answers else []
        async with stream:
            for answer in script:
                self.requests.append(await stream.receive_some(65536))
                await stream.send_all(answer)


@asynccontextmanager
async def served(*connections: list[bytes]) -> AsyncIterator[Server]:
    server = Server(list(connections))
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/log"
        nursery.start_soon(trio.serve_listeners, server.serve, [listener])
        yield server
        nursery.cancel_scope.cancel()


async def read(server: Server, path: str = "checkpoint", max_bytes: int = 100) -> bytes | None:
    tiles = HttpTiles(HttpClient(server.url))
    try:
        return await tiles.read(path, max_bytes=max_bytes)
    finally:
        await tiles.aclose()


async def test_files_are_read_over_one_kept_connection() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"
    async with served([GOOD, chunked, missing, GOOD]) as server:
        tiles = HttpTiles(HttpClient(server.url))
        found = [await tiles.read(path, max_bytes=10) for path in ("checkpoint", "tile/0/000", "tile/0/001", "x")]
        await tiles.aclose()
    assert found == [b"hello", b"abc", None, b"hello"]
    assert server.requests[1].startswith(b"GET /log/tile/0/000 HTTP/1.1\r\n")


async def test_a_kept_connection_that_the_server_closed_is_made_anew() -> None:
    async with served([GOOD], [GOOD]) as server:
        tiles = HttpTiles(HttpClient(server.url))
        assert await tiles.read("a", max_bytes=10) == b"hello"
        assert await tiles.read("b", max_bytes=10) == b"hello"
        await tiles.aclose()


HOSTILE: dict[str, tuple[bytes, type[MoorageError]]] = {
    "longer than asked for": (b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"x" * 101, MalformedError),
    "endless chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"40\r\n" + b"x" * 64 + b"\r\n40\r\n" + b"x" * 64,
        MalformedError,
    ),
    "cut off": (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", PeerUnavailableError),
    "no HTTP": (b"SSH-2.0-OpenSSH\r\n\r\n", PeerUnavailableError),
    "endless headers": (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, PeerUnavailableError),
    "two lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", PeerUnavailableError),
    "an error": (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", PeerUnavailableError),
    "elsewhere": (b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n", PeerUnavailableError),
    "nothing": (b"", PeerUnavailableError),
}


@pytest.mark.parametrize("attack", HOSTILE)
async def test_a_hostile_server_is_refused(attack: str) -> None:
    answer, kind = HOSTILE[attack]
    async with served([answer], [answer]) as server:
        with pytest.raises(kind, match="http://127"):
            await read(server)


async def test_a_server_that_hangs_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, hang, [listener])
        autojump_clock.autojump_threshold = 0.2
        with pytest.raises(PeerUnavailableError, match="no answer in time"):
            await read(Server([], f"http://127.0.0.1:{listener.socket.getsockname()[1]}"))
        nursery.cancel_scope.cancel()


async def hang(stream: trio.SocketStream) -> None:
    async with stream:
        await trio.sleep_forever()


@pytest.mark.parametrize(
    "url", ["http://", "ftp://host/", "http://host:99999/", "http://host/?a", "http://u@host/", "https://[::1/", "x"]
)
def test_what_is_no_address_is_said(url: str) -> None:
    with pytest.raises(UsageError):
        HttpClient(url)


async def test_nobody_there_is_said() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(PeerUnavailableError, match=str(port)):
        await read(Server([], f"http://127.0.0.1:{port}"))

"""Two ends of a connection in memory, and a client that says exactly what a test wants said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import trio
import trio.testing

from core.errors import PeerUnavailableError
from core.ids import PeerId, PoolId
from core.ports import FRAMES, ApplicationProtocol, Buffer, Identity
from wire.frames import Frame, FrameParser, frame_prefix
from wire.messages import PROTOCOL_VERSION, Hello, Message, message_head, parse_message

POOL = PoolId(b"\x33" * 32)


def identity(name: str, *, role: str = "client", organisation: str = "Charite") -> Identity:
    return Identity(
        peer=PeerId.of_key(name.encode()),
        organisation=organisation,
        site="Mitte",
        name=name,
        role="peer" if role == "peer" else "client",
        certificate=b"",
    )


def hello(pool: PoolId = POOL, version: int = PROTOCOL_VERSION) -> Hello:
    return Hello(pool, version, "moorage test", 1)


class MemoryConnection:
    """``core.ports.Connection`` over a stream in memory that holds nothing: a send waits for its receiver."""

    def __init__(self, stream: trio.abc.Stream, remote: Identity, protocol: ApplicationProtocol = FRAMES) -> None:
        self._protocol = protocol
        self._stream = stream
        self._remote = remote
        self._come_bytes = 0
        self.taken_bytes = 0
        """What the other side's system is said to have taken."""

    @property
    def remote(self) -> Identity:
        return self._remote

    @property
    def protocol(self) -> ApplicationProtocol:
        return self._protocol

    @property
    def moved_bytes(self) -> int:
        return self._come_bytes + self.taken_bytes

    async def send_all(self, *parts: Buffer) -> None:
        try:
            await self._stream.send_all(b"".join(parts))
            self.taken_bytes += sum(map(len, parts))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise PeerUnavailableError("connection lost") from error

    async def receive_some(self, max_bytes: int) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(max_bytes))
            self._come_bytes += len(data)
            return data
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise PeerUnavailableError("connection lost") from error

    async def receive_into(self, target: memoryview, *, expected_bytes: int = 1) -> int:
        del expected_bytes
        data = await self.receive_some(len(target))
        target[: len(data)] = data
        return len(data)

    async def aclose(self) -> None:
        await self._stream.aclose()


def connection_pair(left: Identity, right: Identity) -> tuple[MemoryConnection, MemoryConnection]:
    """The left one's end (whose ``remote`` is right), and the right one's."""
    one, other = trio.testing.lockstep_stream_pair()
    return MemoryConnection(one, right), MemoryConnection(other, left)


@dataclass
class RawClient:
    """Sends frames as told and hands out answers in the order in which they come."""

    connection: MemoryConnection
    parser: FrameParser = field(default_factory=FrameParser)
    frames: list[Frame] = field(default_factory=list[Frame])
    last_id: int = 0

    async def say(self, message: Message, number: int | None = None) -> int:
        if number is None:
            self.last_id += 1
            number = self.last_id
        body = message.body_of()
        await self.connection.send_all(frame_prefix(message_head(number, message), len(body)) + bytes(body))
        return number

    async def hear(self) -> tuple[int, Message]:
        """The next answer. Raises PeerUnavailableError at the end."""
        while not self.frames:
            data = await self.connection.receive_some(1 << 20)
            if not data:
                raise PeerUnavailableError("closed")
            self.frames += self.parser.feed(data)
        return parse_message(self.frames.pop(0))

    async def ask(self, message: Message) -> Message:
        number = await self.say(message)
        answered, answer = await self.hear()
        assert answered == number, (answered, number)
        return answer

    async def greet(self, greeting: Hello | None = None) -> Message:
        await self.say(greeting or hello(), 0)
        return (await self.hear())[1]

    async def is_closed(self, within_s: float = 1.0) -> bool:
        """Whether the other side closes without another word."""
        with trio.move_on_after(within_s):
            try:
                await self.hear()
            except PeerUnavailableError:
                return True
        return False


async def wait_until(condition: Callable[[], bool]) -> None:
    """Let the others run until it holds."""
    with trio.fail_after(1000):
        while not condition():  # noqa: ASYNC110 (what is waited for has no event)
            await trio.sleep(0.01)

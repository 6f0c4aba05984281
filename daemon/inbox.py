"""The messages of one connection as they come in, and what is counted of all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import trio

from core.ports import Connection
from wire.frames import Frame, FrameParser
from wire.messages import Message, parse_message


@dataclass(slots=True)
class Counters:
    """Since the server began."""

    requests: int = 0
    failures: int = 0
    protocol_errors: int = 0
    shards_committed: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0


@dataclass(slots=True)
class Inbox:
    """Bytes in, messages out."""

    connection: Connection
    counters: Counters
    heard_at: float
    _parser: FrameParser = field(default_factory=FrameParser)
    _frames: Iterator[Frame] = field(default_factory=lambda: iter(()))

    async def next(self) -> tuple[int, Message] | None:
        """None at the end of the stream. Raises MalformedError, PeerUnavailableError."""
        while True:
            frame = next(self._frames, None)
            if frame is not None:
                return parse_message(frame)
            parser = self._parser
            count = await self.connection.receive_into(parser.room(), expected_bytes=parser.expected_bytes)
            if not count:
                return None
            self.heard_at = trio.current_time()
            self.counters.received_bytes += count
            self._frames = parser.took(count)

"""Length-prefixed frames: a MessagePack head and a raw body (docs/protocol.md, "Frames").

| offset | size | field |
|---|---|---|
| 0 | 4 | head length H, big-endian, 1 to FRAME_HEAD_MAX_BYTES |
| 4 | 4 | body length B, big-endian, 0 to FRAME_BODY_MAX_BYTES |
| 8 | H | head: canonical MessagePack map |
| 8+H | B | body: raw bytes |
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from core.encoding import Value, decode, encode
from core.errors import MalformedError
from core.limits import FRAME_BODY_MAX_BYTES, FRAME_HEAD_MAX_BYTES
from core.ports import Buffer

_PREFIX = struct.Struct(">II")
PREFIX_BYTES = _PREFIX.size


@dataclass(frozen=True, slots=True)
class Frame:
    head: Value
    body: Buffer


def frame_prefix(head: Value, body_bytes: int) -> bytes:
    """The bytes of a frame that precede its body; a sender may then send the body without copying it."""
    packed = encode(head)
    assert 0 < len(packed) <= FRAME_HEAD_MAX_BYTES, len(packed)
    assert 0 <= body_bytes <= FRAME_BODY_MAX_BYTES, body_bytes
    return _PREFIX.pack(len(packed), body_bytes) + packed


class FrameParser:
    """Bytes in, frames out; no input or output of its own. Holds at most one frame's bytes.

    After a MalformedError the stream has lost its place and its connection must be closed.
    """

    def __init__(self) -> None:
        self._wanted = PREFIX_BYTES
        self._have = bytearray()
        self._head_bytes = 0
        self._body_bytes = 0
        self._head: Value = None
        self._state = "prefix"

    @property
    def wants_bytes(self) -> int:
        """How many bytes are missing before the parser can take its next step: a hint for the read size."""
        return self._wanted - len(self._have)

    @property
    def at_boundary(self) -> bool:
        """True between frames: an end of stream here is clean."""
        return self._state == "prefix" and not self._have

    def feed(self, data: Buffer) -> Iterator[Frame]:
        """Yield every frame that ``data`` completes. Raises MalformedError."""
        view = memoryview(data)
        while True:
            take = min(self._wanted - len(self._have), len(view))
            self._have += view[:take]
            view = view[take:]
            if len(self._have) < self._wanted:
                return
            part, self._have = self._have, bytearray()
            frame = self._step(part)
            if frame is not None:
                yield frame

    def _step(self, part: bytearray) -> Frame | None:
        match self._state:
            case "prefix":
                self._head_bytes, self._body_bytes = _PREFIX.unpack(part)
                if not 0 < self._head_bytes <= FRAME_HEAD_MAX_BYTES or self._body_bytes > FRAME_BODY_MAX_BYTES:
                    raise MalformedError(f"frame of {self._head_bytes} and {self._body_bytes} bytes is over the limit")
                self._state, self._wanted = "head", self._head_bytes
                return None
            case "head":
                self._head = decode(bytes(part), max_bytes=FRAME_HEAD_MAX_BYTES)
                if self._body_bytes:
                    self._state, self._wanted = "body", self._body_bytes
                    return None
                self._state, self._wanted = "prefix", PREFIX_BYTES
                return Frame(self._head, b"")
            case _:
                self._state, self._wanted = "prefix", PREFIX_BYTES
                return Frame(self._head, part)

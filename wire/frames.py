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
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from core.buffers import unfilled
from core.encoding import Value, decode, encode
from core.errors import MalformedError
from core.limits import FRAME_BODY_MAX_BYTES, FRAME_HEAD_MAX_BYTES, KIB
from core.ports import Buffer

_PREFIX = struct.Struct(">II")
PREFIX_BYTES = _PREFIX.size
# Most heads, and whole small messages, fit; of a large body no more than this is copied. A longer head gets more.
STAGE_BYTES = 16 * KIB


class Frame(NamedTuple):
    """One message as it travels: its decoded head and its raw body."""

    head: Value
    body: Buffer


def frame_prefix(head: Value, body_bytes: int) -> bytes:
    """The bytes of a frame that precede its body; a sender may then send the body without copying it."""
    packed = encode(head)
    assert 0 < len(packed) <= FRAME_HEAD_MAX_BYTES, len(packed)
    assert 0 <= body_bytes <= FRAME_BODY_MAX_BYTES, body_bytes
    return _PREFIX.pack(len(packed), body_bytes) + packed


def _sizes(data: bytearray, at: int) -> tuple[int, int]:
    """Of the head and the body whose prefix is at ``at``."""
    head_bytes, body_bytes = _PREFIX.unpack_from(data, at)
    return head_bytes, body_bytes


class FrameParser:
    """Bytes in, frames out; no input or output of its own.

    A body's bytes are received where they stay (``room``). Holds at most one frame's bytes, and STAGE_BYTES of those
    behind it. After a MalformedError the stream has lost its place and its connection must be closed.
    """

    def __init__(self) -> None:
        self._stage = bytearray(STAGE_BYTES)
        self._staged = 0
        self._head: Value = None
        self._body_bytes = 0
        # Of a body that is not complete; else empty.
        self._body = bytearray()
        self._filled = 0

    @property
    def expected_bytes(self) -> int:
        """How many bytes will come for certain, at least 1: those that the frame under way lacks."""
        if self._body:
            return len(self._body) - self._filled
        if self._staged < PREFIX_BYTES:
            return PREFIX_BYTES - self._staged if self._staged else 1
        head_bytes, body_bytes = _sizes(self._stage, 0)
        return PREFIX_BYTES + head_bytes + body_bytes - self._staged

    @property
    def at_boundary(self) -> bool:
        """True between frames: an end of stream here is clean."""
        return not self._body and not self._staged

    def room(self) -> memoryview:
        """Where the next bytes belong; never empty. Write some, then say how many by ``took``."""
        if self._body:
            return memoryview(self._body)[self._filled :]
        return memoryview(self._stage)[self._staged :]

    def took(self, count: int) -> Iterator[Frame]:
        """Every frame that the ``count`` bytes just written to ``room`` complete. Raises MalformedError."""
        if not self._body:
            self._staged += count
            return self._parse()
        self._filled += count
        if self._filled < len(self._body):
            return iter(())
        frame, self._body = Frame(self._head, self._body), bytearray()
        return iter((frame,))

    def feed(self, data: Buffer) -> Iterator[Frame]:
        """Every frame that ``data`` completes; it is copied. Raises MalformedError."""
        view = memoryview(data)
        while view:
            room = self.room()
            count = min(len(room), len(view))
            room[:count] = view[:count]
            view = view[count:]
            yield from self.took(count)

    def _parse(self) -> Iterator[Frame]:
        """The frames that are staged; what begins another one is kept."""
        frames: list[Frame] = []
        at = 0
        try:
            while not self._body and (body_at := self._take_head(at)) is not None:
                at, body = self._take_body(body_at)
                if body is not None:
                    frames.append(Frame(self._head, body))
        except MalformedError as error:
            return _until(frames, error)
        self._keep(at)
        return iter(frames)

    def _take_head(self, at: int) -> int | None:
        """Where the head at ``at`` ends; None when it is not there in full."""
        if self._staged - at < PREFIX_BYTES:
            return None
        head_bytes, body_bytes = _sizes(self._stage, at)
        if not 0 < head_bytes <= FRAME_HEAD_MAX_BYTES or body_bytes > FRAME_BODY_MAX_BYTES:
            raise MalformedError(f"frame of {head_bytes} and {body_bytes} bytes is over the limit")
        end = at + PREFIX_BYTES + head_bytes
        if end > self._staged:
            return None
        self._head = decode(bytes(self._stage[at + PREFIX_BYTES : end]), max_bytes=FRAME_HEAD_MAX_BYTES)
        self._body_bytes = body_bytes
        return end

    def _take_body(self, at: int) -> tuple[int, Buffer | None]:
        """Where what is staged of the body ends, and the body, if that is all of it."""
        end = min(at + self._body_bytes, self._staged)
        if not self._body_bytes:
            return end, b""
        body = unfilled(self._body_bytes)
        body[: end - at] = memoryview(self._stage)[at:end]
        if end - at == self._body_bytes:
            return end, body
        self._body, self._filled = body, end - at
        return end, None

    def _keep(self, at: int) -> None:
        """Move what is staged from ``at`` on to the front of a stage that has room for its head."""
        rest = self._stage[at : self._staged]
        wanted = STAGE_BYTES
        if len(rest) >= PREFIX_BYTES:
            wanted = max(wanted, PREFIX_BYTES + _sizes(rest, 0)[0])
        if wanted != len(self._stage):
            self._stage = bytearray(wanted)
        self._stage[: len(rest)] = rest
        self._staged = len(rest)


def _until(frames: Iterable[Frame], error: MalformedError) -> Iterator[Frame]:
    yield from frames
    raise error

"""Frames: any cut of the stream gives the same frames, and garbage is refused before it costs memory."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.encoding import Value, encode
from core.errors import MalformedError
from core.limits import FRAME_BODY_MAX_BYTES, FRAME_HEAD_MAX_BYTES
from tests.core.test_encoding import values
from wire.frames import Frame, FrameParser, frame_prefix

# Heads are any values here: what they mean is not the parser's business.
frames = st.lists(st.tuples(values, st.binary(max_size=50)), max_size=4)


def packed(items: list[tuple[Value, bytes]]) -> bytes:
    return b"".join(frame_prefix(head, len(body)) + body for head, body in items)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(marks)]


def parsed(parser: FrameParser, parts: list[bytes]) -> list[tuple[Value, bytes]]:
    return [(frame.head, bytes(frame.body)) for part in parts for frame in parser.feed(part)]


@settings(max_examples=50)
@given(frames, st.lists(st.integers(0, 10_000), max_size=20))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(
    items: list[tuple[Value, bytes]], places: list[int]
) -> None:
    parser = FrameParser()
    assert parsed(parser, cut(packed(items), places)) == items
    assert parser.at_boundary


@settings(max_examples=50)
@given(frames, st.lists(st.integers(1, 3000), min_size=1, max_size=8))
def test_bytes_may_be_received_where_they_stay(items: list[tuple[Value, bytes]], steps: list[int]) -> None:
    """As a connection does: it asks for room, fills some of it, and never gets less than it was told to expect."""
    parser, data, at, turn = FrameParser(), packed(items), 0, 0
    found: list[tuple[Value, bytes]] = []
    while at < len(data):
        room = parser.room()
        assert len(room) > 0
        assert 1 <= parser.expected_bytes <= len(data) - at
        count = min(len(room), len(data) - at, steps[turn % len(steps)])
        room[:count] = data[at : at + count]
        del room
        found += [(frame.head, bytes(frame.body)) for frame in parser.took(count)]
        at, turn = at + count, turn + 1
    assert found == items
    assert parser.at_boundary


@settings(max_examples=50)
@given(frames, st.integers(0, 500))
def test_an_end_in_the_middle_of_a_frame_is_no_boundary(items: list[tuple[Value, bytes]], missing: int) -> None:
    data = packed([*items, ({"last": True}, b"body")])
    kept = data[: max(0, len(data) - 1 - missing)]
    parser = FrameParser()
    count = len(list(parser.feed(kept)))
    assert parser.at_boundary == (packed([*items, ({"last": True}, b"body")][:count]) == kept)


@given(st.lists(st.binary(max_size=60), max_size=10))
@example([bytes(8)])
@example([b"\xff" * 8])
def test_garbage_is_frames_or_malformed(parts: list[bytes]) -> None:
    parser = FrameParser()
    try:
        for part in parts:
            for frame in parser.feed(part):
                encode(frame.head)
    except MalformedError:
        return


@settings(max_examples=50)
@given(frames.filter(bool), st.data())
def test_a_changed_byte_changes_a_frame_or_is_malformed(items: list[tuple[Value, bytes]], data: st.DataObject) -> None:
    whole = bytearray(packed(items))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        # repr, because True equals 1.
        assert repr(parsed(FrameParser(), [bytes(whole)])) != repr(items)
    except MalformedError:
        return


@pytest.mark.parametrize(
    ("head_bytes", "body_bytes"),
    [
        (0, 0),
        (FRAME_HEAD_MAX_BYTES + 1, 0),
        (1, FRAME_BODY_MAX_BYTES + 1),
        (2**32 - 1, 2**32 - 1),
    ],
)
def test_an_impossible_length_is_refused_at_once(head_bytes: int, body_bytes: int) -> None:
    with pytest.raises(MalformedError, match="over the limit"):
        list(FrameParser().feed(struct.pack(">II", head_bytes, body_bytes)))


def test_the_largest_frame_passes() -> None:
    body = bytes(FRAME_BODY_MAX_BYTES)
    (frame,) = FrameParser().feed(frame_prefix({}, len(body)) + body)
    assert len(frame.body) == FRAME_BODY_MAX_BYTES
    head = bytes(FRAME_HEAD_MAX_BYTES - 3)
    assert list(FrameParser().feed(frame_prefix(head, 0))) == [Frame(head, b"")]
    with pytest.raises(AssertionError):
        frame_prefix(head + b"x", 0)


@given(st.binary(min_size=1, max_size=20).filter(lambda data: data != b"\x80"))
def test_heads_are_canonical(head: bytes) -> None:
    try:
        frames = list(FrameParser().feed(struct.pack(">II", len(head), 0) + head))
    except MalformedError:
        return
    assert [encode(frame.head) for frame in frames] == [head]

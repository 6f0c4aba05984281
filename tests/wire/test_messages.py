"""Messages: each kind comes back as it went, and no head or body makes a parser do anything but refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.encoding import Value
from core.errors import CorruptError, MalformedError, MoorageError, WitnessRefusedError, error_classes
from core.ids import ObjectId, ShardRoot
from core.limits import (
    FRAME_BODY_MAX_BYTES,
    FRAME_HEAD_MAX_BYTES,
    READ_CHUNKS_MAX,
    ROOTS_PER_REQUEST_MAX,
    SEALED_CHUNK_MAX_BYTES,
)
from tests.core.test_encoding import values
from tests.wire.samples import MESSAGES, messages
from wire import messages as m
from wire.frames import Frame, FrameParser, frame_prefix

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "frames.json").read_text())


def sent(number: int, message: m.Message) -> bytes:
    body = message.body_of()
    return frame_prefix(m.message_head(number, message), len(body)) + bytes(body)


def received(data: bytes) -> tuple[int, m.Message]:
    (frame,) = FrameParser().feed(data)
    return m.parse_message(frame)


def test_every_kind_is_tried() -> None:
    assert {kind.KIND for kind in MESSAGES} == set(m.message_kinds())
    assert all(m.message_kinds()[kind.KIND] is kind for kind in MESSAGES)


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.KIND)
@settings(max_examples=25)
@given(st.data())
def test_each_kind_comes_back_as_it_went(kind: type[m.Message], data: st.DataObject) -> None:
    message = data.draw(MESSAGES[kind])
    number = data.draw(st.integers(0, m.MESSAGE_ID_MAX))
    assert received(sent(number, message)) == (number, message)


@settings(max_examples=200)
@given(messages, st.data())
def test_a_changed_head_is_refused_or_another_message(message: m.Message, data: st.DataObject) -> None:
    head = m.message_head(1, message)
    assert isinstance(head, dict)
    key = data.draw(st.sampled_from(sorted(head)))
    change = data.draw(st.sampled_from(["drop", "replace", "add"]))
    if change == "drop":
        del head[key]
    elif change == "replace":
        head[key] = data.draw(values)
    else:
        head["surplus"] = 1
    try:
        _, found = m.parse_message(Frame(head, message.body_of()))
    except MalformedError:
        return
    assert change == "replace"
    encoded = m.message_head(head["id"] if isinstance(head["id"], int) else 0, found)
    assert repr(encoded) == repr(head)


@settings(max_examples=150)
@given(messages, st.binary(max_size=100) | st.integers(-3, 3))
def test_a_changed_body_is_refused_or_another_message(message: m.Message, change: bytes | int) -> None:
    body = bytes(message.body_of())
    if isinstance(change, int):
        change = body[:change] if change < 0 else body + bytes(change)
    body = change
    try:
        _, found = m.parse_message(Frame(m.message_head(1, message), body))
    except MalformedError:
        return
    assert bytes(found.body_of()) == body


@given(values, st.binary(max_size=50))
def test_any_head_and_body_are_refused_as_malformed(head: Value, body: bytes) -> None:
    with pytest.raises(MalformedError):
        m.parse_message(Frame(head, body))


@pytest.mark.parametrize("number", [-1, m.MESSAGE_ID_MAX + 1, True, "1", None])
def test_message_numbers_are_32_bits(number: Value) -> None:
    with pytest.raises(MalformedError, match="'id'"):
        m.parse_message(Frame({"id": number, "kind": "ping"}, b""))


@pytest.mark.parametrize(
    "message",
    [
        m.UploadBegin(1, 4, 6, 6, 1, 0),
        m.UploadBegin(1, 6, 6, 0, 1, 0),
        m.UploadBegin(1, 0, 6, 0, 1, 0),
        m.UploadBegin(1, 1, 257, 0, 1, 0),
        m.UploadBegin(1, 4, 6, 0, 0, 0),
        m.UploadBegin(1, 4, 6, 0, 257, 0),
        m.UploadBegin(1, 4, 6, 0, 1, m.SHARD_MAX_BYTES + 1),
        m.UploadData(1, (3,), b"xx"),
        m.UploadData(1, (-1, 3), b"xx"),
        m.UploadData(1, (SEALED_CHUNK_MAX_BYTES + 1,), bytes(SEALED_CHUNK_MAX_BYTES + 1)),
        m.UploadData(1, (0,) * 257, b""),
        m.Read(ShardRoot(bytes(32)), 256, 1),
        m.Read(ShardRoot(bytes(32)), 0, 0),
        m.Read(ShardRoot(bytes(32)), 0, READ_CHUNKS_MAX + 1),
        m.Shares((), (), b""),
        m.Shares((1, 1), (b"",), b"xx"),
        m.Shares((1,), (b"x" * 31,), b"x"),
        m.Shares((1,), (b"x" * 32 * 9,), b"x"),
        m.Have((ShardRoot(bytes(32)),) * (ROOTS_PER_REQUEST_MAX + 1)),
        m.Objects((ObjectId(bytes(32)),) * (m.OBJECTS_PER_PAGE_MAX + 1)),
        m.Leaves((256,), "", b""),
        m.Leaves((), "", bytes(31)),
        m.Leaves((), "", bytes(257 * 32)),
        m.StartJob("format", True, True, ()),
        m.GetEvents(0),
        m.GetEvents(1001),
        m.DhtStore(b""),
        m.DhtStore(bytes(1201)),
        m.DhtFound((b"x",) * 21, ()),
        m.DhtFound((bytes(1201),), ()),
        m.DhtFind(bytes(31)),
    ],
    ids=repr,
)
def test_what_is_over_a_limit_is_refused(message: m.Message) -> None:
    with pytest.raises(MalformedError):
        m.parse_message(Frame(m.message_head(1, message), message.body_of()))


@pytest.mark.parametrize(
    "message",
    [
        m.Have((ShardRoot(b"\xff" * 32),) * ROOTS_PER_REQUEST_MAX),
        m.StartJob("repair", True, True, (ObjectId(b"\xff" * 32),) * ROOTS_PER_REQUEST_MAX),
        m.Objects((ObjectId(b"\xff" * 32),) * m.OBJECTS_PER_PAGE_MAX),
        m.Held((True,) * ROOTS_PER_REQUEST_MAX),
        m.UploadData(m.MESSAGE_ID_MAX, (4096,) * 256, bytes(256 * 4096)),
        m.Shares((65_540,) * 16, (b"\xff" * 256,) * 16, bytes(16 * 65_540)),
        m.Leaves(tuple(range(256)), "\U0001f600" * m.TEXT_MAX_CHARACTERS, bytes(256 * 32)),
        m.DhtFound((bytes(1200),) * 20, (bytes(1200),) * 20),
        m.Failure("error", "\U0001f600" * m.TEXT_MAX_CHARACTERS),
    ],
    ids=lambda message: message.KIND,
)
def test_the_longest_message_of_each_kind_fits_a_frame(message: m.Message) -> None:
    data = sent(m.MESSAGE_ID_MAX, message)
    assert len(data) <= 8 + FRAME_HEAD_MAX_BYTES + FRAME_BODY_MAX_BYTES
    assert received(data)[1] == message


@pytest.mark.parametrize("code", error_classes())
def test_every_error_reaches_the_other_side_as_its_own_class(code: str) -> None:
    error = error_classes()[code]("what happened")
    _, message = received(sent(1, m.Failure.of(error)))
    assert isinstance(message, m.Failure)
    assert type(message.error()) is type(error)
    assert str(message.error()) == "what happened"


def test_an_error_of_a_later_release_is_a_plain_error() -> None:
    assert type(m.Failure("quantum-decay", "oh").error()) is MoorageError
    assert WitnessRefusedError("no").status == 422


@pytest.mark.parametrize("text", ["/data/\udcff\udcfe", "x" * 5000, "\ud800"])
def test_a_failure_can_always_be_told(text: str) -> None:
    """Paths of any bytes and long explanations stand in errors."""
    _, message = received(sent(1, m.Failure.of(CorruptError(text))))
    assert isinstance(message, m.Failure)
    assert message.code == "corrupt"
    assert len(message.text) <= m.TEXT_MAX_CHARACTERS


@pytest.mark.parametrize("name", VECTORS["frames"])
def test_frames_of_this_protocol_version_are_understood_for_ever(name: str) -> None:
    data = bytes.fromhex(VECTORS["frames"][name])
    number, message = received(data)
    assert name == message.KIND
    assert sent(number, message) == data

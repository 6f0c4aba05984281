"""What every message is made of, the greeting, and the plain answers (docs/protocol.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from core.encoding import Value
from core.errors import MalformedError, MoorageError, from_code
from core.ids import DIGEST_BYTES, PoolId
from core.limits import SEALED_CHUNK_MAX_BYTES
from core.ports import Buffer
from core.schema import Fields

PROTOCOL_VERSION = 1
MESSAGE_ID_MAX = 2**32 - 1
TEXT_MAX_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Message:
    """Base of all messages. Subclasses define ``KIND``, ``head`` and ``parse``."""

    KIND: ClassVar[str]

    def head(self) -> dict[str, Value]:
        """The fields besides ``id`` and ``kind``."""
        return {}

    def body_of(self) -> Buffer:
        return b""

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        """Raises MalformedError."""
        del fields
        no_body(body)
        return cls()


def no_body(body: Buffer) -> None:
    if len(body):
        raise MalformedError("this message has no body")


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """First on every connection, both ways: versions and pool must fit before anything else is said."""

    KIND = "hello"
    pool: PoolId
    version: int
    software: str
    epoch: int

    def head(self) -> dict[str, Value]:
        return {
            "pool": self.pool.raw,
            "version": self.version,
            "software": self.software,
            "epoch": self.epoch,
        }

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        no_body(body)
        return cls(
            pool=PoolId(fields.exact("pool", DIGEST_BYTES)),
            version=fields.integer("version", high=2**16),
            software=fields.text("software", max_characters=100),
            epoch=fields.integer("epoch", high=2**31),
        )


class Done(Message):
    """The request was carried out; for commits and stores: durably."""

    __slots__ = ()
    KIND = "done"


@dataclass(frozen=True, slots=True)
class Failure(Message):
    """The request was not carried out. ``code`` is one of core.errors."""

    KIND = "failure"
    code: str
    text: str

    def head(self) -> dict[str, Value]:
        # A path in it may hold bytes that are no UTF-8; those stand in texts as surrogates, which have no encoding.
        text = self.text[:TEXT_MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
        return {"code": self.code, "text": text}

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        no_body(body)
        return cls(
            code=fields.text("code", max_characters=100),
            text=fields.text("text", max_characters=TEXT_MAX_CHARACTERS),
        )

    @classmethod
    def of(cls, error: MoorageError) -> Self:
        return cls(error.code, str(error))

    def error(self) -> MoorageError:
        return from_code(self.code, self.text)


class Ping(Message):
    """Answered by Done."""

    __slots__ = ()
    KIND = "ping"


def bounded(value: Value, high: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= high:
        raise MalformedError(f"{what} is not an integer from 0 to {high}")
    return value


def share_lengths(fields: Fields, *, max_items: int) -> tuple[int, ...]:
    items = fields.items("lengths", max_items=max_items)
    return tuple(bounded(item, SEALED_CHUNK_MAX_BYTES, "share length") for item in items)


def split_body(body: Buffer, lengths: list[int]) -> list[bytes]:
    if sum(lengths) != len(body):
        raise MalformedError("the lengths do not add up to the body")
    parts: list[bytes] = []
    at = 0
    for length in lengths:
        parts.append(bytes(body[at : at + length]))
        at += length
    return parts

"""Messages by which peers and clients pass on rosters, and what members propose to change in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from core.encoding import Value
from core.errors import MalformedError
from core.limits import PROPOSAL_MAX_BYTES, ROSTER_MAX_BYTES
from core.ports import Buffer
from core.schema import Fields
from wire.message import Message, no_body


@dataclass(frozen=True, slots=True)
class GetRoster(Message):
    """The roster, if it is later than ``epoch``. Answered by RosterFile."""

    KIND = "get-roster"
    epoch: int

    def head(self) -> dict[str, Value]:
        return {"epoch": self.epoch}

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        no_body(body)
        return cls(fields.integer("epoch", high=2**31))


@dataclass(frozen=True, slots=True)
class _Document(Message):
    """One document in the body, which whoever gets it checks itself."""

    body: Buffer = field(repr=False)

    def body_of(self) -> Buffer:
        return self.body

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        del fields
        return cls(_bounded(body, cls.max_bytes()))

    @classmethod
    def max_bytes(cls) -> int:
        return PROPOSAL_MAX_BYTES


def _bounded(body: Buffer, max_bytes: int) -> Buffer:
    if len(body) > max_bytes:
        raise MalformedError(f"document of {len(body)} bytes, at most {max_bytes} allowed")
    return body


class RosterFile(_Document):
    """A roster file; empty when there is none that is later."""

    __slots__ = ()
    KIND = "roster"

    @classmethod
    def max_bytes(cls) -> int:
        return ROSTER_MAX_BYTES


class StoreRoster(_Document):
    """Go by this roster, if it is a later one of the same pool. Answered by Done when it is durable, or is held."""

    __slots__ = ()
    KIND = "store-roster"

    @classmethod
    def max_bytes(cls) -> int:
        return ROSTER_MAX_BYTES


class GetProposals(Message):
    """What is proposed for the next roster. Answered by Blob (MessagePack list of proposals with their ballots)."""

    __slots__ = ()
    KIND = "get-proposals"


class StoreProposal(_Document):
    """Keep this proposal, or these ballots for it, and pass them on. Answered by Done when they are durable."""

    __slots__ = ()
    KIND = "store-proposal"


class Apply(_Document):
    """An invited organisation asks to be taken in: its entry. Answered by Blob: the proposal made of it."""

    __slots__ = ()
    KIND = "apply"

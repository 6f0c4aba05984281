"""Messages that ask a holder for shares, or for proof that it has them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from core.encoding import Value
from core.errors import MalformedError
from core.ids import DIGEST_BYTES, ShardRoot
from core.limits import EXTENT_CHUNKS, READ_CHUNKS_MAX, ROOTS_PER_REQUEST_MAX
from core.ports import Buffer
from core.schema import Fields
from wire.message import TEXT_MAX_CHARACTERS, Message, bounded, no_body, share_lengths

# A tree of 256 leaves is eight levels deep.
PATH_MAX_NODES = 8


@dataclass(frozen=True, slots=True)
class Have(Message):
    """Which of these shards do you hold? Presence only: it never counts as health. Answered by Held."""

    KIND = "have"
    roots: tuple[ShardRoot, ...]

    def head(self) -> dict[str, Value]:
        return {"roots": [root.raw for root in self.roots]}

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        no_body(body)
        raw = fields.blobs("roots", max_items=ROOTS_PER_REQUEST_MAX, size_bytes=DIGEST_BYTES)
        return cls(tuple(ShardRoot(item) for item in raw))


@dataclass(frozen=True, slots=True)
class Held(Message):
    """One flag for each root asked for, in order."""

    KIND = "held"
    flags: tuple[bool, ...]

    def head(self) -> dict[str, Value]:
        return {"flags": list(self.flags)}

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        no_body(body)
        flags: list[bool] = []
        for item in fields.items("flags", max_items=ROOTS_PER_REQUEST_MAX):
            if not isinstance(item, bool):
                raise MalformedError("held: a flag is not true or false")
            flags.append(item)
        return cls(tuple(flags))


@dataclass(frozen=True, slots=True)
class Read(Message):
    """Shares ``first`` to ``first + count - 1`` of a shard. Answered by Shares."""

    KIND = "read"
    root: ShardRoot
    first: int
    count: int

    def head(self) -> dict[str, Value]:
        return {"root": self.root.raw, "first": self.first, "count": self.count}

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        no_body(body)
        return cls(
            ShardRoot(fields.exact("root", DIGEST_BYTES)),
            fields.integer("first", high=EXTENT_CHUNKS - 1),
            fields.integer("count", low=1, high=READ_CHUNKS_MAX),
        )


@dataclass(frozen=True, slots=True)
class Shares(Message):
    """Shares laid end to end in the body, each with its Merkle path, which the reader checks against the root.

    A holder may answer with fewer shares than were asked for (never none): as many as fit one body.
    """

    KIND = "shares"
    lengths: tuple[int, ...]
    paths: tuple[bytes, ...]
    """One blob a share: the sibling digests from leaf to top, 32 bytes each."""
    body: Buffer = field(repr=False)

    def head(self) -> dict[str, Value]:
        return {"lengths": list(self.lengths), "paths": list(self.paths)}

    def body_of(self) -> Buffer:
        return self.body

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        lengths = share_lengths(fields, max_items=READ_CHUNKS_MAX)
        paths: list[bytes] = []
        for item in fields.items("paths", max_items=READ_CHUNKS_MAX):
            if not isinstance(item, bytes) or len(item) > PATH_MAX_NODES * DIGEST_BYTES or len(item) % DIGEST_BYTES:
                raise MalformedError("shares: a path is not up to 8 digests")
            paths.append(item)
        if not lengths or len(lengths) != len(paths) or sum(lengths) != len(body):
            raise MalformedError("shares: lengths, paths and body do not fit")
        return cls(lengths, tuple(paths), body)


@dataclass(frozen=True, slots=True)
class Prove(Message):
    """Re-read the whole shard from disk now and answer with the leaves of what was read: Leaves."""

    KIND = "prove"
    root: ShardRoot

    def head(self) -> dict[str, Value]:
        return {"root": self.root.raw}

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        no_body(body)
        return cls(ShardRoot(fields.exact("root", DIGEST_BYTES)))


@dataclass(frozen=True, slots=True)
class Leaves(Message):
    """``bad``: chunks whose share does not match; ``problem``: empty, or what is wrong with head or foot.

    The body is the column of leaf digests computed from the bytes just read; a reader who finds that they
    hash to the root knows that the holder had every share's digest, and samples shares to know that it has
    the shares.
    """

    KIND = "leaves"
    bad: tuple[int, ...]
    problem: str
    body: Buffer = field(repr=False)

    def head(self) -> dict[str, Value]:
        return {"bad": list(self.bad), "problem": self.problem}

    def body_of(self) -> Buffer:
        return self.body

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        bad = tuple(
            bounded(item, EXTENT_CHUNKS - 1, "chunk number") for item in fields.items("bad", max_items=EXTENT_CHUNKS)
        )
        if len(body) % DIGEST_BYTES or len(body) > EXTENT_CHUNKS * DIGEST_BYTES:
            raise MalformedError("leaves: the body is not a column of up to 256 digests")
        return cls(bad, fields.text("problem", max_characters=TEXT_MAX_CHARACTERS), body)

"""Leaves by which an owner vouches for any file, or takes back what an earlier leaf said (docs/format.md, "Leaf")."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

from anchor.leaflines import Lines
from core.ids import ObjectId


@dataclass(frozen=True, slots=True)
class DigestLeaf:
    """A file existed. Both digests are salted, so that nobody without the salt can confirm a guess.

    It states no time, so that a file anchored again has the same leaf; when it was anchored, witnesses say.
    """

    TYPE: ClassVar[str] = "digest"

    sha256: bytes
    """SHA-256 of the 32-byte salt followed by the file's bytes."""
    blake3: bytes
    """BLAKE3 of the file's bytes, keyed by the salt."""

    def lines(self) -> Iterator[str]:
        yield f"sha256 {self.sha256.hex()}"
        yield f"blake3 {self.blake3.hex()}"

    @classmethod
    def parse(cls, lines: Lines) -> Self:
        return cls(sha256=lines.digest("sha256"), blake3=lines.digest("blake3"))


@dataclass(frozen=True, slots=True)
class RevokeLeaf:
    """The owner takes back an earlier leaf of the object, which ``entry`` names by its leaf hash."""

    TYPE: ClassVar[str] = "revoke"

    object: ObjectId
    entry: bytes
    version: int
    previous: bytes
    time_s: int

    def lines(self) -> Iterator[str]:
        yield f"object {self.object}"
        yield f"entry {self.entry.hex()}"
        yield f"version {self.version}"
        yield f"prev {self.previous.hex()}"
        yield f"time {self.time_s}"

    @classmethod
    def parse(cls, lines: Lines) -> Self:
        return cls(
            object=lines.object_id("object"),
            entry=lines.digest("entry"),
            version=lines.number("version"),
            previous=lines.digest("prev"),
            time_s=lines.number("time"),
        )


@dataclass(frozen=True, slots=True)
class DeleteLeaf:
    """The owner gives the object up: no later leaf may speak of it."""

    TYPE: ClassVar[str] = "delete"

    object: ObjectId
    version: int
    previous: bytes
    time_s: int

    def lines(self) -> Iterator[str]:
        yield f"object {self.object}"
        yield f"version {self.version}"
        yield f"prev {self.previous.hex()}"
        yield f"time {self.time_s}"

    @classmethod
    def parse(cls, lines: Lines) -> Self:
        return cls(
            object=lines.object_id("object"),
            version=lines.number("version"),
            previous=lines.digest("prev"),
            time_s=lines.number("time"),
        )

"""What an object contains: files, folders and links, and where their bytes lie in the stream."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from core.errors import MalformedError
from core.limits import NAME_MAX_BYTES, PATH_MAX_BYTES


class Kind(IntEnum):
    """Values are part of the index format."""

    FILE = 0
    FOLDER = 1
    LINK = 2


@dataclass(frozen=True, slots=True)
class RelativePath:
    """A path inside an object: names joined by ``/``, any bytes but NUL, never leaving the tree.

    That a path cannot climb out is a property of the type: restoring joins nothing else to a folder.
    """

    raw: bytes

    def __post_init__(self) -> None:
        if not 0 < len(self.raw) <= PATH_MAX_BYTES or b"\0" in self.raw:
            raise MalformedError(f"path {self.raw!r}: empty, too long or with a NUL")
        for name in self.raw.split(b"/"):
            if name in (b"", b".", b"..") or len(name) > NAME_MAX_BYTES:
                raise MalformedError(f"path {self.raw!r}: {name!r} is not a name")

    @property
    def parent(self) -> bytes:
        """The enclosing path's bytes; empty at the top."""
        return self.raw.rpartition(b"/")[0]

    def __str__(self) -> str:
        return self.raw.decode("utf-8", "surrogateescape")


class Span(NamedTuple):
    """``length`` bytes of the stream from ``offset``."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, folder or link.

    ``digest`` is the plain BLAKE3 of a file's bytes (empty for others); ``target`` a link's target bytes.
    ``mode`` are the permission bits.
    """

    path: RelativePath
    kind: Kind
    size_bytes: int
    modified_ns: int
    mode: int
    digest: bytes
    target: bytes
    spans: tuple[Span, ...]

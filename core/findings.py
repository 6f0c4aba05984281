"""What a look at the archive found, as values: the sweep makes them, the journal keeps them, people read them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self, TypeVar

from core.encoding import Value
from core.errors import MalformedError, MalformedIdError
from core.ids import DIGEST_BYTES, Digest, ObjectId, PeerId, ShardRoot
from core.limits import EXTENT_CHUNKS, TOTAL_SHARES_MAX
from core.schema import Fields

KIND_MAX_CHARACTERS = 40
# One line of a log: longer explanations are cut, the facts stand in fields of their own.
DETAIL_MAX_CHARACTERS = 500
# An extent holds 64 MiB; 2^32 of them are more than any file system.
EXTENT_MAX = 2**32 - 1

D = TypeVar("D", bound=Digest)


class FindingKind(StrEnum):
    """What is the matter. Values are stable words of the journal, the wire and JSON output."""

    # A shard and its holder.
    MISSING = "missing"
    """The holder answers and does not have the shard."""
    CORRUPT = "corrupt"
    """Bytes were read that do not hash to the shard's root, or the disk could not read them."""
    SILENT = "silent"
    """The holder did not answer. Not a loss until its grace period ends."""
    MISPLACED = "misplaced"
    """The shard is whole but breaks the placement rule: too many on one site or organisation."""
    DUPLICATE = "duplicate"
    """More than one peer holds the same shard."""
    STRAY = "stray"
    """A file lies where only shards may lie, and is none, or is another than its name says."""
    NEWER_VERSION = "newer-version"
    """A later release wrote it; this one can neither check nor repair it."""
    # An object's papers.
    MANIFEST_MISSING = "manifest-missing"
    MANIFEST_CORRUPT = "manifest-corrupt"
    RECEIPT_MISSING = "receipt-missing"
    RECEIPT_CORRUPT = "receipt-corrupt"
    OWNER_LEFT = "owner-left"
    """The organisation that stored the object is not on the roster any more. The object is kept, and whole."""
    # What was done about it.
    QUARANTINED = "quarantined"
    REPAIRED = "repaired"
    RELOCATED = "relocated"
    REMOVED = "removed"
    """A copy that another made superfluous, or what an abandoned put left, was deleted."""
    UNREPAIRABLE = "unrepairable"
    """Fewer good shares than needed are within reach."""

    @property
    def is_remedy(self) -> bool:
        """True for what was done, False for what is wrong."""
        return self in (FindingKind.QUARANTINED, FindingKind.REPAIRED, FindingKind.RELOCATED, FindingKind.REMOVED)


@dataclass(frozen=True, slots=True)
class Finding:
    """One observation. Fields that do not apply, or are not known, are None.

    ``extent``, ``share`` and ``chunk`` count from 0 within the object, the scheme and the extent.
    """

    kind: FindingKind
    object: ObjectId | None = None
    holder: PeerId | None = None
    extent: int | None = None
    share: int | None = None
    chunk: int | None = None
    root: ShardRoot | None = None
    detail: str = ""

    def to_value(self) -> dict[str, Value]:
        """A plain map for JSON and MessagePack: digests as hexadecimal text, fields that are None left out."""
        digests = {"object": self.object, "holder": self.holder, "root": self.root}
        numbers = {"extent": self.extent, "share": self.share, "chunk": self.chunk}
        value: dict[str, Value] = {"kind": self.kind.value}
        value |= {key: str(digest) for key, digest in digests.items() if digest is not None}
        value |= {key: number for key, number in numbers.items() if number is not None}
        if self.detail:
            value["detail"] = self.detail[:DETAIL_MAX_CHARACTERS]
        return value

    @classmethod
    def from_value(cls, value: Value) -> Self:
        """The finding of a plain map. Raises MalformedError."""
        fields = Fields(value, what="finding")
        finding = cls(
            kind=fields.member("kind", FindingKind, max_characters=KIND_MAX_CHARACTERS),
            object=_digest(fields, "object", ObjectId),
            holder=_digest(fields, "holder", PeerId),
            extent=_number(fields, "extent", high=EXTENT_MAX),
            share=_number(fields, "share", high=TOTAL_SHARES_MAX - 1),
            chunk=_number(fields, "chunk", high=EXTENT_CHUNKS - 1),
            root=_digest(fields, "root", ShardRoot),
            detail=fields.text("detail", max_characters=DETAIL_MAX_CHARACTERS) if fields.has("detail") else "",
        )
        fields.end()
        return finding

    def __str__(self) -> str:
        places = [
            f"{word} {number}"
            for word, number in (("chunk", self.chunk), ("share", self.share), ("extent", self.extent))
            if number is not None
        ]
        names = [
            f"{word} {digest.short}"
            for word, digest in (("shard", self.root), ("object", self.object))
            if digest is not None
        ]
        where = ", ".join(places + names)
        at = f" at {self.holder.short}" if self.holder is not None else ""
        why = f": {self.detail}" if self.detail else ""
        return f"{self.kind.value}{' ' if where else ''}{where}{at}{why}"


def _digest(fields: Fields, key: str, digest: type[D]) -> D | None:
    if not fields.has(key):
        return None
    text = fields.text(key, max_characters=2 * DIGEST_BYTES)
    try:
        return digest.parse(text)
    except MalformedIdError as error:
        raise MalformedError(f"finding: field {key!r}: {error}") from error


def _number(fields: Fields, key: str, *, high: int) -> int | None:
    return fields.integer(key, high=high) if fields.has(key) else None

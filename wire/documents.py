"""Messages about objects' manifests and receipts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from core.encoding import Value
from core.ids import DIGEST_BYTES, ObjectId
from core.ports import Buffer
from core.schema import Fields
from wire.message import Message, no_body

OBJECTS_PER_PAGE_MAX = 1000


@dataclass(frozen=True, slots=True)
class _ObjectBlob(Message):
    """A request that carries one object's document in its body. Answered by Done when durable."""

    object: ObjectId
    body: Buffer = field(repr=False)

    def head(self) -> dict[str, Value]:
        return {"object": self.object.raw}

    def body_of(self) -> Buffer:
        return self.body

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        return cls(ObjectId(fields.exact("object", DIGEST_BYTES)), body)


@dataclass(frozen=True, slots=True)
class ObjectQuery(Message):
    """About one object, named in the head."""

    object: ObjectId

    def head(self) -> dict[str, Value]:
        return {"object": self.object.raw}

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        no_body(body)
        return cls(ObjectId(fields.exact("object", DIGEST_BYTES)))


class StoreManifest(_ObjectBlob):
    """Keep this manifest file durably. Answered by Done."""

    __slots__ = ()
    KIND = "store-manifest"


class StoreReceipt(_ObjectBlob):
    """Keep this receipt file durably. Answered by Done."""

    __slots__ = ()
    KIND = "store-receipt"


class GetManifest(ObjectQuery):
    """Answered by Blob."""

    __slots__ = ()
    KIND = "get-manifest"


class GetReceipt(ObjectQuery):
    """Answered by Blob."""

    __slots__ = ()
    KIND = "get-receipt"


@dataclass(frozen=True, slots=True)
class Blob(Message):
    """Bytes that the asker checks itself (a manifest by its id, a receipt by its proof, a report by its schema)."""

    KIND = "blob"
    body: Buffer = field(repr=False)

    def body_of(self) -> Buffer:
        return self.body

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        del fields
        return cls(body)


@dataclass(frozen=True, slots=True)
class ListObjects(Message):
    """Ids of the objects whose manifests the peer holds, after ``after``, ascending. Answered by Objects."""

    KIND = "list-objects"
    after: bytes

    def head(self) -> dict[str, Value]:
        return {"after": self.after}

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        no_body(body)
        return cls(fields.exact("after", DIGEST_BYTES))


@dataclass(frozen=True, slots=True)
class Objects(Message):
    """One page of ids, ascending; an empty one ends the list."""

    KIND = "objects"
    objects: tuple[ObjectId, ...]

    def head(self) -> dict[str, Value]:
        return {"objects": [item.raw for item in self.objects]}

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        no_body(body)
        raw = fields.blobs("objects", max_items=OBJECTS_PER_PAGE_MAX, size_bytes=DIGEST_BYTES)
        return cls(tuple(ObjectId(item) for item in raw))

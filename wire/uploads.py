"""Messages that bring a shard to its holder, share by share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from core.encoding import Value
from core.errors import MalformedError
from core.ids import DIGEST_BYTES, ShardRoot
from core.limits import EXTENT_CHUNKS, SEALED_CHUNK_MAX_BYTES, TOTAL_SHARES_MAX
from core.ports import Buffer
from core.schema import Fields
from wire.message import MESSAGE_ID_MAX, Message, no_body, share_lengths

SHARD_MAX_BYTES = EXTENT_CHUNKS * SEALED_CHUNK_MAX_BYTES


@dataclass(frozen=True, slots=True)
class UploadBegin(Message):
    """Open upload number ``upload`` of this connection for one shard. Answered by Done.

    ``expected_bytes`` (of shares) is reserved against quota and free space; more than that is refused.
    """

    KIND = "upload-begin"
    upload: int
    needed: int
    total: int
    index: int
    chunks: int
    expected_bytes: int

    def head(self) -> dict[str, Value]:
        return {
            "upload": self.upload,
            "needed": self.needed,
            "total": self.total,
            "index": self.index,
            "chunks": self.chunks,
            "expected_bytes": self.expected_bytes,
        }

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        no_body(body)
        total = fields.integer("total", low=2, high=TOTAL_SHARES_MAX)
        return cls(
            upload=fields.integer("upload", high=MESSAGE_ID_MAX),
            needed=fields.integer("needed", low=1, high=total - 1),
            total=total,
            index=fields.integer("index", high=total - 1),
            chunks=fields.integer("chunks", low=1, high=EXTENT_CHUNKS),
            expected_bytes=fields.integer("expected_bytes", high=SHARD_MAX_BYTES),
        )


@dataclass(frozen=True, slots=True)
class UploadData(Message):
    """The next shares of the upload, laid end to end. Answered by Done when written (not yet durable)."""

    KIND = "upload-data"
    upload: int
    lengths: tuple[int, ...]
    body: Buffer = field(repr=False)

    def head(self) -> dict[str, Value]:
        return {"upload": self.upload, "lengths": list(self.lengths)}

    def body_of(self) -> Buffer:
        return self.body

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        upload = fields.integer("upload", high=MESSAGE_ID_MAX)
        lengths = share_lengths(fields, max_items=EXTENT_CHUNKS)
        if sum(lengths) != len(body):
            raise MalformedError("upload-data: the shares' lengths do not add up to the body")
        return cls(upload, lengths, body)


@dataclass(frozen=True, slots=True)
class UploadCommit(Message):
    """Make the shard durable under ``root``. Answered by Done only when it survives a power cut.

    A holder whose own Merkle root of what it received differs answers ``corrupt`` and keeps nothing.
    """

    KIND = "upload-commit"
    upload: int
    root: ShardRoot

    def head(self) -> dict[str, Value]:
        return {"upload": self.upload, "root": self.root.raw}

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        no_body(body)
        return cls(fields.integer("upload", high=MESSAGE_ID_MAX), ShardRoot(fields.exact("root", DIGEST_BYTES)))


@dataclass(frozen=True, slots=True)
class UploadAbort(Message):
    """Forget the upload. Answered by Done."""

    KIND = "upload-abort"
    upload: int

    def head(self) -> dict[str, Value]:
        return {"upload": self.upload}

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        no_body(body)
        return cls(fields.integer("upload", high=MESSAGE_ID_MAX))

"""What peers say to each other: one frozen class a message, checked when it is read (docs/protocol.md).

A request's head is ``{"id": n, "kind": word, ...}``; its answer carries the same ``id`` and is the kind's
reply class, or ``Failure``. Sizes and counts are bounded by ``core.limits``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Self

from core.encoding import Value
from core.errors import MalformedError, MoorageError, from_code
from core.ids import DIGEST_BYTES, ObjectId, PoolId, ShardRoot
from core.limits import (
    DHT_RECORD_MAX_BYTES,
    EXTENT_CHUNKS,
    FRAME_BODY_MAX_BYTES,
    READ_CHUNKS_MAX,
    ROOTS_PER_REQUEST_MAX,
    SEALED_CHUNK_MAX_BYTES,
    TOTAL_SHARES_MAX,
)
from core.ports import Buffer
from core.schema import Fields
from wire.frames import Frame

PROTOCOL_VERSION = 1
MESSAGE_ID_MAX = 2**32 - 1
TEXT_MAX_CHARACTERS = 2000
# A tree of 256 leaves is eight levels deep.
PATH_MAX_NODES = 8
# As many closest peers as Kademlia's k.
RECORDS_MAX = 20
SHARD_MAX_BYTES = EXTENT_CHUNKS * SEALED_CHUNK_MAX_BYTES
OBJECTS_PER_PAGE_MAX = 1000


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
        _no_body(body)
        return cls()


def _no_body(body: Buffer) -> None:
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
        _no_body(body)
        return cls(
            pool=PoolId(fields.exact("pool", DIGEST_BYTES)),
            version=fields.integer("version", high=2**16),
            software=fields.text("software", max_characters=100),
            epoch=fields.integer("epoch", high=2**31),
        )


@dataclass(frozen=True, slots=True)
class Done(Message):
    """The request was carried out; for commits and stores: durably."""

    KIND = "done"


@dataclass(frozen=True, slots=True)
class Failure(Message):
    """The request was not carried out. ``code`` is one of core.errors."""

    KIND = "failure"
    code: str
    text: str

    def head(self) -> dict[str, Value]:
        return {"code": self.code, "text": self.text[:TEXT_MAX_CHARACTERS]}

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        _no_body(body)
        return cls(
            code=fields.text("code", max_characters=100),
            text=fields.text("text", max_characters=TEXT_MAX_CHARACTERS),
        )

    @classmethod
    def of(cls, error: MoorageError) -> Self:
        return cls(error.code, str(error))

    def error(self) -> MoorageError:
        return from_code(self.code, self.text)


@dataclass(frozen=True, slots=True)
class Ping(Message):
    """Answered by Done."""

    KIND = "ping"


# --- discovery ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DhtFind(Message):
    """Ask for the records under ``key`` and the peer records closest to it. Answered by DhtFound."""

    KIND = "dht-find"
    key: bytes

    def head(self) -> dict[str, Value]:
        return {"key": self.key}

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        _no_body(body)
        return cls(fields.exact("key", DIGEST_BYTES))


@dataclass(frozen=True, slots=True)
class DhtFound(Message):
    """``records``: what is stored under the key; ``closest``: signed peer records, nearest first.

    The body is the records laid end to end; the head holds their lengths.
    """

    KIND = "dht-found"
    records: tuple[bytes, ...]
    closest: tuple[bytes, ...]

    def head(self) -> dict[str, Value]:
        return {
            "records": [len(record) for record in self.records],
            "closest": [len(record) for record in self.closest],
        }

    def body_of(self) -> Buffer:
        return b"".join(self.records + self.closest)

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        lengths = [
            [_bounded(item, DHT_RECORD_MAX_BYTES, "record length") for item in fields.items(key, max_items=RECORDS_MAX)]
            for key in ("records", "closest")
        ]
        parts = _split(body, lengths[0] + lengths[1])
        return cls(tuple(parts[: len(lengths[0])]), tuple(parts[len(lengths[0]) :]))


@dataclass(frozen=True, slots=True)
class DhtStore(Message):
    """Keep this record if it is valid and not older than what is held. Answered by Done."""

    KIND = "dht-store"
    record: bytes

    def body_of(self) -> Buffer:
        return self.record

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        del fields
        if not 0 < len(body) <= DHT_RECORD_MAX_BYTES:
            raise MalformedError(f"record of {len(body)} bytes, at most {DHT_RECORD_MAX_BYTES} allowed")
        return cls(bytes(body))


# --- shards: writing ------------------------------------------------------------------------


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
        _no_body(body)
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
        lengths = _share_lengths(fields, max_items=EXTENT_CHUNKS)
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
        _no_body(body)
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
        _no_body(body)
        return cls(fields.integer("upload", high=MESSAGE_ID_MAX))


# --- shards: reading ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Have(Message):
    """Which of these shards do you hold? Presence only: it never counts as health. Answered by Held."""

    KIND = "have"
    roots: tuple[ShardRoot, ...]

    def head(self) -> dict[str, Value]:
        return {"roots": [root.raw for root in self.roots]}

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        _no_body(body)
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
        _no_body(body)
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
        _no_body(body)
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
        lengths = _share_lengths(fields, max_items=READ_CHUNKS_MAX)
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
        _no_body(body)
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
            _bounded(item, EXTENT_CHUNKS - 1, "chunk number") for item in fields.items("bad", max_items=EXTENT_CHUNKS)
        )
        if len(body) % DIGEST_BYTES or len(body) > EXTENT_CHUNKS * DIGEST_BYTES:
            raise MalformedError("leaves: the body is not a column of up to 256 digests")
        return cls(bad, fields.text("problem", max_characters=TEXT_MAX_CHARACTERS), body)


# --- manifests and receipts -----------------------------------------------------------------


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
class _ObjectQuery(Message):
    object: ObjectId

    def head(self) -> dict[str, Value]:
        return {"object": self.object.raw}

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        _no_body(body)
        return cls(ObjectId(fields.exact("object", DIGEST_BYTES)))


@dataclass(frozen=True, slots=True)
class StoreManifest(_ObjectBlob):
    KIND = "store-manifest"


@dataclass(frozen=True, slots=True)
class StoreReceipt(_ObjectBlob):
    KIND = "store-receipt"


@dataclass(frozen=True, slots=True)
class GetManifest(_ObjectQuery):
    """Answered by Blob."""

    KIND = "get-manifest"


@dataclass(frozen=True, slots=True)
class GetReceipt(_ObjectQuery):
    """Answered by Blob."""

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
        _no_body(body)
        return cls(fields.exact("after", DIGEST_BYTES))


@dataclass(frozen=True, slots=True)
class Objects(Message):
    KIND = "objects"
    objects: tuple[ObjectId, ...]

    def head(self) -> dict[str, Value]:
        return {"objects": [item.raw for item in self.objects]}

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        _no_body(body)
        raw = fields.blobs("objects", max_items=OBJECTS_PER_PAGE_MAX, size_bytes=DIGEST_BYTES)
        return cls(tuple(ObjectId(item) for item in raw))


# --- care -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartJob(Message):
    """Start a sweep or repair on this peer; no objects means all that it holds. Answered by Job.

    ``full``: every leaf of every shard instead of a sample. ``grace``: leave silent holders their grace period.
    """

    KIND = "start-job"
    job: str
    full: bool
    grace: bool
    objects: tuple[ObjectId, ...]

    def head(self) -> dict[str, Value]:
        return {
            "job": self.job,
            "full": self.full,
            "grace": self.grace,
            "objects": [item.raw for item in self.objects],
        }

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        _no_body(body)
        job = fields.text("job", max_characters=20)
        if job not in ("sweep", "repair"):
            raise MalformedError(f"start-job: no job is called {job!r}")
        full, grace = fields.flag("full"), fields.flag("grace")
        raw = fields.blobs("objects", max_items=ROOTS_PER_REQUEST_MAX, size_bytes=DIGEST_BYTES)
        return cls(job, full, grace, tuple(ObjectId(item) for item in raw))


@dataclass(frozen=True, slots=True)
class PollJob(Message):
    """How is the job? Answered by Job."""

    KIND = "poll-job"
    number: int

    def head(self) -> dict[str, Value]:
        return {"number": self.number}

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        _no_body(body)
        return cls(fields.integer("number", high=MESSAGE_ID_MAX))


@dataclass(frozen=True, slots=True)
class Job(Message):
    """``done`` of ``of`` objects are through; when ``finished``, the body is the report (MessagePack)."""

    KIND = "job"
    number: int
    finished: bool
    done: int
    of: int
    body: Buffer = field(repr=False, default=b"")

    def head(self) -> dict[str, Value]:
        return {"number": self.number, "finished": self.finished, "done": self.done, "of": self.of}

    def body_of(self) -> Buffer:
        return self.body

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        return cls(
            number=fields.integer("number", high=MESSAGE_ID_MAX),
            finished=fields.flag("finished"),
            done=fields.integer("done", high=2**40),
            of=fields.integer("of", high=2**40),
            body=body,
        )


@dataclass(frozen=True, slots=True)
class GetStatus(Message):
    """This peer's figures. Answered by Blob (MessagePack map, docs/protocol.md)."""

    KIND = "get-status"


@dataclass(frozen=True, slots=True)
class GetEvents(Message):
    """The newest ``count`` journal entries. Answered by Blob (MessagePack list)."""

    KIND = "get-events"
    count: int

    def head(self) -> dict[str, Value]:
        return {"count": self.count}

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        _no_body(body)
        return cls(fields.integer("count", low=1, high=1000))


_KINDS: dict[str, type[Message]] = {
    kind.KIND: kind
    for kind in (
        Hello,
        Done,
        Failure,
        Ping,
        DhtFind,
        DhtFound,
        DhtStore,
        UploadBegin,
        UploadData,
        UploadCommit,
        UploadAbort,
        Have,
        Held,
        Read,
        Shares,
        Prove,
        Leaves,
        StoreManifest,
        StoreReceipt,
        GetManifest,
        GetReceipt,
        Blob,
        ListObjects,
        Objects,
        StartJob,
        PollJob,
        Job,
        GetStatus,
        GetEvents,
    )
}


def message_kinds() -> Mapping[str, type[Message]]:
    """Every message class by its kind."""
    return _KINDS


def message_head(message_id: int, message: Message) -> Value:
    """The head of the frame that carries ``message``."""
    return {"id": message_id, "kind": message.KIND, **message.head()}


def parse_message(frame: Frame) -> tuple[int, Message]:
    """The message of a frame and its id. Raises MalformedError."""
    fields = Fields(frame.head, what="message")
    message_id = fields.integer("id", high=MESSAGE_ID_MAX)
    kind = fields.text("kind", max_characters=40)
    if kind not in _KINDS:
        raise MalformedError(f"no message is called {kind!r}")
    if len(frame.body) > FRAME_BODY_MAX_BYTES:
        raise MalformedError("body over the limit")
    message = _KINDS[kind].parse(fields, frame.body)
    fields.end()
    return message_id, message


def _bounded(value: Value, high: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= high:
        raise MalformedError(f"{what} is not an integer from 0 to {high}")
    return value


def _share_lengths(fields: Fields, *, max_items: int) -> tuple[int, ...]:
    items = fields.items("lengths", max_items=max_items)
    return tuple(_bounded(item, SEALED_CHUNK_MAX_BYTES, "share length") for item in items)


def _split(body: Buffer, lengths: list[int]) -> list[bytes]:
    if sum(lengths) != len(body):
        raise MalformedError("the lengths do not add up to the body")
    parts: list[bytes] = []
    at = 0
    for length in lengths:
        parts.append(bytes(body[at : at + length]))
        at += length
    return parts

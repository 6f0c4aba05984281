"""Messages that start sweeps and repairs, and ask a peer how it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from core.encoding import Value
from core.errors import MalformedError
from core.ids import DIGEST_BYTES, ObjectId
from core.limits import ROOTS_PER_REQUEST_MAX
from core.ports import Buffer
from core.schema import Fields
from wire.documents import ObjectQuery
from wire.message import MESSAGE_ID_MAX, Message, no_body


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
        no_body(body)
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
        no_body(body)
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


class GetStatus(Message):
    """This peer's figures. Answered by Blob (MessagePack map, docs/protocol.md)."""

    __slots__ = ()
    KIND = "get-status"


class GetCare(ObjectQuery):
    """When this peer last looked at the object, and by which settings it looks. Answered by Blob (MessagePack map)."""

    __slots__ = ()
    KIND = "get-care"


@dataclass(frozen=True, slots=True)
class GetEvents(Message):
    """The newest ``count`` journal entries. Answered by Blob (MessagePack list)."""

    KIND = "get-events"
    count: int

    def head(self) -> dict[str, Value]:
        return {"count": self.count}

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        no_body(body)
        return cls(fields.integer("count", low=1, high=1000))

"""What peers say to each other: one frozen class a message, checked when it is read (docs/protocol.md).

A request's head is ``{"id": n, "kind": word, ...}``; its answer carries the same ``id`` and is the kind's
reply class, or ``Failure``. Sizes and counts are bounded by ``core.limits``.
"""

from __future__ import annotations

from collections.abc import Mapping

from core.encoding import Value
from core.errors import MalformedError
from core.limits import FRAME_BODY_MAX_BYTES
from core.schema import Fields
from wire.care import GetCare, GetEvents, GetStatus, Job, PollJob, StartJob
from wire.discovery import RECORDS_MAX, DhtFind, DhtFound, DhtStore
from wire.documents import (
    OBJECTS_PER_PAGE_MAX,
    Blob,
    GetManifest,
    GetReceipt,
    ListObjects,
    Objects,
    StoreManifest,
    StoreReceipt,
)
from wire.frames import Frame
from wire.message import MESSAGE_ID_MAX, PROTOCOL_VERSION, TEXT_MAX_CHARACTERS, Done, Failure, Hello, Message, Ping
from wire.reads import PATH_MAX_NODES, Have, Held, Leaves, Prove, Read, Shares
from wire.roster import Apply, GetProposals, GetRoster, RosterFile, StoreProposal, StoreRoster
from wire.uploads import SHARD_MAX_BYTES, UploadAbort, UploadBegin, UploadCommit, UploadData

__all__ = [
    "MESSAGE_ID_MAX",
    "OBJECTS_PER_PAGE_MAX",
    "PATH_MAX_NODES",
    "PROTOCOL_VERSION",
    "RECORDS_MAX",
    "SHARD_MAX_BYTES",
    "TEXT_MAX_CHARACTERS",
    "Apply",
    "Blob",
    "DhtFind",
    "DhtFound",
    "DhtStore",
    "Done",
    "Failure",
    "GetCare",
    "GetEvents",
    "GetManifest",
    "GetProposals",
    "GetReceipt",
    "GetRoster",
    "GetStatus",
    "Have",
    "Held",
    "Hello",
    "Job",
    "Leaves",
    "ListObjects",
    "Message",
    "Objects",
    "Ping",
    "PollJob",
    "Prove",
    "Read",
    "RosterFile",
    "Shares",
    "StartJob",
    "StoreManifest",
    "StoreProposal",
    "StoreReceipt",
    "StoreRoster",
    "UploadAbort",
    "UploadBegin",
    "UploadCommit",
    "UploadData",
    "message_head",
    "message_kinds",
    "parse_message",
]

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
        GetCare,
        GetEvents,
        GetRoster,
        RosterFile,
        StoreRoster,
        GetProposals,
        StoreProposal,
        Apply,
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

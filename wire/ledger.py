"""Messages to a ledger peer: leaves for its organisation's log, and their proofs (docs/protocol.md)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from core.encoding import Value
from core.errors import MalformedError
from core.limits import LEAF_MAX_BYTES
from core.ports import Buffer
from core.schema import Fields
from wire.message import Message, bounded, split_body

# As many as a peer's own log takes at once.
LEAVES_PER_SUBMIT_MAX = 256
# Below the deadline of any request: the answer is then "pending".
WAIT_MAX_MS = 20_000
# A log has fewer than 2**63 leaves.
_INDEX_MAX = 2**63 - 1
_PROOF_HASHES_MAX = 63
_HASH_BYTES = 32
_NOTE_MAX_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True)
class SubmitLeaves(Message):
    """Anchor these leaves in your organisation's log. Answered by LeavesAnchored.

    ``wait_ms``: how long to wait for the quorum of witnesses before the answer is "pending". A leaf that the log has
    is not added again, so whoever got no answer asks again.
    """

    KIND = "submit-leaves"
    wait_ms: int
    leaves: tuple[bytes, ...] = field(repr=False)

    def head(self) -> dict[str, Value]:
        return {"wait_ms": self.wait_ms, "leaves": [len(leaf) for leaf in self.leaves]}

    def body_of(self) -> Buffer:
        return b"".join(self.leaves)

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        wait_ms = fields.integer("wait_ms", high=WAIT_MAX_MS)
        lengths = _integers(fields, "leaves", LEAF_MAX_BYTES, "leaf length")
        if 0 in lengths:
            raise MalformedError("submit-leaves: a leaf is empty")
        return cls(wait_ms, tuple(split_body(body, lengths)))


@dataclass(frozen=True, slots=True)
class LeavesAnchored(Message):
    """Each leaf's index, and its path to the root in ``checkpoint``, a note.

    ``pending``: the leaves are durable and the log has signed the note, but no quorum of witnesses yet.
    """

    KIND = "leaves-anchored"
    pending: bool
    indices: tuple[int, ...]
    paths: tuple[tuple[bytes, ...], ...] = field(repr=False)
    checkpoint: bytes = field(repr=False)

    def head(self) -> dict[str, Value]:
        return {
            "pending": self.pending,
            "indices": list(self.indices),
            "paths": [len(path) for path in self.paths],
            "checkpoint": len(self.checkpoint),
        }

    def body_of(self) -> Buffer:
        """The paths' hashes, then the note."""
        return b"".join(item for path in self.paths for item in path) + self.checkpoint

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        pending = fields.flag("pending")
        indices = _integers(fields, "indices", _INDEX_MAX, "index")
        counts = _integers(fields, "paths", _PROOF_HASHES_MAX, "number of hashes")
        note_bytes = fields.integer("checkpoint", low=1, high=_NOTE_MAX_BYTES)
        if len(counts) != len(indices):
            raise MalformedError("leaves-anchored: not as many paths as indices")
        *parts, checkpoint = split_body(body, [*([_HASH_BYTES] * sum(counts)), note_bytes])
        hashes = iter(parts)
        paths = tuple(tuple(next(hashes) for _ in range(count)) for count in counts)
        return cls(pending, tuple(indices), paths, checkpoint)


def _integers(fields: Fields, name: str, high: int, what: str) -> list[int]:
    found = [bounded(item, high, what) for item in fields.items(name, max_items=LEAVES_PER_SUBMIT_MAX)]
    if not found:
        raise MalformedError(f"{name}: none")
    return found

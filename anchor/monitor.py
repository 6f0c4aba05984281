"""A monitor's judgement, pure: what it has seen of a log, and what a newer look at it means.

It keeps the right edge of the tree of all entries that it read, so each new checkpoint is compared with the entries
themselves; whoever shows it another history must show other entries, and is caught by its own signatures.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from anchor.compact import Edge
from anchor.evidence import AlarmKind, Evidence, LogSigned, Prefix
from anchor.merkle import check_consistency, consistency_proof, leaf_hash, subtree_root
from anchor.note import HASH_BYTES, NOTE_MAX_BYTES
from anchor.policy import CheckedCheckpoint
from anchor.rules import Change, Entry, Fault, ObjectState, Signers, judge
from anchor.tiles import ReadFile, TileTree
from core.encoding import Value, encode_checked
from core.errors import MalformedError
from core.ids import DIGEST_BYTES, ObjectId
from core.limits import NAME_MAX_BYTES
from core.schema import Fields, split_column

VIEW_VERSION = 1
# Ten million objects of two versions each.
VIEW_MAX_BYTES = 2**31
OBJECTS_MAX = 10_000_000
# A witness cosigns before its log publishes: only what is older than this should have been published.
PUBLISH_PATIENCE_S = 60


@dataclass(frozen=True, slots=True)
class View:
    """What was seen of one log: its newest good checkpoint (a note), the edge of its tree, and what it said."""

    note: bytes = b""
    edge: Edge = field(default_factory=Edge)
    objects: Mapping[ObjectId, ObjectState] = field(default_factory=dict[ObjectId, ObjectState])


def encode_view(view: View) -> bytes:
    objects: list[Value] = [
        [item.raw, state.owner, state.version, state.place, state.deleted, b"".join(state.chain)]
        for item, state in view.objects.items()
    ]
    return encode_checked(
        {
            "v": VIEW_VERSION,
            "note": view.note,
            "size": view.edge.size,
            "peaks": b"".join(view.edge.peaks),
            "objects": objects,
        }
    )


def parse_view(data: bytes) -> View:
    """Raises MalformedError."""
    fields = Fields.checked(data, max_bytes=VIEW_MAX_BYTES, what="monitor's view")
    fields.integer("v", low=VIEW_VERSION, high=VIEW_VERSION)
    note = fields.blob("note", max_bytes=NOTE_MAX_BYTES)
    size = fields.integer("size", high=2**63 - 1)
    peaks = split_column(fields.blob("peaks", max_bytes=64 * HASH_BYTES), HASH_BYTES, what="monitor's view")
    objects = dict(_parse_object(item) for item in fields.items("objects", max_items=OBJECTS_MAX))
    fields.end()
    edge = Edge(size, peaks)
    if not edge.is_possible:
        raise MalformedError("monitor's view: the edge of its tree has another height than its size")
    return View(note, edge, objects)


def _parse_object(value: Value) -> tuple[ObjectId, ObjectState]:
    match value:
        case [bytes(raw), str(owner), int(version), int(place), bool(deleted), bytes(chain)] if (
            len(raw) == DIGEST_BYTES and len(owner) <= NAME_MAX_BYTES and len(chain) % HASH_BYTES == 0
        ):
            hashes = split_column(chain, HASH_BYTES, what="monitor's view")
            return ObjectId(raw), ObjectState(owner, version, place, deleted, hashes)
        case _:
            raise MalformedError("monitor's view: an object is not [id, owner, version, place, deleted, chain]")


class Growth:
    """New entries, taken one bundle at a time: the tree and the rules' state that they lead to."""

    def __init__(self, view: View, signers: Signers, seen_s: int) -> None:
        self.edge = view.edge
        self.faults: list[tuple[int, Fault]] = []
        self._signers = signers
        self._seen_s = seen_s
        self._new: dict[ObjectId, ObjectState] = {}
        self._objects = ChainMap(self._new, cast(dict[ObjectId, ObjectState], view.objects))

    def take(self, entries: Sequence[bytes]) -> None:
        """A bad entry is noted and changes nothing: what follows is judged as if it were not there."""
        place = self.edge.size
        self.edge = self.edge.grown(leaf_hash(entry) for entry in entries)
        for number, data in enumerate(entries, start=place):
            found = judge(self._objects, Entry(number, data, self._seen_s), self._signers)
            if isinstance(found, Change):
                self._new[found.object] = found.state
            elif found is not None:
                self.faults.append((number, found))

    def view(self, note: bytes) -> View:
        """What is seen now, once the edge's root turned out to be the one in ``note``."""
        return View(note, self.edge, dict(self._objects))


class Shown(NamedTuple):
    """A log-signed checkpoint that somebody showed: the log, or a witness by name."""

    who: str
    note: bytes
    signed: LogSigned


def prefix_at(read: ReadFile, checkpoint_size: int, root: bytes, size: int) -> Prefix:
    """What the tiles say the first ``size`` entries are, proved against the signed root of all.

    Raises CorruptError when the tiles do not lead to that root.
    """
    tree = TileTree(read, checkpoint_size)
    old = subtree_root(tree.hash_at, 0, size)
    proof = consistency_proof(tree.hash_at, size, checkpoint_size)
    check_consistency(size, checkpoint_size, old, root, proof)
    return Prefix(size, old, proof)


def compare(ours: Shown, other: Shown, read: ReadFile) -> tuple[AlarmKind, str, Prefix | None] | None:
    """Whether two log-signed checkpoints contradict each other; None when they do not. ``ours`` has tiles in ``read``.

    Raises CorruptError: the tiles do not lead to the root of ``ours``.
    """
    mine, theirs = ours.signed.checkpoint, other.signed.checkpoint
    if theirs.size > mine.size or theirs.size == 0:
        return None
    if theirs.size == mine.size:
        if theirs.root == mine.root:
            return None
        return AlarmKind.FORK, f"{ours.who} and {other.who} show two histories of {mine.size} entries", None
    prefix = prefix_at(read, mine.size, mine.root, theirs.size)
    if prefix.root == theirs.root:
        return None
    words = f"{ours.who} shows {mine.size} entries that do not begin with the {theirs.size} that {other.who} shows"
    return AlarmKind.FORK, words, prefix


def is_behind(ours: Shown, other: Shown, now_s: int) -> bool:
    """Whether a witness cosigned more than the log serves, so long ago that it should be published."""
    times = [item.time_s for item in other.signed.cosigners]
    larger = other.signed.checkpoint.size > ours.signed.checkpoint.size
    return larger and bool(times) and max(times) < now_s - PUBLISH_PATIENCE_S


def is_stalled(checked: CheckedCheckpoint, now_s: int, stall_s: float) -> bool:
    """Whether no quorum has vouched for the log for so long. A policy of no witness never stalls."""
    return bool(stall_s and checked.time_s) and checked.time_s < now_s - stall_s


def fork_evidence(base: Evidence, ours: Shown, other: Shown, found: tuple[AlarmKind, str, Prefix | None]) -> Evidence:
    """The smaller checkpoint first, as evidence has them."""
    kind, words, prefix = found
    return Evidence(kind, base.origin, words, base.seen_s, base.policy, base.roster, (other.note, ours.note), prefix)

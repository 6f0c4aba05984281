"""Leaves on their way into a log: submitted, committed, published; each once, however often it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import trio

from anchor.log import Anchored
from anchor.merkle import leaf_hash
from core.errors import BusyError, MoorageError, UsageError
from core.limits import LEAF_MAX_BYTES, MIB


@dataclass(frozen=True, slots=True)
class OperatorLimits:
    """Bounds, and times in seconds."""

    # Leaves that wait for their commit: four seconds' at the rate that this is made for, and at most so many bytes.
    queue_leaves: int = 20_000
    queue_bytes: int = 32 * MIB
    # Leaves that are committed while no quorum signs: a day of a large hospital.
    unpublished_leaves: int = 100_000
    # Those that came in this life are in memory.
    unpublished_bytes: int = 64 * MIB
    # Above so many a second commits begin so far apart, that each is worth its signatures and syncs: about as far as
    # the witnesses' answers keep them anyway.
    apart_above_per_s: float = 200.0
    apart_s: float = 0.12
    # The next group is committed when the last is published, or without a quorum after so long, so that what was
    # submitted is durable at least.
    commit_anyway_s: float = 1.0
    # Cosignatures that come within so long after the quorum's are added to the published note in one go.
    late_s: float = 0.25


@dataclass(eq=False, slots=True)
class Entry:
    """A leaf on its way. ``index`` is -1 until it is committed."""

    name: bytes
    """The leaf's hash."""
    leaf: bytes
    done: trio.Event = field(default_factory=trio.Event)
    index: int = -1
    anchored: Anchored | None = None
    failure: MoorageError | None = None

    def end(self, anchored: Anchored | None, failure: MoorageError | None = None) -> None:
        self.anchored, self.failure = anchored, failure
        self.done.set()


class LeafQueue:
    """What an operator has still to do. Leaves whose submitter left stay in it."""

    def __init__(self, limits: OperatorLimits) -> None:
        self._limits = limits
        self._queued: dict[bytes, Entry] = {}
        self._queued_bytes = 0
        self._committed: dict[bytes, Entry] = {}
        self._committed_bytes = 0
        self._old: dict[bytes, Entry] = {}
        """Committed and published before they were submitted."""

    def __len__(self) -> int:
        """How many leaves wait for their commit."""
        return len(self._queued)

    def enter(self, leaves: Sequence[bytes]) -> list[Entry]:
        """Their entries, in this order. Raises UsageError (a leaf is too large), BusyError (no room for all)."""
        if any(len(leaf) > LEAF_MAX_BYTES for leaf in leaves):
            raise UsageError(f"log: a leaf has at most {LEAF_MAX_BYTES} bytes")
        size_bytes = self._queued_bytes + sum(map(len, leaves))
        limits = self._limits
        if len(self._queued) + len(leaves) > limits.queue_leaves or size_bytes > limits.queue_bytes:
            raise BusyError(f"{len(self._queued)} leaves wait to be written to the ledger: try again shortly")
        if self._committed_bytes > limits.unpublished_bytes:
            raise BusyError(f"{len(self._committed)} leaves of {self._committed_bytes} B wait for a quorum")
        entries: list[Entry] = []
        for leaf in leaves:
            name = leaf_hash(leaf)
            entry = self._queued.get(name) or self._committed.get(name) or self._old.get(name)
            if entry is None:
                entry = self._queued[name] = Entry(name, leaf)
                self._queued_bytes += len(leaf)
            entries.append(entry)
        return entries

    def group(self, take: Callable[[Sequence[bytes]], int]) -> dict[bytes, Entry]:
        """The oldest that wait, as many as one commit takes. They stay until ``leave``."""
        leaves = [entry.leaf for entry in self._queued.values()]
        return dict(islice(self._queued.items(), take(leaves)))

    def commit(self, group: Mapping[bytes, Entry], places: Mapping[bytes, int], published_size: int) -> None:
        """The group's leaves are durable at these places."""
        self._leave(group)
        for name, entry in group.items():
            entry.index = places[name]
            if entry.index < published_size:
                self._old[name] = entry
            else:
                self._committed[name] = entry
                self._committed_bytes += len(entry.leaf)

    def refuse(self, group: Mapping[bytes, Entry], failure: MoorageError) -> None:
        """The group's leaves cannot be written now."""
        self._leave(group)
        for entry in group.values():
            entry.end(None, failure)

    def due(self, size: int) -> list[Entry]:
        """Those whose proof is due, now that the first ``size`` leaves are published. They stay until ``forget``."""
        return [*self._old.values(), *(entry for entry in self._committed.values() if entry.index < size)]

    def old(self) -> list[Entry]:
        """Those that had been published before they came. They stay until ``forget``."""
        return list(self._old.values())

    def forget(self, entries: Iterable[Entry]) -> None:
        """These have ended."""
        for entry in entries:
            self._old.pop(entry.name, None)
            if self._committed.pop(entry.name, None) is not None:
                self._committed_bytes -= len(entry.leaf)

    def end_all(self, failure: MoorageError) -> None:
        """Nothing more will be written."""
        for entry in [*self._queued.values(), *self._committed.values(), *self._old.values()]:
            entry.end(None, failure)
        self._queued, self._committed, self._old = {}, {}, {}
        self._queued_bytes = self._committed_bytes = 0

    def _leave(self, group: Mapping[bytes, Entry]) -> None:
        for name, entry in group.items():
            del self._queued[name]
            self._queued_bytes -= len(entry.leaf)

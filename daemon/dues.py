"""Which object is due next, found without walking all of them: a peer of a small pool holds millions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from core.ids import ObjectId
from daemon.carebook import CareBook, CareEntry

# Somebody else's repair is done by then, or has failed.
AGAIN_AFTER_S = 3600.0
# Fewer superseded places than this are not worth clearing up.
SUPERSEDED_MIN = 1024


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose turn it is. ``due_s``: seconds since 1970; in the past: now."""

    object: ObjectId
    due_s: float


class Dues:
    """A heap over the book's entries; about log n steps for each look at an object.

    What the heap says of an object counts only while it agrees with the book. An entry that was noted anew is added
    anew, and what it replaces is dropped when it comes to the top, at the latest when it would have been due, or with
    all the rest of its kind when that is more than the book has.
    """

    def __init__(self, book: CareBook, period_s: float) -> None:
        self._book = book
        self._period_s = period_s
        self._heap: list[tuple[float, int, ObjectId]] = []
        self._hurried: set[ObjectId] = set()
        """Objects, not a time: clocks are set back, and all looks would seem to be older than it."""
        self._drawn: dict[ObjectId, tuple[int, float]] = {}
        """For objects that were looked at in the future: when they are said to have been, and when we take it to be."""

    @property
    def places(self) -> int:
        """How many places the heap has, those that were superseded too."""
        return len(self._heap)

    def hurry(self, names: Iterable[ObjectId]) -> None:
        """These are due at once, the weakest first."""
        self._hurried = set(names)
        self._rebuild()

    def draw(self, seen_s: Mapping[ObjectId, float]) -> None:
        """These, and no others, are noted as looked at in the future: their clock was wrong, or is. Take them as looked
        at then instead, until they are noted anew or the clock is set again. Who was drawn keeps what it has."""
        for name in sorted(self._drawn.keys() - seen_s.keys()):
            del self._drawn[name]
            self._add(name)
        for name, instead_s in seen_s.items():
            entry, drawn = self._book.get(name), self._drawn.get(name)
            if entry is not None and (drawn is None or drawn[0] != entry.checked_s):
                self._drawn[name] = (entry.checked_s, instead_s)
                self._add(name)

    def _seen_s(self, name: ObjectId, entry: CareEntry) -> float:
        drawn = self._drawn.get(name)
        return drawn[1] if drawn is not None and drawn[0] == entry.checked_s else float(entry.checked_s)

    def _rebuild(self) -> None:
        self._heap = [self._place(name, entry) for name, entry in self._book.entries().items()]
        heapify(self._heap)

    def begun(self, name: ObjectId) -> None:
        """Its turn has come: it is in no hurry any more."""
        self._hurried.discard(name)
        self._add(name)

    def renew(self) -> None:
        """Take in what the book noted since; to be called now and then, so that it does not pile up."""
        for name in self._book.news():
            self._add(name)

    def first(self, now_s: float) -> Turn | None:
        """The object that is due first; None when there is none."""
        self.renew()
        while self._heap:
            name = self._heap[0][2]
            entry = self._book.get(name)
            if entry is not None and self._heap[0] == self._place(name, entry):
                # After a clock was set back, what was seen in the future was seen now.
                return Turn(name, self._due_s(name, entry, min(self._seen_s(name, entry), now_s)))
            heappop(self._heap)
        return None

    def _add(self, name: ObjectId) -> None:
        entry = self._book.get(name)
        if entry is not None:
            heappush(self._heap, self._place(name, entry))
        # Whoever orders a look at everything every hour would else leave a hundred places of each object here.
        if self.places > 2 * len(self._book) + SUPERSEDED_MIN:
            self._rebuild()

    def _place(self, name: ObjectId, entry: CareEntry) -> tuple[float, int, ObjectId]:
        return self._due_s(name, entry, self._seen_s(name, entry)), entry.spare, name

    def _due_s(self, name: ObjectId, entry: CareEntry, seen_s: float) -> float:
        if name in self._hurried:
            return 0.0
        if not entry.again:
            return seen_s + self._period_s
        # Twice as late each time: what nobody can mend, for want of a peer, is not read again every hour for weeks.
        return seen_s + min(self._period_s, max(AGAIN_AFTER_S, seen_s - entry.open_since_s))

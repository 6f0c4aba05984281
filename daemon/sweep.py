"""Sweep: look after objects one by one, mend the weakest first, tidy the store, and write down what was seen.

A fault is one finding in a sweep, whoever saw it first: the scrub of this peer's own disk, the challenge to another
holder, or the look at the papers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

import trio

from client.health import Health, ShardState
from client.tasks import in_order, open_crew
from core.errors import MoorageError
from core.findings import Finding, FindingKind
from core.ids import ObjectId, PeerId
from core.limits import MIB
from core.ports import Chance, Clock, Disk, Threads
from daemon.carebook import CareBook, CareEntry
from daemon.documents import DocumentStore
from daemon.journal import Journal, Note
from daemon.repair import Mended
from daemon.silence import Silence
from daemon.store import ShardStore
from daemon.tally import Tally
from daemon.trash import Tidied, Trash
from daemon.visit import Seen, Visitor, once_each

# Objects that wait for their repair while others are still looked at: enough to put the weakest first, few enough to
# hold their examinations (about 100 KiB for a large one) in memory.
PENDING_MAX = 64
# Objects at once, where somebody waits: most of a small one's time goes to disks and round trips.
OBJECTS_AT_ONCE = 4
# Of objects with more sealed bytes than this, whose repair fills a batch from every source, one at a time is mended.
LARGE_BYTES = 8 * MIB

_PAPERS = (
    FindingKind.MANIFEST_MISSING,
    FindingKind.MANIFEST_CORRUPT,
    FindingKind.RECEIPT_MISSING,
    FindingKind.RECEIPT_CORRUPT,
)
# A repair does nothing about these.
_LASTING = (FindingKind.UNREPAIRABLE, FindingKind.MISPLACED)

Progress = Callable[[int, int], None]
"""(objects done, of)"""


def unwatched(done: int, of: int) -> None:
    """Progress that nobody follows."""
    del done, of


@dataclass(slots=True)
class SweepReport:
    """``findings``: what was wrong. ``repairs``: what was done. ``unrepaired``: faults of shards and papers that remain
    (silent holders within their grace among them)."""

    checked: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])
    repairs: list[Finding] = field(default_factory=list[Finding])
    unrepaired: int = 0

    def add(self, findings: Sequence[Finding], repairs: Sequence[Finding], unrepaired: int) -> None:
        self.findings += findings
        self.repairs += repairs
        self.unrepaired += unrepaired


def _unmended_papers(findings: Sequence[Finding], repairs: Sequence[Finding]) -> bool:
    """Whether some holder's copy was bad and nobody has restored it. Restored copies name no share."""
    bad = {finding.holder for finding in findings if finding.kind in _PAPERS}
    return bool(bad - {finding.holder for finding in repairs if finding.share is None})


class Sweeper:
    """``objects_at_once``: how many are looked at, and mended, at the same time."""

    def __init__(
        self,
        me: PeerId,
        *,
        disk: Disk,
        store: ShardStore,
        threads: Threads,
        clock: Clock,
        chance: Chance,
        visitor: Visitor,
        trash: Trash,
        journal: Journal,
        book: CareBook,
        silence: Silence,
        silence_path: str,
        tally: Tally,
        objects_at_once: int = 1,
    ) -> None:
        self._me = me
        self._disk = disk
        self._store = store
        self._threads = threads
        self._clock = clock
        self._chance = chance
        self._visitor = visitor
        self._trash = trash
        self._journal = journal
        self._book = book
        self._silence = silence
        self._silence_path = silence_path
        self._tally = tally
        self._objects_at_once = objects_at_once
        self._large = trio.Lock()
        self._concluding = trio.Lock()

    async def held(self) -> list[ObjectId]:
        """Objects of which this peer has a manifest or a receipt, ascending. Raises MoorageError for a sick disk."""
        return await self._threads.disk(held_by, self._store.documents)

    async def sweep(
        self, names: Sequence[ObjectId], *, full: bool, grace: bool, by_order: bool, progress: Progress = unwatched
    ) -> SweepReport:
        """Look after these objects, least spare first in the repairs.

        Args:
            full: other holders re-read every byte; else a sample of each shard is compared. Own shards are always read.
            grace: leave silent holders their grace.
            by_order: this peer repairs all that it finds, whoever's turn it would be.
        """
        report = SweepReport()
        pending: list[Seen] = []

        async def take(seen: Seen) -> None:
            report.checked += 1
            if not seen.needs_work:
                await self._conclude(report, seen, None)
            else:
                pending.append(seen)
                if seen.spare <= 0 or len(pending) > PENDING_MAX:
                    await self._mend_weakest(report, pending, grace=grace, by_order=by_order)
            progress(report.checked, len(names))

        async def mend() -> None:
            while pending:
                await self._mend_weakest(report, pending, grace=grace, by_order=by_order)

        progress(0, len(names))
        looks = (partial(self._visitor.look, name, full=full, silent_is_loss=not grace) for name in names)
        await in_order(looks, take, at_once=self._objects_at_once)
        async with open_crew() as crew:
            for _ in range(self._objects_at_once):
                crew.start_soon(mend)
        return report

    async def _mend_weakest(self, report: SweepReport, pending: list[Seen], *, grace: bool, by_order: bool) -> None:
        weakest = min(pending, key=lambda seen: (seen.spare, seen.object))
        pending.remove(weakest)
        waited_s = self._clock.now() - self._open_since_s(weakest.object)
        mend = partial(self._visitor.mend, weakest, grace=grace, by_order=by_order, waited_s=waited_s)
        if weakest.sealed_bytes > LARGE_BYTES:
            async with self._large:
                mended = await mend()
        else:
            mended = await mend()
        await self._conclude(report, weakest, mended)

    def _open_since_s(self, name: ObjectId) -> int:
        """In the past also when the clock was ahead then."""
        now_s = int(self._clock.now())
        before = self._book.get(name)
        return min(before.open_since_s, now_s) if before and before.open_since_s else now_s

    async def _conclude(self, report: SweepReport, seen: Seen, mended: Mended | None) -> None:
        """Write down one object's look and repair, durably, before the next one's."""
        async with self._concluding:
            await self._write_down_one(report, seen, mended)

    async def _write_down_one(self, report: SweepReport, seen: Seen, mended: Mended | None) -> None:
        findings = list(once_each(seen.findings + (mended.undone if mended else ())))
        repairs = [*seen.shelved.done, *(mended.done if mended else ())]
        if seen.shelved.trash:
            repairs += await self._discard(seen.object)
        unrepaired = sum(finding.kind in _LASTING for finding in findings)
        unrepaired += seen.shelved.subject is None
        unrepaired += sum(not state.ok for state in mended.states) if mended else 0
        report.add(findings, repairs, unrepaired)
        read = seen.scrubbed
        self._tally.add(
            shards=read.shards if read else 0,
            size_bytes=read.size_bytes if read else 0,
            findings=len(findings),
            repairs=len(repairs),
        )
        await self.write_down(findings, repairs)
        if seen.examination is not None and not seen.shelved.trash:
            states = mended.states if mended else seen.examination.states
            lasting = any(finding.kind in _LASTING for finding in findings)
            waits = mended is not None and mended.waits
            healed = not (unrepaired or _unmended_papers(findings, repairs))
            await self._remember(seen, states, healed=healed, again=not (healed or lasting or waits))

    async def _remember(self, seen: Seen, states: Sequence[ShardState], *, healed: bool, again: bool) -> None:
        """``healed``: all that was found is mended. ``again``: another peer should mend it.

        ``verified_s`` waits for a look that finds nothing at all.
        """
        assert seen.examination is not None
        now_s = int(self._clock.now())
        before = self._book.get(seen.object)
        found = seen.examination.health
        entry = CareEntry(
            checked_s=now_s,
            verified_s=now_s if found is Health.FULL else before.verified_s if before else 0,
            health=Health.FULL if healed else found,
            spare=replace(seen.examination, states=tuple(states)).spare,
            again=again,
            open_since_s=0 if healed else self._open_since_s(seen.object),
        )
        try:
            await self._threads.disk(self._book.note, seen.object, entry)
        except OSError:
            # A disk that takes no writes: the store says so itself; the sweep is what must go on.
            return
        await self.remember_silence()

    async def remember_silence(self) -> None:
        """Keep what was observed for the next start, if the disk lets us."""
        token = self._chance.token(4).hex()
        with suppress(OSError):
            await self._threads.disk(self._silence.save, self._disk, self._silence_path, token)

    async def _discard(self, name: ObjectId) -> list[Finding]:
        """Remove the manifest of a put that was given up; its shards follow when no other manifest names them."""
        documents = self._store.documents
        try:
            if await self._threads.disk(documents.has, "receipt", name):
                # It came while the others were asked: the put goes on after all.
                return []
            await self._threads.disk(documents.quarantine, "manifest", name)
            await self._threads.disk(documents.discard_quarantined, "manifest", name)
            await self._threads.disk(self._book.forget, name)
        except (MoorageError, OSError):
            # It is tried again at the next sweep.
            return []
        return [Finding(FindingKind.REMOVED, name, self._me, detail="the manifest of a put that was given up")]

    async def anchor_counts(self, *, period_s: float) -> None:
        """Leave a trace in the own log of what sweeps did, where the last one is old enough."""
        await self._tally.anchor_when_due(period_s=period_s)

    async def tidy(self) -> SweepReport:
        """Set strays aside, remove abandoned shards."""
        tidied: Tidied = await self._trash.tidy()
        report = SweepReport()
        report.add(tidied.findings, tidied.done, 0)
        await self.write_down(tidied.findings, tidied.done, [Note("tidy", tidied.note)] if tidied.note else [])
        return report

    async def write_down(
        self, findings: Sequence[Finding], repairs: Sequence[Finding], notes: Sequence[Note] = ()
    ) -> None:
        """Findings first, then what was done about them. A journal that cannot be written stops nobody."""
        entries = [*(Note.of(finding) for finding in [*findings, *repairs]), *notes]
        try:
            await self._threads.disk(self._journal.append, entries)
        except MoorageError:
            # The disk refuses; reports and metrics still say it.
            return


def held_by(documents: DocumentStore) -> list[ObjectId]:
    """As ``Sweeper.held``. A job for ``Threads.disk``: of millions, sorting takes seconds too."""
    names = {*documents.names("manifest"), *documents.names("receipt")}
    # By bytes: ids themselves take ten times as long to compare.
    return sorted(names, key=lambda name: name.raw)

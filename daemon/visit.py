"""Look after one object: its papers here, its shards here, its other holders; then mend, and tidy up."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from client.asker import Asker, Directory
from client.challenge import Challenger, Target
from client.health import Examination, ShardState, Status
from client.look import OwnLook
from client.verify import examine
from core.errors import MoorageError
from core.findings import Finding, FindingKind
from core.ids import ObjectId, PeerId
from core.ports import Chance, Clock, Threads
from daemon.decide import is_my_turn, place_in_order, superfluous
from daemon.guests import Guests, ours_by_manifests, remove_damaged, remove_unless_named
from daemon.naming import Naming
from daemon.repair import Mended, Repairer
from daemon.scrub import Scrubbed, Scrubber
from daemon.shelf import Shelf, Shelved
from daemon.silence import Silence
from daemon.store import ShardStore
from daemon.subject import Subject

# Shares transferred of the copy that stays, before a duplicate goes: a holder that shows leaves and has dropped one
# share in twenty is believed in one case of a hundred (0.95 ** 90), one that has dropped one in ten in one of ten
# thousand. A shard of so few chunks is transferred whole.
REMOVAL_SAMPLES = 90


@dataclass(frozen=True, slots=True)
class Seen:
    """One object after a look. ``examination`` and ``scrubbed`` are None when its papers do not allow more."""

    object: ObjectId
    shelved: Shelved
    scrubbed: Scrubbed | None = None
    examination: Examination | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong, each fault once."""
        found = self.shelved.findings + (self.examination.findings if self.examination else ())
        return once_each(found)

    @property
    def spare(self) -> int:
        """For the order of repairs."""
        return self.examination.spare if self.examination else 0

    @property
    def sealed_bytes(self) -> int:
        """Of the object's extents; 0 where its manifest is not known."""
        subject = self.shelved.subject
        return sum(extent.sealed_bytes for extent in subject.manifest.all_extents()) if subject else 0

    @property
    def needs_work(self) -> bool:
        return self.examination is not None and bool(
            self.examination.findings or (self.scrubbed and self.scrubbed.guests)
        )


def once_each(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The first of those that name the same fault."""
    kept: dict[Finding, Finding] = {}
    for finding in findings:
        kept.setdefault(replace(finding, detail=""), finding)
    return tuple(kept.values())


class Visitor:
    """``samples``: shares transferred of each other holder's shard when a look is not full. ``period_s``: within
    which every holder looks at every object."""

    def __init__(
        self,
        me: PeerId,
        *,
        asker: Asker,
        directory: Directory,
        store: ShardStore,
        threads: Threads,
        clock: Clock,
        chance: Chance,
        shelf: Shelf,
        scrubber: Scrubber,
        repairer: Repairer,
        guests: Guests,
        naming: Naming,
        silence: Silence,
        grace_s: float,
        samples: int,
        period_s: float,
    ) -> None:
        self._me = me
        self._asker = asker
        self._directory = directory
        self._store = store
        self._threads = threads
        self._clock = clock
        self._chance = chance
        self._shelf = shelf
        self._scrubber = scrubber
        self._repairer = repairer
        self._guests = guests
        self._naming = naming
        self._silence = silence
        self._grace_s = grace_s
        self._samples = samples
        self._period_s = period_s

    async def look(self, name: ObjectId, *, full: bool, silent_is_loss: bool = False) -> Seen:
        """Re-read what is here, and have the other holders show what they have. Restores this peer's own papers."""
        shelved = await self._shelf.look(name)
        subject = shelved.subject
        if subject is None or shelved.fresh or shelved.trash:
            return Seen(name, shelved)
        scrubbed = await self._scrubber.scrub(subject.manifest)
        examination = await examine(
            self._asker,
            self._directory,
            self._threads,
            self._chance,
            name,
            subject.manifest,
            full=full,
            samples=self._samples,
            silent_is_loss=silent_is_loss,
            own=OwnLook(self._me, scrubbed.verdicts),
        )
        answered, silent = _who_answered(examination.states)
        self._silence.note(answered - {self._me}, silent - {self._me}, self._clock.now())
        return Seen(name, shelved, scrubbed, examination)

    async def mend(self, seen: Seen, *, grace: bool, by_order: bool, waited_s: float) -> Mended:
        """Repair what ``seen`` found, then remove what this peer holds in vain.

        Args:
            grace: leave silent holders their grace; else every silent one is given up.
            by_order: somebody asked this peer to: it repairs everything. Otherwise it repairs its own shards, and what
                others hold only when it is its turn.
            waited_s: for how long this peer has seen that another should be mending the object.
        """
        subject, examination, scrubbed = seen.shelved.subject, seen.examination, seen.scrubbed
        assert subject is not None
        assert examination is not None
        assert scrubbed is not None
        place = place_in_order(subject.object, subject.manifest, examination, self._me)
        everywhere = by_order or is_my_turn(place, waited_s=waited_s, period_s=self._period_s)
        given_up: Collection[PeerId] = self._silence.given_up(self._grace_s)
        if not grace:
            given_up = {state.holder for state in examination.states if state.status is Status.SILENT}
        mended = await self._repairer.repair(subject, examination, given_up=given_up, everywhere=everywhere)
        return await self._tidy(subject, scrubbed, mended)

    async def _tidy(self, subject: Subject, scrubbed: Scrubbed, mended: Mended) -> Mended:
        """Remove copies that earlier holders show to be superfluous; announce those that stay."""
        guests = {(target.number, target.share) for target in scrubbed.guests}
        firsts = {(target.number, target.share) for target in scrubbed.verdicts} - guests
        whole = {
            (target.number, target.share) for target in scrubbed.guests if scrubbed.verdicts[target].status is Status.OK
        }
        taken_over = {(state.extent, state.share) for state in mended.states if state.ok and state.holder == self._me}
        kept = whole | (taken_over - firsts)
        done = await self._remove_spoilt(subject, scrubbed, mended.states)
        for removed in await self._remove_all(subject, superfluous(self._me, guests, mended.states)):
            done.append(removed)
            kept -= {(removed.extent, removed.share)}
        undone = list(mended.undone)
        try:
            await self._guests.publish(subject.object, await self._still_here(subject, kept))
        except MoorageError as error:
            detail = f"what was taken over cannot be announced: {error}"
            undone.append(Finding(FindingKind.UNREPAIRABLE, subject.object, self._me, detail=detail))
        return replace(mended, done=mended.done + tuple(done), undone=tuple(undone))

    async def _still_here(self, subject: Subject, shards: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
        """Those of ``shards`` that an ordered job has not removed since they were looked at. Raises MoorageError."""
        extents = subject.manifest.all_extents()
        places = sorted(shards)
        flags = await self._threads.disk(self._store.have, [extents[number].roots[share] for number, share in places])
        return {place for place, held in zip(places, flags, strict=True) if held}

    async def _remove_all(self, subject: Subject, doomed: Sequence[ShardState]) -> list[Finding]:
        """Remove what this peer holds in vain, but for what another object needs here."""
        if not doomed:
            return []
        try:
            await self._naming.complete(self._threads)
            known = await self._threads.disk(self._naming.objects_of_each, [state.root for state in doomed])
            others = sorted({name for names in known.values() for name in names} - {subject.object})
            needed = await self._threads.disk(ours_by_manifests, self._store, self._me, others)
        except MoorageError:
            # A manifest that cannot be read may name any of them.
            return []
        left = [state for state in doomed if state.root not in needed]
        removed = [await self._remove(subject, state, known[state.root]) for state in left]
        return [finding for finding in removed if finding is not None]

    async def _remove(self, subject: Subject, state: ShardState, known: Sequence[ObjectId]) -> Finding | None:
        """Remove our copy of a shard once its other holder has shown its own, unless others than ``known`` name it."""
        try:
            if not await self._is_shown(subject, state):
                return None
            if not await self._threads.disk(remove_unless_named, self._store, self._naming, state.root, known):
                return None
            await self._threads.disk(self._store.discard_quarantined, state.root)
        except MoorageError:
            # It stays: one copy too many is no harm, one too few is.
            return None
        return self._removed(subject, state, f"a duplicate: {state.holder.short} has it")

    async def _remove_spoilt(self, subject: Subject, scrubbed: Scrubbed, states: Sequence[ShardState]) -> list[Finding]:
        """Remove damaged copies of shards that moved while this peer was away: its own are found again at every look,
        and nobody mends them. Good chunks may be left in them: they go when their new holder has shown its copy."""
        spoilt = {
            (target.number, target.share)
            for target, verdict in scrubbed.verdicts.items()
            if verdict.status is Status.CORRUPT
        }
        done: list[Finding] = []
        for state in superfluous(self._me, spoilt, states):
            try:
                if not await self._is_shown(subject, state):
                    continue
                if await self._threads.disk(remove_damaged, self._store, state.root):
                    detail = f"a damaged copy: {state.holder.short} has it whole"
                    done.append(self._removed(subject, state, detail))
            except MoorageError:
                # It is found again.
                continue
        return done

    async def _is_shown(self, subject: Subject, state: ShardState) -> bool:
        """Whether the holder proves that it has the shard, before a copy goes that may be the last.

        Its leaves must make the shard's name, and REMOVAL_SAMPLES random shares must come: leaves alone can be kept
        without what they are of. Raises MoorageError.
        """
        extent = subject.manifest.all_extents()[state.extent]
        target = Target(state.extent, extent, state.share, state.holder)
        challenger = Challenger(self._asker, subject.manifest.scheme, self._chance, full=True, samples=REMOVAL_SAMPLES)
        return (await challenger.check(target)).status is Status.OK

    def _removed(self, subject: Subject, state: ShardState, detail: str) -> Finding:
        return Finding(
            FindingKind.REMOVED, subject.object, self._me, state.extent, state.share, root=state.root, detail=detail
        )


def _who_answered(states: Sequence[ShardState]) -> tuple[set[PeerId], set[PeerId]]:
    answered = {state.holder for state in states if state.status is not Status.SILENT}
    return answered, {state.holder for state in states} - answered

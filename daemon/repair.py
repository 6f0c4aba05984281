"""Mend one object: rebuild what is lost where the plan says, restore papers, announce and anchor what moved."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from anchor.leaf import RelocateLeaf
from client.asker import Asker, Directory
from client.health import Examination, ShardState, Status, Verdict
from core.errors import CorruptError, MoorageError
from core.findings import Finding, FindingKind
from core.ids import PeerId
from core.ports import Clock, Threads
from daemon.decide import Circumstances, Rebuild, RepairPlan, not_repaired, plan_repairs
from daemon.hands import Hands
from daemon.pace import Pace
from daemon.rebuild import Rebuilder, Rebuilt
from daemon.store import ShardStore
from daemon.subject import Subject
from daemon.turns import Turns
from erasure.placement import Candidate
from wire.messages import StoreManifest, StoreReceipt

# Every further round has lost a peer that refused its shard; after these the next sweep goes on.
ROUNDS_MAX = 4


_MANIFEST_FAULTS = (FindingKind.MANIFEST_MISSING, FindingKind.MANIFEST_CORRUPT)


class Relocations(Protocol):
    """What must be known of shards that moved."""

    async def moved(self, subject: Subject, leaves: Sequence[RelocateLeaf]) -> None:
        """Anchor the leaves, and announce those that moved to this peer. Raises MoorageError."""
        ...


@dataclass(frozen=True, slots=True)
class Mended:
    """``states`` as they are now; ``done``: remedies; ``undone``: what could not be mended, and why. ``waits``: some
    holder is silent, within its grace."""

    states: tuple[ShardState, ...]
    done: tuple[Finding, ...]
    undone: tuple[Finding, ...]
    waits: bool
    read_bytes: int
    sent_bytes: int


class Repairer:
    def __init__(
        self,
        me: PeerId,
        *,
        asker: Asker,
        directory: Directory,
        store: ShardStore,
        threads: Threads,
        clock: Clock,
        pace: Pace,
        relocations: Relocations,
        turns: Turns,
    ) -> None:
        self._me = me
        self._asker = asker
        self._threads = threads
        self._clock = clock
        self._pace = pace
        self._relocations = relocations
        self._turns = turns
        self._hands = Hands(asker, directory, store, threads)

    async def repair(
        self, subject: Subject, examination: Examination, *, given_up: Collection[PeerId], everywhere: bool
    ) -> Mended:
        """Mend what ``examination`` found.

        Args:
            given_up: silent peers whose shards get new homes.
            everywhere: also what others hold; otherwise only this peer's own shards.

        Never raises for what holders do.
        """
        rebuilder = Rebuilder(self._asker, self._threads, self._pace, subject.object, subject.manifest, near=self._me)
        work = _Work(
            self._me,
            self._hands,
            self._threads,
            rebuilder,
            subject,
            examination,
            given_up,
            self._turns,
            everywhere=everywhere,
        )
        if everywhere:
            await work.restore_papers(examination.findings)
        for _ in range(ROUNDS_MAX):
            if not await work.one_round():
                break
        leaves = work.relocations(int(self._clock.now()))
        try:
            if leaves:
                await self._relocations.moved(subject, leaves)
        except MoorageError as error:
            work.complain(f"a relocation is not anchored: {error}")
        return await work.result()


class _Work:
    """One object under repair: what is known of its shards, updated as they are mended."""

    def __init__(
        self,
        me: PeerId,
        hands: Hands,
        threads: Threads,
        rebuilder: Rebuilder,
        subject: Subject,
        examination: Examination,
        given_up: Collection[PeerId],
        turns: Turns,
        *,
        everywhere: bool,
    ) -> None:
        self._me = me
        self._hands = hands
        self._threads = threads
        self._rebuilder = rebuilder
        self._subject = subject
        self._given_up = given_up
        self._turns = turns
        self._everywhere = everywhere
        self._states = {(state.extent, state.share): state for state in examination.states}
        self._unfit: set[PeerId] = set()
        self._failed: dict[int, MoorageError] = {}
        """Extents that cannot be mended now, whoever takes the shards."""
        self._candidates: list[Candidate] | None = None
        self._asked_all = False
        self._moved: list[tuple[ShardState, PeerId]] = []
        self._done: list[Finding] = []
        self._undone: list[Finding] = []
        self._read_bytes = self._sent_bytes = 0

    # --- papers -------------------------------------------------------------------------------

    async def restore_papers(self, findings: Sequence[Finding]) -> None:
        """Give holders a good copy for each that was found missing or damaged."""
        subject = self._subject
        # Receipts first: where the owner has left the pool, a manifest is taken on the receipt's word.
        for finding in sorted(findings, key=lambda one: one.kind in _MANIFEST_FAULTS):
            match finding.kind:
                case kind if kind in _MANIFEST_FAULTS:
                    message: StoreManifest | StoreReceipt = StoreManifest(subject.object, subject.manifest_file)
                case FindingKind.RECEIPT_MISSING | FindingKind.RECEIPT_CORRUPT if subject.receipt_file is not None:
                    message = StoreReceipt(subject.object, subject.receipt_file)
                case _:
                    continue
            if finding.holder is not None:
                await self._restore(finding.holder, message)

    async def _restore(self, holder: PeerId, message: StoreManifest | StoreReceipt) -> None:
        word = message.KIND.removeprefix("store-")
        try:
            await self._hands.restore(holder, message)
            remedy = Finding(FindingKind.REPAIRED, self._subject.object, holder, detail=f"{word} restored")
            self._done.append(remedy)
        except MoorageError as error:
            detail = f"{word} cannot be restored: {error}"
            self._undone.append(Finding(FindingKind.UNREPAIRABLE, self._subject.object, holder, detail=detail))

    # --- shards -------------------------------------------------------------------------------

    async def one_round(self) -> bool:
        """Carry out what can be planned now. True when a target failed, so that another round may do better."""
        plan = await self._plan()
        failures = len(self._unfit)
        for rebuild in plan:
            async with self._turns.step():
                if await self._prepare(rebuild):
                    self._take(rebuild, await self._rebuild(rebuild))
        return len(self._unfit) > failures

    async def _plan(self) -> tuple[Rebuild, ...]:
        states = [state for state in self._states.values() if state.extent not in self._failed]
        leaving = {*self._given_up, *self._unfit}
        moves = any(not state.ok and state.holder in leaving for state in states)
        if moves and self._everywhere and self._candidates is None:
            await self._ask_around(states)
        plan = await self._plan_for(states)
        if not self._everywhere:
            return plan.only(self._me).rebuilds
        if plan.homeless and not self._asked_all:
            # The few that were asked stand too close together, or too few of them answered.
            self._asked_all = True
            await self._ask_around(states)
            plan = await self._plan_for(states)
        return plan.rebuilds

    async def _ask_around(self, states: Sequence[ShardState]) -> None:
        silent = {state.holder for state in states if state.status is Status.SILENT}
        records = known = self._hands.known(silent)
        if not self._asked_all:
            holders = {state.holder for state in states}
            records = await self._hands.nearest(self._subject.object, known, holders)
            self._asked_all = len(records) == len(known)
            self._candidates = await self._hands.candidates(records)
        else:
            self._candidates = await self._hands.candidates(records, anew=False)

    async def _plan_for(self, states: Sequence[ShardState]) -> RepairPlan:
        """In a pool of ten thousand that were all asked, each lost share takes 50 ms."""
        now = Circumstances(self._candidates or (), self._given_up, frozenset(self._unfit))
        return await self._threads.cpu(plan_repairs, self._subject.object, self._subject.manifest, states, now)

    def _state(self, rebuild: Rebuild, share: int) -> ShardState:
        return self._states[rebuild.extent, share]

    async def _prepare(self, rebuild: Rebuild) -> bool:
        """Set our own useless shards aside, and give new holders the papers first. False: plan anew."""
        for share, peer in rebuild.targets.items():
            state = self._state(rebuild, share)
            try:
                if peer != state.holder:
                    await self._hands.store_papers(self._subject, peer)
            except MoorageError:
                self._refused_by(peer)
                return False
            # One that has good shares stays where they can be read, until the new one takes its place: others may fail.
            if peer == self._me and state.status is Status.CORRUPT and state.good_but_for() is None:
                await self._hands.set_aside(state.root)
        return True

    async def _rebuild(self, rebuild: Rebuild) -> Rebuilt:
        rebuilt = await self._rebuilder.rebuild(rebuild)
        self._read_bytes += rebuilt.read_bytes
        self._sent_bytes += rebuilt.sent_bytes
        for share, peer in rebuilt.written.items():
            if peer == self._me:
                await self._hands.discard(self._state(rebuild, share).root)
        return rebuilt

    def _take(self, rebuild: Rebuild, rebuilt: Rebuilt) -> None:
        for share, peer in rebuilt.written.items():
            self._note_written(self._state(rebuild, share), peer)
        if rebuilt.sources_failed is not None:
            self._failed[rebuild.extent] = rebuilt.sources_failed
            return
        for share, error in rebuilt.failed.items():
            if isinstance(error, CorruptError):
                self._failed[rebuild.extent] = error
            else:
                self._refused_by(rebuild.targets[share])

    def _refused_by(self, peer: PeerId) -> None:
        self._unfit.add(peer)
        self._hands.doubt(peer)

    def _note_written(self, state: ShardState, peer: PeerId) -> None:
        subject = self._subject
        finding = Finding(FindingKind.REPAIRED, subject.object, peer, state.extent, state.share, root=state.root)
        if peer != state.holder:
            detail = f"was at {state.holder.short}"
            finding = replace(finding, kind=FindingKind.RELOCATED, detail=detail)
            self._moved.append((state, peer))
        self._done.append(finding)
        self._states[state.extent, state.share] = replace(state, holder=peer, verdict=Verdict(Status.OK))

    # --- what it amounts to ---------------------------------------------------------------------

    def relocations(self, now_s: int) -> list[RelocateLeaf]:
        """A leaf for each shard that has a new home."""
        return [
            RelocateLeaf(
                object=self._subject.object,
                extent=state.extent,
                share=state.share,
                root=state.root,
                source=state.holder,
                target=peer,
                time_s=now_s,
            )
            for state, peer in self._moved
        ]

    def complain(self, detail: str, extent: int | None = None) -> None:
        finding = Finding(FindingKind.UNREPAIRABLE, self._subject.object, extent=extent, detail=detail)
        self._undone.append(finding)

    async def result(self) -> Mended:
        for number, error in sorted(self._failed.items()):
            self.complain(str(error), number)
        states = [state for state in self._states.values() if state.extent not in self._failed]
        left = await self._plan_for(states)
        if self._everywhere:
            self._undone += not_repaired(self._subject.object, self._subject.manifest, left)
        return Mended(
            states=tuple(self._states.values()),
            done=tuple(self._done),
            undone=tuple(self._undone),
            waits=bool(left.waiting),
            read_bytes=self._read_bytes,
            sent_bytes=self._sent_bytes,
        )

"""One look of a monitor at one log: read what is new, judge it, keep evidence, remember (docs/ledger/monitor.md)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import trio

from anchor.evidence import AlarmKind, Evidence, log_signed, signers_of
from anchor.merkle import check_inclusion, inclusion_path, leaf_hash
from anchor.monitor import (
    Growth,
    Shown,
    View,
    compare,
    fork_evidence,
    is_behind,
    is_stalled,
)
from anchor.note import NOTE_MAX_BYTES
from anchor.policy import CheckedCheckpoint, Policy, parse_policy
from anchor.proof import Proof, format_proof
from anchor.rules import Fault
from anchor.tiles import TILE_WIDTH, ReadFile, TileTree, read_bundle, read_entries, tile_width
from client.evidence import MonitorState
from client.tilesource import Reader, TileSource
from core.errors import BadSignatureError, CorruptError, LedgerError, MalformedError, PeerUnavailableError
from core.ports import Clock, Threads

# A log of bad entries only must not fill the monitor's disk: later ones are counted.
BAD_ENTRIES_KEPT = 16
# Below the quorum a checkpoint is looked at again for so long. When the roster has just changed, the log's peer takes
# the new one 2 s later, and asks witnesses that do not have it yet again every 15 s at the latest.
QUORUM_PATIENCE_S = 45.0
_QUORUM_POLL_S = 1.0


class Head(NamedTuple):
    """Where a witness shows what it cosigned of this log: ``path`` in ``source``."""

    who: str
    source: TileSource
    path: str = "checkpoint"


class Target(NamedTuple):
    """A log to be watched: its policy, the roster that it stands on (empty: none), where it is, and its witnesses."""

    origin: str
    policy: str
    roster: bytes
    source: TileSource
    heads: tuple[Head, ...] = ()
    stall_s: float = 0.0


class Alarm(NamedTuple):
    """Evidence that is kept in ``folder``."""

    folder: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Look:
    """What one look came to. ``notes`` are things worth saying that are no alarm; ``silent`` why nothing was seen."""

    origin: str
    source: str
    size: int
    time_s: int
    new_entries: int
    alarms: tuple[Alarm, ...]
    notes: tuple[str, ...]
    silent: str


class Watcher:
    """Looks at logs, again and again. One task at a time."""

    def __init__(self, state: MonitorState, threads: Threads, clock: Clock) -> None:
        self._state = state
        self._threads = threads
        self._clock = clock

    async def look(self, target: Target) -> Look:
        """Raises LedgerError when the monitor's own state cannot be read, OSError when it cannot be written."""
        view = await self._threads.disk(self._state.view, target.origin)
        glance = _Glance(target, view, int(self._clock.now()))
        silent = ""
        try:
            await glance.take()
        except PeerUnavailableError as error:
            silent = str(error)
        finally:
            for source in (target.source, *(head.source for head in target.heads)):
                await source.aclose()
        glance.check_stall()
        alarms = await self._threads.disk(self._keep, target.origin, view, glance, bool(silent))
        return Look(
            origin=target.origin,
            source=target.source.name,
            size=glance.view.edge.size,
            time_s=glance.checked.time_s if glance.checked else 0,
            new_entries=glance.view.edge.size - view.edge.size,
            alarms=tuple(alarms),
            notes=tuple(glance.notes),
            silent=silent,
        )

    def _keep(self, origin: str, before: View, glance: _Glance, silent: bool) -> list[Alarm]:
        """Evidence first: an entry that the view covers is not judged again. Who is silent has mended nothing."""
        # Several witnesses that saw one history convict it once.
        distinct = {item.name: item for item in reversed(glance.evidence)}
        alarms = [Alarm(self._state.raise_alarm(item), item) for item in distinct.values()]
        if glance.view != before:
            self._state.keep(origin, glance.view)
        if not silent and not glance.is_head_unseen:
            self._state.settle(origin, [alarm.folder for alarm in alarms])
        return alarms


class _Glance:
    """The work of one look. ``view`` is what is known after it."""

    def __init__(self, target: Target, view: View, now_s: int) -> None:
        self.view = view
        self.checked: CheckedCheckpoint | None = None
        self.evidence: list[Evidence] = []
        self.notes: list[str] = []
        self.more_bad_entries = 0
        self.is_head_unseen = False
        """Whether some witness did not show what it has seen."""
        self._target = target
        self._policy = parse_policy(target.policy)
        self._now_s = now_s
        self._reader = Reader(target.source)
        if view.note:
            # A later roster may ask for more than this checkpoint has: it is compared with all the same.
            with suppress(BadSignatureError):
                self.checked = self._policy.check_checkpoint(view.note)

    def _alarm(self, kind: AlarmKind, words: str, *notes: bytes, proofs: Sequence[bytes] = ()) -> None:
        self.evidence.append(replace(self._base(kind, words), notes=notes, proofs=tuple(proofs)))

    def _base(self, kind: AlarmKind, words: str) -> Evidence:
        return Evidence(kind, self._target.origin, words, self._now_s, self._target.policy, self._target.roster)

    def check_stall(self) -> None:
        checked, stall_s = self.checked, self._target.stall_s
        if checked is not None and is_stalled(checked, self._now_s, stall_s):
            minutes = (self._now_s - checked.time_s) // 60
            self._alarm(AlarmKind.STALL, f"no quorum has vouched for it for {minutes} minutes", self.view.note)

    async def take(self) -> None:
        """Raises PeerUnavailableError when the log, not merely a witness, does not answer."""
        target = self._target
        note = await self._served()
        try:
            checked = self._policy.check_checkpoint(note)
            if checked.checkpoint.origin != target.origin:
                raise MalformedError(f"the checkpoint of {checked.checkpoint.origin!r} is served in its place")
        except (MalformedError, BadSignatureError) as error:
            self._alarm(AlarmKind.BAD_CHECKPOINT, str(error), note)
            await self._compare_heads()
            return
        ours = Shown(f"the log at {target.source.name}", note, log_signed(self._policy, note))
        if self.view.note and await self._contradicts(ours):
            return
        if await self._grow(ours, checked):
            self.checked = checked
            await self._compare_heads()

    async def _served(self) -> bytes:
        """The log's checkpoint; below the quorum only if that lasts. Raises PeerUnavailableError."""
        source = self._target.source
        until_s = trio.current_time() + QUORUM_PATIENCE_S
        while True:
            note = await source.read("checkpoint", max_bytes=NOTE_MAX_BYTES)
            if note is None:
                raise PeerUnavailableError(f"{source.name}: there is no checkpoint")
            if not _lacks_cosigners(self._policy, note) or trio.current_time() >= until_s:
                return note
            await trio.sleep(_QUORUM_POLL_S)

    async def _contradicts(self, ours: Shown) -> bool:
        """Whether what is served now cannot follow what was seen before; then the old view stays."""
        seen = Shown("the log at an earlier look", self.view.note, log_signed(self._policy, self.view.note))
        if ours.signed.checkpoint.size < seen.signed.checkpoint.size:
            sizes = f"{seen.signed.checkpoint.size} entries, and now {ours.signed.checkpoint.size}"
            self._alarm(AlarmKind.ROLLBACK, f"it served {sizes}", seen.note, ours.note)
            return True
        if ours.signed.checkpoint.size == seen.signed.checkpoint.size:
            found = compare(ours, seen, lambda _: None)
            if found is not None:
                self.evidence.append(fork_evidence(self._base(*found[:2]), ours, seen, found))
            return found is not None
        return False

    async def _grow(self, ours: Shown, checked: CheckedCheckpoint) -> bool:
        """Read what is new. False, and an alarm, when it does not lead to the signed root."""
        size = ours.signed.checkpoint.size
        growth = Growth(self.view, signers_of(self._target.roster, self._target.policy), checked.time_s)
        try:
            while growth.edge.size < size:
                number, skip = divmod(growth.edge.size, TILE_WIDTH)
                width = tile_width(0, number, size)
                # Read past the cache: each bundle is needed once.
                reader = Reader(self._target.source)
                entries = await reader.run(partial(read_bundle, index=number, width=width))
                growth.take(entries[skip:])
            if growth.edge.root != ours.signed.checkpoint.root:
                raise CorruptError(f"its {size} entries do not lead to the root that it signed")
        except (CorruptError, MalformedError) as error:
            await self._explain(ours, str(error))
            return False
        for number, fault in growth.faults:
            await self._bad_entry(ours, number, fault)
        if self.more_bad_entries:
            self.notes.append(f"{self.more_bad_entries} more bad entries; evidence of the first is kept")
        self.view = growth.view(ours.note)
        return True

    async def _explain(self, ours: Shown, words: str) -> None:
        """A fork, where the log's own tiles prove one; else something is unreadable."""
        if self.view.edge.size:
            seen = Shown("the log at an earlier look", self.view.note, log_signed(self._policy, self.view.note))
            with suppress(CorruptError, MalformedError):
                found = await self._reader.run(lambda read: compare(ours, seen, read))
                if found is not None:
                    self.evidence.append(fork_evidence(self._base(*found[:2]), ours, seen, found))
                    return
        self._alarm(AlarmKind.UNREADABLE, words, ours.note)

    async def _bad_entry(self, ours: Shown, number: int, fault: Fault) -> None:
        words = f"entry {number} ({fault.kind}): {fault.words}"
        if not fault.kind.is_alarming:
            if len(self.notes) < BAD_ENTRIES_KEPT:
                self.notes.append(words)
            return
        if len(self.evidence) >= BAD_ENTRIES_KEPT:
            self.more_bad_entries += 1
            return
        places = [number] if fault.related is None else [number, fault.related]
        try:
            proofs = [await self._reader.run(partial(_prove, ours=ours, place=place)) for place in places]
        except (CorruptError, MalformedError) as error:
            self._alarm(AlarmKind.UNREADABLE, f"{words}; and {error}", ours.note)
            return
        self._alarm(AlarmKind.BAD_ENTRY, words, proofs=proofs)

    async def _compare_heads(self) -> None:
        """What each witness saw, with what we saw and with what the others saw."""
        shown: list[Shown] = []
        if self.view.note:
            shown.append(Shown("the log", self.view.note, log_signed(self._policy, self.view.note)))
        for head in self._target.heads:
            found = await self._head(head)
            if found is None:
                continue
            for other in shown:
                await self._compare(other, found)
            shown.append(found)

    async def _head(self, head: Head) -> Shown | None:
        try:
            note = await head.source.read(head.path, max_bytes=NOTE_MAX_BYTES)
            if note is None:
                return None
            return Shown(head.who, note, log_signed(self._policy, note))
        except (LedgerError, PeerUnavailableError, MalformedError, BadSignatureError) as error:
            self.notes.append(f"{head.who}: {error}")
            self.is_head_unseen = True
            return None

    async def _compare(self, known: Shown, found: Shown) -> None:
        is_ours = known.note == self.view.note
        larger = max(known, found, key=lambda item: item.signed.checkpoint.size)
        if larger.note != self.view.note and known.signed.checkpoint.size != found.signed.checkpoint.size:
            # Tiles are at hand for what the log serves only: the larger one waits until the log has published it.
            if is_ours and is_behind(known, found, self._now_s):
                sizes = f"{found.signed.checkpoint.size} entries, the log serves {known.signed.checkpoint.size}"
                self._alarm(AlarmKind.BEHIND, f"{found.who} has cosigned {sizes}", found.note, known.note)
            return
        try:
            result = await self._reader.run(lambda read: compare(known, found, read))
        except (CorruptError, MalformedError) as error:
            self._alarm(AlarmKind.UNREADABLE, str(error), known.note)
            return
        if result is not None:
            self.evidence.append(fork_evidence(self._base(*result[:2]), known, found, result))


def _lacks_cosigners(policy: Policy, note: bytes) -> bool:
    """Whether the log signed it, and no quorum has yet."""
    try:
        policy.check_checkpoint(note)
    except MalformedError:
        return False
    except BadSignatureError:
        with suppress(MalformedError, BadSignatureError):
            log_signed(policy, note)
            return True
    return False


def _prove(read: ReadFile, ours: Shown, place: int) -> bytes:
    size, root = ours.signed.checkpoint.size, ours.signed.checkpoint.root
    (entry,) = read_entries(read, size, place, place + 1)
    path = inclusion_path(TileTree(read, size).hash_at, place, size)
    check_inclusion(place, size, leaf_hash(entry), path, root)
    return format_proof(Proof(place, path, ours.note, entry))

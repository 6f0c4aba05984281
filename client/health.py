"""What a look at one object found, as a value: the state of every shard and copy, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from anchor.manifest import Manifest
from core.findings import Finding, FindingKind
from core.ids import ObjectId, PeerId, ShardRoot
from erasure.placement import Candidate
from erasure.scheme import Scheme
from erasure.spread import Spread, spread_of

# "A holder that lost so much of what it has" is what a sample is judged by.
SUPPOSED_LOSS = 0.05


class Status(StrEnum):
    """One shard at one holder, or the best that is known of it anywhere."""

    OK = "ok"
    MISSING = "missing"
    CORRUPT = "corrupt"
    SILENT = "silent"
    NEWER = "newer"


_KINDS: dict[Status, FindingKind] = {
    Status.MISSING: FindingKind.MISSING,
    Status.CORRUPT: FindingKind.CORRUPT,
    Status.SILENT: FindingKind.SILENT,
    Status.NEWER: FindingKind.NEWER_VERSION,
}


class Health(StrEnum):
    """An object as a whole. Values are stable words of the command line.

    ``full`` is said only when nothing at all was found wrong. ``degraded``: something is, or somebody is silent.
    ``critical``: one more loss would be the last, or the object can only be read when a silent holder comes back.
    ``lost``: some chunk has too few good shares, silent holders counted.
    """

    FULL = "full"
    DEGRADED = "degraded"
    CRITICAL = "critical"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one look at one shard at one holder said.

    ``chunks`` are those whose shares are bad; empty for a corrupt shard where that is not known (its head or foot is
    damaged, or only a sample was seen: then ``pinned`` is false). ``sampled`` shares were transferred and compared.
    """

    status: Status
    chunks: tuple[int, ...] = ()
    pinned: bool = False
    detail: str = ""
    sampled: int = 0


@dataclass(frozen=True, slots=True)
class ShardState:
    """A shard of the object: where it is good, or where it should be and is not."""

    extent: int
    share: int
    root: ShardRoot
    holder: PeerId
    verdict: Verdict

    @property
    def status(self) -> Status:
        return self.verdict.status

    @property
    def ok(self) -> bool:
        return self.verdict.status is Status.OK

    def good_but_for(self) -> frozenset[int] | None:
        """The chunks that cannot be read from this shard; None when nothing can be relied on."""
        if self.ok:
            return frozenset()
        if self.status is Status.CORRUPT and self.verdict.pinned and self.verdict.chunks:
            return frozenset(self.verdict.chunks)
        return None


def shard_findings(object_id: ObjectId, state: ShardState) -> list[Finding]:
    """What is wrong with one shard: nothing, one finding, or one for each bad chunk."""
    if state.ok:
        return []
    finding = Finding(
        kind=_KINDS[state.status],
        object=object_id,
        holder=state.holder,
        extent=state.extent,
        share=state.share,
        root=state.root,
        detail=state.verdict.detail,
    )
    return [replace(finding, chunk=chunk) for chunk in state.verdict.chunks] or [finding]


@dataclass(frozen=True, slots=True)
class Examination:
    """A look at one object and all its holders.

    ``full``: every holder re-read every byte of its shards and showed their leaves; otherwise ``sampled`` of
    ``shares`` shares were seen, at least ``least_sampled`` of every holder that has any. ``silent_is_loss``: whoever
    did not answer is not waited for.
    """

    object: ObjectId
    scheme: Scheme
    full: bool
    states: tuple[ShardState, ...]
    findings: tuple[Finding, ...]
    spread: Spread
    sampled: int
    shares: int
    least_sampled: int
    silent_is_loss: bool = False

    def extents(self) -> dict[int, list[ShardState]]:
        """The states by extent number, ascending; shares ascending within."""
        found: dict[int, list[ShardState]] = {}
        for state in sorted(self.states, key=lambda state: (state.extent, state.share)):
            found.setdefault(state.extent, []).append(state)
        return found

    @property
    def checked_shards(self) -> int:
        """Shards whose holder answered."""
        return sum(state.status is not Status.SILENT for state in self.states)

    @property
    def spare(self) -> int:
        """Whole shards that answer beyond those needed, in the extent that has fewest. Negative: not readable now."""
        return min(sum(state.ok for state in states) for states in self.extents().values()) - self.scheme.needed

    @property
    def spare_with_silent(self) -> int:
        """As ``spare``, if all silent holders came back with what they had."""
        possible = (sum(state.ok or state.status is Status.SILENT for state in group) for group in self._groups())
        return min(possible) - self.scheme.needed

    def _groups(self) -> list[list[ShardState]]:
        return list(self.extents().values())

    @property
    def health(self) -> Health:
        hope = () if self.silent_is_loss else (Status.SILENT,)
        if any(fewest_shares(group, hope) < self.scheme.needed for group in self._groups()):
            return Health.LOST
        spare = self.spare if self.silent_is_loss else self.spare_with_silent
        if spare <= 0 or any(fewest_shares(group, ()) < self.scheme.needed for group in self._groups()):
            return Health.CRITICAL
        if self.findings or not self.spread.ok or not all(state.ok for state in self.states):
            return Health.DEGRADED
        return Health.FULL

    @property
    def confidence_words(self) -> str:
        """What was looked at, and what may have escaped."""
        if self.full:
            return f"every share of {self.checked_shards} shards re-read by its holder, {self.sampled} shares compared"
        if self.sampled >= self.shares and all(state.ok for state in self.states):
            return f"all {self.shares:,} shares read and compared"
        escapes = (1 - SUPPOSED_LOSS) ** self.least_sampled
        return (
            f"sampled {self.sampled:,} of {self.shares:,} shares; "
            f"a holder that lost {100 * SUPPOSED_LOSS:.0f} % of its shares escapes with probability {_percent(escapes)}"
        )


def _percent(probability: float) -> str:
    """Never 0 %: a sample proves nothing for certain."""
    return f"{100 * probability:.1f} %" if probability >= 0.001 else "less than 0.1 %"


def fewest_shares(states: Sequence[ShardState], hoped_for: Sequence[Status]) -> int:
    """The number of good shares of the chunk that has fewest, shards of status ``hoped_for`` counted as good.

    Damaged shards count for the chunks in which they are whole, where that is known.
    """
    whole = sum(state.ok or state.status in hoped_for for state in states)
    damaged = [bad for state in states if not state.ok and (bad := state.good_but_for()) is not None]
    suspect = sorted({chunk for bad in damaged for chunk in bad})
    # Any other chunk has all of the damaged shards.
    return whole + min((sum(chunk not in bad for bad in damaged) for chunk in suspect), default=len(damaged))


def spread_over(manifest: Manifest, states: Sequence[ShardState], candidates: Sequence[Candidate]) -> Spread:
    """The weakest of the layouts that the object's extents have."""
    by_extent: dict[int, dict[int, PeerId]] = {number: {} for number in range(len(manifest.all_extents()))}
    for state in states:
        if state.ok:
            by_extent[state.extent][state.share] = state.holder
    layouts = {tuple(sorted(holders.items())): None for holders in by_extent.values()}
    spreads = [spread_of(manifest.scheme, dict(layout), candidates) for layout in layouts]
    return min(spreads, key=lambda spread: (spread.ok, spread.survives_site, spread.more_peers, spread.words))

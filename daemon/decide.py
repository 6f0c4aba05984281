"""What to do about what was found: pure functions from an examination to a plan.

The rules, in words:

- A shard that its present holder has lost or damaged is rebuilt right there: no spare peer is needed, nothing moves.
  A peer that has taken over another share of the extent meanwhile keeps to the rule of placement, though: a third gets
  this one, or it does where its site and organisation may have one more.
- A shard whose holder is silent waits until the holder is given up; then it gets a new home within the rule of
  placement, or stays where it is not, when the rule leaves none.
- A shard of a newer format is left alone.
- Exactly what is lost is written, nothing else. Least spare first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from anchor.manifest import Manifest
from client.fetch import Source
from client.health import Examination, ShardState, Status, fewest_shares
from client.look import take_over_order
from core.findings import Finding, FindingKind
from core.ids import ObjectId, PeerId
from erasure.placement import Candidate, may_hold_another, replace_holders


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Shares of one extent to be made anew: ``targets[i]`` gets share i, in one pass over the sources.

    ``sources`` hold whole shards. ``damaged`` are used only when those are too few: each with the chunks that it lacks.
    ``spare``: whole shards beyond those needed, before the repair.
    """

    extent: int
    targets: Mapping[int, PeerId]
    sources: tuple[Source, ...]
    damaged: tuple[tuple[Source, frozenset[int]], ...]
    spare: int

    def sources_for(self, needed: int, first: int, count: int) -> list[Source]:
        """Where chunks ``first`` to ``first + count - 1`` can be read whole."""
        found = list(self.sources)
        if len(found) < needed:
            chunks = frozenset(range(first, first + count))
            found += [source for source, lacks in self.damaged if not lacks & chunks]
        return found


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """``rebuilds`` by ascending spare. ``beyond``: extents with too few good shares; ``homeless``: (extent, share) for
    which the rule of placement leaves no peer; ``waiting``: (extent, share, holder) within the holder's grace."""

    rebuilds: tuple[Rebuild, ...]
    beyond: tuple[int, ...] = ()
    homeless: tuple[tuple[int, int], ...] = ()
    waiting: tuple[tuple[int, int, PeerId], ...] = ()

    def only(self, peer: PeerId) -> RepairPlan:
        """The part that writes to ``peer`` itself: what every holder does, whoever else repairs."""
        mine = [
            Rebuild(
                item.extent,
                {share: target for share, target in item.targets.items() if target == peer},
                item.sources,
                item.damaged,
                item.spare,
            )
            for item in self.rebuilds
        ]
        return RepairPlan(tuple(item for item in mine if item.targets), self.beyond, self.homeless, self.waiting)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a plan depends on besides the shards.

    Attributes:
        candidates: peers that answer, those already holding shards included; weight 0 for one without room.
        given_up: silent peers whose grace has ended.
        unfit: peers that have just refused a shard during this repair.
    """

    candidates: Sequence[Candidate]
    given_up: Collection[PeerId] = ()
    unfit: Collection[PeerId] = ()


def placement_seed(object_id: ObjectId, group: int) -> bytes:
    """Who gets a lost share: everybody who repairs this group finds the same peer."""
    return object_id.raw + group.to_bytes(4, "big")


def plan_repairs(
    object_id: ObjectId, manifest: Manifest, states: Sequence[ShardState], now: Circumstances
) -> RepairPlan:
    """The plan for one object, from the state of each of its shards."""
    by_extent: dict[int, list[ShardState]] = {}
    for state in states:
        by_extent.setdefault(state.extent, []).append(state)
    plans = [_plan_extent(object_id, manifest, by_extent[number], now) for number in sorted(by_extent)]
    rebuilds = [item for plan in plans for item in plan.rebuilds]
    return RepairPlan(
        rebuilds=tuple(sorted(rebuilds, key=lambda item: (item.spare, item.extent))),
        beyond=tuple(number for plan in plans for number in plan.beyond),
        homeless=tuple(item for plan in plans for item in plan.homeless),
        waiting=tuple(item for plan in plans for item in plan.waiting),
    )


def _plan_extent(
    object_id: ObjectId, manifest: Manifest, states: Sequence[ShardState], now: Circumstances
) -> RepairPlan:
    scheme, number = manifest.scheme, states[0].extent
    group = manifest.all_extents()[number].group
    seed = placement_seed(object_id, group)
    stays: dict[int, PeerId] = {}
    in_place: dict[int, PeerId] = {}
    moving: list[int] = []
    waiting: list[tuple[int, int, PeerId]] = []
    for state in states:
        if state.status is Status.SILENT and state.holder not in now.given_up:
            waiting.append((number, state.share, state.holder))
            stays[state.share] = state.holder
        elif state.ok or state.status is Status.NEWER:
            stays[state.share] = state.holder
        elif state.status is Status.SILENT or state.holder in now.unfit:
            moving.append(state.share)
        else:
            in_place[state.share] = state.holder
    if not in_place and not moving:
        return RepairPlan((), waiting=tuple(waiting))
    if fewest_shares(states, ()) < scheme.needed:
        return RepairPlan((), beyond=(number,), waiting=tuple(waiting))
    # Where a share stays, its site counts, whatever else is thought of its holder.
    staying = {*stays.values(), *in_place.values()}
    usable = [
        one
        for one in now.candidates
        if one.peer in staying or (one.peer not in now.unfit and one.peer not in now.given_up)
    ]
    crowded = [share for share, holder in in_place.items() if _took_another(holder, stays, manifest.groups[group])]
    apart = {share: holder for share, holder in in_place.items() if share not in crowded}
    homes = replace_holders(seed, scheme, stays | apart, moving, usable)
    homes |= replace_holders(seed, scheme, stays | apart | homes, crowded, usable)
    for share in crowded:
        if share not in homes and may_hold_another(seed, scheme, stays | apart | homes, in_place[share], usable):
            homes[share] = in_place[share]
    rebuild = Rebuild(
        extent=number,
        targets=dict(sorted((apart | homes).items())),
        sources=tuple(Source(state.share, state.holder) for state in states if state.ok),
        damaged=tuple(
            (Source(state.share, state.holder), lacks)
            for state in states
            if not state.ok and (lacks := state.good_but_for()) is not None
        ),
        spare=sum(state.ok for state in states) - scheme.needed,
    )
    homeless = tuple((number, share) for share in sorted([*moving, *crowded]) if share not in homes)
    return RepairPlan((rebuild,) if rebuild.targets else (), homeless=homeless, waiting=tuple(waiting))


def _took_another(peer: PeerId, stays: Mapping[int, PeerId], first: Sequence[PeerId]) -> bool:
    """Whether it has a share that was put on another: ``first`` are the holders that the manifest names."""
    return any(holder == peer and first[share] != peer for share, holder in stays.items())


def place_in_order(object_id: ObjectId, manifest: Manifest, examination: Examination, me: PeerId) -> int:
    """How many live holders come before ``me`` in the order in which they repair what others hold. All agree on it.

    One that came back without its disk answers and does not know of the object: everybody would wait for it.
    """
    present = {state.holder for state in examination.states if state.status is not Status.SILENT}
    present -= {finding.holder for finding in examination.findings if finding.kind is FindingKind.MANIFEST_MISSING}
    live = [peer for peer in manifest.holders() if peer in present]
    return take_over_order(object_id, live if me in live else [*live, me]).index(me)


def is_my_turn(place: int, *, waited_s: float, period_s: float) -> bool:
    """Whether the holder at ``place`` of the order repairs: each before it gets a period of sweeps to come to it.

    One that answers and never repairs (it cannot reach the others, or it lies) holds nobody up for longer.
    """
    return place == 0 or waited_s >= place * period_s


def not_repaired(object_id: ObjectId, manifest: Manifest, plan: RepairPlan) -> list[Finding]:
    """What the plan leaves undone, as findings. What merely waits for a silent holder is none."""
    found = [
        Finding(
            FindingKind.UNREPAIRABLE,
            object=object_id,
            extent=number,
            detail=f"fewer than {manifest.scheme.needed} good shares of a chunk are within reach",
        )
        for number in plan.beyond
    ]
    found += [
        Finding(
            FindingKind.UNREPAIRABLE,
            object=object_id,
            extent=number,
            share=share,
            root=manifest.all_extents()[number].roots[share],
            detail="no peer that answers may take it under the placement rule: add a peer or bring its holder back",
        )
        for number, share in plan.homeless
    ]
    return found


def superfluous(me: PeerId, mine: Collection[tuple[int, int]], states: Sequence[ShardState]) -> list[ShardState]:
    """Which of these copies at ``me``, by (extent, share), are good at somebody whose copy comes before.

    A state names the first holder if its copy is good, else the first good one in the agreed order, ``me`` included:
    so one copy always stays, whoever decides, and the first holder never removes its own whole one.
    """
    return [state for state in states if state.ok and state.holder != me and (state.extent, state.share) in mine]

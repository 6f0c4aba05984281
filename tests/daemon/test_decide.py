"""The plan, as a table: from the state of each shard to exactly what is rebuilt where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor.manifest import Extent, KeySlot, Manifest
from client.health import Examination, ShardState, Status, Verdict, fewest_shares
from client.look import take_over_order
from core.findings import Finding, FindingKind
from core.ids import ObjectId, PeerId, PoolId, ShardRoot, derived_digest
from daemon.decide import Circumstances, is_my_turn, not_repaired, place_in_order, plan_repairs, superfluous
from erasure.placement import Candidate
from erasure.scheme import Scheme
from erasure.spread import spread_of

SCHEME = Scheme(4, 6)
OBJECT = ObjectId(b"o" * 32)


def peer(number: int) -> PeerId:
    return PeerId(derived_digest("moorage 2026 test peer", bytes([number])))


def root(extent: int, share: int) -> ShardRoot:
    return ShardRoot(derived_digest("moorage 2026 test root", bytes([extent, share])))


def manifest(extents: int = 1) -> Manifest:
    """Peers 0 to 5 hold the shares; the last extent is the index."""
    made = tuple(Extent(3, 3000, 0, tuple(root(number, share) for share in range(6))) for number in range(extents))
    return Manifest(
        pool=PoolId(b"p" * 32),
        epoch=1,
        owner_key=b"k" * 32,
        created_s=0,
        scheme=SCHEME,
        degraded=False,
        groups=(tuple(peer(number) for number in range(6)),),
        extents=made[:-1],
        index=made[-1:],
        index_lengths=(1000, 1000, 1000),
        index_codecs=b"\0\0\0",
        index_bytes=10,
        listing=b"l" * 32,
        slots=(KeySlot(b"i" * 32, b"w"),),
    )


def candidates(*numbers: int) -> list[Candidate]:
    """Three sites, an organisation each: peer n is at site n modulo 3."""
    return [Candidate(peer(number), f"hospital {number % 3}", f"site {number % 3}", 1000) for number in numbers]


OK, MISSING, CORRUPT, SILENT, NEWER = Status
NINE = candidates(*range(9))


def states(*statuses: Status | Verdict, extent: int = 0) -> list[ShardState]:
    return [
        ShardState(
            extent, share, root(extent, share), peer(share), item if isinstance(item, Verdict) else Verdict(item)
        )
        for share, item in enumerate(statuses)
    ]


@dataclass(frozen=True)
class Case:
    name: str
    statuses: tuple[Status, ...]
    targets: dict[int, int | str]
    """Share to peer number, or "new": some peer that holds none."""
    there: list[Candidate] = field(default_factory=lambda: NINE)
    given_up: tuple[int, ...] = ()
    unfit: tuple[int, ...] = ()
    homeless: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()
    beyond: bool = False


CASES = [
    Case("nothing is wrong", (OK,) * 6, {}),
    Case("missing at a live holder: rebuilt there", (OK, MISSING, OK, OK, OK, OK), {1: 1}),
    Case("corrupt at a live holder: rebuilt there", (OK, OK, OK, OK, OK, CORRUPT), {5: 5}),
    Case("two corrupt, no spare peers", (CORRUPT, OK, OK, CORRUPT, OK, OK), {0: 0, 3: 3}, there=candidates(*range(6))),
    Case("silent within grace: waits", (OK, SILENT, OK, OK, OK, OK), {}, waiting=(1,)),
    Case("one silent within grace, one corrupt: only that", (OK, SILENT, CORRUPT, OK, OK, OK), {2: 2}, waiting=(1,)),
    Case("silent and given up: a new home", (OK, SILENT, OK, OK, OK, OK), {1: "new"}, given_up=(1,)),
    Case(
        "given up, but nobody else there",
        (OK, SILENT, OK, OK, OK, OK),
        {},
        there=candidates(*range(6)),
        given_up=(1,),
        homeless=(1,),
    ),
    Case(
        "given up, but the only free peer is at a full site",
        (OK, SILENT, OK, OK, OK, OK),
        {},
        there=candidates(0, 1, 2, 3, 4, 5, 6),
        given_up=(1,),
        homeless=(1,),
    ),
    Case(
        "given up, a free peer at its own site",
        (OK, SILENT, OK, OK, OK, OK),
        {1: 7},
        there=candidates(0, 1, 2, 3, 4, 5, 6, 7),
        given_up=(1,),
    ),
    Case("its live holder refuses: a new home", (OK, MISSING, OK, OK, OK, OK), {1: "new"}, unfit=(1,)),
    Case("a newer release's shard is left alone", (OK, NEWER, OK, OK, OK, OK), {}),
    Case("a newer one does not count as a source", (NEWER, NEWER, MISSING, OK, OK, OK), {}, beyond=True),
    Case("too few good shares", (MISSING, CORRUPT, MISSING, OK, OK, OK), {}, beyond=True),
    Case("all good ones but four", (MISSING, CORRUPT, OK, OK, OK, OK), {0: 0, 1: 1}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_plan_writes_exactly_what_is_lost_where_it_may_lie(case: Case) -> None:
    now = Circumstances(case.there, {peer(n) for n in case.given_up}, {peer(n) for n in case.unfit})
    plan = plan_repairs(OBJECT, manifest(), states(*case.statuses), now)
    targets = {share: target for item in plan.rebuilds for share, target in item.targets.items()}
    assert targets.keys() == case.targets.keys()
    for share, expected in case.targets.items():
        if isinstance(expected, int):
            assert targets[share] == peer(expected)
        else:
            assert targets[share] not in {peer(number) for number in range(6)}
    assert plan.homeless == tuple((0, share) for share in case.homeless)
    assert plan.waiting == tuple((0, share, peer(share)) for share in case.waiting)
    assert plan.beyond == ((0,) if case.beyond else ())
    assert len(not_repaired(OBJECT, manifest(), plan)) == len(case.homeless) + case.beyond
    for item in plan.rebuilds:
        assert {source.index for source in item.sources} == {n for n, s in enumerate(case.statuses) if s is OK}


def test_the_extent_with_least_to_spare_comes_first() -> None:
    found = (
        states(OK, OK, OK, OK, OK, MISSING)
        + states(MISSING, OK, OK, OK, OK, MISSING, extent=1)
        + states(OK, CORRUPT, OK, OK, OK, OK, extent=2)
    )
    plan = plan_repairs(OBJECT, manifest(3), found, Circumstances(NINE))
    assert [(item.extent, item.spare) for item in plan.rebuilds] == [(1, 0), (0, 1), (2, 1)]


def test_a_holder_may_repair_its_own_shards_alone() -> None:
    plan = plan_repairs(OBJECT, manifest(), states(CORRUPT, OK, OK, MISSING, OK, OK), Circumstances(NINE))
    assert [dict(item.targets) for item in plan.only(peer(3)).rebuilds] == [{3: peer(3)}]
    assert plan.only(peer(2)).rebuilds == ()


def test_damaged_shards_are_sources_only_for_chunks_that_they_have_and_only_in_need() -> None:
    def damaged(*chunks: int) -> Verdict:
        return Verdict(CORRUPT, chunks, pinned=True)

    poor = states(damaged(0), damaged(1), damaged(2), OK, OK, OK)
    (item,) = plan_repairs(OBJECT, manifest(), poor, Circumstances(NINE)).rebuilds
    assert {source.index for source in item.sources_for(4, 0, 1)} == {1, 2, 3, 4, 5}
    assert {source.index for source in item.sources_for(4, 2, 1)} == {0, 1, 3, 4, 5}
    rich = states(damaged(0), OK, OK, OK, OK, OK)
    (item,) = plan_repairs(OBJECT, manifest(), rich, Circumstances(NINE)).rebuilds
    assert {source.index for source in item.sources_for(4, 1, 1)} == {1, 2, 3, 4, 5}


def test_damage_of_unknown_extent_helps_nobody() -> None:
    assert fewest_shares(states(Verdict(CORRUPT, (0,)), OK, OK, OK, OK, OK), ()) == 5
    assert fewest_shares(states(Verdict(CORRUPT, pinned=True), OK, OK, OK, OK, OK), ()) == 5
    assert fewest_shares(states(Verdict(CORRUPT, (0,), pinned=True), OK, OK, OK, OK, OK), ()) == 5
    twice = states(Verdict(CORRUPT, (0,), pinned=True), Verdict(CORRUPT, (1,), pinned=True), OK, OK, OK, OK)
    assert fewest_shares(twice, ()) == 5


@pytest.mark.parametrize(
    ("last", "there", "expected"),
    [
        pytest.param(5, range(9), {1, 7}, id="a third gets it"),
        pytest.param(5, range(6), {1}, id="who lost the other share has room"),
        pytest.param(7, (0, 2, 3, 4, 7), {2}, id="its site may have one more"),
        pytest.param(5, (0, 2, 3, 4, 5), set[int](), id="its site is full"),
    ],
)
def test_what_a_holder_lost_that_took_over_another_share_keeps_to_the_rule(
    last: int, there: Iterable[int], expected: set[int]
) -> None:
    """Share 1 moved to peer 2 while that was without its own; share 5 is at peer ``last``."""
    found = states(OK, OK, MISSING, OK, OK, OK)
    found[1] = replace(found[1], holder=peer(2))
    found[5] = replace(found[5], holder=peer(last))
    plan = plan_repairs(OBJECT, manifest(), found, Circumstances(candidates(*there)))
    targets = {share: target for item in plan.rebuilds for share, target in item.targets.items()}
    assert targets.keys() == ({2} if expected else set())
    assert set(targets.values()) <= {peer(number) for number in expected}
    assert plan.homeless == (() if expected else ((0, 2),))


def test_two_shares_that_were_put_on_one_peer_are_rebuilt_there() -> None:
    """A degraded put: nobody took anything over."""
    found = states(OK, MISSING, OK, OK, OK, OK)
    found[1] = replace(found[1], holder=peer(0))
    holders = (peer(0), peer(0), *map(peer, range(2, 6)))
    plan = plan_repairs(OBJECT, replace(manifest(), groups=(holders,)), found, Circumstances(NINE))
    assert [dict(item.targets) for item in plan.rebuilds] == [{1: peer(0)}]


STATUSES = st.lists(st.sampled_from(list(Status)), min_size=6, max_size=6)


@given(STATUSES, st.sets(st.integers(0, 8)), st.sets(st.integers(0, 8)), st.sets(st.integers(0, 8)))
def test_no_plan_ever_writes_what_is_good_or_breaks_the_rule(
    statuses: list[Status], there: set[int], given_up: set[int], unfit: set[int]
) -> None:
    now = Circumstances(candidates(*sorted(there)), {peer(n) for n in given_up}, {peer(n) for n in unfit})
    found = states(*statuses)
    plan = plan_repairs(OBJECT, manifest(), found, now)
    good = {state.share: state.holder for state in found if state.ok}
    for item in plan.rebuilds:
        assert len(good) >= SCHEME.needed
        assert not item.targets.keys() & good.keys()
        holders = good | dict(item.targets)
        assert len(set(holders.values())) == len(holders)
        moved = {target for share, target in item.targets.items() if target != peer(share)}
        assert not moved & (set(now.given_up) | set(now.unfit))
        assert moved <= {one.peer for one in now.candidates}
        for site in range(3):
            held = [n for n in range(9) if peer(n) in holders.values() and n % 3 == site]
            before = [n for n in range(6) if statuses[n] is not MISSING and n % 3 == site]
            assert len(held) <= max(SCHEME.spare, len(before))
    assert plan_repairs(OBJECT, manifest(), found, now) == plan


def test_only_a_copy_that_an_earlier_holder_has_is_superfluous() -> None:
    found = states(OK, OK, MISSING, OK, OK, OK)
    mine = {(0, 1), (0, 2), (0, 3)}
    assert [state.share for state in superfluous(peer(3), mine, found)] == [1]


def test_what_is_left_undone_says_what_is_missing() -> None:
    lost = plan_repairs(OBJECT, manifest(), states(MISSING, MISSING, MISSING, OK, OK, OK), Circumstances(NINE))
    (finding,) = not_repaired(OBJECT, manifest(), lost)
    assert (finding.kind, finding.extent, finding.share) == (FindingKind.UNREPAIRABLE, 0, None)
    assert "fewer than 4 good shares" in finding.detail


def test_a_holder_that_lost_the_manifest_is_not_waited_for() -> None:
    """Found by the simulator (storm, seed 3): the first in the order came back empty, and nobody repaired."""
    order = take_over_order(OBJECT, manifest().holders())
    gone = [Status.MISSING if peer(share) == order[0] else Status.OK for share in range(6)]

    def look(*findings: Finding) -> Examination:
        spread = spread_of(SCHEME, {share: peer(share) for share in range(6)}, NINE)
        return Examination(OBJECT, SCHEME, False, tuple(states(*gone)), findings, spread, 6, 18, 1)

    lost = Finding(FindingKind.MANIFEST_MISSING, OBJECT, order[0])
    assert [place_in_order(OBJECT, manifest(), look(), me) for me in order] == [0, 1, 2, 3, 4, 5]
    assert [place_in_order(OBJECT, manifest(), look(lost), me) for me in order[1:]] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("place", "waited_s", "mine"),
    [(0, 0, True), (0, -5, True), (1, 0, False), (1, 99, False), (1, 100, True), (2, 199, False)],
)
def test_a_holder_that_never_repairs_is_waited_for_a_period(place: int, waited_s: float, mine: bool) -> None:
    assert is_my_turn(place, waited_s=waited_s, period_s=100.0) is mine

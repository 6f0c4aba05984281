"""Placement keeps its rule, spreads evenly, moves little, and says truly what it survives."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import NotEnoughPeersError
from core.ids import PeerId
from erasure.placement import Candidate, place, ranked, replace_holders, score
from erasure.scheme import Scheme
from erasure.spread import Spread, spread_of

FOUR_TWO = Scheme(4, 6)
TIB = 2**40
FROZEN_ORDER = [1, 3, 6, 7, 5, 2, 4, 0]


def peer(number: int) -> PeerId:
    return PeerId.of_key(b"peer %d" % number)


def pool(*sites: int, weight: int = TIB) -> list[Candidate]:
    """One organisation a site, with so many peers each."""
    found: list[Candidate] = []
    for at, peers in enumerate(sites):
        found += [Candidate(peer(len(found) + n), f"hospital-{at}", f"site-{at}", weight) for n in range(peers)]
    return found


def by_peer(candidates: Sequence[Candidate]) -> dict[PeerId, Candidate]:
    return {candidate.peer: candidate for candidate in candidates}


def per_site(holders: Sequence[PeerId], candidates: Sequence[Candidate]) -> Counter[str]:
    known = by_peer(candidates)
    return Counter(known[holder].site for holder in holders)


def seed(number: int) -> bytes:
    return b"object %d" % number


free_pools = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(1, TIB)), min_size=1, max_size=10
).map(lambda rows: [Candidate(peer(at), f"o{o}", f"s{s}", weight) for at, (o, s, weight) in enumerate(rows)])
small_schemes = st.sampled_from([Scheme(1, 2), Scheme(2, 3), Scheme(2, 4), Scheme(3, 5), FOUR_TWO, Scheme(3, 6)])


def feasible(scheme: Scheme, candidates: Sequence[Candidate]) -> bool:
    """Tries every choice of peers."""
    return any(
        max(Counter(one.site for one in choice).values()) <= scheme.spare
        and max(Counter(one.organisation for one in choice).values()) <= scheme.spare
        for choice in combinations(candidates, scheme.total)
    )


@given(free_pools, small_schemes)
@settings(max_examples=300, deadline=None)
def test_a_placement_is_found_exactly_when_the_rule_admits_one(candidates: list[Candidate], scheme: Scheme) -> None:
    if not feasible(scheme, candidates):
        with pytest.raises(NotEnoughPeersError, match="needs"):
            place(b"seed", scheme, candidates)
        return
    holders = place(b"seed", scheme, candidates)
    assert len(holders) == len(set(holders)) == scheme.total
    spread = spread_of(scheme, dict(enumerate(holders)), candidates)
    assert spread.ok
    assert spread.survives_site
    assert spread.survives_organisation


@given(free_pools, small_schemes)
@settings(max_examples=200, deadline=None)
def test_degraded_placement_needs_one_peer_and_stays_even(candidates: list[Candidate], scheme: Scheme) -> None:
    holders = place(b"seed", scheme, candidates, allow_degraded=True)
    assert len(holders) == scheme.total
    shares = Counter(holders)
    most = max(shares.values())
    assert most == -(-scheme.total // len(candidates))
    if feasible(scheme, candidates):
        assert holders == place(b"seed", scheme, candidates)


def test_order_of_candidates_does_not_matter() -> None:
    candidates = pool(3, 3, 3)
    shuffled = list(candidates)
    random.Random(1).shuffle(shuffled)
    assert place(b"seed", FOUR_TWO, candidates) == place(b"seed", FOUR_TWO, shuffled)


def test_placement_is_frozen() -> None:
    """Another order would make every fallback search in existing pools look in the wrong places first."""
    candidates = [Candidate(peer(at), f"h{at}", f"s{at}", (at + 1) * TIB) for at in range(8)]
    order = [candidates.index(one) for one in ranked(b"frozen", candidates)]
    assert order == FROZEN_ORDER
    assert place(b"frozen", FOUR_TWO, candidates) == tuple(peer(at) for at in FROZEN_ORDER[:6])


def test_one_share_a_site_where_there_are_sites_enough() -> None:
    candidates = pool(*[3] * 8)
    for number in range(20):
        assert max(per_site(place(seed(number), FOUR_TWO, candidates), candidates).values()) == 1


def test_sites_are_used_as_evenly_as_they_can_be() -> None:
    candidates = pool(5, 5, 5, 5)
    for number in range(20):
        counts = per_site(place(seed(number), Scheme(6, 10), candidates), candidates)
        assert sorted(counts.values()) == [2, 2, 3, 3]


def test_equal_peers_get_equal_shares() -> None:
    candidates = pool(3, 3, 3)
    held = Counter(holder for number in range(60) for holder in place(seed(number), FOUR_TWO, candidates))
    mean = 60 * 6 / 9
    assert len(held) == 9
    assert all(abs(count - mean) <= 0.35 * mean for count in held.values()), held


def test_every_share_index_goes_everywhere() -> None:
    """Otherwise some peers would hold only check shares and never be read."""
    candidates = pool(3, 3, 3)
    first = Counter(holder for number in range(200) for holder in place(seed(number), FOUR_TWO, candidates)[:4])
    assert all(abs(count - 800 / 9) <= 0.35 * 800 / 9 for count in first.values()), first


def test_free_space_attracts_shares_in_proportion() -> None:
    candidates = [Candidate(peer(at), f"h{at}", f"s{at}", (1 + at % 2) * TIB) for at in range(40)]
    held = Counter(holder for number in range(300) for holder in place(seed(number), Scheme(1, 2), candidates))
    large = sum(held[candidate.peer] for candidate in candidates if candidate.weight == 2 * TIB)
    assert 0.62 <= large / held.total() <= 0.71


def test_full_peers_get_nothing() -> None:
    candidates = [*pool(2, 2, 2), Candidate(peer(99), "hospital-9", "site-9", 0)]
    assert score(b"seed", candidates[-1]) == 0
    assert peer(99) not in place(b"seed", FOUR_TWO, candidates)
    with pytest.raises(NotEnoughPeersError, match=r"4\+2 needs 6 peers, 5 answer and 1 more are full"):
        place(b"seed", FOUR_TWO, candidates[1:])


def test_a_peer_that_leaves_or_comes_moves_only_its_own_share() -> None:
    candidates = pool(3, 3, 3, 3)
    for number in range(40):
        before = set(place(seed(number), FOUR_TWO, candidates))
        for gone in candidates:
            after = set(place(seed(number), FOUR_TWO, [one for one in candidates if one is not gone]))
            assert len(before - after) == (1 if gone.peer in before else 0)


@pytest.mark.parametrize(
    ("sites", "text"),
    [
        ([1, 2, 2], "4+2 needs 6 peers, 5 answer"),
        ([], "4+2 needs 6 peers, 0 answer"),
        ([4, 4], "4+2 needs 3 sites (at most 2 shares each), 2 are there"),
        ([6, 1, 1], "take 4"),
    ],
)
def test_the_error_says_what_is_missing(sites: list[int], text: str) -> None:
    with pytest.raises(NotEnoughPeersError) as caught:
        place(b"seed", FOUR_TWO, pool(*sites))
    assert text in str(caught.value)


def test_one_organisation_with_many_sites_is_not_enough() -> None:
    candidates = [Candidate(peer(at), "one", f"site-{at}", TIB) for at in range(8)]
    with pytest.raises(NotEnoughPeersError, match=r"4\+2 needs 3 organisations \(at most 2 shares each\), 1 are there"):
        place(b"seed", FOUR_TWO, candidates)
    assert len(set(place(b"seed", FOUR_TWO, candidates, allow_degraded=True))) == 6


def test_no_peer_at_all_is_an_error_even_degraded() -> None:
    with pytest.raises(NotEnoughPeersError, match="0 answer"):
        place(b"seed", FOUR_TWO, [], allow_degraded=True)


def test_one_peer_holds_everything_when_degraded() -> None:
    assert place(b"seed", FOUR_TWO, pool(1), allow_degraded=True) == (peer(0),) * 6


# --- replacing lost holders ---------------------------------------------------------------------


@given(free_pools, small_schemes, st.data())
@settings(max_examples=200, deadline=None)
def test_replacements_keep_the_rule_and_leave_good_holders_alone(
    candidates: list[Candidate], scheme: Scheme, data: st.DataObject
) -> None:
    if not feasible(scheme, candidates):
        return
    holders = dict(enumerate(place(b"seed", scheme, candidates)))
    lost = data.draw(st.lists(st.sampled_from(range(scheme.total)), unique=True))
    good = {number: holder for number, holder in holders.items() if number not in lost}
    gone = {holders[number] for number in lost}
    left = [one for one in candidates if one.peer not in gone]
    homes = replace_holders(b"seed", scheme, good, lost, left)
    assert set(homes) <= set(lost)
    together = [*good.values(), *homes.values()]
    assert len(set(together)) == len(together)
    known = by_peer(candidates)
    for domain in ("site", "organisation"):
        counts = Counter(getattr(known[holder], domain) for holder in together)
        assert max(counts.values(), default=0) <= scheme.spare
    # With the lost peers back, every share has a home again.
    assert set(replace_holders(b"seed", scheme, good, lost, candidates)) == set(lost)


def test_lost_shares_without_a_legal_home_are_left_out_unless_degraded() -> None:
    candidates = pool(2, 2, 2)
    holders = dict(enumerate(place(b"seed", FOUR_TWO, candidates)))
    good = {number: holders[number] for number in range(5)}
    left = [one for one in candidates if one.peer != holders[5]]
    assert replace_holders(b"seed", FOUR_TWO, good, [5], left) == {}
    degraded = replace_holders(b"seed", FOUR_TWO, good, [5], left, allow_degraded=True)
    assert degraded[5] in good.values()


def test_a_replacement_goes_to_the_least_used_site() -> None:
    candidates = pool(2, 2, 2, 2)
    holders = dict(enumerate(place(b"seed", FOUR_TWO, candidates)))
    counts = per_site(list(holders.values()), candidates)
    known = by_peer(candidates)
    victim = next(number for number in holders if counts[known[holders[number]].site] == 2)
    good = {number: holder for number, holder in holders.items() if number != victim}
    left = [one for one in candidates if one.peer != holders[victim]]
    home = replace_holders(b"seed", FOUR_TWO, good, [victim], left)[victim]
    assert max(per_site([*good.values(), home], candidates).values()) == 2
    assert known[home].site != known[holders[victim]].site


def test_a_good_holder_that_does_not_answer_gets_no_second_share() -> None:
    candidates = pool(2, 2, 2, 1)
    holders = dict(enumerate(place(b"seed", FOUR_TWO, candidates[:6])))
    silent = holders[0]
    good = {number: holder for number, holder in holders.items() if number != 5}
    left = [one for one in candidates if one.peer not in (silent, holders[5])]
    assert replace_holders(b"seed", FOUR_TWO, good, [5], left)[5] == peer(6)


# --- what it survives ---------------------------------------------------------------------------


def survives(scheme: Scheme, holders: dict[int, PeerId], gone: set[PeerId]) -> bool:
    return sum(holder not in gone for holder in holders.values()) >= scheme.needed


@given(free_pools, small_schemes, st.data())
@settings(max_examples=200, deadline=None)
def test_what_is_said_to_be_survived_is(candidates: list[Candidate], scheme: Scheme, data: st.DataObject) -> None:
    """Every site, organisation and set of peers is taken away in turn."""
    numbers = data.draw(st.lists(st.sampled_from(range(scheme.total)), unique=True))
    holders = {number: data.draw(st.sampled_from(candidates)).peer for number in numbers}
    spread = spread_of(scheme, holders, candidates)
    sites = [{one.peer for one in candidates if one.site == site} for site in {one.site for one in candidates}]
    organisations = [
        {one.peer for one in candidates if one.organisation == name}
        for name in {one.organisation for one in candidates}
    ]
    if len(holders) < scheme.needed:
        assert spread.words.startswith("not readable")
        assert spread.more_peers == -1
        return
    assert spread.survives_site == all(survives(scheme, holders, gone) for gone in sites)
    assert spread.survives_organisation == all(survives(scheme, holders, gone) for gone in organisations)
    used = sorted(set(holders.values()))
    beside = sites if spread.survives_site else [set[PeerId]()]

    def survives_peers(count: int) -> bool:
        return all(
            survives(scheme, holders, gone | set(peers)) for gone in beside for peers in combinations(used, count)
        )

    assert survives_peers(spread.more_peers)
    assert not survives_peers(min(spread.more_peers + 1, len(used)))


@pytest.mark.parametrize(
    ("scheme", "sites", "words"),
    [
        (FOUR_TWO, [2, 2, 2], "readable after losing any one site"),
        (FOUR_TWO, [1] * 6, "readable after losing any one site and any one more peer"),
        (Scheme(3, 6), [1] * 6, "readable after losing any one site and any two more peers"),
        (Scheme(10, 22), [1] * 22, "readable after losing any one site and any 11 more peers"),
    ],
)
def test_words_of_a_whole_placement(scheme: Scheme, sites: list[int], words: str) -> None:
    candidates = pool(*sites)
    spread = spread_of(scheme, dict(enumerate(place(b"seed", scheme, candidates))), candidates)
    assert spread.ok
    assert spread.words == words


def test_words_of_weaker_placements() -> None:
    candidates = pool(2, 2, 2)
    holders = dict(enumerate(place(b"seed", FOUR_TWO, candidates)))
    known = by_peer(candidates)
    lost_one = {number: holder for number, holder in holders.items() if number != 0}
    site = min(known[holder].site for holder in lost_one.values() if known[holder].site != known[holders[0]].site)
    spread = spread_of(FOUR_TWO, lost_one, candidates)
    assert not spread.ok
    assert spread.worst_site_shares == 2
    hospital = site.replace("site", "hospital")
    assert (
        spread.words
        == f"readable after losing any one peer, but not after losing site {site} or organisation {hospital}"
    )
    few = {number: holders[number] for number in range(3)}
    assert spread_of(FOUR_TWO, few, candidates).words == "not readable: 3 of the 4 shares that are needed are there"
    alone = spread_of(FOUR_TWO, dict.fromkeys(range(6), peer(0)), candidates)
    assert alone.words == "readable now, but not after losing site site-0 or organisation hospital-0"
    assert alone.worst_site_shares == 6


def test_one_organisation_of_many_sites_is_named() -> None:
    candidates = [Candidate(peer(at), "one", f"site-{at}", TIB) for at in range(6)]
    spread = spread_of(FOUR_TWO, {at: peer(at) for at in range(6)}, candidates)
    assert spread == Spread(
        ok=False,
        worst_site_shares=1,
        survives_site=True,
        survives_organisation=False,
        more_peers=1,
        words="readable after losing any one site and any one more peer, but not after losing organisation one",
    )


def test_a_holder_of_unknown_site_is_taken_to_be_at_the_worst() -> None:
    candidates = pool(2, 2, 1)
    holders = {at: peer(at) for at in range(6)}
    spread = spread_of(FOUR_TWO, holders, candidates)
    assert not spread.ok
    assert spread.worst_site_shares == 3
    assert spread.words.startswith("readable after losing any two peers, but not after losing site")
    nowhere = spread_of(FOUR_TWO, holders, [])
    assert (
        nowhere.words == "readable after losing any two peers, but not after losing the wrong site or its organisation"
    )


def test_no_shares_at_all() -> None:
    assert spread_of(FOUR_TWO, {}, pool(2, 2)).words == "not readable: 0 of the 4 shares that are needed are there"

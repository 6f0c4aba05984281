"""Who gets which share: weighted rendezvous hashing, spread over sites first (docs/architecture.md, "Placement").

Each peer draws a number from the seed and its own name, and scores ``-weight / ln(number)``; the highest score wins
(Thaler and Ravishankar 1998; the weights after Schindelhauer and Schomaker 2005). So everyone who knows seed and
peers finds the same order, peers get shares in proportion to their free space, and a peer that comes or goes moves
only its own. On top of that the rule: no site and no organisation gets more shares than may be lost. A site's
name means the same place whoever uses it: two organisations in one building burn down together.

Pure and deterministic.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from math import log
from typing import NamedTuple

from core.errors import NotEnoughPeersError
from core.ids import PeerId, derived_digest
from erasure.codec import share_bytes
from erasure.scheme import Scheme

_CONTEXT = "moorage 2026 placement v1"
# 52 bits and a half fit a double exactly, so the drawn number is never 0 or 1.
_DRAW_BITS = 52


class Candidate(NamedTuple):
    """A peer that could hold shares. ``weight`` is its free bytes; one without any gets no new share."""

    peer: PeerId
    organisation: str
    site: str
    weight: int


def score(seed: bytes, candidate: Candidate) -> float:
    """Higher is sooner. 0 for a weight of 0."""
    digest = derived_digest(_CONTEXT, seed + candidate.peer.raw)
    drawn = (int.from_bytes(digest[:8], "big") >> (64 - _DRAW_BITS)) + 0.5
    return -candidate.weight / log(drawn / 2**_DRAW_BITS)


def ranked(seed: bytes, candidates: Sequence[Candidate]) -> list[Candidate]:
    """All candidates, best first: the order in which to look for a share that is not where it was put."""
    return sorted(candidates, key=lambda candidate: (-score(seed, candidate), candidate.peer))


class _Draft:
    """A placement in the making. ``picks`` are this draft's own; ``kept`` shares only count."""

    def __init__(self, seed: bytes, scheme: Scheme, candidates: Sequence[Candidate]) -> None:
        assert len({candidate.peer for candidate in candidates}) == len(candidates), "a peer occurs twice"
        self._cap = scheme.spare
        self._order = ranked(seed, [candidate for candidate in candidates if candidate.weight > 0])
        self._sites: Counter[str] = Counter()
        self._organisations: Counter[str] = Counter()
        self._shares: Counter[PeerId] = Counter()
        self.picks: list[Candidate] = []

    def keep(self, peer: PeerId, candidate: Candidate | None) -> None:
        """Count a share that stays where it is; where that is may be unknown."""
        if candidate is None:
            self._shares[peer] += 1
        else:
            self._count(candidate, 1)

    def _count(self, candidate: Candidate, by: int) -> None:
        self._sites[candidate.site] += by
        self._organisations[candidate.organisation] += by
        self._shares[candidate.peer] += by

    def _free(self) -> list[Candidate]:
        return [candidate for candidate in self._order if not self._shares[candidate.peer]]

    def has_room(self, candidate: Candidate) -> bool:
        """Whether its site and its organisation may have one share more."""
        return self._sites[candidate.site] < self._cap and self._organisations[candidate.organisation] < self._cap

    def pick(self) -> bool:
        """Give the next share to the best peer within the rule, at the least used site. False: there is none."""
        legal = [candidate for candidate in self._free() if self.has_room(candidate)]
        if not legal:
            return self._reroute()
        # The order is by score, and min() takes the first of equals.
        best = min(legal, key=lambda one: (self._sites[one.site], self._organisations[one.organisation]))
        self._count(best, 1)
        self.picks.append(best)
        return True

    def _reroute(self) -> bool:
        """Make room by moving picks about; False when the rule admits no more shares in whatever way.

        Sites and organisations are the two sides of a bipartite graph, peers its edges: this is an augmenting path
        (Ford and Fulkerson) from an organisation with room to a site with room.
        """
        released: dict[str, Candidate | None] = {
            one.organisation: None for one in self._order if self._organisations[one.organisation] < self._cap
        }
        taken: dict[str, Candidate] = {}
        queue = deque(released)
        free = self._free()
        while queue:
            organisation = queue.popleft()
            for one in free:
                if one.organisation != organisation or one.site in taken:
                    continue
                taken[one.site] = one
                if self._sites[one.site] < self._cap:
                    self._move_along(one, released, taken)
                    return True
                for pick in self.picks:
                    if pick.site == one.site and pick.organisation not in released:
                        released[pick.organisation] = pick
                        queue.append(pick.organisation)
        return False

    def _move_along(
        self, last: Candidate, released: Mapping[str, Candidate | None], taken: Mapping[str, Candidate]
    ) -> None:
        self._count(last, 1)
        self.picks.append(last)
        step = released[last.organisation]
        while step is not None:
            instead = taken[step.site]
            self._count(step, -1)
            self._count(instead, 1)
            self.picks[self.picks.index(step)] = instead
            step = released[instead.organisation]

    def pick_degraded(self) -> bool:
        """Give the next share to the peer with fewest, of equals at the site with fewest. False: no peer is there."""
        if not self._order:
            return False
        best = min(
            self._order,
            key=lambda one: (self._shares[one.peer], self._sites[one.site], self._organisations[one.organisation]),
        )
        self._count(best, 1)
        self.picks.append(best)
        return True


def _missing(scheme: Scheme, candidates: Sequence[Candidate], held: int) -> str:
    """What keeps ``scheme`` from being placed, when at most ``held`` shares can be."""
    usable = [candidate for candidate in candidates if candidate.weight > 0]
    if len(usable) < scheme.total:
        full = len(candidates) - len(usable)
        return f"{scheme} needs {scheme.total} peers, {len(usable)} answer" + (
            f" and {full} more are full" if full else ""
        )
    domains = share_bytes(scheme.total, scheme.spare)
    sites = {candidate.site for candidate in usable}
    organisations = {candidate.organisation for candidate in usable}
    for word, there in (("sites", len(sites)), ("organisations", len(organisations))):
        if there < domains:
            return f"{scheme} needs {domains} {word} (at most {scheme.spare} shares each), {there} are there"
    return (
        f"{scheme} needs room for {scheme.total} shares, at most {scheme.spare} at any site and any organisation: "
        f"the {len(usable)} peers at {len(sites)} sites of {len(organisations)} organisations take {held}"
    )


def place(
    seed: bytes, scheme: Scheme, candidates: Sequence[Candidate], *, allow_degraded: bool = False
) -> tuple[PeerId, ...]:
    """The holder of every share, by share index.

    Holders are distinct, and no site or organisation gets more than ``scheme.spare`` shares: losing it whole is
    survivable. Shares are spread over sites as evenly as that allows, one each where there are enough. With
    ``allow_degraded``, where the rule cannot be kept, shares are spread over peers as evenly as can be, and over
    sites after that; then a peer may get several.

    Raises:
        NotEnoughPeersError: with what is missing.
    """
    draft = _Draft(seed, scheme, candidates)
    while len(draft.picks) < scheme.total and draft.pick():
        pass
    held = len(draft.picks)
    if held < scheme.total:
        draft = _Draft(seed, scheme, candidates)
        if not allow_degraded:
            raise NotEnoughPeersError(_missing(scheme, candidates, held))
        while len(draft.picks) < scheme.total:
            if not draft.pick_degraded():
                raise NotEnoughPeersError(_missing(scheme, candidates, held))
    return tuple(pick.peer for pick in draft.picks)


def replace_holders(
    seed: bytes,
    scheme: Scheme,
    holders: Mapping[int, PeerId],
    lost: Sequence[int],
    candidates: Sequence[Candidate],
    *,
    allow_degraded: bool = False,
) -> dict[int, PeerId]:
    """New homes for the ``lost`` shares, none of which ``holders`` (who have good shares, by index) has.

    The rule of ``place`` holds over good and new holders together; the good ones stay where they are. A share for
    which the rule leaves no home is left out of the result, unless ``allow_degraded``.
    """
    assert not any(number in holders for number in lost), "a share that is there was not lost"
    draft = _draft_of(seed, scheme, holders, candidates)
    numbers = sorted(set(lost))
    while len(draft.picks) < len(numbers) and (draft.pick() or (allow_degraded and draft.pick_degraded())):
        pass
    return {number: pick.peer for number, pick in zip(numbers, draft.picks, strict=False)}


def may_hold_another(
    seed: bytes, scheme: Scheme, holders: Mapping[int, PeerId], peer: PeerId, candidates: Sequence[Candidate]
) -> bool:
    """Whether ``peer`` may get one share more beside those of ``holders``, though it has one: by site and organisation.

    False for one that is no candidate.
    """
    draft = _draft_of(seed, scheme, holders, candidates)
    return any(candidate.peer == peer and draft.has_room(candidate) for candidate in candidates)


def _draft_of(seed: bytes, scheme: Scheme, holders: Mapping[int, PeerId], candidates: Sequence[Candidate]) -> _Draft:
    """With what ``holders`` have counted."""
    known = {candidate.peer: candidate for candidate in candidates}
    draft = _Draft(seed, scheme, candidates)
    for number in sorted(holders):
        draft.keep(holders[number], known.get(holders[number]))
    return draft

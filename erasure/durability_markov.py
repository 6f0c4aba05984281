"""Loss by Markov chain: a birth-death process where only shares are lost, a lumped chain where sites are lost too.

Every absence lasts an exponential time. ``mean_time_to_loss`` is the textbook's first passage time (Chen, Lee, Gibson,
Katz and Patterson, "RAID", ACM Computing Surveys 26, 1994, have its first order), as a sum of positive terms.
``loss_rate`` counts how many sites have how many shares lost, sites of a size being alike, and reduces the chain
state by state without a subtraction (Grassmann, Taksar and Heyman, Operations Research 33, 1985): no digits are lost
at 1e-30.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from erasure.durability_stripe import Stripe, site_sizes

DESTROYED = -1
_State: TypeAlias = tuple[tuple[int, ...], ...]
"""For each size of site, ascending: the shares lost at each such site, or DESTROYED, ascending."""


def mean_time_to_loss(needed: int, total: int, rate: float, away: float, *, crews: int | None = None) -> float:
    """Years until more than the spare shares are lost, from all whole.

    Args:
        rate: per share and year.
        away: mean years until a lost share is whole again.
        crews: how many repairs go on at once; None: all of them.
    """
    lost = range(total - needed + 1)
    births = [(total - state) * rate for state in lost]
    deaths = [(state if crews is None else min(state, crews)) / away for state in lost]
    found = 0.0
    for state in lost:
        term = 1.0 / births[state]
        found += term
        for below in range(state - 1, -1, -1):
            term *= deaths[below + 1] / births[below]
            found += term
    return found


def loss_rate(stripe: Stripe) -> float:
    """Losses per year, common-mode events apart, with a clock of its own for each share's silent losses."""
    sizes = [size for size, _ in site_sizes(stripe)]
    start: _State = tuple((0,) * count for _, count in site_sizes(stripe))
    numbers: dict[_State, int] = {start: 0}
    rows: list[dict[int, float]] = []
    losses: list[float] = []
    for state in (queue := [start]):
        row: dict[int, float] = {}
        lost = 0.0
        for target, rate in _moves(stripe, sizes, state):
            if _lost_shares(sizes, target) > stripe.spare:
                lost += rate
                continue
            if target not in numbers:
                numbers[target] = len(queue)
                queue.append(target)
            row[numbers[target]] = row.get(numbers[target], 0.0) + rate
        rows.append(row)
        losses.append(lost)
    return _absorption_rate(rows, losses)


def _lost_shares(sizes: list[int], state: _State) -> int:
    return sum(size if site == DESTROYED else site for size, sites in zip(sizes, state, strict=True) for site in sites)


def _moves(stripe: Stripe, sizes: list[int], state: _State) -> Iterator[tuple[_State, float]]:
    """Where the chain goes from here, and how fast."""
    for kind, size in enumerate(sizes):
        for place, site in enumerate(state[kind]):

            def to(lost: int, *, kind: int = kind, place: int = place) -> _State:
                sites = sorted((*state[kind][:place], lost, *state[kind][place + 1 :]))
                return (*state[:kind], tuple(sites), *state[kind + 1 :])

            if site == DESTROYED:
                yield to(0), 1.0 / stripe.site_away
                continue
            if site < size and stripe.rate:
                yield to(site + 1), (size - site) * stripe.rate
            if site:
                yield to(site - 1), site / stripe.away
            if stripe.site:
                yield to(DESTROYED), stripe.site


def _absorption_rate(rows: list[dict[int, float]], losses: list[float]) -> float:
    """1 / the mean time to loss from state 0: after a loss the chain begins anew, and its losses are counted.

    States leave from the last to the first; what went through a state goes past it.
    """
    into: list[dict[int, float]] = [{} for _ in rows]
    for source, row in enumerate(rows):
        for target, rate in row.items():
            into[target][source] = rate
    shares: list[tuple[dict[int, float], float]] = [({}, 0.0)] * len(rows)
    for state in range(len(rows) - 1, 0, -1):
        onward = {target: rate for target, rate in rows[state].items() if target < state}
        # A loss leads to state 0.
        leaving = sum(onward.values()) + losses[state]
        before = {source: rate for source, rate in into[state].items() if source < state}
        shares[state] = (before, leaving)
        for source, rate in before.items():
            rows[source].pop(state)
            for target, part in onward.items():
                if target != source:
                    more = rows[source].get(target, 0.0) + rate * part / leaving
                    rows[source][target] = into[target][source] = more
            losses[source] += rate * losses[state] / leaving
        for target in onward:
            into[target].pop(state)
    # Time spent in each state per unit of it spent in state 0, where ``losses[0]`` now counts all losses.
    spent = [1.0]
    for state in range(1, len(rows)):
        before, leaving = shares[state]
        spent.append(sum(spent[source] * rate for source, rate in before.items()) / leaving)
    return losses[0] / sum(spent)

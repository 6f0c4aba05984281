"""The code's schedule of looks by itself: what it costs that the model has one look for an object, and the code many.

Each holder looks at the object once in a sweep interval, at a time of its own. Only the look of the repairer mends, and
the repairer is the first, in an order on which all agree, of the holders that have the object's papers: those after it
wait for longer than its turn takes (``daemon.decide``). A holder whose disk is swapped loses shard and papers together;
whoever gets its papers back draws its turn anew (``daemon.schedule``). Nothing of the daemon is used here, so no fault
of it can hide here.

``python -m tests.durability.look_schedule --intervals 100000`` prints the table of docs/durability.md for longer.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from benchmarks.durability import stripe_of_trial, trials
from erasure.durability_closed import loss_rate_between_looks
from erasure.durability_stripe import Stripe

INTERVALS = 40_000
SEED = 1


class _Object:
    """One object's life; times in sweep intervals. Holders are numbered through the sites."""

    def __init__(self, stripe: Stripe, draws: random.Random, now: float) -> None:
        self._stripe = stripe
        self._draws = draws
        # Who repairs, of those that can: the first.
        self._order = draws.sample(range(stripe.total), stripe.total)
        self._turn = [now + draws.random() for _ in range(stripe.total)]
        """When each holder looks next, while it has the papers."""
        self._empty: set[int] = set()

    @property
    def is_lost(self) -> bool:
        return len(self._empty) > self._stripe.spare

    def next_repair(self, now: float) -> float:
        """When the next look comes that mends, as things are."""
        repairer = next(holder for holder in self._order if holder not in self._empty)
        turn = self._turn[repairer]
        # Looks that found nothing to do have passed since.
        return turn if turn >= now else turn + math.ceil(now - turn)

    def mend(self, now: float) -> None:
        for holder in sorted(self._empty):
            self._turn[holder] = now + self._draws.random()
        self._empty.clear()

    def swap_one(self) -> None:
        self._empty.add(self._draws.randrange(self._stripe.total))

    def swap_site(self) -> None:
        site = self._draws.randrange(len(self._stripe.sites))
        first = sum(self._stripe.sites[:site])
        self._empty.update(range(first, first + self._stripe.sites[site]))


class Looks(NamedTuple):
    """Losses counted, and the ratio to what the model of one look expects, with its standard error."""

    losses: int
    ratio: float
    error: float


def count(stripe: Stripe, intervals: int, draws: random.Random) -> Looks:
    """So many sweep intervals of objects, one after the other."""
    alone, together = stripe.total * stripe.silent, len(stripe.sites) * stripe.site
    item, now, losses = _Object(stripe, draws, 0.0), 0.0, 0
    while True:
        failure = now + draws.expovariate(alone + together)
        repair = item.next_repair(now)
        # A repairer's look is a repair if anything is missing; with nothing missing it changes nothing.
        if repair < failure:
            item.mend(repair)
        now = failure
        if now > intervals:
            break
        if draws.random() * (alone + together) < alone:
            item.swap_one()
        else:
            item.swap_site()
        if item.is_lost:
            losses += 1
            item = _Object(stripe, draws, now)
    expected = loss_rate_between_looks(stripe) * intervals
    return Looks(losses, losses / expected, math.sqrt(losses) / expected)


def ratios(intervals: int = INTERVALS) -> Mapping[str, Looks]:
    """For the pools of the accelerated runs, at their rates."""
    return {
        name: count(stripe_of_trial(trial), intervals, random.Random(f"{SEED}/{name}"))
        for name, trial in trials().items()
    }


@cache
def looks_table(intervals: int = INTERVALS) -> str:
    lines = ["| pool | intervals | losses | for each that the model expects |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {intervals:,} | {found.losses:,} | {found.ratio:.2f} ±{found.error:.2f} |"
        for name, found in ratios(intervals).items()
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--intervals", type=int, default=INTERVALS, help=f"sweep intervals (default {INTERVALS:,})")
    print(looks_table(parser.parse_args().intervals), end="")


if __name__ == "__main__":
    main()

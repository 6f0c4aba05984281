"""Loss and read availability in closed form: how often a stationary stripe gets from spare shares lost to one more.

Shares are alternating renewal processes, independent but for their site and for the look that finds silent losses:
given the time since the last look, sites are independent, and the number of shares lost is a convolution of binomials.
The share of time that a process is away depends on the mean of its repair time only. All terms are positive, so that
1e-30 comes out as exactly as 0.1.

The look is common to an object's shares. That is the reason for the integral over its phase: losses that nobody has
noticed pile up until they are all found together, which is ``2**m / (m + 1)`` times likelier for m spare shares than
with a clock for each. Backblaze's calculator has the same assumption (tests/durability/published.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from erasure.durability_stripe import Stripe, site_sizes

# Simpson's rule on each smooth part of the sweep interval: the integrand is nearly a polynomial of degree ``spare``.
_STEPS = 32


def yearly(rate: float) -> float:
    """The probability of at least one event within a year."""
    return -math.expm1(-rate)


def nines(probability: float) -> float:
    """``1e-9`` is 9 nines; infinite for 0."""
    return math.inf if probability <= 0.0 else -math.log10(probability)


def binomial(count: int, probability: float) -> list[float]:
    """The distribution of how many of ``count`` are hit."""
    rest = 1.0 - probability
    return [math.comb(count, hit) * probability**hit * rest ** (count - hit) for hit in range(count + 1)]


def convolve(one: Sequence[float], other: Sequence[float], most: int) -> list[float]:
    """The distribution of a sum, up to ``most``."""
    found = [0.0] * min(len(one) + len(other) - 1, most + 1)
    for first, p in enumerate(one[: most + 1]):
        for second, q in enumerate(other[: most + 1 - first]):
            found[first + second] += p * q
    return found


def _sum_of(parts: Sequence[tuple[Sequence[float], int]], most: int) -> list[float]:
    found = [1.0]
    for part, times in parts:
        for _ in range(times):
            found = convolve(found, part, most)
    return found


def loss_rate(stripe: Stripe, *, common_look: bool = True) -> float:
    """Losses per year, common-mode events apart.

    Args:
        common_look: one look finds the silent losses of all shares, as the shipped sweep does; otherwise every share
            has a clock of its own.
    """
    assert stripe.site_noticed
    if not common_look or not stripe.silent or not stripe.sweep:
        down = stripe.rate * stripe.away
        return _entry_rate(stripe, down / (1 + down))
    bend = math.fmod(stripe.repair, stripe.sweep)
    return (_simpson(stripe, 0.0, bend) + _simpson(stripe, bend, stripe.sweep)) / stripe.sweep


def loss_rate_between_looks(stripe: Stripe) -> float:
    """Exact, whatever the rates, where nothing is noticed between looks and all is whole after each.

    A Markov chain of one state at the looks, begun at a random time between two. Needs ``loud`` and ``repair`` of 0.
    """
    assert not stripe.loud
    assert not stripe.repair
    assert not stripe.site_noticed or not stripe.site
    steps = 2 * _STEPS
    step = stripe.sweep / steps
    kept = [1.0 - _lost_within(stripe, number * step) for number in range(steps + 1)]
    weights = [1.0, *([4.0, 2.0] * _STEPS)[:-1], 1.0]
    lasts = sum(weight * p for weight, p in zip(weights, kept, strict=True)) * step / 3
    first = sum(weight * p * (1 - number / steps) for number, (weight, p) in enumerate(zip(weights, kept, strict=True)))
    return 1.0 / (first * step / 3 + lasts * lasts / stripe.sweep / (1.0 - kept[-1]))


def _lost_within(stripe: Stripe, time: float) -> float:
    """From all whole, with nobody looking."""
    share, site = -math.expm1(-stripe.silent * time), -math.expm1(-stripe.site * time)
    parts = [(_site_lost(size, share, site), count) for size, count in site_sizes(stripe)]
    return sum(_sum_of(parts, stripe.total)[stripe.spare + 1 :])


def _simpson(stripe: Stripe, low: float, high: float) -> float:
    if high <= low:
        return 0.0
    # What was found at the last look is in repair before ``bend`` and whole after it: judged in the middle of the part.
    found = stripe.sweep * math.ceil((stripe.repair - (low + high) / 2) / stripe.sweep)
    step = (high - low) / _STEPS
    total = 0.0
    for number in range(_STEPS + 1):
        weight = 1 if number in (0, _STEPS) else 4 if number % 2 else 2
        unseen = low + number * step + max(0.0, found)
        whole = math.exp(-stripe.silent * unseen) / (1 + stripe.loud * stripe.loud_away)
        total += weight * _entry_rate(stripe, 1.0 - whole if whole < 0.9 else _away(stripe, unseen))
    return total * step / 3


def _away(stripe: Stripe, unseen: float) -> float:
    """The same without cancellation: the probability that a share is lost, loudly or unseen."""
    loud = stripe.loud * stripe.loud_away
    return (loud - math.expm1(-stripe.silent * unseen)) / (1 + loud)


def _entry_rate(stripe: Stripe, away: float) -> float:
    """How often the next failure is one too many, when each share of a site that stands is away so probably."""
    most = stripe.spare
    destroyed = stripe.site * stripe.site_away / (1 + stripe.site * stripe.site_away)
    sizes = site_sizes(stripe)
    lost_at = {size: _site_lost(size, away, destroyed) for size, _ in sizes}
    rate = 0.0
    for size, count in sizes:
        others = _sum_of([(lost_at[other], times - (other == size)) for other, times in sizes], most)
        standing = [(1.0 - destroyed) * p for p in binomial(size - 1, away)]
        beside = convolve(others, standing, most)
        if len(beside) > most:
            rate += count * size * stripe.rate * (1.0 - away) * beside[most]
        if stripe.site:
            rate += count * stripe.site * (1.0 - destroyed) * _site_too_many(others, binomial(size, away), size, most)
    return rate


def _site_lost(size: int, away: float, destroyed: float) -> list[float]:
    found = [(1.0 - destroyed) * p for p in binomial(size, away)]
    found[size] += destroyed
    return found


def _site_too_many(others: Sequence[float], here: Sequence[float], size: int, most: int) -> float:
    """The object is readable, and is not without this site."""
    return sum(
        p * sum(here[: most - elsewhere + 1])
        for elsewhere, p in enumerate(others[: most + 1])
        if elsewhere + size > most
    )


def lost_together(sites: Sequence[int], needed: int, *, share: float, site: float) -> float:
    """The probability that too few of the shares at these sites are left, when each is lost on its own, and each site
    with all that is there, with these probabilities."""
    parts = [(_site_lost(size, share, site), 1) for size in sites]
    return sum(_sum_of(parts, sum(sites))[sum(sites) - needed + 1 :])


def hit_at_once(stripe: Stripe, probability: float) -> float:
    """The probability that more than the spare shares are lost when each site is hit with this one."""
    parts = [([1.0 - probability, *[0.0] * (size - 1), probability], count) for size, count in site_sizes(stripe)]
    return sum(_sum_of(parts, stripe.total)[stripe.spare + 1 :])


def unreadable(stripe: Stripe, *, peer_up: float, site_up: float) -> float:
    """The probability that too few shares can be reached now, whole as they may be."""
    parts = [(_site_lost(size, 1.0 - peer_up, 1.0 - site_up), count) for size, count in site_sizes(stripe)]
    return sum(_sum_of(parts, stripe.total)[stripe.spare + 1 :])


def healthy(stripe: Stripe) -> float:
    """The share of time in which nothing at all is lost."""
    peers = (1 + stripe.rate * stripe.away) ** stripe.total
    return float(1.0 / (peers * (1 + stripe.site * stripe.site_away) ** len(stripe.sites)))

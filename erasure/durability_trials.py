"""Loss by Monte Carlo: the process itself, event by event, with fixed grace and repair times and a common look.

Directly, for rates high enough to see losses; or by importance sampling for real ones: in a trial that begins with a
first loss, the next failure is drawn as if it were about as likely as the repair, and the trial counts by the ratio of
both likelihoods (failure biasing: Goyal, Shahabuddin, Heidelberger, Nicola and Glynn, IEEE Transactions on Computers
41, 1992). Site losses, rarer still, are drawn in at least half of the failures, for the same price.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from erasure.durability_closed import healthy
from erasure.durability_stripe import Stripe

# How often the next failure is drawn close to the last, and how often a site at least, if it holds several shares.
# Found by trial over seven schemes: of 0.5 to 0.8, and 1/3 to 0.6, the ones with the smallest errors.
_CROWDED = 0.8
_SITE_SHARE_MIN = 1 / 2


class Draws(Protocol):
    """``random.Random``, or any other source."""

    def random(self) -> float:
        """Uniform in [0, 1)."""
        ...


class Estimate(NamedTuple):
    """Losses per year and its standard error. ``hits``: trials that ended in a loss."""

    rate: float
    error: float
    hits: int

    def agrees_with(self, rate: float, errors: float = 3.0) -> bool:
        """Whether ``rate`` lies within so many standard errors."""
        return abs(self.rate - rate) <= errors * self.error


@dataclass(slots=True)
class _Trial:
    """A stripe in time: which shares are away until when. The last look was at ``look``, the next is a sweep later."""

    stripe: Stripe
    draws: Draws
    exponential: bool
    look: float = 0.0
    away: dict[int, float] = field(default_factory=dict[int, float])
    """Until when; by share, numbered through the sites."""
    destroyed: dict[int, float] = field(default_factory=dict[int, float])
    """Until when; by site."""

    def exponential_time(self, rate: float) -> float:
        return -math.log1p(-self.draws.random()) / rate

    def pick(self, count: int) -> int:
        return min(int(self.draws.random() * count), count - 1)

    def _lasts(self, mean: float) -> float:
        return self.exponential_time(1.0 / mean) if self.exponential else mean

    def lose_share(self, now: float) -> None:
        """One of those that are there, each as likely."""
        stripe = self.stripe
        here = [share for share in range(stripe.total) if share not in self.away]
        share = here[self.pick(len(here))]
        if self.exponential:
            self.away[share] = now + self._lasts(stripe.away)
        elif self.draws.random() * stripe.rate < stripe.loud:
            self.away[share] = now + stripe.loud_away
        else:
            self.away[share] = self._found(now) + stripe.repair

    def _found(self, now: float) -> float:
        """When the next look is."""
        sweep = self.stripe.sweep
        return now + sweep - math.fmod(now - self.look, sweep) if sweep else now

    def lose_site(self, now: float) -> None:
        """One of those that stand, each as likely."""
        standing = [site for site in range(len(self.stripe.sites)) if site not in self.destroyed]
        site = standing[self.pick(len(standing))]
        noticed = self.stripe.site_noticed or self.exponential
        until = now + self._lasts(self.stripe.site_away) if noticed else self._found(now) + self.stripe.repair
        self.destroyed[site] = until
        first = sum(self.stripe.sites[:site])
        for share in range(first, first + self.stripe.sites[site]):
            self.away[share] = until

    def heal(self, now: float) -> None:
        for share in [share for share, until in self.away.items() if until <= now]:
            del self.away[share]
        for site in [site for site, until in self.destroyed.items() if until <= now]:
            del self.destroyed[site]

    def renew(self, now: float) -> None:
        """A new object, all whole, at a random time of its sweep."""
        self.away.clear()
        self.destroyed.clear()
        self.look = now - self.draws.random() * self.stripe.sweep

    @property
    def is_lost(self) -> bool:
        return len(self.away) > self.stripe.spare

    @property
    def share_rate(self) -> float:
        return (self.stripe.total - len(self.away)) * self.stripe.rate

    @property
    def site_rate(self) -> float:
        return (len(self.stripe.sites) - len(self.destroyed)) * self.stripe.site


def count_losses(stripe: Stripe, draws: Draws, years: float, *, exponential: bool = False) -> Estimate:
    """Direct simulation of so many object-years; a lost object is followed by a new one.

    Args:
        exponential: as the Markov chain has it: every absence lasts an exponential time of its own.
    """
    trial = _Trial(stripe, draws, exponential)
    trial.renew(0.0)
    now, losses = 0.0, 0
    while True:
        # What is away does not fail: the rate is that of the shares and sites that are there, until one comes back.
        now += trial.exponential_time(stripe.total * stripe.rate + len(stripe.sites) * stripe.site)
        if now > years:
            break
        trial.heal(now)
        drawn = draws.random() * (stripe.total * stripe.rate + len(stripe.sites) * stripe.site)
        if drawn < trial.share_rate:
            trial.lose_share(now)
        elif drawn >= stripe.total * stripe.rate and drawn - stripe.total * stripe.rate < trial.site_rate:
            trial.lose_site(now)
        if trial.is_lost:
            losses += 1
            trial.renew(now)
    return Estimate(losses / years, math.sqrt(max(losses, 1)) / years, losses)


def sample_losses(stripe: Stripe, draws: Draws, trials: int, *, exponential: bool = False) -> Estimate:
    """Importance sampling: for rates at which a direct simulation would see nothing."""
    weights = [_weigh(_Trial(stripe, draws, exponential)) for _ in range(trials)]
    begun = (stripe.total * stripe.rate + len(stripe.sites) * stripe.site) * healthy(stripe)
    mean, error = _mean(weights)
    return Estimate(begun * mean, begun * error, sum(weight > 0.0 for weight in weights))


def _mean(values: Sequence[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))


def _weigh(trial: _Trial) -> float:
    """Run one trial from its first loss: 0 when everything is repaired, else the loss's likelihood ratio."""
    trial.renew(0.0)
    now = 0.0
    weight = _lose_something(trial, now)
    while not trial.is_lost:
        ends = sorted(trial.away.values())
        wait, ratio = _wait(trial, ends[0] - now, ends[-1] - now)
        weight *= ratio
        if wait is not None:
            now += wait
            weight *= _lose_something(trial, now)
            continue
        now = ends[0]
        trial.heal(now)
        if not trial.away:
            return 0.0
    return weight


def _wait(trial: _Trial, first: float, last: float) -> tuple[float | None, float]:
    """When the next failure comes, and the likelihood ratio of that; None: not before the first share is back.

    Drawn either as the first of several failures, spread evenly over the time to the first return, or at a constant
    rate that makes it about as likely as the last return. Several is as many as are missing (the likeliest way to a
    loss by single shares), or fewer: a site takes many at once, and a loss then comes as late as any other.
    """
    rate = trial.share_rate + trial.site_rate
    missing = trial.stripe.spare + 1 - len(trial.away)
    crowds = (1, (missing + 1) // 2, missing)
    pushed = max(rate, 1.0 / last)
    if trial.draws.random() < _CROWDED:
        wait = first * (1.0 - trial.draws.random() ** (1.0 / crowds[trial.pick(len(crowds))]))
    else:
        wait = trial.exponential_time(pushed)
    if wait >= first:
        return None, math.exp((pushed - rate) * first) / (1.0 - _CROWDED)
    crowded = sum(count / first * (1.0 - wait / first) ** (count - 1) for count in crowds) / len(crowds)
    drawn = _CROWDED * crowded + (1.0 - _CROWDED) * pushed * math.exp(-pushed * wait)
    return wait, rate * math.exp(-rate * wait) / drawn


def _lose_something(trial: _Trial, now: float) -> float:
    """A share or a site; the likelihood ratio of that choice."""
    if not trial.site_rate:
        trial.lose_share(now)
        return 1.0
    truth = trial.site_rate / (trial.site_rate + trial.share_rate)
    drawn = max(truth, _SITE_SHARE_MIN) if max(trial.stripe.sites) > 1 else truth
    if trial.draws.random() < drawn:
        trial.lose_site(now)
        return truth / drawn
    trial.lose_share(now)
    return (1.0 - truth) / (1.0 - drawn)

"""What each sensible scheme costs and survives on given peers, and the cheapest that reaches a target.

Defaults and where they come from: docs/durability.md, "Assumptions".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import NotEnoughPeersError
from erasure import durability_closed, durability_markov
from erasure.durability_stripe import (
    Stripe,
    has_spare_home,
    has_spare_site,
    shares_per_site,
    sites_to_lose,
    usable_bytes,
)
from erasure.durability_trials import Draws, Estimate, sample_losses
from erasure.scheme import Scheme

YEAR_DAYS = 365.25
DAY = 1 / YEAR_DAYS
HOUR = DAY / 24
# The longest waits that are planned with: who waits longer has no plan for 30 years, but none at all.
SWEEP_DAYS_MAX = 3650
GRACE_HOURS_MAX = 87_600
REPAIR_HOURS_MAX = 87_600
# More than that costs more than plain copies.
OVERHEAD_MAX = 4.0


@dataclass(frozen=True, slots=True)
class Hazards:
    """Rates per year, times in years, shares of one.

    Attributes:
        loud: peers lost for good and noticed (disk, box, decommissioning), per peer.
        silent: shards lost unnoticed (bit rot, deleted folders, a disk swapped for an empty one), per peer.
        sweep, grace: the peers' settings of those names.
        repair: time to rebuild what one peer held.
        replace: time until a lost peer has a successor, where no other peer may take its shares.
        site: sites lost for good, per site; ``site_replace``: until there is another.
        common: common-mode events, ``common_hit``: the probability that such an event destroys a given site.
        peer_up, site_up: shares of time.
    """

    loud: float = 0.05
    silent: float = 0.02
    sweep: float = 7 * DAY
    grace: float = 24 * HOUR
    repair: float = 48 * HOUR
    replace: float = 7 * DAY
    site: float = 0.001
    site_replace: float = 30 * DAY
    common: float = 0.01
    common_hit: float = 0.1
    peer_up: float = 0.99
    site_up: float = 0.999


@dataclass(frozen=True, slots=True)
class Outlook:
    """One scheme on given peers. Probabilities are per object and year; ``loss``, ``closed``, ``markov`` and ``trials``
    count single peers and sites, ``common`` common-mode events. ``loss`` is what schemes are judged by."""

    scheme: Scheme
    stripe: Stripe
    usable_bytes: int
    lose_sites: int
    lose_more_peers: int
    loss: float
    closed: float
    markov: float
    trials: Estimate | None
    common: float
    unreadable: float

    @property
    def overhead(self) -> float:
        return self.scheme.total / self.scheme.needed

    @property
    def nines(self) -> float:
        return durability_closed.nines(self.loss)

    @property
    def nines_with_common(self) -> float:
        return durability_closed.nines(self.loss + self.common)

    @property
    def trials_agree(self) -> bool:
        return self.trials is None or self.trials.agrees_with(self.closed)


def stripe_of(scheme: Scheme, peers: Sequence[int], hazards: Hazards) -> Stripe:
    """The scheme on sites with so many peers each. Raises NotEnoughPeersError."""
    return stripe_at(scheme, shares_per_site(scheme, peers), peers, hazards)


def stripe_at(scheme: Scheme, sites: tuple[int, ...], peers: Sequence[int], hazards: Hazards) -> Stripe:
    """So many shares at each site, in a pool with so many peers at each of its sites."""
    wait = hazards.grace if has_spare_home(scheme, peers) else max(hazards.grace, hazards.replace)
    site_wait = hazards.grace if has_spare_site(scheme, peers) else max(hazards.grace, hazards.site_replace)
    return Stripe(
        needed=scheme.needed,
        sites=sites,
        loud=hazards.loud,
        loud_away=wait + hazards.repair,
        silent=hazards.silent,
        sweep=hazards.sweep,
        repair=hazards.repair,
        site=hazards.site,
        site_away=site_wait + hazards.repair,
    )


def loss_rate(stripe: Stripe) -> float:
    """Losses per year, common-mode events apart: the larger of the stationary stripe's and 1 / the mean time to loss.

    The first knows the common look, and errs on the side of loss while shares are hardly ever away. Where waits are
    many times what lies between two failures, most shares are away at any time, and the rate at which the rest is lost
    falls again; the second only grows with waits.
    """
    return max(durability_closed.loss_rate(stripe), durability_markov.loss_rate(stripe))


def outlook(
    scheme: Scheme,
    capacities: Sequence[Sequence[int]],
    hazards: Hazards,
    *,
    draws: Draws | None = None,
    trials: int = 0,
) -> Outlook:
    """One scheme, given the bytes of each peer by site. Raises NotEnoughPeersError.

    ``markov`` has its clocks' factor from the closed form: a chain of so few states knows no common look.
    """
    stripe = stripe_of(scheme, [len(site) for site in capacities], hazards)
    rate = durability_closed.loss_rate(stripe)
    apart = durability_closed.loss_rate(stripe, common_look=False)
    first = durability_markov.loss_rate(stripe)
    markov = first * (rate / apart if apart else 1.0)
    sites, more = sites_to_lose(stripe)
    common = hazards.common * durability_closed.hit_at_once(stripe, hazards.common_hit)
    return Outlook(
        scheme=scheme,
        stripe=stripe,
        usable_bytes=usable_bytes(scheme, capacities),
        lose_sites=sites,
        lose_more_peers=more,
        loss=durability_closed.yearly(max(rate, first)),
        closed=durability_closed.yearly(rate),
        markov=durability_closed.yearly(markov),
        trials=_yearly(sample_losses(stripe, draws, trials)) if draws is not None and trials and rate else None,
        common=durability_closed.yearly(common),
        unreadable=durability_closed.unreadable(stripe, peer_up=hazards.peer_up, site_up=hazards.site_up),
    )


def _yearly(losses: Estimate) -> Estimate:
    """Of a rate the probability within a year, with the error that this has to first order."""
    return losses._replace(rate=durability_closed.yearly(losses.rate), error=losses.error * math.exp(-losses.rate))


def sensible_schemes(peers: Sequence[int], *, overhead_max: float = OVERHEAD_MAX) -> list[Scheme]:
    """All that fit and are worth a look: on all peers, or on fewer so that a lost one has a spare home at once."""
    count = sum(peers)
    totals = {count, count - 1, count - 2, count - max(peers), (count * 3) // 4}
    found: list[Scheme] = []
    for total in sorted(total for total in totals if total >= 2):
        for needed in range(1, total):
            scheme = Scheme(needed, total)
            if total <= overhead_max * needed and _fits(scheme, peers):
                found.append(scheme)
    return found


def _fits(scheme: Scheme, peers: Sequence[int]) -> bool:
    try:
        shares_per_site(scheme, peers)
    except NotEnoughPeersError:
        return False
    return True


def worth_it(outlooks: Sequence[Outlook]) -> list[Outlook]:
    """Those for which no other is as cheap and loses less, cheapest first."""
    best: list[Outlook] = []
    for item in sorted(outlooks, key=lambda item: (item.overhead, item.loss)):
        if not best or item.loss < best[-1].loss:
            best.append(item)
    return best


def recommend(outlooks: Sequence[Outlook], target_nines: float) -> Outlook | None:
    """The cheapest that reaches the target, common-mode events apart; of equally cheap ones the safest."""
    enough = [item for item in outlooks if item.nines >= target_nines]
    return min(enough, key=lambda item: (item.overhead, item.loss), default=None)

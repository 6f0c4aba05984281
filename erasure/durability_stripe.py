"""One object's shares as the durability model sees them: how many at which site, and what befalls them how often.

Rates are per year, times in years, probabilities per year unless a name says otherwise. The processes
(docs/durability.md, "Model"): a share is lost loudly (its peer is gone: known after the grace) or silently (known at
the next look, which comes once in a sweep interval for the whole object), a site is lost with all that is there, and a
common-mode event hits each site with the same probability, at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import NotEnoughPeersError, UsageError
from erasure.scheme import Scheme


@dataclass(frozen=True, slots=True)
class Stripe:
    """``sites``: shares at each site, all on different peers.

    Attributes:
        needed: shares that restore the object.
        loud: rate at which a share's peer is lost for good and noticed; the share is whole again after ``loud_away``.
        silent: rate at which a share is lost and nobody notices before the next look, ``sweep`` apart; it is whole
            again ``repair`` after that look.
        site: rate at which one site is lost with all its shares; they are whole again after ``site_away``.
        site_noticed: False: as a silent loss, nobody knows before the next look.
    """

    needed: int
    sites: tuple[int, ...]
    loud: float
    loud_away: float
    silent: float = 0.0
    sweep: float = 0.0
    repair: float = 0.0
    site: float = 0.0
    site_away: float = 0.0
    site_noticed: bool = True

    def __post_init__(self) -> None:
        assert 1 <= self.needed < self.total
        assert min(self.sites) >= 1
        assert min(self.loud, self.silent, self.site) >= 0.0

    @property
    def total(self) -> int:
        return sum(self.sites)

    @property
    def spare(self) -> int:
        """How many shares may be lost."""
        return self.total - self.needed

    @property
    def rate(self) -> float:
        """At which one share is lost on its own."""
        return self.loud + self.silent

    @property
    def away(self) -> float:
        """How long a share that was lost on its own is away, on average."""
        if not self.rate:
            return 0.0
        return (self.loud * self.loud_away + self.silent * (self.sweep / 2 + self.repair)) / self.rate


def shares_per_site(scheme: Scheme, peers: Sequence[int]) -> tuple[int, ...]:
    """How ``erasure.placement`` spreads the shares over sites with so many peers each, most first.

    Raises NotEnoughPeersError when the placement rule (one share a peer, at most ``spare`` a site) leaves no way.
    """
    shares = [0] * len(peers)
    for _ in range(scheme.total):
        free = [site for site, here in enumerate(shares) if here < min(peers[site], scheme.spare)]
        if not free:
            raise NotEnoughPeersError(
                f"{scheme} does not fit on {sum(peers)} peers at {len(peers)} sites: one share a peer, at most "
                f"{scheme.spare} a site"
            )
        shares[min(free, key=lambda site: shares[site])] += 1
    return tuple(sorted((here for here in shares if here), reverse=True))


def has_spare_home(scheme: Scheme, peers: Sequence[int]) -> bool:
    """Whether every share still finds a legal home after any one peer is gone: then nobody waits for a new box."""
    homes = sum(min(here, scheme.spare) for here in peers)
    # The worst peer to lose is one whose site has no more of them than it may hold shares.
    return homes - (1 if any(here <= scheme.spare for here in peers) else 0) >= scheme.total


def has_spare_site(scheme: Scheme, peers: Sequence[int]) -> bool:
    """Whether every share still finds a legal home after any one site is gone."""
    homes = [min(here, scheme.spare) for here in peers]
    return sum(homes) - max(homes) >= scheme.total


def peers_at_sites(peers: int, sites: int) -> tuple[int, ...]:
    """As even as possible, most first. Raises UsageError."""
    if not 1 <= sites <= peers:
        raise UsageError(f"{peers} peers at {sites} sites: there must be at least one peer at each site")
    return tuple(peers // sites + (site < peers % sites) for site in range(sites))


def sites_to_lose(stripe: Stripe) -> tuple[int, int]:
    """How many whole sites may be lost at once, whichever they are, and how many peers beside them."""
    left, count = stripe.spare, 0
    for here in sorted(stripe.sites, reverse=True):
        if here > left:
            break
        left, count = left - here, count + 1
    return count, left


def usable_bytes(scheme: Scheme, capacities: Sequence[Sequence[int]]) -> int:
    """How many bytes of objects fit, given the capacity of each peer by site.

    The most that a share can get is the largest x for which every site can give ``min(spare * x, sum of min(peer, x))``
    and all together ``total * x``.
    """
    low: int = 0
    high: int = max(max(site) for site in capacities)
    while low < high:
        share: int = (low + high + 1) // 2
        there: int = sum(min(scheme.spare * share, sum(min(peer, share) for peer in site)) for site in capacities)
        if there >= scheme.total * share:
            low = share
        else:
            high = share - 1
    return scheme.needed * low


def site_sizes(stripe: Stripe) -> list[tuple[int, int]]:
    """(shares at a site, how many such sites), ascending."""
    return sorted(Counter(stripe.sites).items())

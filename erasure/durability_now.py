"""What lies ahead of one object from where its shares are now: the model of ``durability_plan`` on its real layout.

Two probabilities. Until the object is whole again, and this one errs on the side of loss: nothing is mended before the
latest time at which the pool's settings have it mended, and who is silent has lost what it had. From then on: a year of
the whole stripe, as ``moorage plan`` computes it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from erasure.durability_closed import hit_at_once, lost_together, nines, yearly
from erasure.durability_plan import Hazards, loss_rate, stripe_at
from erasure.scheme import Scheme


class Layout(NamedTuple):
    """One set of holders, all on different peers: shares at each site that are good now, and that are meant to be.

    ``holders``: a name for the set; layouts with the same one differ in what is good now.
    ``silent``: some holder does not answer. ``damaged``: some holder answers and lacks what it should have.
    """

    holders: Hashable
    good: tuple[int, ...]
    meant: tuple[int, ...]
    silent: bool = False
    damaged: bool = False

    @property
    def whole(self) -> bool:
        return self.good == self.meant


class Forecast(NamedTuple):
    """Probabilities of loss, common-mode events apart but for ``common``, which is per year.

    ``yearly``: in a year that begins with a whole object. ``before_whole``: before it is whole again, which takes at
    most ``until_whole`` years by the settings (0: it is whole).
    """

    yearly: float
    common: float
    until_whole: float
    before_whole: float

    @property
    def now(self) -> float:
        """In the year that begins now."""
        return _any_of([self.yearly, self.before_whole])

    @property
    def nines(self) -> float:
        return nines(self.now)


def forecast(
    scheme: Scheme, layouts: Sequence[Layout], peers: Sequence[int], live: Sequence[int], hazards: Hazards
) -> Forecast:
    """For an object whose stripes have these layouts: losing one of them is losing it.

    Args:
        layouts: those that differ, each readable now.
        peers: how many the pool has at each site, ``live``: how many of them answer.
    """
    assert layouts
    meant = {layout.holders: layout.meant for layout in layouts}
    stripes = [stripe_at(scheme, _sites(sites), peers, hazards) for sites in meant.values()]
    waits = [_until_whole(layout, scheme, live, hazards) for layout in layouts]
    risks = [_loss_within(layout, scheme, hazards, wait) for layout, wait in zip(layouts, waits, strict=True) if wait]
    return Forecast(
        yearly=_any_of([yearly(loss_rate(stripe)) for stripe in stripes]),
        # One event for all: the layout that it hits most easily.
        common=yearly(hazards.common * max(hit_at_once(stripe, hazards.common_hit) for stripe in stripes)),
        until_whole=max(waits),
        before_whole=_any_of(risks),
    )


def _sites(shares: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted((here for here in shares if here), reverse=True))


def _until_whole(layout: Layout, scheme: Scheme, live: Sequence[int], hazards: Hazards) -> float:
    """Years. A holder's next look finds what is damaged; whose holder is silent waits for the grace, or for a box."""
    waits = [0.0]
    if layout.damaged:
        waits.append(hazards.sweep + hazards.repair)
    if layout.silent:
        site_gone = any(meant and not good for meant, good in zip(layout.meant, layout.good, strict=True))
        homes = sum(min(here, scheme.spare) for here in live) >= scheme.total
        replaced = hazards.site_replace if site_gone else hazards.replace
        waits.append((hazards.grace if homes else max(hazards.grace, replaced)) + hazards.repair)
    return max(waits)


def _loss_within(layout: Layout, scheme: Scheme, hazards: Hazards, years: float) -> float:
    share = -math.expm1(-(hazards.loud + hazards.silent) * years)
    return lost_together(_sites(layout.good), scheme.needed, share=share, site=-math.expm1(-hazards.site * years))


def _any_of(probabilities: Sequence[float]) -> float:
    """At least one of them, if they were independent, without cancellation; they are not, and then it is less."""
    if any(probability >= 1.0 for probability in probabilities):
        return 1.0
    # Of none: 0.0, not the -0.0 that programs would be shown.
    return -math.expm1(sum(math.log1p(-probability) for probability in probabilities)) or 0.0

"""The model on an object's real layout: the same as ``plan`` where all is whole, and exact for what is missing."""

from __future__ import annotations

import math
from itertools import product

import pytest

from erasure.durability_closed import lost_together
from erasure.durability_now import Layout, forecast
from erasure.durability_plan import DAY, Hazards, outlook
from erasure.scheme import Scheme

SCHEME = Scheme(4, 6)
PEERS = (2, 2, 2)


def counted(sites: tuple[int, ...], needed: int, share: float, site: float) -> float:
    """``lost_together`` by going through every case."""
    total = 0.0
    for gone in product((False, True), repeat=len(sites)):
        for lost in product((False, True), repeat=sum(sites)):
            probability = math.prod(site if here else 1 - site for here in gone)
            probability *= math.prod(share if here else 1 - share for here in lost)
            at = [number for number, count in enumerate(sites) for _ in range(count)]
            left = sum(not gone[where] and not here for where, here in zip(at, lost, strict=True))
            total += probability if left < needed else 0.0
    return total


@pytest.mark.parametrize(
    ("sites", "needed"), [((2, 2, 2), 4), ((2, 2, 1), 4), ((2, 1, 1), 4), ((3, 3, 2), 5), ((1, 1), 1)]
)
def test_losses_together_are_those_of_every_case(sites: tuple[int, ...], needed: int) -> None:
    for share, site in ((0.1, 0.05), (0.5, 0.0), (0.0, 0.3), (0.9, 0.9)):
        assert lost_together(sites, needed, share=share, site=site) == pytest.approx(
            counted(sites, needed, share, site), rel=1e-9, abs=1e-15
        )


def test_a_whole_object_has_the_outlook_of_plan() -> None:
    ahead = forecast(SCHEME, [Layout("a", PEERS, PEERS)], PEERS, PEERS, Hazards())
    planned = outlook(SCHEME, [[1, 1]] * 3, Hazards())
    assert ahead.now == pytest.approx(planned.closed)
    assert ahead.common == pytest.approx(planned.common)
    assert ahead.until_whole == 0
    assert ahead.nines == pytest.approx(planned.nines)
    # Not -0.0, which a program would be shown.
    assert math.copysign(1.0, ahead.before_whole) == 1.0


def test_a_stripe_more_is_a_chance_more_and_the_same_one_is_none() -> None:
    one, same, two = (
        forecast(SCHEME, [Layout(name, PEERS, PEERS) for name in names], PEERS, PEERS, Hazards())
        for names in ("a", "aa", "ab")
    )
    assert one.yearly == same.yearly
    assert two.yearly == pytest.approx(2 * one.yearly, rel=1e-3)
    # One event hits both.
    assert one.common == two.common


def test_nothing_to_spare_means_that_any_loss_in_time_is_the_last() -> None:
    hazards = Hazards(site=0.0)
    bare = Layout("a", (2, 1, 1), PEERS, damaged=True)
    ahead = forecast(SCHEME, [bare], PEERS, PEERS, hazards)
    assert ahead.until_whole == pytest.approx(9 * DAY)
    assert ahead.before_whole == pytest.approx(-math.expm1(-4 * 0.07 * 9 * DAY))
    assert ahead.now > ahead.before_whole


def test_rates_of_one_are_probabilities_still() -> None:
    ahead = forecast(SCHEME, [Layout("a", (2, 1, 1), PEERS, silent=True)], PEERS, PEERS, Hazards(loud=100, site=50))
    assert 0.9 < ahead.now <= 1

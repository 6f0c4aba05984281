"""The model says what others have published, and its calculations agree with each other."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import NotEnoughPeersError, UsageError
from daemon.settings import Settings
from erasure.durability_closed import hit_at_once, loss_rate, loss_rate_between_looks, nines, unreadable
from erasure.durability_markov import loss_rate as markov_loss_rate
from erasure.durability_markov import mean_time_to_loss
from erasure.durability_plan import DAY, Hazards, outlook, recommend, sensible_schemes, worth_it
from erasure.durability_plan import loss_rate as planned_loss_rate
from erasure.durability_stripe import (
    Stripe,
    has_spare_home,
    has_spare_site,
    peers_at_sites,
    shares_per_site,
    sites_to_lose,
    usable_bytes,
)
from erasure.durability_trials import count_losses, sample_losses
from erasure.scheme import Scheme
from tests.durability.published import (
    kept_after_churn,
    loss_in_periods,
    loss_rate_in_periods,
    raid6_mean_time_to_loss,
)

USUAL = Stripe(4, (2, 2, 2), 0.05, 8 * DAY, 0.02, 7 * DAY, 1.4 * DAY, 0.001, 32 * DAY)
SCHEMES = st.integers(1, 12).flatmap(lambda needed: st.integers(needed + 1, 20).map(lambda n: Scheme(needed, n)))


# --- published figures ----------------------------------------------------------------------------


def test_backblaze_17_of_20_to_the_last_printed_digit() -> None:
    assert f"{loss_in_periods(Scheme(17, 20), 0.00405, 6.5 / 365):.3e}" == "7.354e-12"


def test_storj_20_of_40_to_the_last_printed_digit() -> None:
    assert f"{kept_after_churn(20, 40, 0.1):.12%}" == "99.999999807694%"


def test_backblazes_periods_are_a_common_look_without_loud_losses() -> None:
    stripe = Stripe(17, (1,) * 20, 0.0, 0.0, 0.00405, 6.5 / 365)
    published = loss_rate_in_periods(Scheme(17, 20), 0.00405, 6.5 / 365)
    assert loss_rate(stripe) == pytest.approx(published, rel=1e-3)
    assert loss_rate_between_looks(stripe) == pytest.approx(published, rel=1e-3)


def test_the_chain_is_the_raid_formula_to_first_order() -> None:
    found = mean_time_to_loss(8, 10, 0.01, DAY, crews=1)
    assert found == pytest.approx(raid6_mean_time_to_loss(10, 0.01, DAY), rel=1e-3)


# --- agreement ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sites", [(1,) * 6, (2, 2, 2), (3, 2, 1)])
def test_the_lumped_chain_is_the_birth_death_process_where_no_site_is_lost(sites: tuple[int, ...]) -> None:
    stripe = Stripe(4, sites, 0.07, 3 * DAY)
    assert markov_loss_rate(stripe) == pytest.approx(1 / mean_time_to_loss(4, 6, 0.07, 3 * DAY), rel=1e-9)


@pytest.mark.parametrize("sites", [(2, 2, 2), (4, 3, 3, 3, 3)])
def test_closed_form_and_chain_agree_at_usual_rates(sites: tuple[int, ...]) -> None:
    stripe = Stripe(sum(sites) - 2 * sites[0] // 2, sites, 0.05, 3 * DAY, 0.02, 7 * DAY, DAY, 0.001, 30 * DAY)
    assert markov_loss_rate(stripe) == pytest.approx(loss_rate(stripe, common_look=False), rel=0.08)


def test_direct_monte_carlo_agrees_with_the_chain() -> None:
    stripe = Stripe(4, (2, 2, 2), 1.0, 9 * DAY, 0.5, 7 * DAY, 1.4 * DAY, 0.1, 37 * DAY)
    assert count_losses(stripe, random.Random(1), 10_000, exponential=True).agrees_with(markov_loss_rate(stripe))


def test_direct_monte_carlo_agrees_with_the_exact_rate_between_looks() -> None:
    stripe = Stripe(4, (2, 2, 2), 0.0, 0.0, 0.3, 1.0, site=0.03, site_noticed=False)
    assert count_losses(stripe, random.Random(1), 8_000).agrees_with(loss_rate_between_looks(stripe))


def test_importance_sampling_agrees_at_usual_rates() -> None:
    assert sample_losses(USUAL, random.Random(1), 2_000).agrees_with(loss_rate(USUAL))
    chain = sample_losses(USUAL, random.Random(2), 2_000, exponential=True)
    assert chain.agrees_with(markov_loss_rate(USUAL))


def test_losses_that_one_look_finds_pile_up_as_theory_says() -> None:
    stripe = Stripe(4, (1,) * 7, 0.0, 0.0, 1e-4, 1.0)
    ratio = loss_rate(stripe) / loss_rate(stripe, common_look=False)
    assert ratio == pytest.approx(2**3 / 4, rel=1e-2)


# --- properties -----------------------------------------------------------------------------------


def spread_out(scheme: Scheme, silent: float = 0.02, away_days: float = 3.0) -> Stripe:
    return Stripe(scheme.needed, (1,) * scheme.total, 0.05, away_days * DAY, silent, 7 * DAY, 2 * DAY, 0.001, DAY)


@given(SCHEMES)
def test_another_spare_share_is_never_worse(scheme: Scheme) -> None:
    more = Scheme(scheme.needed, scheme.total + 1)
    assert loss_rate(spread_out(more)) <= loss_rate(spread_out(scheme))
    assert unreadable(spread_out(more), peer_up=0.99, site_up=0.999) <= unreadable(
        spread_out(scheme), peer_up=0.99, site_up=0.999
    )
    assert hit_at_once(spread_out(more), 0.1) <= hit_at_once(spread_out(scheme), 0.1)


@given(SCHEMES, st.floats(0.0, 0.05), st.floats(0.5, 20.0))
def test_more_failures_and_slower_repair_are_never_better(scheme: Scheme, silent: float, away_days: float) -> None:
    assert loss_rate(spread_out(scheme, silent, away_days)) <= loss_rate(spread_out(scheme, silent + 0.01, away_days))
    assert loss_rate(spread_out(scheme, silent, away_days)) <= loss_rate(spread_out(scheme, silent, away_days + 1))


@given(SCHEMES)
def test_a_common_look_is_never_better_than_clocks_apart(scheme: Scheme) -> None:
    stripe = spread_out(scheme)
    assert loss_rate(stripe) >= loss_rate(stripe, common_look=False) * 0.999


@given(SCHEMES, st.lists(st.integers(1, 8), min_size=1, max_size=8))
def test_shares_are_spread_by_the_rule_or_refused(scheme: Scheme, peers: list[int]) -> None:
    try:
        sites = shares_per_site(scheme, peers)
    except NotEnoughPeersError:
        assert sum(min(here, scheme.spare) for here in peers) < scheme.total
        return
    assert sum(sites) == scheme.total
    assert max(sites) <= scheme.spare


@settings(max_examples=30)
@given(st.integers(2, 14), st.integers(1, 5))
def test_a_recommendation_reaches_its_target_and_nothing_cheaper_does(peers: int, sites: int) -> None:
    here = peers_at_sites(peers, min(peers, sites))
    outlooks = [outlook(scheme, [[100] * count for count in here], Hazards()) for scheme in sensible_schemes(here)]
    best = recommend(outlooks, 4.0)
    for item in outlooks:
        assert item.nines < 4.0 or (best is not None and best.overhead <= item.overhead)
    if best is not None:
        assert best.nines >= 4.0
        assert best in worth_it(outlooks)


# --- small things ---------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_daemon() -> None:
    shipped = Settings()
    assert Hazards().sweep == pytest.approx(shipped.sweep.period_days * DAY)
    assert Hazards().grace == pytest.approx(shipped.repair.grace_hours / 24 * DAY)


def test_what_fits_and_what_may_be_lost() -> None:
    assert usable_bytes(Scheme(4, 6), [[100] * 2] * 3) == 400
    assert usable_bytes(Scheme(4, 6), [[1000, 100], [100, 100], [100, 100]]) == 400
    assert sites_to_lose(Stripe(10, (4, 3, 3, 3, 3), 0.1, 0.1)) == (1, 2)
    assert has_spare_home(Scheme(4, 6), [3, 3, 3])
    assert has_spare_home(Scheme(4, 6), [3, 2, 2]) is False
    assert has_spare_site(Scheme(4, 6), [2, 2, 2, 2])
    assert not has_spare_site(Scheme(4, 6), [3, 3, 3])
    assert nines(1e-9) == pytest.approx(9.0)
    with pytest.raises(UsageError):
        peers_at_sites(2, 3)


@pytest.mark.parametrize("sites", [(16,), (6, 5, 5), (4, 3, 3, 3, 3)])
def test_worse_care_never_plans_fewer_losses(sites: tuple[int, ...]) -> None:
    for needed in (10, 15):
        usual = Stripe(needed, sites, 0.05, 0.02, 0.02, 7 * DAY, 2 * DAY, 0.01, 0.1)
        waits = [0.01 * 1.5**step for step in range(18)]
        for stripes in (
            [replace(usual, loud_away=wait) for wait in waits],
            [replace(usual, sweep=wait) for wait in waits],
            [replace(usual, repair=wait) for wait in waits],
            [replace(usual, site_away=wait) for wait in waits],
        ):
            rates = [planned_loss_rate(stripe) for stripe in stripes]
            # The smaller and the larger figure change places by a dip of a few per cent.
            assert all(after > 0.95 * before for before, after in pairwise(rates)), (stripes[0], rates)

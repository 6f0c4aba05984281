"""The simulation of the code's looks, and what it must say where the answer is known."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from benchmarks.durability import stripe_of_trial, trials
from erasure.durability_stripe import Stripe
from tests.durability.look_schedule import count, ratios


def test_many_looks_cost_no_more_than_a_tenth_of_one() -> None:
    for name, found in ratios().items():
        assert found.ratio == pytest.approx(1.0, abs=0.1), name
        assert found.error < 0.02, name


def test_the_same_seed_counts_the_same() -> None:
    (stripe, *_) = map(stripe_of_trial, trials().values())
    assert count(stripe, 500, random.Random(3)) == count(stripe, 500, random.Random(3))


def test_two_copies_are_lost_as_often_as_both_go_between_two_looks() -> None:
    # One is gone for half an interval on average before the other, which is the repairer now, has its turn.
    pair = Stripe(needed=1, sites=(1, 1), loud=0.0, loud_away=0.0, silent=0.02, sweep=1.0, site_noticed=False)
    found = count(pair, 4_000_000, random.Random(1))
    assert found.losses / 4_000_000 == pytest.approx(2 * 0.02 * 0.02 / 2, rel=0.08)


def test_more_failures_are_more_losses() -> None:
    stripe = stripe_of_trial(next(iter(trials().values())))
    fewer = count(stripe, 4000, random.Random(1)).losses
    assert count(replace(stripe, silent=2 * stripe.silent), 4000, random.Random(1)).losses > 2 * fewer

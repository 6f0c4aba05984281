from __future__ import annotations

import time

import pytest
from trio.testing import MockClock

from core.ports import Chance
from host.chance import RealChance
from host.clock import RealClock
from tests.sim.chance import SimChance
from tests.sim.clock import START_S, SimClock

YEAR_2024_S = 1_704_067_200.0


@pytest.fixture(params=[RealChance, SimChance])
def chance(request: pytest.FixtureRequest) -> Chance:
    made: Chance = request.param()
    return made


@pytest.mark.parametrize("clock", [RealClock(), SimClock()], ids=["real", "simulated"])
def test_a_clock_tells_seconds_since_1970(clock: RealClock | SimClock) -> None:
    assert YEAR_2024_S < clock.now() <= clock.now() < YEAR_2024_S * 2


def test_the_real_clock_is_the_systems() -> None:
    assert time.time() - 60 < RealClock().now() < time.time() + 60


async def test_the_simulated_clock_follows_virtual_time_and_jumps(mock_clock: MockClock) -> None:
    clock = SimClock()
    mock_clock.jump(5)
    assert clock.now() == START_S + 5
    clock.skew_s = -100
    assert clock.now() == START_S - 95


@pytest.mark.parametrize("size_bytes", [0, 1, 19, 32, 1000])
def test_a_token_has_the_length_asked_for(chance: Chance, size_bytes: int) -> None:
    assert len(chance.token(size_bytes)) == size_bytes


def test_tokens_differ(chance: Chance) -> None:
    assert len({chance.token(16) for _ in range(100)}) == 100


def test_a_stream_goes_on_where_it_was_and_others_do_not_disturb_it(chance: Chance) -> None:
    jitter = chance.stream("jitter")
    assert chance.stream("jitter") is jitter
    assert chance.stream("sampling") is not jitter
    assert jitter.random() != chance.stream("sampling").random()


def test_simulated_chance_follows_from_seed_and_name() -> None:
    def draws(chance: SimChance) -> tuple[bytes, float, float]:
        return chance.token(16), chance.stream("a").random(), chance.stream("b").random()

    def draws_with_one_more(chance: SimChance) -> tuple[bytes, float, float]:
        chance.stream("another").random()
        return draws(chance)

    assert draws(SimChance(1, "x")) == draws_with_one_more(SimChance(1, "x"))
    assert draws(SimChance(1, "x")) != draws(SimChance(1, "y"))
    assert draws(SimChance(1, "x")) != draws(SimChance(2, "x"))

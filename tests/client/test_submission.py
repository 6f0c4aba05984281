"""A client and its ledger peer learn of a new roster seconds apart."""

from __future__ import annotations

import pytest
import trio

from client.submission import ROSTER_SETTLES_S, once_rosters_agree
from core.errors import BadSignatureError
from tests.anchor.test_roster import SAMPLE, file_of
from tests.client.test_rosters import home_on
from tests.sim.disk import SimDisk


class Signer:
    """Signs by the old roster for a while."""

    def __init__(self, seconds: float) -> None:
        self._until_s = trio.current_time() + seconds
        self.asked = 0

    async def __call__(self) -> str:
        self.asked += 1
        if trio.current_time() < self._until_s:
            raise BadSignatureError("signed by others")
        return "receipt"


async def test_a_put_waits_for_a_ledger_peer_that_takes_up_the_same_roster(
    autojump_clock: trio.testing.MockClock,
) -> None:
    signer = Signer(seconds=3)
    assert await once_rosters_agree(home_on(SimDisk()), signer) == "receipt"
    assert signer.asked > 1


async def test_a_signature_that_stays_wrong_is_said_to_be(autojump_clock: trio.testing.MockClock) -> None:
    began_s, signer = trio.current_time(), Signer(seconds=1000)
    with pytest.raises(BadSignatureError):
        await once_rosters_agree(home_on(SimDisk()), signer)
    assert trio.current_time() - began_s < ROSTER_SETTLES_S + 1


async def test_a_pool_of_one_key_has_nothing_to_wait_for(autojump_clock: trio.testing.MockClock) -> None:
    signer = Signer(seconds=1000)
    with pytest.raises(BadSignatureError):
        await once_rosters_agree(home_on(SimDisk(), file_of(SAMPLE)), signer)
    assert signer.asked == 1

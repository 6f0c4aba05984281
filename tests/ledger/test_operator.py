"""The log operator among its witnesses: what is anchored, when, and what is not."""

from __future__ import annotations

import pytest
import trio

from tests.anchor.ledgers import leaf, leaves
from tests.ledger.consortium import check, create_log, near_witnesses, running
from tests.sim.disk import SimDisk


@pytest.fixture
def disk() -> SimDisk:
    disk = SimDisk()
    create_log(disk)
    return disk


async def test_a_leaf_is_anchored_once_three_of_four_have_signed(
    disk: SimDisk, autojump_clock: trio.testing.MockClock
) -> None:
    witnesses = near_witnesses()
    witnesses[3].late_s = None
    async with running(disk, witnesses) as operator:
        began = trio.current_time()
        anchored = await operator.submit(leaf(0))
        check([anchored])
        assert anchored.index == 0
        assert trio.current_time() - began < 0.2
        assert operator.published_size == 1


async def test_many_at_once_share_a_commit(disk: SimDisk, autojump_clock: trio.testing.MockClock) -> None:
    witnesses = near_witnesses()
    found = []
    async with running(disk, witnesses) as operator, trio.open_nursery() as nursery:

        async def one(number: int) -> None:
            found.append(await operator.submit(leaf(number % 300)))

        for number in range(600):
            nursery.start_soon(one, number)
    check(found)
    assert {(item.index, item.leaf) for item in found} == {(item.index, item.leaf) for item in found[:600]}
    assert {item.leaf for item in found} == set(leaves(0, 300))
    assert {item.index for item in found} == set(range(300))
    assert max(len(witness.asked) for witness in witnesses) < 8

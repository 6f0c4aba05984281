"""What one look of a sweep asks of the other holders, as peers and objects grow: production care on whole pools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import trio
import trio.testing

from benchmarks.scale_growth import Count
from benchmarks.scale_models import look_questions
from core.limits import CHUNK_BYTES
from daemon.settings import Settings
from tests.daemon.care_pool import SCHEME, CarePool

SIZES = (3 * CHUNK_BYTES + 100, CHUNK_BYTES // 2)
CHUNKS = (4, 1, 1)
"""Of the two extents, and of the index."""


async def _sweep(peers: int, objects: int) -> tuple[int, int, int]:
    """Looks, questions and bytes of one peer's ordered sweep, by sample, of all that it holds."""
    pool = CarePool(peers=peers, sites=3)
    puts = [pool.put(SIZES, seed=number) for number in range(objects)]
    sweeper = pool.peers["peer-1"]
    looks = sum(sweeper.peer in put.manifest.holders() for put in puts)
    async with pool.caring("peer-1"):
        before = len(pool.requests), pool.read_bytes + pool.paper_bytes
        await pool.job("peer-1", full=False)
        asked = [kind for name, kind in pool.requests[before[0] :] if name != "peer-1"]
        return looks, len(asked), pool.read_bytes + pool.paper_bytes - before[1]


def count_sweep(peers: int, objects: int, *, by: Literal["peers", "objects"]) -> Iterator[Count]:
    """One size; ``by`` says which of the two is growing."""
    n = peers if by == "peers" else objects
    looks, questions, moved_bytes = trio.run(_sweep, peers, objects, clock=trio.testing.MockClock(autojump_threshold=0))
    expected = look_questions(SCHEME.total, CHUNKS, samples=Settings().sweep.samples)
    yield Count("questions of one look", "questions", by, n, questions / looks, expected)
    yield Count("bytes of one look", "bytes", by, n, moved_bytes / looks)

"""The stream of an object's bytes: what stops it is what its reader hears of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
import trio

from anchor.manifest import Extent, Manifest
from client.context import Client
from client.index import Index, SealedExtent
from client.reader import ObjectReader
from core.errors import NotEnoughSharesError
from core.limits import CHUNK_BYTES
from core.listing import Span
from tests.client.test_index import extent
from tests.daemon.test_decide import manifest
from tests.sim.determinism import run_seeded
from tests.sim.threads import SimThreads

SCHEDULES = range(20)


class Unreadable(ObjectReader):
    """Of an object whose shares are gone by the time its stream is read."""

    def __init__(self, of: Manifest) -> None:
        self._manifest = of
        self._client = cast(Client, SimpleNamespace(ports=SimpleNamespace(threads=SimThreads())))

    async def _read(self, number: int, extent: Extent, sealed: SealedExtent, first: int, count: int) -> memoryview:
        await trio.sleep(1)
        raise NotEnoughSharesError(f"extent {number}")


async def read_all() -> int:
    plain = extent(3 * CHUNK_BYTES)
    index = Index((), (plain,))
    async with Unreadable(manifest(2)).stream(index, [Span(0, plain.plain_bytes)]) as pieces:
        return sum([len(piece.data) async for piece in pieces])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_error_is_never_taken_for_the_end(schedule: int) -> None:
    """Found by the simulator (storm, seed 3605092889): in half of all schedules a reader saw the end, and no error."""
    with pytest.raises(NotEnoughSharesError):
        run_seeded(schedule, read_all)

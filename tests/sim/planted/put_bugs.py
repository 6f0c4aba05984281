"""Defects of put and get: what is believed, counted, and in which order."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import client.fetch
import client.finish
import client.put
from anchor.manifest import Extent, Manifest
from client.asker import Asker
from client.context import Client
from client.extents import DoneExtent, ExtentStorer
from client.memory import StoredExtent
from client.placer import Placer
from client.progress import Progress
from client.publish import Published, make_manifest, store_index, store_on_all
from client.tasks import open_crew
from core.errors import MoorageError, PeerUnavailableError
from core.ids import PeerId
from core.limits import DISK_DEADLINE_S
from erasure.scheme import Scheme
from tests.sim.planted.plant import plant, plants_of
from wire.messages import Shares, StoreManifest, StoreReceipt

ORDER = "what is anchored is durable at every holder"
WHOLE = "what is acknowledged is whole at every holder"
COPIES = "more copies of the receipt are kept than may be lost"
TRUE = "what is read is what was put"

# --- the order of a put -----------------------------------------------------------------------


@plant(client.put, "_publish", story="put", bug="the manifest is stored while its leaf is anchored", promise=ORDER)
async def manifest_too_late(
    client_: Client, placer: Placer, storer: ExtentStorer, source: Any, progress: Progress
) -> Published:
    del progress
    done = await client.put._settle(storer, source.plains, source.done)
    index = await store_index(client_, storer, source.entries, done)
    published = make_manifest(client_, storer.scheme, done, index, source.entries, degraded=placer.degraded)
    message = StoreManifest(published.object, published.manifest_file)
    nursery = client_.peers._nursery
    nursery.start_soon(store_on_all, client_.peers, published.manifest.holders(), message)
    return published


@plant(client.put, "store_on_all", story="put", bug="one holder that has the manifest is enough", promise=ORDER)
async def manifest_on_one(
    peers: Asker, holders: Sequence[PeerId], message: StoreManifest | StoreReceipt
) -> dict[PeerId, MoorageError]:
    failed = await store_on_all(peers, holders, message)
    return failed if len(failed) == len(holders) else {}


# --- how many copies --------------------------------------------------------------------------


@plant(client.finish, "check_copies", story="put", bug="copies of the receipt are counted off by one", promise=COPIES)
def receipts_off_by_one(failed: Collection[PeerId], holders: Sequence[PeerId], scheme: Scheme) -> None:
    having = sum(peer not in failed for peer in holders)
    if having < min(scheme.spare, len(holders)):
        raise PeerUnavailableError(f"only {having} of {len(holders)} holders took the receipt")


@plant(client.finish, "store_on_all", story="put", bug="a retry counts one peer's copy twice", promise=COPIES)
async def copy_counted_twice(
    peers: Asker, holders: Sequence[PeerId], message: StoreManifest | StoreReceipt
) -> dict[PeerId, MoorageError]:
    """Whoever does not take the receipt is replaced by the next holder that does, which may have it already."""
    missed: dict[PeerId, MoorageError] = {}

    async def store(number: int) -> None:
        for at in range(len(holders)):
            peer = holders[(number + at) % len(holders)]
            try:
                await peers.request(peer, message, deadline_s=DISK_DEADLINE_S)
            except MoorageError:
                continue
            return
        missed[holders[number]] = PeerUnavailableError("nobody takes it")

    async with open_crew() as crew:
        for number in range(len(holders)):
            crew.start_soon(store, number)
    return missed


# --- what was stored before ---------------------------------------------------------------------


@plant(ExtentStorer, "_missing", story="put", bug="what the client remembers is not asked for", promise=WHOLE)
async def memory_is_believed(self: Any, known: StoredExtent) -> list[int]:
    del self, known
    return []


@plant(ExtentStorer, "confirm", story="put", bug="shards are not asked for once more", promise=WHOLE)
async def not_confirmed(self: Any, extents: Sequence[DoneExtent]) -> bool:
    del self, extents
    return True


@plant(client.put, "index_is_whole", story="put", bug="the index of an earlier put is not asked for", promise=WHOLE)
async def index_is_believed(client_: Client, manifest: Manifest) -> bool:
    del client_, manifest
    return True


# --- reading ------------------------------------------------------------------------------------


def unchecked(answer: Shares) -> tuple[memoryview, ...]:
    """The shares of an answer, taken on trust."""
    view, at = memoryview(answer.body), 0
    shares: list[memoryview] = []
    for length in answer.lengths:
        shares.append(view[at : at + length])
        at += length
    return tuple(shares)


@plant(client.fetch, "verify_run", story="put", bug="a reader does not compare shares with their root", promise=TRUE)
def reader_does_not_check(
    extent: Extent, scheme: Scheme, index: int, first: int, answer: Shares
) -> tuple[memoryview, ...]:
    del extent, scheme, index, first
    return unchecked(answer)


PLANTS = plants_of(globals())

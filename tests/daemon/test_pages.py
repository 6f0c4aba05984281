"""Pages of objects: all that was held at the first of them, whatever comes and goes meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, Unpack

import trio

from anchor.manifest import object_id
from benchmarks.scale_peer import list_pages
from core.ids import ObjectId
from daemon.documents import DocumentKind, DocumentStore
from daemon.pages import LIST_AGE_MAX_S, ObjectPages
from daemon.store import ShardStore
from tests.daemon.shards import FixedClock
from tests.sim.disk import SimDisk
from tests.sim.threads import SimThreads

FIRST = bytes(32)
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Counted:
    """``DocumentStore``, and how often it lists."""

    def __init__(self, documents: DocumentStore) -> None:
        self._names = documents.names
        self.lists = 0
        documents.names = self.names  # type: ignore[method-assign]  # counted

    def names(self, kind: DocumentKind) -> tuple[ObjectId, ...]:
        self.lists += 1
        return self._names(kind)


def open_documents(objects: int) -> tuple[DocumentStore, list[ObjectId]]:
    store = ShardStore(SimDisk(), "/peer", quota_bytes=None, reserve_bytes=0, clock=FixedClock())
    store.start()
    return store.documents, sorted(add(store.documents, number) for number in range(objects))


def add(documents: DocumentStore, number: int) -> ObjectId:
    data = b"manifest %d" % number
    documents.put("manifest", object_id(data), data)
    return object_id(data)


async def test_all_pages_cost_one_list() -> None:
    for objects in (0, 1, 4, 5, 6, 23):
        documents, names = open_documents(objects)
        counted = Counted(documents)
        pages = ObjectPages(documents, SimThreads(), page_max=5)
        assert await list_pages(pages) == names
        # After a full last page the list was still there.
        assert counted.lists == (2 if objects and objects % 5 else 1)


async def test_what_comes_and_goes_meanwhile_loses_nothing_that_stays(autojump_clock: object) -> None:
    documents, names = open_documents(23)
    pages = ObjectPages(documents, SimThreads(), page_max=5)
    first = await pages.page(FIRST)
    new = [add(documents, number) for number in range(100, 110)]
    documents.quarantine("manifest", names[7])
    assert await list_pages(pages) == sorted({*names, *new} - {names[7]})
    rest = [*first]
    while page := await pages.page(rest[-1].raw):
        rest += page
        # Somebody else begins, and somebody takes his time.
        await pages.page(FIRST)
        await trio.sleep(LIST_AGE_MAX_S)
    assert {*names} - {names[7]} <= {*rest}
    assert rest == sorted(set(rest))


async def test_a_list_grows_old(autojump_clock: object) -> None:
    documents, names = open_documents(12)
    pages = ObjectPages(documents, SimThreads(), page_max=5)
    await pages.page(FIRST)
    new = sorted([*names, *(add(documents, number) for number in range(100, 110))])
    await trio.sleep(LIST_AGE_MAX_S + 1)
    at = new.index(names[4])
    assert await pages.page(names[4].raw) == tuple(new[at + 1 : at + 6])


class SlowList(SimThreads):
    """The first list arrives late."""

    def __init__(self) -> None:
        super().__init__()
        self.lists = 0

    async def disk(self, job: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        self.lists += 1
        first = self.lists == 1
        listed = job(*args)
        if first:
            await trio.sleep(1.0)
        return listed


async def test_a_list_that_was_begun_earlier_does_not_take_the_place_of_a_newer_one(autojump_clock: object) -> None:
    documents, names = open_documents(12)
    pages = ObjectPages(documents, SlowList(), page_max=5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pages.page, FIRST)
        await trio.sleep(0.1)
        new = sorted([*names, *(add(documents, number) for number in range(100, 110))])
        found = [*await pages.page(FIRST)]
    while page := await pages.page(found[-1].raw):
        found += page
    assert found == new

"""The directory at growing numbers of peers: what one knows, what a search costs, what a crawl costs."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Iterator

import trio
import trio.testing

from benchmarks.scale_crowd import Crowd
from benchmarks.scale_growth import Count
from benchmarks.scale_models import contacts, cover_lookups, crawl_questions, lookup_questions
from core.ids import derived_digest
from dht.records import PeerRecord
from dht.store import RecordStore

SEARCHES = 20


def count_directory(peers: int) -> Iterator[Count]:
    """What a peer knows, and what its searches cost."""
    crowd = Crowd(peers)
    yield from _memory(crowd)
    yield from trio.run(_searches, crowd, clock=trio.testing.MockClock(autojump_threshold=0))


def count_crawl(peers: int) -> list[Count]:
    """What it costs to find everybody."""
    return trio.run(_crawl, Crowd(peers), clock=trio.testing.MockClock(autojump_threshold=0))


def _memory(crowd: Crowd) -> Iterator[Count]:
    peers = len(crowd.records)
    known = [len(crowd.node(number).table.contacts()) for number in range(0, peers, max(1, peers // 10))]
    yield Count("contacts of a peer", "contacts", "peers", peers, sum(known) / len(known), contacts(peers))
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    reader = crowd.client().store.reader
    store = RecordStore(reader, crowd.clock)
    # As a client that crawled: each record is parsed anew from bytes of its own.
    for record in crowd.records:
        read = reader.read(bytes(bytearray(record.raw)))
        assert isinstance(read, PeerRecord)
        store.offer(read)
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    yield Count("memory of the full list of peers", "bytes", "peers", peers, held)
    file_bytes = sum(map(len, store.raws()))
    yield Count("full list of peers on disk", "bytes", "peers", peers, file_bytes)


async def _searches(crowd: Crowd) -> list[Count]:
    """One peer looks for random keys, and announces itself."""
    peers = len(crowd.records)
    dht = crowd.node(0)
    asked, moved_bytes = dht.asker.asked, crowd.moved_bytes
    begun_s, made_s = time.process_time(), crowd.made_s
    for number in range(SEARCHES):
        await dht.nearest(derived_digest("moorage 2026 scale key", number.to_bytes(4)))
    spent_s = time.process_time() - begun_s - (crowd.made_s - made_s)
    questions = (dht.asker.asked - asked) / SEARCHES
    assert dht.own is not None
    asked = dht.asker.asked
    search_bytes = (crowd.moved_bytes - moved_bytes) / SEARCHES
    await dht.spread(dht.own)
    stored = dht.asker.asked - asked
    return [
        Count("questions of a search", "questions", "peers", peers, questions, min(peers - 1, lookup_questions(peers))),
        Count("bytes of a search", "bytes", "peers", peers, search_bytes),
        Count("time of a search, both sides", "s", "peers", peers, spent_s / SEARCHES),
        Count("questions to publish one record", "questions", "peers", peers, stored),
    ]


async def _crawl(crowd: Crowd) -> list[Count]:
    """A command that must know every peer."""
    peers = len(crowd.records)
    dht = crowd.client()
    await dht.bootstrap([record.address for record in crowd.records[:3]])
    asked, moved_bytes, searches = dht.asker.asked, crowd.moved_bytes, dht.searches
    begun_s, made_s = time.process_time(), crowd.made_s
    found = await dht.all_peers()
    spent_s = time.process_time() - begun_s - (crowd.made_s - made_s)
    assert len(found) == peers, (len(found), peers)
    questions = dht.asker.asked - asked
    counts = [
        Count("questions of a crawl", "questions", "peers", peers, questions, crawl_questions(peers)),
        Count("bytes of a crawl", "bytes", "peers", peers, crowd.moved_bytes - moved_bytes),
        Count("time of a crawl, both sides", "s", "peers", peers, spent_s),
    ]
    if dht.searches > searches:
        made = dht.searches - searches
        counts.insert(0, Count("searches of a crawl", "searches", "peers", peers, made, cover_lookups(peers)))
    return counts

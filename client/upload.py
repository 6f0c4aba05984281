"""Send one extent to its holders: coded batch by batch, streamed to all at once, committed everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import trio

from client.asker import Asker
from client.coding import CodedBatch, chunks_per_batch, code_batch
from client.lane import Lane, ShareBatch
from client.source import Plain
from client.tasks import in_order
from core.errors import MoorageError
from core.ids import PeerId, ShardRoot
from core.limits import CHUNK_BYTES, TAG_BYTES
from core.ports import Threads
from erasure.codec import share_bytes
from erasure.merkle import root_of_leaves
from erasure.scheme import Scheme

# Batches coded at the same time by one extent: as many as there are CPU workers on a small machine.
CODING_AT_ONCE = 2


class CodedExtent(NamedTuple):
    """What an upload found out about its extent."""

    roots: tuple[ShardRoot, ...]
    sealed_lengths: tuple[int, ...]
    codecs: bytes


class Uploaded(NamedTuple):
    """``failed`` says by share index which holders did not take theirs, and why; the others have it durably."""

    extent: CodedExtent
    failed: Mapping[int, MoorageError]
    sent_bytes: int


def _batches(plain_bytes: int, scheme: Scheme) -> Iterator[tuple[int, int]]:
    chunks = -(-plain_bytes // CHUNK_BYTES)
    step = chunks_per_batch(scheme)
    for first in range(0, chunks, step):
        yield first, min(step, chunks - first)


def _announced(plain_bytes: int, scheme: Scheme) -> tuple[int, int]:
    """How many chunks an extent has, and how many bytes a shard of it at most."""
    lengths = [min(CHUNK_BYTES, plain_bytes - at) for at in range(0, plain_bytes, CHUNK_BYTES)]
    return len(lengths), sum(share_bytes(length + TAG_BYTES, scheme.needed) for length in lengths)


async def _code_in_order(
    plain: memoryview, key: bytes, scheme: Scheme, threads: Threads, lanes: Sequence[Lane]
) -> CodedExtent:
    """Code all batches, CODING_AT_ONCE at a time, and hand them to the lanes in order."""
    leaves: list[list[bytes]] = [[] for _ in range(scheme.total)]
    sealed_lengths: list[int] = []
    codecs = bytearray()

    async def deliver(batch: CodedBatch) -> None:
        for index, column in enumerate(batch.leaves):
            leaves[index] += column
        sealed_lengths.extend(batch.sealed_lengths)
        codecs.extend(batch.codecs)
        for lane in lanes:
            await lane.queue.send(ShareBatch(batch.share_lengths, batch.bodies[lane.index]))

    async def code(first: int, count: int) -> CodedBatch:
        return await threads.cpu(code_batch, plain, first, count, key, scheme)

    jobs = (partial(code, first, count) for first, count in _batches(len(plain), scheme))
    await in_order(jobs, deliver, at_once=CODING_AT_ONCE)
    roots = tuple(root_of_leaves(scheme, index, column) for index, column in enumerate(leaves))
    return CodedExtent(roots, tuple(sealed_lengths), bytes(codecs))


async def code_extent(plain: memoryview, key: bytes, scheme: Scheme, *, threads: Threads) -> CodedExtent:
    """What an upload of ``plain`` would find out, with nothing sent."""
    return await _code_in_order(plain, key, scheme, threads, ())


async def upload_extent(
    plain: Plain,
    key: bytes,
    scheme: Scheme,
    holders: Mapping[int, PeerId],
    *,
    peers: Asker,
    threads: Threads,
    turn: trio.Lock,
) -> Uploaded:
    """Code ``plain``, let go of it, and store share i durably on ``holders[i]``.

    ``holders`` may name some shares only: the others are already where they belong. Holders that fail are
    reported, not raised, and do not hold up the rest. ``turn`` is held while coding: of the extents under way one
    is coded while the others' holders bring them to their disks. Raises as ``plain.get``.
    """
    lanes = [Lane(index, peer) for index, peer in sorted(holders.items())]
    # Before the turn: whoever has it must be able to go on.
    view = await plain.get()
    async with trio.open_nursery() as nursery:
        async with turn:
            for lane in lanes:
                nursery.start_soon(lane.run, peers, scheme, *_announced(len(view), scheme))
            extent = await _code_in_order(view, key, scheme, threads, lanes)
            plain.let_go()
        for lane in lanes:
            lane.finish(extent.roots[lane.index])
    failed = {lane.index: lane.failure for lane in lanes if lane.failure is not None}
    return Uploaded(extent, failed, sum(lane.sent_bytes for lane in lanes))

"""Read an object's stream: fetch, join, open and decompress, a batch of chunks at a time, in order."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import trio

from anchor.manifest import Extent, Manifest
from client.coding import chunks_per_batch
from client.context import Client
from client.fetch import ShareFetcher, ShareRun, SourceBoard
from client.index import (
    Index,
    SealedExtent,
    encode_listing,
    index_extent_key,
    listing_commitment,
    listing_salt,
    parse_index,
)
from client.locate import all_sources, relocated_sources
from client.tasks import in_order, open_crew
from core.buffers import unfilled, unfilled_aligned
from core.compression import Codec, decompress
from core.errors import CorruptError, HomeError, NotEnoughSharesError
from core.ids import ObjectId, PeerId
from core.limits import CHUNK_BYTES, EXTENT_BYTES, TAG_BYTES
from core.listing import Span
from core.sealing import ChunkSealer, sealing_key_id, sealing_public_key, unwrap_key
from erasure.codec import join_into
from erasure.scheme import Scheme

# Batches fetched ahead of the consumer: at 8 MiB each they cover a round trip and keep both cores busy.
READ_AHEAD_BATCHES = 2


class Piece(NamedTuple):
    """Consecutive plain bytes of the stream from ``offset``: the chunks that a reader asked for, or more."""

    offset: int
    data: memoryview


@dataclass(frozen=True, slots=True)
class _Batch:
    """Chunks of one extent that are read at once, and where they lie in the stream."""

    extent: int
    first: int
    count: int
    offset: int


def open_batch(
    runs: Mapping[int, ShareRun], sealed: SealedExtent, first: int, count: int, scheme: Scheme
) -> memoryview:
    """Join, open and decompress ``count`` chunks from ``first`` on. Raises CorruptError."""
    sealer = ChunkSealer(sealed.key)
    # Aligned: a file that it is all of, or much of, is written from here to the disk without a copy.
    plain = unfilled_aligned(sum(sealed.chunk_bytes(chunk) for chunk in range(first, first + count)))
    # Every chunk is joined in one and the same place, which stays in the processor's cache.
    place = memoryview(unfilled(max(sealed.lengths[first : first + count])))
    at = 0
    for offset in range(count):
        chunk = first + offset
        codec = sealed.codecs[chunk]
        joined = place[: sealed.lengths[chunk]]
        join_into({index: run.shares[offset] for index, run in runs.items()}, joined, scheme)
        target = plain[at : at + sealed.chunk_bytes(chunk)]
        if codec == Codec.STORED and len(joined) == len(target) + TAG_BYTES:
            sealer.open_into(chunk, codec, joined, target)
        else:
            target[:] = decompress(codec, sealer.open(chunk, codec, joined), chunk_bytes=len(target))
        at += len(target)
    return plain


class ObjectReader:
    """Reads one object. Needs the owner's keys for the index; ``board`` collects what was seen of the holders."""

    def __init__(self, client: Client, object_id: ObjectId, manifest: Manifest) -> None:
        self._client = client
        self._object = object_id
        self._manifest = manifest
        self._relocated: dict[tuple[int, int], list[PeerId]] | None = None
        self.board = SourceBoard(greeting_s=client.peers.greeting_s)
        self._fetcher = ShareFetcher(client.peers, client.ports.threads, object_id, manifest.scheme, self.board)

    def index_key(self) -> bytes:
        """Raises HomeError when none of the key slots is for this home."""
        seed = self._client.home.owner_keys().sealing_seed
        ours = sealing_key_id(sealing_public_key(seed))
        for slot in self._manifest.slots:
            if slot.key_id == ours:
                return unwrap_key(seed, slot.wrapped)
        raise HomeError(f"object {self._object.short} is sealed for other organisations than this home's")

    async def _meet_holders(self) -> None:
        """Dial all of them at once, and wait for as many as it takes to read: one that is late holds nobody up."""
        peers, manifest = self._client.peers, self._manifest
        first = manifest.groups[manifest.index[0].group]

        def enough() -> bool:
            return sum(peers.greeting_s(peer) is not None for peer in first) >= manifest.scheme.needed

        await peers.meet(dict.fromkeys((*first, *manifest.holders())), enough)

    async def read_index(self) -> Index:
        """Fetch and open the index, and check it against the manifest's commitment. Raises CorruptError."""
        manifest = self._manifest
        key = self.index_key()
        await self._meet_holders()
        parts: list[memoryview] = []
        at = 0
        for number, extent in enumerate(manifest.index):
            plain_bytes = min(EXTENT_BYTES, manifest.index_bytes - number * EXTENT_BYTES)
            sealed = SealedExtent(
                key=index_extent_key(key, number),
                plain_bytes=plain_bytes,
                lengths=manifest.index_lengths[at : at + extent.chunks],
                codecs=manifest.index_codecs[at : at + extent.chunks],
            )
            at += extent.chunks
            step = chunks_per_batch(manifest.scheme)
            for first in range(0, extent.chunks, step):
                count = min(step, extent.chunks - first)
                parts.append(await self._read(len(manifest.extents) + number, extent, sealed, first, count))
        return await self._client.ports.threads.cpu(self._checked_index, key, parts)

    def _checked_index(self, key: bytes, parts: Sequence[memoryview]) -> Index:
        manifest = self._manifest
        index = parse_index(b"".join(parts))
        if listing_commitment(listing_salt(key), encode_listing(index.entries)) != manifest.listing:
            raise CorruptError(f"object {self._object.short}: its index does not match its manifest")
        if [len(sealed.codecs) for sealed in index.extents] != [extent.chunks for extent in manifest.extents]:
            raise CorruptError(f"object {self._object.short}: index and manifest disagree about its extents")
        return index

    @asynccontextmanager
    async def stream(self, index: Index, spans: Sequence[Span]) -> AsyncGenerator[trio.MemoryReceiveChannel[Piece]]:
        """The chunks that ``spans`` touch, each once, in ascending stream order, READ_AHEAD_BATCHES ahead.

        Raises NotEnoughSharesError, CorruptError.
        """
        send, receive = trio.open_memory_channel[Piece](0)
        async with open_crew() as crew:
            batches = await self._client.ports.threads.cpu(plan_batches, index, spans, self._manifest.scheme)
            crew.start_soon(self._produce, index, batches, send)
            yield receive
            crew.cancel_scope.cancel()

    async def _produce(self, index: Index, batches: Sequence[_Batch], send: trio.MemorySendChannel[Piece]) -> None:
        async def fetch(batch: _Batch) -> Piece:
            extent, sealed = self._manifest.extents[batch.extent], index.extents[batch.extent]
            data = await self._read(batch.extent, extent, sealed, batch.first, batch.count)
            return Piece(batch.offset, data)

        # A plain `with`: an asynchronous one waits as it closes, and the reader, who takes the end for the last piece,
        # would by then have cancelled us and with us the error.
        with send:
            await in_order((partial(fetch, batch) for batch in batches), send.send, at_once=READ_AHEAD_BATCHES)

    async def _read(self, number: int, extent: Extent, sealed: SealedExtent, first: int, count: int) -> memoryview:
        runs = await self._fetch(number, extent, first, count)
        return await self._client.ports.threads.cpu(open_batch, runs, sealed, first, count, self._manifest.scheme)

    async def _fetch(self, number: int, extent: Extent, first: int, count: int) -> Mapping[int, ShareRun]:
        """From the first holders; when those are not enough, also from peers that took shards over."""
        relocated = self._relocated or {}
        try:
            sources = all_sources(self._manifest, number, extent, relocated)
            return await self._fetcher.fetch(number, extent, sources, first, count)
        except NotEnoughSharesError:
            if self._relocated is not None:
                raise
        # Holders may have moved since they were met.
        await self._client.find_peers()
        self._client.peers.forgive()
        self._relocated = await relocated_sources(self._client.dht, self._object)
        sources = all_sources(self._manifest, number, extent, self._relocated)
        return await self._fetcher.fetch(number, extent, sources, first, count)


def plan_batches(index: Index, spans: Sequence[Span], scheme: Scheme) -> list[_Batch]:
    """The batches of chunks that cover ``spans``, ascending; no chunk twice."""
    starts: list[int] = []
    at = 0
    for extent in index.extents:
        starts.append(at)
        at += extent.plain_bytes
    wanted: dict[int, set[int]] = {}
    for span in spans:
        _mark_chunks(wanted, index, starts, span)
    step = chunks_per_batch(scheme)
    batches: list[_Batch] = []
    for number in sorted(wanted):
        run: list[int] = []
        for chunk in [*sorted(wanted[number]), -1]:
            if run and (chunk != run[-1] + 1 or len(run) == step):
                batches.append(_Batch(number, run[0], len(run), starts[number] + run[0] * CHUNK_BYTES))
                run = []
            run.append(chunk)
    return batches


def _mark_chunks(wanted: dict[int, set[int]], index: Index, starts: Sequence[int], span: Span) -> None:
    if not span.length:
        return
    first = bisect_right(starts, span.offset) - 1
    end = span.offset + span.length
    for number in range(first, len(starts)):
        if starts[number] >= end:
            break
        low = max(span.offset, starts[number]) - starts[number]
        high = min(end - starts[number], index.extents[number].plain_bytes)
        wanted.setdefault(number, set()).update(range(low // CHUNK_BYTES, -(-high // CHUNK_BYTES)))

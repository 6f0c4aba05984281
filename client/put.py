"""Store files as one object.

The order is the promise: shards durable on every holder, then the manifest on every holder, then its leaf
anchored, then the receipt written, then the user told. Whatever ends a put before, nothing was promised, and
the next put finds the extents that are stored already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import trio
from blake3 import blake3

from anchor.manifest import Extent, KeySlot, Manifest, check_extents_fit, object_id, sign_manifest
from client.context import Client
from client.extents import DoneExtent, ExtentStorer
from client.index import (
    Index,
    SealedExtent,
    encode_index,
    encode_listing,
    index_extent_key,
    listing_commitment,
    listing_salt,
)
from client.ledger import anchor_manifest
from client.memory import CatalogueEntry
from client.placer import Placer
from client.plan import Plan, plan_plain
from client.progress import Progress
from client.source import ExtentReader
from client.tasks import open_crew
from core.errors import MoorageError, NotEnoughPeersError, PeerUnavailableError
from core.ids import ObjectId, PeerId, derived_digest
from core.limits import DISK_DEADLINE_S, EXTENT_BYTES
from core.listing import Entry, Kind
from core.sealing import content_id, convergent_key, sealing_key_id, sealing_public_key, wrap_key
from core.trees import SourceTree
from erasure.scheme import Scheme
from wire.messages import Have, Held, StoreManifest, StoreReceipt

# Extents read, coded and sent at the same time. Each holds a 64 MiB buffer: with two, one is coded while the
# other waits for the disks of its holders.
EXTENTS_AT_ONCE = 2
# Holders may fail while we replace others; every round loses at least one peer, so this ends.
SETTLE_ROUNDS_MAX = 8


@dataclass(frozen=True, slots=True)
class PutResult:
    object: ObjectId
    files: int
    plain_bytes: int
    stored_bytes: int
    new_bytes: int
    scheme: Scheme
    holders: tuple[PeerId, ...]
    degraded: bool
    receipt: bytes


async def put(
    client: Client,
    tree: SourceTree,
    *,
    name: str,
    scheme: Scheme,
    allow_degraded: bool,
    progress: Progress,
) -> PutResult:
    """Store what ``tree`` walks, or raise with nothing promised.

    Raises:
        SourceError, SourceChangedError: the files.
        NotEnoughPeersError: too few peers or sites, or too many failed on the way.
        HomeError: this home has no organisation keys.
    """
    keys = client.home.owner_keys()
    progress.begin("looking for peers", 0)
    live = await client.live_peers()
    progress.begin("reading the folder", 0)
    plan = plan_plain(await client.ports.threads.disk(tree.walk))
    placer = Placer(_placement_seed(keys.convergence_secret, plan), scheme, live, allow_degraded=allow_degraded)
    storer = ExtentStorer(client, placer, scheme, progress)
    placer.holders(0)
    check_extents_fit(len(plan.extents), scheme)
    progress.begin("storing", plan.stream_bytes)
    reader = ExtentReader(tree, plan)
    done = await _store_all(client, reader, plan, storer)
    entries = reader.entries_with_digests()
    content = content_id(keys.convergence_secret, encode_listing(entries) + str(scheme).encode())
    for known in await client.ports.threads.disk(client.memory.find_content, content):
        result = await _stored_before(client, known, done, storer.sent_bytes)
        if result is not None:
            return result
    for _ in range(SETTLE_ROUNDS_MAX):
        done = await _settle(client, reader, plan, storer, done)
        index, index_key, index_bytes = await _store_index(client, storer, entries, done)
        manifest, manifest_file = _manifest(client, scheme, placer, done, index, index_key, index_bytes, entries)
        identifier = object_id(manifest_file)
        progress.begin("storing the manifest", 0)
        stored = await _store_on_all(client, placer, manifest.holders(), StoreManifest(identifier, manifest_file))
        if stored and await storer.confirm([*done, *index]):
            break
    else:
        raise NotEnoughPeersError("holders keep failing while the manifest is stored: try again later")
    progress.begin("anchoring", 0)
    receipt = await anchor_manifest(client, manifest, manifest_file, plan.stream_bytes)
    if not await _store_on_all(client, placer, manifest.holders(), StoreReceipt(identifier, receipt)):
        _check_anybody(placer, manifest.holders())
    result = PutResult(
        object=identifier,
        files=sum(entry.kind is Kind.FILE for entry in entries),
        plain_bytes=plan.stream_bytes,
        stored_bytes=sum(item.stored_bytes(scheme) for item in [*done, *index]),
        new_bytes=storer.sent_bytes,
        scheme=scheme,
        holders=manifest.holders(),
        degraded=manifest.degraded,
        receipt=receipt,
    )
    await client.ports.threads.disk(_remember, client, result, content, name, manifest, manifest_file)
    return result


def _remember(
    client: Client, result: PutResult, content: bytes, name: str, manifest: Manifest, manifest_file: bytes
) -> None:
    entry = CatalogueEntry(
        object=result.object,
        content=content,
        name=name,
        files=result.files,
        plain_bytes=result.plain_bytes,
        stored_bytes=result.stored_bytes,
        created_s=manifest.created_s,
    )
    client.memory.remember_object(entry, manifest_file, result.receipt)


def _placement_seed(secret: bytes, plan: Plan) -> bytes:
    """The same files get the same holders again, so that an interrupted put resumes where it was."""
    return derived_digest("moorage 2026 placement seed v1", secret + encode_listing(plan.entries))


async def _store_all(client: Client, reader: ExtentReader, plan: Plan, storer: ExtentStorer) -> list[DoneExtent]:
    """Every extent of the plan, read strictly in order, EXTENTS_AT_ONCE under way."""
    done: list[DoneExtent | None] = [None] * len(plan.extents)
    secret = client.home.owner_keys().convergence_secret
    free, buffers = trio.open_memory_channel[bytearray](EXTENTS_AT_ONCE)
    size = max((extent.plain_bytes for extent in plan.extents), default=0)
    for _ in range(min(EXTENTS_AT_ONCE, len(plan.extents))):
        free.send_nowait(bytearray(size))

    async def store(number: int, buffer: bytearray, digest: bytes) -> None:
        extent = plan.extents[number]
        key = convergent_key(secret, digest)
        done[number] = await storer.store(memoryview(buffer)[: extent.plain_bytes], key, extent.group)
        await free.send(buffer)

    async with open_crew() as crew:
        for extent in plan.extents:
            buffer = await buffers.receive()
            digest = await client.ports.threads.disk(reader.read, extent, memoryview(buffer))
            crew.start_soon(store, extent.number, buffer, digest)
    return [item for item in done if item is not None]


async def _settle(
    client: Client, reader: ExtentReader, plan: Plan, storer: ExtentStorer, done: Sequence[DoneExtent]
) -> list[DoneExtent]:
    """Give new homes to shards whose holder failed after it had taken them."""
    settled = list(done)
    for _ in range(SETTLE_ROUNDS_MAX):
        broken = [number for number, item in enumerate(settled) if storer.lost_shares(item)]
        if not broken:
            return settled
        for number in broken:
            extent = plan.extents[number]
            buffer = bytearray(extent.plain_bytes)
            await client.ports.threads.disk(reader.read_again, extent, memoryview(buffer))
            settled[number] = await storer.rehome(memoryview(buffer), settled[number], extent.group)
    raise NotEnoughPeersError("peers keep failing while their shards are given new homes: try again later")


async def _store_index(
    client: Client, storer: ExtentStorer, entries: Sequence[Entry], done: Sequence[DoneExtent]
) -> tuple[list[DoneExtent], bytes, int]:
    """The index as extents of its own, its key, and its plain size."""
    sealed = tuple(
        SealedExtent(item.key, item.plain_bytes, item.stored.sealed_lengths, item.stored.codecs) for item in done
    )
    plain = await client.ports.threads.cpu(encode_index, Index(tuple(entries), sealed))
    key = convergent_key(client.home.owner_keys().convergence_secret, blake3(plain).digest())
    extents: list[DoneExtent] = []
    for at in range(0, len(plain), EXTENT_BYTES):
        part = memoryview(plain)[at : at + EXTENT_BYTES]
        part_key = index_extent_key(key, at // EXTENT_BYTES)
        extents.append(await storer.store(part, part_key, 0))
    return extents, key, len(plain)


def _manifest(
    client: Client,
    scheme: Scheme,
    placer: Placer,
    done: Sequence[DoneExtent],
    index: Sequence[DoneExtent],
    index_key: bytes,
    index_bytes: int,
    entries: Sequence[Entry],
) -> tuple[Manifest, bytes]:
    keys = client.home.owner_keys()
    groups = list(dict.fromkeys(item.stored.holders for item in [*done, *index]))
    public = sealing_public_key(keys.sealing_seed)

    def extent_of(item: DoneExtent) -> Extent:
        chunks = len(item.stored.sealed_lengths)
        return Extent(chunks, item.stored.sealed_bytes, groups.index(item.stored.holders), item.stored.roots)

    manifest = Manifest(
        pool=client.home.roster.pool,
        epoch=client.home.roster.epoch,
        owner_key=keys.manifest_key.public_key().public_bytes_raw(),
        created_s=int(client.ports.clock.now()),
        scheme=scheme,
        degraded=placer.degraded,
        groups=tuple(groups),
        extents=tuple(extent_of(item) for item in done),
        index=tuple(extent_of(item) for item in index),
        index_lengths=tuple(length for item in index for length in item.stored.sealed_lengths),
        index_codecs=b"".join(item.stored.codecs for item in index),
        index_bytes=index_bytes,
        listing=listing_commitment(listing_salt(index_key), encode_listing(entries)),
        slots=(KeySlot(sealing_key_id(public), wrap_key(public, index_key)),),
    )
    return manifest, sign_manifest(keys.manifest_key, manifest)


async def _store_on_all(
    client: Client, placer: Placer, holders: Sequence[PeerId], message: StoreManifest | StoreReceipt
) -> bool:
    """True when every holder has it durably; those that do not are marked failed."""
    before = len(placer.failed)

    async def store(peer: PeerId) -> None:
        try:
            await client.peers.request(peer, message, deadline_s=DISK_DEADLINE_S)
        except MoorageError as error:
            placer.fail(peer, error)

    async with open_crew() as crew:
        for peer in holders:
            crew.start_soon(store, peer)
    return len(placer.failed) == before


def _check_anybody(placer: Placer, holders: Sequence[PeerId]) -> None:
    """One receipt among the holders is enough, the others restore theirs from it; without any, the object would count
    as given up after a day. Raises PeerUnavailableError."""
    if all(peer in placer.failed for peer in holders):
        raise PeerUnavailableError("no holder took the receipt: the object is not safe yet, put it again")


async def _stored_before(
    client: Client, known: CatalogueEntry, done: Sequence[DoneExtent], sent_bytes: int
) -> PutResult | None:
    """The result of the earlier put of the same content, when its shards are the ones just checked."""
    manifest = await client.ports.threads.disk(client.memory.manifest, known.object)
    receipt = await client.ports.threads.disk(client.memory.receipt_file, known.object)
    if manifest is None or receipt is None:
        return None
    ours = [(item.stored.roots, item.stored.holders) for item in done]
    theirs = [(extent.roots, manifest.groups[extent.group]) for extent in manifest.extents]
    if ours != theirs or not await _index_is_held(client, manifest):
        return None
    return PutResult(
        object=known.object,
        files=known.files,
        plain_bytes=known.plain_bytes,
        stored_bytes=known.stored_bytes,
        new_bytes=sent_bytes,
        scheme=manifest.scheme,
        holders=manifest.holders(),
        degraded=manifest.degraded,
        receipt=receipt,
    )


async def _index_is_held(client: Client, manifest: Manifest) -> bool:
    for extent in manifest.index:
        for root, peer in zip(extent.roots, manifest.groups[extent.group], strict=True):
            try:
                answer = await client.peers.request(peer, Have((root,)))
            except PeerUnavailableError:
                # Silence is not loss; the sweep decides about holders that stay away.
                continue
            if not isinstance(answer, Held) or answer.flags != (True,):
                return False
    return True

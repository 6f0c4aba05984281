"""Store files as one object.

The order is the promise: shards durable on every holder, then the manifest on every holder, then its leaf
anchored, then the receipt written, then the user told. Whatever ends a put before, nothing was promised, and
the next put finds the extents that are stored already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import trio

from anchor.manifest import Manifest, check_extents_fit
from client.again import are_its_shards, begun_before, index_is_whole, notes_of
from client.context import Client
from client.extents import RETURN_PATIENCE_S, DoneExtent, ExtentStorer
from client.finish import finish
from client.index import encode_listing
from client.memory import CatalogueEntry
from client.placer import Placer
from client.plan import Plan, plan_plain
from client.progress import Progress
from client.publish import Published, make_manifest, store_index, store_on_all
from client.source import ExtentRead, ExtentReader, ReadAhead
from client.tasks import open_crew
from client.unfinished import Unfinished
from core.errors import NotEnoughPeersError, PendingError, RosterError
from core.ids import ObjectId, PeerId, derived_digest
from core.listing import Entry, Kind
from core.sealing import content_id, convergent_key
from core.trees import SourceTree
from dht.records import PeerRecord
from erasure.scheme import Scheme
from wire.messages import StoreManifest

# One is coded, the others' holders bring theirs to their disks. Each is an open file at every holder.
EXTENTS_AT_ONCE = 3
# Holders may fail while we replace others; every round loses at least one peer, so this ends.
SETTLE_ROUNDS_MAX = 8
PUT_AGAIN = (
    "everything is stored and nothing is anchored; keep the files, and run the same put again later, or "
    "`moorage receipt --settle`"
)


class PutResult(NamedTuple):
    """What was stored, where, and what of it was new."""

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
        RosterError: the roster has expired.
        LedgerError, and as ``client.finish.finish``.
    """
    keys = client.home.owner_keys()
    if client.home.roster.has_expired(client.ports.clock.now()):
        # Before anything is sent: nothing could be anchored.
        raise RosterError("the pool's roster has expired: its members renew it (`moorage consortium renew`)")
    progress.begin("reading the folder", 0)
    threads = client.ports.threads
    plan = await threads.cpu(plan_plain, await threads.disk(tree.walk))
    check_extents_fit(len(plan.extents), scheme)
    reader = ExtentReader(tree, plan)
    async with open_crew() as crew:
        ahead = ReadAhead(reader, plan, threads)
        crew.start_soon(ahead.run)
        progress.begin("looking for peers", 0)
        placer = await _place(client, plan, scheme, allow_degraded=allow_degraded)
        storer = ExtentStorer(client, placer, scheme, progress)
        progress.begin("storing", plan.stream_bytes)
        stored = await _store_all(ahead, storer, keys.convergence_secret)
    plains, done = [item for item, _ in stored], [item for _, item in stored]
    entries = await threads.cpu(reader.entries_with_digests)
    content = await threads.cpu(_content_of, keys.convergence_secret, entries, scheme)
    for known in await threads.disk(client.memory.find_content, content):
        result = await _stored_before(client, known, done, storer.sent_bytes)
        if result is not None:
            return result
    unfinished = await begun_before(client, content, done)
    if unfinished is None:
        published = await _publish(client, placer, storer, _Source(plains, done, entries), progress)
        unfinished = Unfinished(_entry_of(published, plan, scheme, content, name), published.manifest_file)
        if client.home.roster.is_consortium:
            await threads.disk(notes_of(client).begin, unfinished)
    progress.begin("anchoring", 0)
    try:
        finished = await finish(client, unfinished)
    except PendingError as error:
        raise PendingError(f"object {unfinished.entry.object} is pending: {error}: {PUT_AGAIN}") from error
    return _result(unfinished.entry, finished.manifest, finished.receipt, storer.sent_bytes)


def _content_of(secret: bytes, entries: Sequence[Entry], scheme: Scheme) -> bytes:
    return content_id(secret, encode_listing(entries) + str(scheme).encode())


class _Source(NamedTuple):
    """What was read and stored so far."""

    plains: Sequence[ExtentRead]
    done: Sequence[DoneExtent]
    entries: tuple[Entry, ...]


async def _publish(
    client: Client, placer: Placer, storer: ExtentStorer, source: _Source, progress: Progress
) -> Published:
    """Have the index and the manifest on every holder, and every shard where the manifest says.

    Raises NotEnoughPeersError when holders fail and nobody can take their place.
    """
    done = source.done
    for _ in range(SETTLE_ROUNDS_MAX):
        done = await _settle(storer, source.plains, done)
        index = await store_index(client, storer, source.entries, done)
        describe = partial(make_manifest, client, storer.scheme, done, index, source.entries, degraded=placer.degraded)
        published = await client.ports.threads.cpu(describe)
        progress.begin("storing the manifest", 0)
        message = StoreManifest(published.object, published.manifest_file)
        failed = await store_on_all(client.peers, published.manifest.holders(), message)
        for peer, error in failed.items():
            placer.fail(peer, error)
        if not failed and await storer.confirm(published.extents):
            return published
    raise NotEnoughPeersError("holders keep failing while the manifest is stored: try again later")


def _entry_of(published: Published, plan: Plan, scheme: Scheme, content: bytes, name: str) -> CatalogueEntry:
    return CatalogueEntry(
        object=published.object,
        content=content,
        name=name,
        files=sum(entry.kind is Kind.FILE for entry in plan.entries),
        plain_bytes=plan.stream_bytes,
        stored_bytes=published.stored_bytes(scheme),
        created_s=published.manifest.created_s,
    )


def _result(entry: CatalogueEntry, manifest: Manifest, receipt: bytes, sent_bytes: int) -> PutResult:
    return PutResult(
        object=entry.object,
        files=entry.files,
        plain_bytes=entry.plain_bytes,
        stored_bytes=entry.stored_bytes,
        new_bytes=sent_bytes,
        scheme=manifest.scheme,
        holders=manifest.holders(),
        degraded=manifest.degraded,
        receipt=receipt,
    )


async def _place(client: Client, plan: Plan, scheme: Scheme, *, allow_degraded: bool) -> Placer:
    """Homes for the plan's shares, among the peers that answer. Raises NotEnoughPeersError."""
    secret = client.home.owner_keys().convergence_secret
    seed = await client.ports.threads.cpu(_placement_seed, secret, plan)

    def can_place(live: Sequence[PeerRecord]) -> bool:
        if len(live) < scheme.total:
            return False
        try:
            Placer(seed, scheme, live).holders(0)
        except NotEnoughPeersError:
            return False
        return True

    live = await (client.live_peers(can_place) if allow_degraded else _enough_peers(client, scheme, can_place))
    placer = Placer(seed, scheme, live, allow_degraded=allow_degraded)
    placer.holders(0)
    return placer


async def _enough_peers(
    client: Client, scheme: Scheme, can_place: Callable[[Sequence[PeerRecord]], bool]
) -> list[PeerRecord]:
    """The peers that answer; where they are too few, those that are just starting again are waited for."""
    live = await client.live_peers(can_place)
    while len(live) < scheme.total:
        there = {record.identity.peer for record in live}
        away = [record for record in client.dht.known_peers() if record.identity.peer not in there]
        if len(live) + len(away) < scheme.total:
            break
        back = await client.peers.returning(away, patience_s=RETURN_PATIENCE_S)
        if not back:
            break
        live += back
    return live


def _placement_seed(secret: bytes, plan: Plan) -> bytes:
    """The same files get the same holders again, so that an interrupted put resumes where it was."""
    return derived_digest("moorage 2026 placement seed v1", secret + encode_listing(plan.entries))


async def _store_all(ahead: ReadAhead, storer: ExtentStorer, secret: bytes) -> list[tuple[ExtentRead, DoneExtent]]:
    """Every extent as it is read, EXTENTS_AT_ONCE under way; in order."""
    done: dict[int, tuple[ExtentRead, DoneExtent]] = {}
    more = trio.Semaphore(EXTENTS_AT_ONCE - 1)

    async def store(item: ExtentRead) -> None:
        extent = item.extent
        done[extent.number] = item, await storer.store(item, convergent_key(secret, item.digest), extent.group)
        more.release()

    async with open_crew() as crew:
        async for item in ahead.extents:
            crew.start_soon(store, item)
            # Before the next is taken, whose buffer one of these may need that must be sent again.
            await more.acquire()
    return [done[number] for number in sorted(done)]


async def _settle(storer: ExtentStorer, plains: Sequence[ExtentRead], done: Sequence[DoneExtent]) -> list[DoneExtent]:
    """Give new homes to shards whose holder failed after it had taken them."""
    settled = list(done)
    for _ in range(SETTLE_ROUNDS_MAX):
        broken = [number for number, item in enumerate(settled) if storer.lost_shares(item)]
        if not broken:
            return settled
        for number in broken:
            plain = plains[number]
            settled[number] = await storer.rehome(plain, settled[number], plain.extent.group)
    raise NotEnoughPeersError("peers keep failing while their shards are given new homes: try again later")


async def _stored_before(
    client: Client, known: CatalogueEntry, done: Sequence[DoneExtent], sent_bytes: int
) -> PutResult | None:
    """The result of the earlier put of the same content, when its shards are the ones just checked."""
    manifest = await client.ports.threads.disk(client.memory.manifest, known.object)
    receipt = await client.ports.threads.disk(client.memory.receipt_file, known.object)
    if manifest is None or receipt is None:
        return None
    if not are_its_shards(manifest, done) or not await index_is_whole(client, manifest):
        return None
    return _result(known, manifest, receipt, sent_bytes)

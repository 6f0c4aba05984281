"""The papers of a put: the index as extents of its own, the signed manifest, and their way to every holder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from blake3 import blake3

from anchor.manifest import Extent, KeySlot, Manifest, object_id, sign_manifest
from client.asker import Asker
from client.context import Client
from client.extents import DoneExtent, ExtentStorer
from client.home import OrganisationKeys
from client.index import (
    Index,
    SealedExtent,
    encode_index,
    encode_listing,
    index_extent_key,
    listing_commitment,
    listing_salt,
)
from client.source import KeptPlain
from client.tasks import open_crew
from core.errors import MoorageError
from core.ids import ObjectId, PeerId
from core.limits import DISK_DEADLINE_S, EXTENT_BYTES
from core.listing import Entry
from core.sealing import convergent_key, sealing_key_id, sealing_public_key, wrap_key
from erasure.scheme import Scheme
from wire.messages import StoreManifest, StoreReceipt


class StoredIndex(NamedTuple):
    """``extents`` hold the sealed index of ``plain_bytes``, which ``key`` opens."""

    extents: tuple[DoneExtent, ...]
    key: bytes
    plain_bytes: int


class Published(NamedTuple):
    """An object whose manifest all holders have: what is left is to anchor it."""

    object: ObjectId
    manifest: Manifest
    manifest_file: bytes
    extents: tuple[DoneExtent, ...]
    """Of data and index."""

    def stored_bytes(self, scheme: Scheme) -> int:
        return sum(item.stored_bytes(scheme) for item in self.extents)


async def store_index(
    client: Client, storer: ExtentStorer, entries: Sequence[Entry], done: Sequence[DoneExtent]
) -> StoredIndex:
    """Store the index like any other bytes. Raises NotEnoughPeersError."""
    sealed = tuple(
        SealedExtent(item.key, item.plain_bytes, item.stored.sealed_lengths, item.stored.codecs) for item in done
    )
    plain, digest = await client.ports.threads.cpu(_encode_and_digest, Index(tuple(entries), sealed))
    key = convergent_key(client.home.owner_keys().convergence_secret, digest)
    extents: list[DoneExtent] = []
    for at in range(0, len(plain), EXTENT_BYTES):
        part = KeptPlain(memoryview(plain)[at : at + EXTENT_BYTES])
        part_key = index_extent_key(key, at // EXTENT_BYTES)
        stored = await storer.store(part, part_key, 0)
        if storer.lost_shares(stored):
            # It was stored before, by an earlier round or put, and some of those holders are away now.
            stored = await storer.rehome(part, stored, 0)
        extents.append(stored)
    return StoredIndex(tuple(extents), key, len(plain))


def _encode_and_digest(index: Index) -> tuple[bytes, bytes]:
    plain = encode_index(index)
    return plain, blake3(plain).digest()


def make_manifest(
    client: Client,
    scheme: Scheme,
    done: Sequence[DoneExtent],
    index: StoredIndex,
    entries: Sequence[Entry],
    *,
    degraded: bool,
) -> Published:
    """Describe and sign. Raises UsageError when there are more extents than a manifest can list."""
    keys = client.home.owner_keys()
    groups = list(dict.fromkeys(item.stored.holders for item in (*done, *index.extents)))

    def extent_of(item: DoneExtent) -> Extent:
        chunks = len(item.stored.sealed_lengths)
        return Extent(chunks, item.stored.sealed_bytes, groups.index(item.stored.holders), item.stored.roots)

    manifest = Manifest(
        pool=client.home.roster.pool,
        epoch=client.home.roster.epoch,
        owner_key=keys.manifest_key.public_key().public_bytes_raw(),
        created_s=int(client.ports.clock.now()),
        scheme=scheme,
        degraded=degraded,
        groups=tuple(groups),
        extents=tuple(extent_of(item) for item in done),
        index=tuple(extent_of(item) for item in index.extents),
        index_lengths=tuple(length for item in index.extents for length in item.stored.sealed_lengths),
        index_codecs=b"".join(item.stored.codecs for item in index.extents),
        index_bytes=index.plain_bytes,
        listing=listing_commitment(listing_salt(index.key), encode_listing(entries)),
        slots=(_own_slot(keys, index.key),),
    )
    manifest_file = sign_manifest(keys.manifest_key, manifest)
    return Published(object_id(manifest_file), manifest, manifest_file, (*done, *index.extents))


def _own_slot(keys: OrganisationKeys, index_key: bytes) -> KeySlot:
    public = sealing_public_key(keys.sealing_seed)
    return KeySlot(sealing_key_id(public), wrap_key(public, index_key))


async def store_on_all(
    peers: Asker, holders: Sequence[PeerId], message: StoreManifest | StoreReceipt
) -> dict[PeerId, MoorageError]:
    """Every holder has it durably but those that are returned, with why they have not."""
    failed: dict[PeerId, MoorageError] = {}

    async def store(peer: PeerId) -> None:
        try:
            await peers.request(peer, message, deadline_s=DISK_DEADLINE_S)
        except MoorageError as error:
            failed[peer] = error

    async with open_crew() as crew:
        for peer in holders:
            crew.start_soon(store, peer)
    return failed

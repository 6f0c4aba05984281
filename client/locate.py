"""Find an object: its manifest at any holder, and who holds each of its shards now."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from anchor.manifest import Extent, Manifest, parse_manifest
from client.context import Client
from client.fetch import Source
from core.errors import MoorageError, NotEnoughPeersError, UnknownObjectError
from core.ids import ObjectId, PeerId
from wire.messages import Blob, GetManifest, GetReceipt

if TYPE_CHECKING:
    from dht.node import Dht


async def find_manifest(client: Client, object_id: ObjectId) -> Manifest:
    """The object's manifest, from the home or from any peer that has it.

    Raises UnknownObjectError when every peer that answers says that it has none.
    """
    known = await client.ports.threads.disk(client.memory.manifest, object_id)
    if known is not None:
        if known.pool != client.home.roster.pool:
            raise UnknownObjectError(f"object {object_id.short} belongs to another pool ({known.pool.short})")
        return known
    manifest_file = await fetch_manifest_file(client, object_id)
    return parse_manifest(manifest_file, expected=object_id)


async def fetch_manifest_file(client: Client, object_id: ObjectId) -> bytes:
    """The manifest file from whichever peer gives the right bytes first. Raises UnknownObjectError."""

    def check(data: bytes) -> None:
        parse_manifest(data, expected=object_id)

    return await fetch_document(client, object_id, GetManifest(object_id), check)


async def fetch_document(
    client: Client, object_id: ObjectId, question: GetManifest | GetReceipt, check: Callable[[bytes], None]
) -> bytes:
    """A peer's copy that ``check`` does not raise at. Raises UnknownObjectError, NotEnoughPeersError."""
    answered = 0
    for record in await client.live_peers():
        try:
            answer = await client.peers.request(record.identity.peer, question)
            answered += 1
            if isinstance(answer, Blob):
                data = bytes(answer.body)
                check(data)
                return data
        except MoorageError as error:
            # A damaged or missing copy here says nothing about the next peer's.
            answered += error.code == "no-such-shard"
    if not answered:
        raise NotEnoughPeersError("no peer answers: are the pool's daemons running?")
    raise UnknownObjectError(f"none of the {answered} peers that answer knows object {object_id.short}")


def first_sources(manifest: Manifest, extent: Extent) -> list[Source]:
    """Where the manifest says that the extent's shards were put."""
    return [Source(index, peer) for index, peer in enumerate(manifest.groups[extent.group])]


async def relocated_sources(dht: Dht, object_id: ObjectId) -> dict[tuple[int, int], list[PeerId]]:
    """Holders that took shards over since, by (extent number, share index), as they themselves announce."""
    found: dict[tuple[int, int], list[PeerId]] = {}
    for record in await dht.providers(object_id):
        for extent, share in record.shards:
            found.setdefault((extent, share), []).append(record.identity.peer)
    return found


def all_sources(
    manifest: Manifest, number: int, extent: Extent, relocated: dict[tuple[int, int], list[PeerId]]
) -> list[Source]:
    """First holders, then those that took over."""
    sources = first_sources(manifest, extent)
    for index in range(manifest.scheme.total):
        sources += [
            Source(index, peer) for peer in relocated.get((number, index), ()) if Source(index, peer) not in sources
        ]
    return sources

"""What an earlier put of the same content left: whether this one may rest on it."""

from __future__ import annotations

from collections.abc import Sequence

from anchor.manifest import Manifest, parse_manifest
from client.challenge import Target, targets_of
from client.context import Client
from client.extents import DoneExtent
from client.holding import ask_holders, reread, shards_of
from client.publish import store_on_all
from client.unfinished import Unfinished, UnfinishedPuts
from wire.messages import StoreManifest


def notes_of(client: Client) -> UnfinishedPuts:
    return UnfinishedPuts(client.ports.disk, client.home, client.ports.chance)


async def begun_before(client: Client, content: bytes, done: Sequence[DoneExtent]) -> Unfinished | None:
    """An earlier put of the same content that was not anchored, when all of it is stored still.

    ``done`` was read again by its holders, or sent, during this put.
    """
    if not client.home.roster.is_consortium:
        return None
    for found in await client.ports.threads.disk(notes_of(client).find, content):
        manifest = parse_manifest(found.manifest_file, expected=found.entry.object)
        if are_its_shards(manifest, done) and await _is_held(client, manifest, found):
            return found
    return None


async def _is_held(client: Client, manifest: Manifest, unfinished: Unfinished) -> bool:
    message = StoreManifest(unfinished.entry.object, unfinished.manifest_file)
    if await store_on_all(client.peers, manifest.holders(), message):
        return False
    # Only now: before, shards may have been taken for abandoned at any moment.
    if not (await reread(client, manifest, index_targets(manifest))).is_complete:
        return False
    data = shards_of(manifest)[: len(manifest.extents) * manifest.scheme.total]
    return (await ask_holders(client.peers, data)).is_complete


def are_its_shards(manifest: Manifest, done: Sequence[DoneExtent]) -> bool:
    ours = [(item.stored.roots, item.stored.holders) for item in done]
    return ours == [(extent.roots, manifest.groups[extent.group]) for extent in manifest.extents]


def index_targets(manifest: Manifest) -> list[Target]:
    return targets_of(manifest)[len(manifest.extents) * manifest.scheme.total :]


async def index_is_whole(client: Client, manifest: Manifest) -> bool:
    """Whether no holder that answers lacks or has damaged its shards of the index, having read them again.

    Silence is not loss; the sweep decides about holders that stay away.
    """
    return not (await reread(client, manifest, index_targets(manifest))).gone

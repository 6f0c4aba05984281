"""What an earlier put of the same content left: whether this one may rest on it."""

from __future__ import annotations

from collections.abc import Sequence

from anchor.manifest import Manifest, parse_manifest
from client.challenge import Challenger, targets_of
from client.context import Client
from client.extents import DoneExtent
from client.health import Status
from client.placer import Placer
from client.publish import holds_all, store_on_all
from client.unfinished import Unfinished, UnfinishedPuts
from core.errors import PeerRefusedError, PeerUnavailableError
from wire.messages import StoreManifest


def notes_of(client: Client) -> UnfinishedPuts:
    return UnfinishedPuts(client.ports.disk, client.home, client.ports.chance)


async def begun_before(client: Client, placer: Placer, content: bytes, done: Sequence[DoneExtent]) -> Unfinished | None:
    """An earlier put of the same content that was not anchored, when all of it is stored still."""
    if not client.home.roster.is_consortium:
        return None
    found = await client.ports.threads.disk(notes_of(client).find, content)
    if found is None:
        return None
    manifest = parse_manifest(found.manifest_file, expected=found.entry.object)
    message = StoreManifest(found.entry.object, found.manifest_file)
    if not are_its_shards(manifest, done) or not await index_is_whole(client, manifest):
        return None
    if not await store_on_all(client, placer, manifest.holders(), message):
        return None
    # Only now: before, it may have been taken for abandoned at any moment.
    return found if await holds_all(client.peers, manifest) else None


def are_its_shards(manifest: Manifest, done: Sequence[DoneExtent]) -> bool:
    ours = [(item.stored.roots, item.stored.holders) for item in done]
    return ours == [(extent.roots, manifest.groups[extent.group]) for extent in manifest.extents]


async def index_is_whole(client: Client, manifest: Manifest) -> bool:
    """Whether no holder that answers lacks or has damaged its shards of the index, having read them again."""
    challenger = Challenger(client.peers, manifest.scheme, client.ports.chance, full=True, samples=1)
    for target in targets_of(manifest)[len(manifest.extents) * manifest.scheme.total :]:
        try:
            verdict = await challenger.check(target)
        except (PeerUnavailableError, PeerRefusedError):
            # Silence is not loss; the sweep decides about holders that stay away.
            continue
        if verdict.status in (Status.MISSING, Status.CORRUPT):
            return False
    return True

"""Asking holders whether they have what a manifest says: by their word, or by having them read it again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from anchor.manifest import Manifest
from client.asker import Asker
from client.challenge import Challenger, Target
from client.context import Client
from client.health import Status
from client.tasks import open_crew
from core.errors import MoorageError, PeerRefusedError, PeerUnavailableError, ProtocolError
from core.ids import PeerId, ShardRoot
from core.limits import ROOTS_PER_REQUEST_MAX
from wire.messages import Have, Held


class Holding(NamedTuple):
    """``gone``: shards that their holder has not, or not whole. ``failed``: holders that did not answer as they should;
    of their shards the others that are not in ``gone`` are not known."""

    gone: set[tuple[ShardRoot, PeerId]]
    failed: dict[PeerId, MoorageError]

    @property
    def is_complete(self) -> bool:
        return not self.gone and not self.failed


def shards_of(manifest: Manifest) -> list[tuple[ShardRoot, PeerId]]:
    """Every shard of the object, data and index, with the holder that the manifest names."""
    return [
        (root, peer)
        for extent in manifest.all_extents()
        for root, peer in zip(extent.roots, manifest.groups[extent.group], strict=True)
    ]


async def ask_holders(peers: Asker, shards: Iterable[tuple[ShardRoot, PeerId]]) -> Holding:
    """Ask each holder, in few questions, for all of its shards: its word that they are there."""
    wanted: dict[PeerId, list[ShardRoot]] = {}
    for root, peer in shards:
        wanted.setdefault(peer, []).append(root)
    found = Holding(set(), {})

    async def ask(peer: PeerId, roots: Sequence[ShardRoot]) -> None:
        try:
            for at in range(0, len(roots), ROOTS_PER_REQUEST_MAX):
                part = tuple(roots[at : at + ROOTS_PER_REQUEST_MAX])
                answer = await peers.request(peer, Have(part))
                flags = answer.flags if isinstance(answer, Held) else ()
                if len(flags) != len(part):
                    raise ProtocolError(f"peer {peer.short} answered something else than what it holds")
                found.gone.update((root, peer) for root, held in zip(part, flags, strict=True) if not held)
        except MoorageError as error:
            found.failed[peer] = error

    async with open_crew() as crew:
        for peer, roots in wanted.items():
            crew.start_soon(ask, peer, roots)
    return found


async def reread(client: Client, manifest: Manifest, targets: Sequence[Target]) -> Holding:
    """Have holders read these shards from end to end, one after the other, and show their leaves."""
    challenger = Challenger(client.peers, manifest.scheme, client.ports.chance, full=True, samples=1)
    wanted: dict[PeerId, list[Target]] = {}
    for target in targets:
        wanted.setdefault(target.peer, []).append(target)
    found = Holding(set(), {})

    async def check(peer: PeerId, mine: Sequence[Target]) -> None:
        for target in mine:
            try:
                verdict = await challenger.check(target)
            except (PeerUnavailableError, PeerRefusedError) as error:
                found.failed[peer] = error
                return
            if verdict.status in (Status.MISSING, Status.CORRUPT):
                found.gone.add((target.root, peer))
            elif verdict.status is not Status.OK:
                found.failed[peer] = PeerUnavailableError(verdict.detail)

    async with open_crew() as crew:
        for peer, mine in wanted.items():
            crew.start_soon(check, peer, mine)
    return found

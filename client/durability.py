"""Ask everybody what a statement of one object's durability needs: shards, papers, last looks, settings, places."""

from __future__ import annotations

from client.context import Client
from client.lastlook import LastLook, ask_last_look
from client.locate import find_manifest
from client.statement import Durability, Place, statement_of
from client.tasks import open_crew
from client.verify import examine
from core.errors import MoorageError
from core.ids import ObjectId, PeerId


async def state_durability(client: Client, object_id: ObjectId, *, full: bool) -> Durability:
    """Examine the object now, as ``verify`` does, and have its holders say when they did.

    Raises UnknownObjectError, NotEnoughPeersError, PeerRefusedError.
    """
    live = {record.peer for record in await client.live_peers()}
    manifest = await find_manifest(client, object_id)
    ports = client.ports
    examination = await examine(client.peers, client.dht, ports.threads, ports.chance, object_id, manifest, full=full)
    holders = {state.holder for state in examination.states}
    looks = await _ask_all(client, sorted(holders), object_id)
    places = {
        record.peer: Place(
            record.identity.name,
            record.identity.organisation,
            record.identity.site,
            record.capacity_bytes,
            record.peer in live,
        )
        for record in client.dht.known_peers()
    }
    return statement_of(examination, places, looks, created_s=manifest.created_s, now_s=ports.clock.now())


async def _ask_all(client: Client, peers: list[PeerId], object_id: ObjectId) -> dict[PeerId, LastLook | str]:
    said: dict[PeerId, LastLook | str] = {}

    async def ask(peer: PeerId) -> None:
        try:
            said[peer] = await ask_last_look(client.peers, peer, object_id)
        except MoorageError as error:
            said[peer] = str(error)

    async with open_crew() as crew:
        for peer in peers:
            crew.start_soon(ask, peer)
    return said

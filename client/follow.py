"""A command that meets a peer with a later roster goes by that one from then on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from client.home import Home
from client.peers import Peers
from client.rosters import accept_roster
from core.errors import MoorageError
from core.ports import Identity, Ports
from wire.messages import GetRoster, RosterFile

if TYPE_CHECKING:
    from dht.node import Dht


class Follower:
    """``use`` first. What cannot be fetched or is refused leaves the command with the roster that it has.

    Members of organisations that are gone are forgotten: what was learned of them by the old roster counts no more.
    """

    def __init__(self, ports: Ports, home: Home, nursery: trio.Nursery) -> None:
        self._ports = ports
        self._home = home
        self._nursery = nursery
        self._peers: Peers | None = None
        self._open_dht: Callable[[], Dht] | None = None
        self._busy = False
        self._done = trio.Event()

    def use(self, peers: Peers, open_dht: Callable[[], Dht]) -> None:
        self._peers = peers
        self._open_dht = open_dht

    async def settle(self) -> None:
        """Wait while a later roster is being fetched."""
        while self._busy:
            await self._done.wait()

    def heard(self, remote: Identity, epoch: int) -> None:
        """Somebody greeted."""
        if epoch > self._home.roster.epoch and remote.role == "peer" and not self._busy and self._home.roster.root:
            self._busy = True
            self._done = trio.Event()
            self._nursery.start_soon(self._fetch, remote)

    async def _fetch(self, remote: Identity) -> None:
        assert self._peers is not None
        before = self._home.roster.issuers
        try:
            if await fetch_roster(self._ports, self._home, self._peers, remote):
                self._forget(before)
        except (MoorageError, OSError):
            # A home on a full disk, or a peer that lies: the command goes on as it began.
            return
        finally:
            self._busy = False
            self._done.set()

    def _forget(self, before: dict[str, bytes]) -> None:
        assert self._peers is not None
        assert self._open_dht is not None
        dht = self._open_dht()
        after = self._home.roster.issuers
        gone = [name for name, issuer in before.items() if after.get(name) != issuer]
        peers = [record.peer for record in dht.known_peers() if record.identity.organisation in gone]
        for peer in peers:
            dht.forget(peer)
        self._peers.dismiss(gone, peers)


async def fetch_roster(ports: Ports, home: Home, peers: Peers, remote: Identity) -> bool:
    """Ask one peer for a later roster and go by it; whether there was one. Raises MoorageError, OSError."""
    answer = await peers.request(remote.peer, GetRoster(home.roster.epoch))
    if not isinstance(answer, RosterFile) or not len(answer.body):
        return False
    data, now_s, token = bytes(answer.body), ports.clock.now(), ports.chance.token(4).hex()
    return await ports.threads.disk(lambda: accept_roster(ports.disk, home, data, now_s=now_s, token=token))

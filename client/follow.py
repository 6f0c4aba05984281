"""A command that meets a peer with a later roster goes by that one from then on."""

from __future__ import annotations

import trio

from client.home import Home
from client.peers import Peers
from client.rosters import accept_roster
from core.errors import MoorageError
from core.ports import Identity, Ports
from wire.messages import GetRoster, RosterFile


class Follower:
    """``use`` first. What cannot be fetched or is refused leaves the command with the roster that it has."""

    def __init__(self, ports: Ports, home: Home, nursery: trio.Nursery) -> None:
        self._ports = ports
        self._home = home
        self._nursery = nursery
        self._peers: Peers | None = None
        self._busy = False

    def use(self, peers: Peers) -> None:
        self._peers = peers

    def heard(self, remote: Identity, epoch: int) -> None:
        """Somebody greeted."""
        if epoch > self._home.roster.epoch and remote.role == "peer" and not self._busy and self._home.roster.root:
            self._busy = True
            self._nursery.start_soon(self._fetch, remote)

    async def _fetch(self, remote: Identity) -> None:
        assert self._peers is not None
        try:
            await fetch_roster(self._ports, self._home, self._peers, remote)
        except (MoorageError, OSError):
            # A home on a full disk, or a peer that lies: the command goes on as it began.
            return
        finally:
            self._busy = False


async def fetch_roster(ports: Ports, home: Home, peers: Peers, remote: Identity) -> bool:
    """Ask one peer for a later roster and go by it; whether there was one. Raises MoorageError, OSError."""
    answer = await peers.request(remote.peer, GetRoster(home.roster.epoch))
    if not isinstance(answer, RosterFile) or not len(answer.body):
        return False
    data, now_s, token = bytes(answer.body), ports.clock.now(), ports.chance.token(4).hex()
    return await ports.threads.disk(lambda: accept_roster(ports.disk, home, data, now_s=now_s, token=token))

"""A client at work: its home, its sessions to peers and its view of the pool, for the length of one command."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from client.bootstrap import first_addresses, last_met, remember_addresses
from client.follow import Follower
from client.home import Home
from client.memory import ClientMemory
from client.peers import Peers
from client.tasks import open_crew
from core.errors import NotEnoughPeersError
from core.ids import PeerId
from core.ports import Ports

if TYPE_CHECKING:
    from dht.node import Dht
    from dht.records import PeerRecord


@dataclass(frozen=True, slots=True)
class Client:
    """What a command works with while it runs. ``open_dht`` returns the same node each time."""

    ports: Ports
    home: Home
    peers: Peers
    open_dht: Callable[[], Dht]
    memory: ClientMemory
    follower: Follower | None = None

    @property
    def dht(self) -> Dht:
        return self.open_dht()

    async def find_peers(self) -> list[PeerRecord]:
        """Every peer that the pool knows of, whether it answers or not, by ascending id.

        Raises NotEnoughPeersError (none is reached), PeerRefusedError (one is, and is another pool's or refuses us).
        """
        addresses = await self.ports.threads.disk(first_addresses, self.ports.disk, self.home)
        reached = await self.dht.bootstrap(addresses)
        if not reached:
            refusal = self.peers.refusal()
            if refusal is not None:
                raise refusal
            raise NotEnoughPeersError(
                f"none of the {len(addresses)} known addresses of pool {self.home.roster.pool_name!r} answers: "
                "are its daemons running (`moorage pool status`), and is the network up?"
            )
        # Whoever left since this home was last used is not to be asked for anything.
        if self.follower is not None:
            await self.follower.settle()
        found = sorted(await self.dht.all_peers(), key=lambda record: record.identity.peer)
        # A home on a full or read-only disk can still be read from.
        with suppress(OSError):
            await self.ports.threads.disk(
                remember_addresses,
                self.ports.disk,
                self.home,
                [(record.peer, record.address) for record in found],
                self.ports.chance.token(4).hex(),
            )
        return found

    async def expect_peers(self) -> list[PeerId]:
        """Look for each peer where it was last time, and ask nobody. ``find_peers`` finds those that moved since.

        Returns who that is.
        """
        with suppress(OSError):
            met = await self.ports.threads.disk(last_met, self.ports.disk, self.home)
            self.peers.expect(met)
            return list(met)
        return []

    async def live_peers(self, enough: Callable[[Sequence[PeerRecord]], bool] | None = None) -> list[PeerRecord]:
        """The peers that answer now. A hung one costs a handshake's patience, however many there are.

        Where some are ``enough``, those that do not answer are waited for less.
        """
        # While one part of the pool is asked who the others are, the others hear from us.
        self.peers.greet(await self.expect_peers())
        return await self.peers.connect_all(await self.find_peers(), enough=enough)


@asynccontextmanager
async def open_client(ports: Ports, home: Home) -> AsyncGenerator[Client]:
    """A client over ``ports``; closes its connections at the end."""
    async with open_crew() as crew:
        follower = Follower(ports, home, crew)
        peers = Peers(ports.net, crew, home.hello, heard=follower.heard)

        @cache
        def open_dht() -> Dht:
            # A get most often reads from those that it met last time. To load what a search takes is a tenth of the
            # start of a command.
            from dht.config import DhtConfig
            from dht.node import Dht

            return Dht(
                me=None,
                messenger=peers,
                issuers=lambda: home.roster.issuers,
                clock=ports.clock,
                chance=ports.chance,
                config=DhtConfig(),
                store=None,
            )

        peers.use_dht(open_dht)
        follower.use(peers, open_dht)
        try:
            yield Client(ports, home, peers, open_dht, ClientMemory(ports.disk, home, ports.chance), follower)
        finally:
            crew.cancel_scope.cancel()

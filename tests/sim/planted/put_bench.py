"""A small pool for many short stories: production servers, stores, sessions and clients; everybody knows everybody.

Left out are discovery and care, which take most of the time of a whole simulated pool (``tests.sim.pool``).
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import trio

from client.context import Client
from client.home import Home, load_home
from client.memory import ClientMemory
from client.peers import Peers
from client.provision import NewHome, Provisioner
from client.tasks import open_crew
from core.errors import RefusedError
from core.ids import ObjectId, PeerId, ShardRoot
from core.limits import REQUEST_DEADLINE_S
from core.ports import Address, Connection, Identity, Ports
from daemon.admission import check_document
from daemon.desk import Desk
from daemon.documents import DocumentKind
from daemon.folders import Folders
from daemon.server import Server
from daemon.store import ShardStore
from dht.node import Dht
from dht.records import PeerRecord, ProviderRecord
from tests.sim.chance import SimChance
from tests.sim.clock import START_S, SimClock
from tests.sim.disk import SimDisk
from tests.sim.drive import PLENTY_BYTES, SimDrive
from tests.sim.people import Person
from tests.sim.pool import FIRST_PORT, FOLDER, copy_tree
from tests.sim.world import SimNode, World
from wire.messages import Hello, Message, Ping, Read, Shares

GIB = 2**30
Hook = Callable[[PeerId, Message], None]


@functools.cache
def _made(peers: int) -> tuple[SimDisk, list[NewHome]]:
    """Homes, always the same; the client's first, and each peer at a site of its own."""
    disk = SimDisk(SimDrive(0, "maker"))
    homes = Provisioner(disk, SimChance(0, "maker"), SimClock(), "pool.example").make(FOLDER, peers=peers, sites=peers)
    return disk, list(homes)


class BenchHandlers:
    """``daemon.desk.Handlers``, as far as puts and gets need them."""

    def __init__(self, home: Home, store: ShardStore) -> None:
        self._home = home
        self._store = store

    def hello(self) -> Hello:
        return self._home.hello()

    def check_document(self, kind: DocumentKind, name: ObjectId, data: bytes) -> None:
        documents = self._store.documents
        check_document(kind, name, data, self._home.roster, lambda wanted: documents.get("receipt", wanted))

    def document_stored(self, kind: DocumentKind, name: ObjectId) -> None: ...

    def damaged(self, root: ShardRoot, problem: str) -> None: ...

    def __getattr__(self, name: str) -> Any:
        raise RefusedError(name)


class TrickyDesk:
    """``Desk`` that is honest while ``trick()`` is empty.

    ``liar``: shares of the right length with a wrong byte. ``stuck``: pings are answered, and nothing else.
    """

    def __init__(self, honest: Desk, trick: Callable[[], str]) -> None:
        self._honest = honest
        self._trick = trick

    async def answer(self, remote: Identity, message: Message) -> Message:
        if self._trick() == "stuck" and not isinstance(message, Ping):
            await trio.sleep_forever()
        answer = await self._honest.answer(remote, message)
        if self._trick() == "liar" and isinstance(message, Read) and isinstance(answer, Shares):
            body = bytearray(answer.body)
            body[len(body) // 2] ^= 0x40
            return Shares(answer.lengths, answer.paths, bytes(body))
        return answer


class FixedDht:
    """Knows every peer; nobody took anything over."""

    def __init__(self, records: Sequence[PeerRecord]) -> None:
        self._records = list(records)

    async def bootstrap(self, addresses: Sequence[Address]) -> int:
        return len(self._records)

    async def all_peers(self) -> list[PeerRecord]:
        return self._records

    def known_peers(self) -> list[PeerRecord]:
        return self._records

    async def resolve(self, peer: PeerId, *, max_age_s: float) -> PeerRecord | None:
        return next((record for record in self._records if record.peer == peer), None)

    async def providers(self, object_id: ObjectId) -> list[ProviderRecord]:
        return []


class WatchedPeers(Peers):
    """``hook`` is told of each request before it is sent."""

    hook: Hook | None = None

    async def request(self, peer: PeerId, message: Message, *, deadline_s: float = REQUEST_DEADLINE_S) -> Message:
        if self.hook is not None:
            self.hook(peer, message)
        return await super().request(peer, message, deadline_s=deadline_s)


class Bench:
    """``tricks``: by peer's name, how it breaks its promises now: as ``TrickyDesk`` does, or ``mute``, which takes
    connections and never greets."""

    def __init__(self, world: World, *, peers: int) -> None:
        self.world = world
        self.tricks: dict[str, str] = {}
        self.stores: dict[str, ShardStore] = {}
        self._made, (client, *others) = _made(peers)
        self.client_home = client
        self.client_node = self._add(client, None)
        self.peers = {home.name: self._add(home, number) for number, home in enumerate(others)}
        self.homes = {home.name: Folders(home.folder) for home in others}
        self.names = {node.person.identity.peer: name for name, node in self.peers.items()}
        self._records = [self._record(node, number) for number, node in enumerate(self.peers.values())]

    def _add(self, made: NewHome, number: int | None) -> SimNode:
        home = load_home(self._made, made.folder, SimClock())

        async def program(ports: Ports) -> None:
            await self._serve(ports, made, FIRST_PORT + (number or 0))

        person = Person(home.identity, home.tls_key)
        issuers = home.roster.issuers
        node = self.world.add(made.name, person, lambda: issuers, None if number is None else program)
        copy_tree(self._made, SimDisk(node.drive), made.folder)
        return node

    def _record(self, node: SimNode, number: int) -> PeerRecord:
        return PeerRecord(
            identity=node.person.identity,
            address=Address("127.0.0.1", FIRST_PORT + number),
            free_bytes=500 * GIB,
            capacity_bytes=1000 * GIB,
            version=1,
            draining=False,
            sequence=1,
            issued_s=int(START_S),
            expires_s=int(START_S) + 86400,
            raw=b"",
        )

    async def _serve(self, ports: Ports, made: NewHome, port: int) -> None:
        home = load_home(ports.disk, made.folder, ports.clock)
        store = ShardStore(ports.disk, made.folder, quota_bytes=None, reserve_bytes=0, clock=ports.clock)
        await ports.threads.disk(store.start)
        self.stores[made.name] = store
        handlers = cast(Any, BenchHandlers(home, store))
        server = Server(me=home.identity, store=store, threads=ports.threads, handlers=handlers)
        # The one private name that is replaced: whatever a connection asks comes by here.
        server._desk = TrickyDesk(server._desk, lambda: self.tricks.get(made.name, ""))  # type: ignore[assignment]

        async def serve(connection: Connection) -> None:
            if self.tricks.get(made.name) == "mute":
                await trio.sleep_forever()
            await server.serve_connection(connection)

        await ports.net.serve(Address("127.0.0.1", port), serve)

    async def heal(self) -> None:
        """Whatever was wrong with peers is over; all that are down start again."""
        self.tricks.clear()
        for name, node in self.peers.items():
            node.drive.crash_at = None
            node.drive.faults.capacity_bytes = PLENTY_BYTES
            self.world.fabric.resume(name)
            if not node.is_up:
                node.start()
        await trio.sleep(1.0)

    def durable(self, peer: PeerId, path: str) -> bytes | None:
        """What is on the peer's platters at ``path``."""
        return self.peers[self.names[peer]].drive.durable_bytes(path)

    def folders(self, peer: PeerId) -> Folders:
        return self.homes[self.names[peer]]

    @asynccontextmanager
    async def client(self, hook: Hook | None = None) -> AsyncGenerator[Client]:
        """One command's life."""
        ports = self.client_node.start()
        try:
            home = load_home(ports.disk, self.client_home.folder, ports.clock)
            async with open_crew() as nursery:
                peers = WatchedPeers(ports.net, nursery, home.hello)
                peers.hook = hook
                dht = cast(Dht, FixedDht(self._records))
                peers.use_dht(lambda: dht)
                yield Client(ports, home, peers, lambda: dht, ClientMemory(ports.disk, home, ports.chance))
                nursery.cancel_scope.cancel()
        finally:
            if self.client_node.is_up:
                self.client_node.kill()

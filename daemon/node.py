"""One peer, put together: store, journal, discovery, server and care, for as long as the daemon runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from functools import partial

import trio

from client.bootstrap import OWN_FILE, first_addresses
from client.home import Home
from client.peers import Peers
from client.status import PeerStatus
from client.tasks import open_crew
from core.durable import write_file
from core.encoding import encode
from core.errors import HomeError, MoorageError, RefusedError
from core.ids import ObjectId, ShardRoot
from core.limits import FRAME_BODY_MAX_BYTES
from core.ports import Address, Identity, Ports
from daemon.admission import check_document
from daemon.care import Care
from daemon.diskwatch import watch_disk
from daemon.documents import DocumentKind
from daemon.drain import drain
from daemon.eventlog import EventLog
from daemon.journal import Journal
from daemon.lastport import read_port
from daemon.ledger import LedgerPeer
from daemon.leftovers import clear_state
from daemon.onedaemon import only_daemon
from daemon.recordfile import RecordFile
from daemon.rosters import RosterDesk
from daemon.server import Server
from daemon.settings import Settings
from daemon.store import ShardStore
from daemon.supervise import supervise
from dht.config import DhtConfig
from dht.node import Dht
from dht.reader import RecordReader
from dht.records import make_peer_record
from dht.store import Quotas, RecordStore
from wire.messages import (
    PROTOCOL_VERSION,
    DhtFind,
    DhtFound,
    DhtStore,
    Hello,
    Job,
    LeavesAnchored,
    Message,
    PollJob,
    StartJob,
    SubmitLeaves,
)

PID_FILE = "state/pid"
ADDRESS_FILE = OWN_FILE
# Kept when the daemon stops: others find it at once when it comes back where it was.
PORT_FILE = "state/port"
RECORDS_FILE = "state/records"
JOURNAL_FOLDER = "journal"
PEER_RECORD_LIFE_S = 24 * 3600


class Node:
    """A running peer. Implements ``daemon.desk.Handlers``."""

    def __init__(self, ports: Ports, home: Home, settings: Settings, log: EventLog, crew: trio.Nursery) -> None:
        self.ports = ports
        self.home = home
        self.settings = settings
        self.log = log
        self.crew = crew
        self.journal = Journal(ports.disk, home.path(JOURNAL_FOLDER), ports.clock)
        self.store = ShardStore(
            ports.disk,
            home.folder,
            quota_bytes=settings.store.quota_bytes,
            reserve_bytes=settings.store.reserve_bytes,
            clock=ports.clock,
        )
        self.peers = Peers(ports.net, crew, home.hello, on_bug=self._report_bug, heard=self._heard)
        quotas = Quotas(peers=settings.dht.peers_max)
        self._record_file = RecordFile(ports, home.path(RECORDS_FILE), quotas, log)
        reader = RecordReader(lambda: home.roster.issuers, ports.clock)
        self.records = RecordStore(reader, ports.clock, quotas)
        self.ledger = LedgerPeer(ports, home, home.service, lambda: self.home.roster, log) if home.service else None
        self.rosters = RosterDesk(
            ports,
            home,
            peers=self.peers,
            known_peers=lambda: [] if self.dht is None else self.dht.known_peers(),
            log=log,
            changed=self._roster_changed,
        )
        self.server = Server(
            me=home.identity, store=self.store, threads=ports.threads, handlers=self, rosters=self.rosters
        )
        self.address = Address("127.0.0.1", 0)
        self.started_s = ports.clock.now()
        self.draining = False
        self.dht: Dht | None = None
        self.care: Care | None = None

    # --- life ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Clean up after a crash, count what is held, listen, and tell the pool. Raises MoorageError."""
        disk = self.ports.threads.disk
        await disk(clear_state, self.ports.disk, self.home, self.ports.clock.now())
        await disk(self.journal.start)
        await disk(self.store.start)
        self.records.load(await self._record_file.load())
        dht = self.dht = Dht(
            me=self.home.identity.peer,
            messenger=self.peers,
            issuers=lambda: self.home.roster.issuers,
            clock=self.ports.clock,
            chance=self.ports.chance,
            config=DhtConfig(
                announce_every_s=self.settings.dht.announce_minutes * 60,
                search_every_s=self.settings.dht.refresh_minutes * 60,
            ),
            store=self.records,
        )
        self.peers.use_dht(lambda: dht)
        self.care = Care(
            self.ports,
            self.home,
            self.settings,
            store=self.store,
            journal=self.journal,
            handlers=self,
            peers=self.peers,
            pool=self.dht,
            served=lambda: self.server.statistics().counters.requests,
            log=self.log,
        )
        await self.care.start()
        await self.rosters.start()
        await self._listen()
        self.dht.adopt(self.make_record())
        addresses = await disk(first_addresses, self.ports.disk, self.home)
        await self.dht.bootstrap([*self.settings.network.seeds, *addresses])
        self.crew.start_soon(supervise, "upkeep", self._upkeep, self.log)
        self.crew.start_soon(supervise, "disk", self._watch_disk, self.log)
        self.crew.start_soon(supervise, "rosters", self.rosters.run, self.log)
        self.crew.start_soon(self.care.run)
        self.log.log("info", "started", address=str(self.address), shards=self.store.statistics().shards)

    def _heard(self, remote: Identity, epoch: int) -> None:
        self.rosters.heard(remote, epoch)

    def _report_bug(self, error: Exception) -> None:
        """A session that met a bug of ours ends; the peer goes on."""
        self.log.log("error", "session-failed", f"{type(error).__name__}: {error}")

    async def _listen(self) -> None:
        if self.ledger is not None:
            self.server.web = await self.crew.start(self.ledger.run)
        listen = self.settings.network.listen
        if listen.port == 0:
            last = await self.ports.threads.disk(read_port, self.ports.disk, self.home.path(PORT_FILE))
            with suppress(MoorageError, OSError):
                self.address = await self._serve(Address(listen.host, last))
        if self.address.port == 0:
            self.address = await self._serve(listen)
        # For the next start: what it can bind, not what others see.
        await self.write_state(PORT_FILE, f"{self.address.port}\n")
        advertised = self.settings.network.advertise
        if advertised is not None:
            self.address = Address(advertised.host, advertised.port or self.address.port)
        await self.write_state(ADDRESS_FILE, f"{self.address}\n")

    async def _serve(self, address: Address) -> Address:
        bound: Address = await self.crew.start(self.ports.net.serve, address, self.server.serve_connection)
        return bound

    async def write_state(self, name: str, text: str) -> None:
        """A small file that others read. A disk that is full or read-only is no reason not to serve what is on it."""
        path, token = self.home.path(name), self.ports.chance.token(4).hex()
        try:
            await self.ports.threads.disk(partial(write_file, self.ports.disk, path, text.encode(), token=token))
        except OSError as error:
            self.log.log("warning", "state-not-written", f"{path}: {error.strerror}")

    async def _watch_disk(self) -> None:
        assert self.dht is not None
        await watch_disk(self.store, self.ports.threads, self.log, self.dht.announce_soon)

    def _roster_changed(self, gone: Collection[str]) -> None:
        """Members of these organisations are no longer dialled, believed or given shards, nor waited for."""
        assert self.dht is not None
        assert self.care is not None
        peers = [record.peer for record in self.dht.known_peers() if record.identity.organisation in gone]
        for peer in peers:
            self.dht.forget(peer)
        self.peers.dismiss(gone, peers)
        self.server.dismiss(gone)
        self.care.departed(peers)
        self.dht.announce_soon()

    async def _upkeep(self) -> None:
        assert self.dht is not None
        await self.dht.run_upkeep(self.make_record, keep=self._record_file.save)

    def make_record(self) -> bytes:
        """This peer's record as of now."""
        assert self.dht is not None
        statistics = self.store.statistics()
        return make_peer_record(
            self.home.tls_key,
            self.home.certificate,
            address=self.address,
            free_bytes=statistics.available_bytes,
            capacity_bytes=statistics.capacity_bytes,
            version=PROTOCOL_VERSION,
            draining=self.draining,
            sequence=self.dht.next_sequence(),
            now=self.ports.clock.now(),
            life_s=PEER_RECORD_LIFE_S,
        )

    async def drain(self) -> None:
        """Take no new uploads, let those under way finish for a while, keep what was learned of the pool."""
        assert self.dht is not None
        self.draining = True
        await drain(self.server, self.store, self.dht, self.make_record)
        await self._record_file.save(self.records.raws())
        self.log.log("info", "stopped", uploads_cut=self.store.statistics().uploads)

    # --- daemon.desk.Handlers -------------------------------------------------------------------

    def hello(self) -> Hello:
        return self.home.hello()

    def check_document(self, kind: DocumentKind, name: ObjectId, data: bytes) -> None:
        check_document(kind, name, data, self.home.roster, lambda wanted: self.store.documents.get("receipt", wanted))

    def document_stored(self, kind: DocumentKind, name: ObjectId) -> None:
        assert self.care is not None
        self.care.document_stored(kind, name)
        self.log.log("debug", f"{kind}-stored", object=str(name))

    def damaged(self, root: ShardRoot, problem: str) -> None:
        assert self.care is not None
        self.care.damaged(root, problem)
        self.log.log("error", "shard-damaged", problem, root=str(root))

    def dht_find(self, message: DhtFind) -> DhtFound:
        assert self.dht is not None
        return self.dht.handle_find(message)

    def dht_store(self, message: DhtStore) -> Message:
        assert self.dht is not None
        return self.dht.handle_store(message)

    async def start_job(self, message: StartJob) -> Job:
        assert self.care is not None
        # A peer that came up a moment after we missed it is not silent.
        self.peers.forgive()
        return self.care.start_job(message)

    async def poll_job(self, message: PollJob) -> Job:
        assert self.care is not None
        return self.care.poll_job(message)

    async def submit_leaves(self, remote: Identity, message: SubmitLeaves) -> LeavesAnchored:
        if self.ledger is None:
            raise RefusedError(f"{self.home.identity.name} is no ledger peer")
        return await self.ledger.submit(remote, message)

    async def status(self) -> bytes:
        assert self.care is not None
        statistics = self.store.statistics()
        care = await self.care.summary()
        status = PeerStatus(
            uptime_s=max(0, int(self.ports.clock.now() - self.started_s)),
            shards=statistics.shards,
            objects=care.objects,
            at_risk=care.at_risk,
            never_checked=care.never_checked,
            oldest_verified_s=care.oldest_verified_s or 0,
            used_bytes=statistics.used_bytes,
            available_bytes=statistics.available_bytes,
            capacity_bytes=statistics.capacity_bytes,
            suspects=statistics.suspects,
            read_only=statistics.read_only,
            draining=self.draining,
        )
        return encode(status.to_value())

    def care_of(self, name: ObjectId) -> bytes:
        assert self.care is not None
        return encode(self.care.last_look(name).to_value())

    async def events(self, count: int) -> bytes:
        values = [event.to_value() for event in await self.ports.threads.disk(self.journal.newest, count)]
        while len(data := encode(values)) > FRAME_BODY_MAX_BYTES:
            values = values[len(values) // 2 :]
        return data


@asynccontextmanager
async def open_node(ports: Ports, home: Home, settings: Settings, write: Callable[[str], None]) -> AsyncGenerator[Node]:
    """A running peer; leaving the context stops it. Raises HomeError when another daemon runs in this home."""
    if home.identity.role != "peer":
        raise HomeError(f"{home.folder} is a {home.identity.role}'s home: a daemon needs a peer's")
    with only_daemon(ports, home):
        log = EventLog(settings.log, ports.clock, write, peer=home.identity.name)
        async with open_crew() as crew:
            node = Node(ports, home, settings, log, crew)
            await node.start()
            yield node
            await node.drain()
            crew.cancel_scope.cancel()

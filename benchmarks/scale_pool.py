"""Commands on a whole pool: a production client, and at every peer a production server, on the simulator's network.

A peer here has a server, its part of the directory and figures to report; what its store costs is counted by
``scale_peer``. Everybody is in one process: times are those of all peers together.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
import trio.testing

from anchor.note import Ed25519Signer
from anchor.policy import make_policy
from anchor.roster import Organisation, Roster, parse_roster, sign_roster
from benchmarks.scale_crowd import Crowd
from benchmarks.scale_growth import Count
from benchmarks.scale_models import shards_per_peer
from client.bootstrap import BOOTSTRAP_FILE
from client.context import Client, open_client
from client.home import HeldRoster, Home, LedgerKeys
from client.status import PeerStatus, pool_status, view_peers
from core.durable import write_file
from core.encoding import encode
from core.errors import RefusedError
from core.identity import key_from_seed, read_certificate
from core.ids import ObjectId, ShardRoot
from core.ports import Ports
from daemon.documents import DocumentKind
from daemon.server import Server
from daemon.store import ShardStore
from tests.dht.net import SeededChance
from tests.dht.people import ISSUERS, START, person
from tests.documented import LOG_SEED, ORIGIN, witness_cosigner
from tests.sim.disk import SimDisk
from tests.sim.fabric import NetFaults, Pipe, SimFabric
from tests.sim.net import SimListener, SimNet
from tests.sim.threads import SimThreads
from wire.messages import DhtFind, DhtFound, DhtStore, Hello, Job, Message, PollJob, StartJob

FOLDER = "/client"
LATENCY_S = (0.005, 0.015)
"""One way."""
SHARDS_PER_OBJECT = 12
"""4+2: six of the data, six of the index."""


class CountedFabric(SimFabric[SimListener]):
    """Counts what is sent, below TLS."""

    moved_bytes = 0

    def put(self, pipe: Pipe, data: memoryview) -> None:
        self.moved_bytes += len(data)
        super().put(pipe, data)


def make_roster() -> tuple[Roster, bytes]:
    """The pool of ``tests.dht.people``."""
    log = Ed25519Signer(ORIGIN, key_from_seed(LOG_SEED)).key.vkey
    organisations = [
        Organisation(name, issuer, bytes([number]) * 32, bytes(32), make_policy(log, [witness_cosigner().key.vkey]))
        for number, (name, issuer) in enumerate(sorted(ISSUERS.items()), start=1)
    ]
    data = sign_roster(
        key_from_seed(bytes(32)), pool_name="pool.example", epoch=1, organisations=organisations, seeds=[]
    )
    return parse_roster(data), data


def make_home(folder: str = FOLDER) -> Home:
    """A client's, as far as commands that read need it."""
    roster, roster_file = make_roster()
    who = person("client", role="client")
    identity = read_certificate(who.certificate, ISSUERS, now=START)[0]
    return Home(folder, HeldRoster(roster, roster_file), identity, who.key, LedgerKeys(bytes(32), bytes(32)), None)


class LightPeer:
    """``daemon.desk.Handlers`` of a peer of which nothing is asked but the directory and its figures."""

    def __init__(self, crowd: Crowd, number: int, roster: Roster, objects: int) -> None:
        self._crowd = crowd
        self._number = number
        self._roster = roster
        share = shards_per_peer(objects, len(crowd.records), shards_per_object=SHARDS_PER_OBJECT)
        record = crowd.records[number]
        self._status = PeerStatus(
            uptime_s=1000,
            shards=round(share),
            objects=round(share / 2),
            at_risk=0,
            never_checked=0,
            oldest_verified_s=int(START) - 86_400,
            used_bytes=record.capacity_bytes - record.free_bytes,
            available_bytes=record.free_bytes,
            capacity_bytes=record.capacity_bytes,
            suspects=0,
            read_only="",
            draining=False,
        )

    def hello(self) -> Hello:
        return Hello(self._roster.pool, 1, "moorage/simulated", self._roster.epoch)

    def check_document(self, kind: DocumentKind, name: ObjectId, data: bytes) -> None:
        raise RefusedError(f"{kind} {name.short} of {len(data)} bytes")

    def document_stored(self, kind: DocumentKind, name: ObjectId) -> None:
        raise AssertionError((kind, name))

    def damaged(self, root: ShardRoot, problem: str) -> None:
        raise AssertionError((root, problem))

    def dht_find(self, message: DhtFind) -> DhtFound:
        return self._crowd.node(self._number).handle_find(message)

    def dht_store(self, message: DhtStore) -> Message:
        return self._crowd.node(self._number).handle_store(message)

    async def start_job(self, message: StartJob) -> Job:
        raise RefusedError(message.job)

    async def poll_job(self, message: PollJob) -> Job:
        raise RefusedError(str(message.number))

    async def status(self) -> bytes:
        return encode(self._status.to_value())

    def care_of(self, name: ObjectId) -> bytes:
        raise RefusedError(name.short)

    async def events(self, count: int) -> bytes:
        raise RefusedError(str(count))


@asynccontextmanager
async def running_pool(crowd: Crowd, *, objects: int) -> AsyncGenerator[tuple[Client, CountedFabric, list[Server]]]:
    """Servers of all peers, and a client's command."""
    roster, _ = make_roster()
    fabric = CountedFabric(1, NetFaults(latency_s=LATENCY_S))
    clock, threads = crowd.clock, SimThreads()
    empty = ShardStore(SimDisk(), "/peer", quota_bytes=None, reserve_bytes=0, clock=clock)
    servers: list[Server] = []
    async with trio.open_nursery() as nursery:
        for number, record in enumerate(crowd.records):
            handlers = LightPeer(crowd, number, roster, objects)
            server = Server(me=record.identity, store=empty, threads=threads, handlers=handlers)
            net = SimNet(fabric, f"host-{number}", record.identity, lambda: ISSUERS, clock=clock)
            await nursery.start(net.serve, record.address, server.serve_connection)
            servers.append(server)
        disk, home = SimDisk(), make_home()
        doors = "".join(f"{record.address}\n" for record in crowd.records[:3])
        write_file(disk, home.path(BOOTSTRAP_FILE), doors.encode(), token="b")
        net = SimNet(fabric, "client", home.identity, lambda: ISSUERS, clock=clock)
        ports = Ports(disk, net, threads, clock, SeededChance("client"))
        async with open_client(ports, home) as client:
            yield client, fabric, servers
        nursery.cancel_scope.cancel()


async def _status(peers: int, objects: int) -> list[Count]:
    crowd = Crowd(peers)
    for number in range(min(peers, 400)):
        crowd.node(number)
    async with running_pool(crowd, objects=objects) as (client, fabric, servers):
        gc.collect()
        tracemalloc.start()
        idle_bytes = tracemalloc.get_traced_memory()[0]
        await view_peers(client)
        peak_bytes = tracemalloc.get_traced_memory()[1] - idle_bytes
        tracemalloc.stop()
        sessions = sum(server.statistics().connections for server in servers)
    async with running_pool(crowd, objects=objects) as (client, fabric, servers):
        made_s, virtual_s, begun_s = crowd.made_s, trio.current_time(), time.process_time()
        views = await view_peers(client)
        status = pool_status(views, catalogued=0)
        spent_s = time.process_time() - begun_s - (crowd.made_s - made_s)
        waited_s = trio.current_time() - virtual_s
        asked = sum(server.statistics().counters.requests for server in servers)
    assert not status.silent, status.words(START)
    assert len(views) == peers
    return [
        Count("`status`: time of all peers together", "s", "peers", peers, spent_s),
        Count("`status`: waiting on the network", "s", "peers", peers, waited_s),
        Count("`status`: requests", "requests", "peers", peers, asked),
        Count("`status`: bytes", "bytes", "peers", peers, fabric.moved_bytes),
        Count("`status`: connections of the client", "connections", "peers", peers, sessions),
        Count("`status`: memory, both ends of all connections", "bytes", "peers", peers, peak_bytes),
    ]


def count_status(peers: int, *, objects: int) -> list[Count]:
    """What ``moorage status`` costs in a pool of so many peers."""
    return trio.run(_status, peers, objects, clock=trio.testing.MockClock(autojump_threshold=0))

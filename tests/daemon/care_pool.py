"""A pool of peers with real stores on one simulated drive, who ask each other without a network in between.

Homes are made by the production provisioner; every peer has its ``Care``. A peer may be ``down`` (refuses), or
``hung`` (costs a patience). What is sent and read is counted.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import trio

from anchor.leaf import manifest_leaf
from anchor.manifest import Extent, KeySlot, Manifest, object_id, sign_manifest
from anchor.receipt import Receipt, encode_receipt
from client.asker import Conversation
from client.coding import code_batch
from client.home import HeldRoster, Home, load_home
from client.ledger import open_log
from client.provision import Provisioner
from core.encoding import encode
from core.errors import MoorageError, PeerUnavailableError, RefusedError
from core.findings import Finding
from core.ids import ObjectId, PeerId, ShardRoot
from core.limits import CHUNK_BYTES, REQUEST_DEADLINE_S, SILENCE_MAX_S
from core.ports import Address, Net, Ports
from daemon.admission import check_document
from daemon.care import Care
from daemon.desk import Desk
from daemon.documents import DocumentKind
from daemon.eventlog import EventLog
from daemon.journal import Journal
from daemon.loopback import OwnConversation
from daemon.settings import LogSettings, Settings
from daemon.store import ShardStore
from daemon.uploads import UploadPlan
from dht.records import PeerRecord, ProviderRecord, parse_record
from erasure.merkle import root_of_leaves
from erasure.placement import Candidate, place
from erasure.scheme import Scheme
from tests.sim.chance import SimChance
from tests.sim.clock import START_S, SimClock
from tests.sim.disk import SimDisk
from tests.sim.drive import SimDrive
from tests.sim.threads import SimThreads
from wire.messages import (
    Blob,
    DhtFind,
    DhtFound,
    DhtStore,
    Hello,
    Job,
    Message,
    PollJob,
    Shares,
    StartJob,
    UploadData,
)

SCHEME = Scheme(4, 6)
FOLDER = "/pool"
GIB = 2**30


class NoNet:
    """A ``core.ports.Net`` that nobody may use."""

    async def connect(self, address: Address) -> None:
        raise AssertionError(address)

    async def serve(self, *_: object, **__: object) -> None:
        raise AssertionError


class PlainHandlers:
    """``daemon.desk.Handlers`` as the daemon implements them, as far as care needs them."""

    def __init__(self, peer: CarePeer) -> None:
        self._peer = peer

    def hello(self) -> Hello:
        return self._peer.home.hello()

    def check_document(self, kind: DocumentKind, name: ObjectId, data: bytes) -> None:
        documents = self._peer.store.documents
        check_document(kind, name, data, self._peer.home.roster, lambda wanted: documents.get("receipt", wanted))

    def document_stored(self, kind: DocumentKind, name: ObjectId) -> None:
        self._peer.care.document_stored(kind, name)

    def damaged(self, root: ShardRoot, problem: str) -> None:
        self._peer.care.damaged(root, problem)

    def dht_find(self, message: DhtFind) -> DhtFound:
        raise AssertionError(message)

    def dht_store(self, message: DhtStore) -> Message:
        raise AssertionError(message)

    async def start_job(self, message: StartJob) -> Job:
        return self._peer.care.start_job(message)

    async def poll_job(self, message: PollJob) -> Job:
        return self._peer.care.poll_job(message)

    async def status(self) -> bytes:
        raise RefusedError("not here")

    def care_of(self, name: ObjectId) -> bytes:
        return encode(self._peer.care.last_look(name).to_value())

    async def events(self, count: int) -> bytes:
        raise RefusedError(str(count))


@dataclass
class CarePeer:
    name: str
    home: Home
    store: ShardStore
    journal: Journal
    desk: Desk = field(init=False)
    care: Care = field(init=False)
    state: str = "up"
    free_bytes: int = 500 * GIB
    draining: bool = False

    @property
    def peer(self) -> PeerId:
        return self.home.identity.peer

    def record(self) -> PeerRecord:
        return PeerRecord(
            identity=self.home.identity,
            address=Address("10.0.0.1", 7000),
            free_bytes=self.free_bytes,
            capacity_bytes=1000 * GIB,
            version=1,
            draining=self.draining,
            sequence=1,
            issued_s=int(START_S),
            expires_s=int(START_S) + 86400,
            raw=b"",
        )


class CountedConversation(OwnConversation):
    """An upload to another peer: its bytes travel."""

    def __init__(self, pool: CarePool, peer: CarePeer) -> None:
        super().__init__(peer.store, pool.ports.threads)
        self._pool = pool
        self._peer = peer

    async def _carry_out(self, message: Message) -> None:
        await self._pool.reach(self._peer)
        if isinstance(message, UploadData):
            self._pool.sent_bytes += len(message.body)
        await super()._carry_out(message)


class View:
    """The pool as one peer (or a client) sees it: ``Asker``, ``Directory`` and ``Publisher``."""

    def __init__(self, pool: CarePool, me: CarePeer | None) -> None:
        self._pool = pool
        self._me = me
        self._sequence = 0

    async def request(self, peer: PeerId, message: Message, /, *, deadline_s: float = REQUEST_DEADLINE_S) -> Message:
        del deadline_s
        target = self._pool.by_id[peer]
        await self._pool.reach(target)
        self._pool.requests.append((target.name, message.KIND))
        me = self._me or next(iter(self._pool.peers.values()))
        answer = await target.desk.answer(me.home.identity, message)
        if isinstance(answer, Shares):
            self._pool.read_bytes += len(answer.body)
        if isinstance(answer, Blob):
            self._pool.paper_bytes += len(answer.body)
        return answer

    async def session(self, peer: PeerId, /) -> Conversation:
        target = self._pool.by_id[peer]
        await self._pool.reach(target)
        return CountedConversation(self._pool, target)

    def avoid(self, peer: PeerId, failure: MoorageError, /) -> None:
        del peer, failure

    def known_peers(self) -> list[PeerRecord]:
        return sorted((item.record() for item in self._pool.peers.values()), key=lambda record: record.peer)

    async def resolve(self, peer: PeerId, /, *, max_age_s: float) -> PeerRecord | None:
        del max_age_s
        return self._pool.by_id[peer].record() if peer in self._pool.by_id else None

    async def providers(self, object_id: ObjectId, /) -> list[ProviderRecord]:
        return [record for (name, _), record in sorted(self._pool.provided.items()) if name == object_id]

    async def provide(self, raw: bytes, /) -> int:
        assert self._me is not None
        record = parse_record(raw, self._me.home.roster.issuers, self._pool.ports.clock.now())
        assert isinstance(record, ProviderRecord)
        assert record.peer == self._me.peer
        self._pool.provided[record.object, record.peer] = record
        return 3

    def own_providers(self) -> list[ProviderRecord]:
        assert self._me is not None
        return [record for (_, peer), record in sorted(self._pool.provided.items()) if peer == self._me.peer]

    def next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence


@dataclass(frozen=True)
class Put:
    """What a client stored."""

    object: ObjectId
    manifest: Manifest
    manifest_file: bytes
    receipt_file: bytes

    def root(self, extent: int, share: int) -> ShardRoot:
        return self.manifest.all_extents()[extent].roots[share]

    def holder(self, extent: int, share: int) -> PeerId:
        return self.manifest.groups[self.manifest.all_extents()[extent].group][share]


class CarePool:
    def __init__(self, *, peers: int = 6, sites: int = 3, seed: int = 0, settings: Settings | None = None) -> None:
        self.drive = SimDrive(seed, "pool")
        self.disk = SimDisk(self.drive)
        self.clock = SimClock()
        chance = SimChance(seed, "pool")
        self.ports = Ports(self.disk, _no_net(), SimThreads(), self.clock, chance)
        client, *others = Provisioner(self.disk, chance, self.clock, "pool.example").make(
            FOLDER, peers=peers, sites=sites
        )
        self.client = load_home(self.disk, client.folder, self.clock)
        self.settings = settings or Settings()
        self.peers = {home.name: self._peer(home.name, home.folder) for home in others}
        self.by_id = {item.peer: item for item in self.peers.values()}
        self.provided: dict[tuple[ObjectId, PeerId], ProviderRecord] = {}
        self.requests: list[tuple[str, str]] = []
        self.read_bytes = self.sent_bytes = self.paper_bytes = 0
        for item in self.peers.values():
            self._care_for(item)

    def _peer(self, name: str, folder: str) -> CarePeer:
        home = load_home(self.disk, folder, self.clock)
        store = ShardStore(self.disk, folder, quota_bytes=None, reserve_bytes=0, clock=self.clock)
        store.start()
        journal = Journal(self.disk, home.path("journal"), self.clock)
        journal.start()
        return CarePeer(name, home, store, journal)

    def _care_for(self, peer: CarePeer) -> None:
        handlers = PlainHandlers(peer)
        view = View(self, peer)
        threads = self.ports.threads
        peer.desk = Desk(me=peer.home.identity, store=peer.store, threads=threads, handlers=handlers)
        peer.care = Care(
            self.ports._replace(chance=SimChance(1, peer.name)),
            peer.home,
            self.settings,
            store=peer.store,
            journal=peer.journal,
            handlers=handlers,
            peers=view,
            pool=view,
            served=lambda: 0,
            log=EventLog(LogSettings(level="error"), self.clock, self._complain, peer=peer.name),
        )

    def restart(self, name: str) -> None:
        """Its care begins anew, from what is on its disk."""
        self._care_for(self.peers[name])

    def cut_power(self) -> None:
        """All at once: whatever was not durable is at risk. Everybody begins anew from what is there."""
        self.drive.cut_power()
        self.disk = SimDisk(self.drive)
        self.ports = self.ports._replace(disk=self.disk)
        self.peers = {name: self._peer(name, peer.home.folder) for name, peer in self.peers.items()}
        self.by_id = {item.peer: item for item in self.peers.values()}
        for item in self.peers.values():
            self._care_for(item)

    def _complain(self, line: str) -> None:
        if "care-failed" in line:
            raise AssertionError(line)

    async def reach(self, peer: CarePeer) -> None:
        await trio.lowlevel.checkpoint()
        if peer.state == "hung":
            await trio.sleep(SILENCE_MAX_S)
        if peer.state != "up":
            raise PeerUnavailableError(f"{peer.name} does not answer")

    def view(self) -> View:
        """As a client sees it."""
        return View(self, None)

    # --- storing ------------------------------------------------------------------------------

    def put(
        self,
        sizes: Sequence[int] = (3 * CHUNK_BYTES + 100, CHUNK_BYTES // 2),
        *,
        seed: int = 0,
        content: int | None = None,
        with_receipt: bool = True,
        scheme: Scheme = SCHEME,
    ) -> Put:
        """Store extents of these plain sizes, and one index extent, as a client would.

        Puts of equal ``content`` (by default their ``seed``) have the same shards, whoever holds them.
        """
        chance = random.Random(seed if content is None else content)
        candidates = [_candidate(item) for item in self.peers.values()]
        holders = place(seed.to_bytes(4, "big"), scheme, candidates)
        extents = [self._store_extent(chance.randbytes(size), chance.randbytes(32), holders, scheme) for size in sizes]
        index = self._store_extent(b"the index " * 50, chance.randbytes(32), holders, scheme)
        keys = self.client.owner_keys()
        manifest = Manifest(
            pool=self.client.roster.pool,
            epoch=1,
            owner_key=keys.manifest_key.public_key().public_bytes_raw(),
            created_s=int(self.clock.now()),
            scheme=scheme,
            degraded=False,
            groups=(holders,),
            extents=tuple(extents),
            index=(index,),
            index_lengths=(index.sealed_bytes,),
            index_codecs=b"\0",
            index_bytes=500,
            listing=random.Random(seed).randbytes(32),
            slots=(KeySlot(b"k" * 32, b"w" * 64),),
        )
        manifest_file = sign_manifest(keys.manifest_key, manifest)
        name = object_id(manifest_file)
        receipt_file = self._receipt(name, manifest)
        for peer in manifest.holders():
            self.by_id[peer].store.documents.put("manifest", name, manifest_file)
            if with_receipt:
                self.by_id[peer].store.documents.put("receipt", name, receipt_file)
        return Put(name, manifest, manifest_file, receipt_file)

    def _store_extent(self, plain: bytes, key: bytes, holders: Sequence[PeerId], scheme: Scheme) -> Extent:
        chunks = -(-len(plain) // CHUNK_BYTES)
        batch = code_batch(plain, 0, chunks, key, scheme)
        roots = tuple(root_of_leaves(scheme, index, leaves) for index, leaves in enumerate(batch.leaves))
        for index, peer in enumerate(holders):
            store = self.by_id[peer].store
            upload = store.begin(UploadPlan(scheme, index, chunks, len(batch.bodies[index])))
            upload.write(batch.share_lengths, batch.bodies[index])
            upload.commit(roots[index])
        return Extent(chunks, sum(batch.sealed_lengths), 0, roots)

    def _receipt(self, name: ObjectId, manifest: Manifest) -> bytes:
        organisation = self.client.roster.organisation_of_key(manifest.owner_key)
        assert organisation is not None
        leaf = manifest_leaf(
            self.client.owner_keys().manifest_key,
            organisation=organisation.name,
            object_id=name,
            size_bytes=1,
            scheme=manifest.scheme,
            time_s=manifest.created_s,
        )
        anchored = open_log(self.disk, self.client).append([leaf], manifest.created_s)[0]
        return encode_receipt(Receipt(name, anchored.proof_file(), organisation.policy, self.client.roster_file))

    def retire_owner(self) -> None:
        """Every peer gets a roster on which nobody has the key that signed the manifests so far."""
        key = self.client.owner_keys().manifest_key.public_key().public_bytes_raw()
        for item in self.peers.values():
            roster = item.home.roster
            organisations = tuple(
                replace(one, manifest_key=bytes(32)) if one.manifest_key == key else one for one in roster.organisations
            )
            held = HeldRoster(replace(roster, organisations=organisations), item.home.roster_file)
            item.home = replace(item.home, held=held)
            self._care_for(item)

    def lose_papers(self, peer: PeerId, put: Put, *folders: str) -> None:
        """Its copies of the object's papers, in ``manifests`` and ``receipts``, are gone."""
        for folder in folders or ("manifests", "receipts"):
            self.disk.unlink(self.by_id[peer].home.path(folder, str(put.object)))

    # --- damage -------------------------------------------------------------------------------

    def path(self, peer: PeerId, root: ShardRoot) -> str:
        name = str(root)
        return self.by_id[peer].home.path("shards", name[:2], name[2:4], name)

    def read(self, path: str) -> bytes:
        with self.disk.open(path, "read") as file:
            return file.read_at(0, file.size())

    def write(self, path: str, data: bytes) -> None:
        """As an operator, a ransomware or a sick disk would: in place, without a trace."""
        if self.disk.stat(path) is not None:
            self.disk.unlink(path)
        self.disk.make_folders(path.rpartition("/")[0])
        with self.disk.open(path, "create") as file:
            file.write_at(0, data)

    def flip(self, path: str, at: int) -> None:
        data = bytearray(self.read(path))
        data[at] ^= 0x10
        self.write(path, bytes(data))

    # --- caring -------------------------------------------------------------------------------

    @asynccontextmanager
    async def caring(self, *names: str) -> AsyncGenerator[None]:
        """The cares of these peers (all, without names) run inside."""
        async with trio.open_nursery() as nursery:
            for name in names or self.peers:
                await self.peers[name].care.start()
                nursery.start_soon(self.peers[name].care.run)
            yield
            nursery.cancel_scope.cancel()

    async def job(
        self, name: str, job: str = "sweep", *, full: bool = True, grace: bool = True, objects: Sequence[ObjectId] = ()
    ) -> Job:
        """Order a job and wait for its end; the peer's care must be running."""
        care = self.peers[name].care
        answer = care.start_job(StartJob(job, full, grace, tuple(objects)))
        while not answer.finished:
            await trio.sleep(0.5)
            answer = care.poll_job(PollJob(answer.number))
        return answer

    def journalled(self, name: str) -> list[Finding]:
        events = self.peers[name].journal.newest(1000)
        return [event.finding for event in events if event.finding is not None]

    def everything_is_whole(self, put: Put) -> bool:
        """Every shard at its first holder, every paper at every holder, nothing in quarantine."""
        papers = all(
            self.by_id[peer].store.documents.get("manifest", put.object) == put.manifest_file
            and self.by_id[peer].store.documents.get("receipt", put.object) == put.receipt_file
            for peer in put.manifest.holders()
        )
        empty = all(not self.disk.list_folder(item.home.path("quarantine")) for item in self.peers.values())
        return self.is_whole(put) and papers and empty

    def is_whole(self, put: Put) -> bool:
        """Every shard at its first holder."""
        return all(
            self.by_id[peer].store.have([root]) == [True] and self.by_id[peer].store.scan(root).whole
            for _, _, root, peer in put.manifest.shards()
        )


def _candidate(item: CarePeer) -> Candidate:
    identity = item.home.identity
    return Candidate(item.peer, identity.organisation, identity.site, 1)


def _no_net() -> Net:
    return NoNet()  # type: ignore[return-value]  # it only has to fail

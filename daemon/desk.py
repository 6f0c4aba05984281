"""Answers to single requests: everything but uploads. One answer a request, or an error that becomes Failure."""

from __future__ import annotations

from typing import Protocol

import trio

from core.errors import CorruptError, NewerVersionError, ProtocolError, RefusedError
from core.ids import ObjectId, ShardRoot
from core.ports import Identity, Threads
from daemon.documents import DocumentKind
from daemon.pages import ObjectPages
from daemon.store import ShardStore
from wire.messages import (
    OBJECTS_PER_PAGE_MAX,
    TEXT_MAX_CHARACTERS,
    Apply,
    Blob,
    DhtFind,
    DhtFound,
    DhtStore,
    Done,
    GetCare,
    GetEvents,
    GetManifest,
    GetProposals,
    GetReceipt,
    GetRoster,
    GetStatus,
    Have,
    Held,
    Hello,
    Job,
    Leaves,
    ListObjects,
    Message,
    Objects,
    Ping,
    PollJob,
    Prove,
    Read,
    Shares,
    StartJob,
    StoreManifest,
    StoreProposal,
    StoreReceipt,
    StoreRoster,
)

# Whole shards re-read at the request of others, at once: half of the disk's jobs, so that uploads keep moving.
SCANS_AT_ONCE = 2
# All that an organisation may say that was invited and is no member yet.
GUEST_MESSAGES = (Ping, GetRoster, GetProposals, StoreProposal, Apply)


class Handlers(Protocol):
    """What the daemon around the server knows: the pool, the discovery layer, the jobs. Methods raise MoorageError."""

    def hello(self) -> Hello:
        """Our own greeting."""
        ...

    def check_document(self, kind: DocumentKind, name: ObjectId, data: bytes) -> None:
        """Raise unless this manifest or receipt may be stored for the object. A job for ``Threads.cpu``: pure."""
        ...

    def document_stored(self, kind: DocumentKind, name: ObjectId) -> None:
        """It is durable now."""
        ...

    def damaged(self, root: ShardRoot, problem: str) -> None:
        """A reader met damage in our shard ``root``; the store has it among its suspects."""
        ...

    def dht_find(self, message: DhtFind) -> DhtFound: ...

    def dht_store(self, message: DhtStore) -> Message: ...

    async def start_job(self, message: StartJob) -> Job: ...

    async def poll_job(self, message: PollJob) -> Job: ...

    async def status(self) -> bytes:
        """MessagePack map of this peer's figures."""
        ...

    def care_of(self, name: ObjectId) -> bytes:
        """MessagePack map of this peer's last look at an object."""
        ...

    async def events(self, count: int) -> bytes:
        """MessagePack list of the newest ``count`` journal entries."""
        ...


class Rosters(Protocol):
    """``daemon.rosters.RosterDesk``."""

    def heard(self, remote: Identity, epoch: int) -> None: ...

    async def answer(self, remote: Identity, message: Message) -> Message: ...


class Desk:
    """Shared by all connections of a server."""

    def __init__(
        self,
        *,
        me: Identity,
        store: ShardStore,
        threads: Threads,
        handlers: Handlers,
        rosters: Rosters | None = None,
    ) -> None:
        self._rosters = rosters
        self._me = me
        self._store = store
        self._threads = threads
        self._handlers = handlers
        self._pages = ObjectPages(store.documents, threads, page_max=OBJECTS_PER_PAGE_MAX)
        self._scans = trio.CapacityLimiter(SCANS_AT_ONCE)

    async def answer(self, remote: Identity, message: Message) -> Message:
        """Raises ProtocolError when the message is no request, any other MoorageError when it is refused or fails."""
        if remote.role == "guest" and not isinstance(message, GUEST_MESSAGES):
            raise ProtocolError(f"{remote.name} is a guest, and sent {message.KIND}")
        match message:
            case Ping():
                return Done()
            case GetRoster() | StoreRoster() | GetProposals() | StoreProposal() | Apply():
                if self._rosters is None:
                    raise RefusedError("this peer keeps no rosters")
                return await self._rosters.answer(remote, message)
            case Have() | Read() | Prove():
                return await self._shard(message)
            case StoreManifest() | StoreReceipt() | GetManifest() | GetReceipt() | ListObjects():
                return await self._document(message)
            case DhtFind():
                return self._handlers.dht_find(message)
            case DhtStore():
                return self._handlers.dht_store(message)
            case StartJob() | PollJob() | GetStatus() | GetCare() | GetEvents():
                return await self._care(remote, message)
            case _:
                raise ProtocolError(f"{remote.name} sent {message.KIND}, which is no request")

    async def _shard(self, message: Have | Read | Prove) -> Message:
        match message:
            case Have():
                return Held(tuple(await self._threads.disk(self._store.have, message.roots)))
            case Read():
                return await self._read(message)
            case Prove():
                return await self._prove(message.root)

    async def _read(self, message: Read) -> Shares:
        try:
            found = await self._threads.disk(self._store.read, message.root, message.first, message.count)
        except CorruptError as error:
            self._handlers.damaged(message.root, str(error))
            raise
        if found.problem:
            self._handlers.damaged(message.root, found.problem)
        return Shares(found.lengths, found.paths, found.body)

    async def _prove(self, root: ShardRoot) -> Leaves:
        async with self._scans:
            report = await self._threads.disk(self._store.scan, root)
        if report.newer_version:
            raise NewerVersionError(report.problem)
        if not report.whole:
            words = report.problem or f"shard {root.short}: {len(report.bad_chunks)} damaged shares"
            self._handlers.damaged(root, words)
        return Leaves(report.bad_chunks, report.problem[:TEXT_MAX_CHARACTERS], b"".join(report.leaves))

    async def _document(
        self, message: StoreManifest | StoreReceipt | GetManifest | GetReceipt | ListObjects
    ) -> Message:
        documents = self._store.documents
        match message:
            case StoreManifest():
                return await self._keep("manifest", message)
            case StoreReceipt():
                return await self._keep("receipt", message)
            case GetManifest():
                return Blob(await self._threads.disk(documents.get, "manifest", message.object))
            case GetReceipt():
                return Blob(await self._threads.disk(documents.get, "receipt", message.object))
            case ListObjects():
                return Objects(await self._pages.page(message.after))

    async def _keep(self, kind: DocumentKind, message: StoreManifest | StoreReceipt) -> Done:
        data = bytes(message.body)
        await self._threads.cpu(self._handlers.check_document, kind, message.object, data)
        await self._threads.disk(self._store.documents.put, kind, message.object, data)
        self._handlers.document_stored(kind, message.object)
        return Done()

    async def _care(self, remote: Identity, message: StartJob | PollJob | GetStatus | GetCare | GetEvents) -> Message:
        match message:
            case StartJob():
                self._check_may_direct(remote, message)
                return await self._handlers.start_job(message)
            case PollJob():
                return await self._handlers.poll_job(message)
            case GetStatus():
                return Blob(await self._handlers.status())
            case GetCare():
                return Blob(self._handlers.care_of(message.object))
            case GetEvents():
                return Blob(await self._handlers.events(message.count))

    def _check_may_direct(self, remote: Identity, job: StartJob) -> None:
        """Any client of the pool may have named objects looked after; all that is here, only its own hospital's."""
        if remote.peer == self._me.peer:
            return
        ours = remote.organisation == self._me.organisation
        if remote.role != "client" or not (ours or job.objects):
            raise RefusedError(f"only clients of {self._me.organisation} may start such work on {self._me.name}")

"""The server does what well-behaved peers ask, and others harm only their own connection."""

from __future__ import annotations

import errno
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar, TypeVarTuple, Unpack

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from anchor.manifest import object_id
from client.session import Session
from core.errors import (
    BadSignatureError,
    BusyError,
    CorruptError,
    NoSuchShardError,
    PeerUnavailableError,
    RefusedError,
    StoreFullError,
)
from core.ids import ObjectId, PoolId, ShardRoot
from core.limits import (
    CONNECTION_IDLE_S,
    HANDSHAKE_DEADLINE_S,
    KIB,
    LINE_BYTES_PER_S_MIN,
    REQUESTS_IN_FLIGHT_MAX,
    UPLOAD_WINDOW_FRAMES,
)
from core.ports import Identity
from daemon.conversation import ConversationLimits
from daemon.documents import DocumentKind
from daemon.lane import LANE_MESSAGES_MAX
from daemon.server import Server, ServerLimits
from daemon.store import ShardStore
from erasure.merkle import check_share, root_of_leaves
from tests.daemon.shards import SCHEME, FixedClock, Sample, sample, store_sample
from tests.daemon.wires import MemoryConnection, RawClient, connection_pair, hello, identity, wait_until
from tests.sim.disk import SimDisk
from tests.sim.drive import SimDrive
from tests.sim.life import Life
from wire.frames import frame_prefix
from wire.messages import (
    Blob,
    DhtFind,
    DhtFound,
    DhtStore,
    Done,
    Failure,
    GetCare,
    GetEvents,
    GetManifest,
    GetReceipt,
    GetStatus,
    Have,
    Held,
    Hello,
    Job,
    Leaves,
    LeavesAnchored,
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
    StoreReceipt,
    SubmitLeaves,
    UploadAbort,
    UploadBegin,
    UploadCommit,
    UploadData,
)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

HOME = "/home/peer"
ME = identity("peer-1", role="peer")
MANIFEST = b"manifest"


@dataclass
class FakeHandlers:
    damage: list[tuple[ShardRoot, str]] = field(default_factory=list[tuple[ShardRoot, str]])
    documents: list[tuple[DocumentKind, ObjectId]] = field(default_factory=list[tuple[DocumentKind, ObjectId]])

    def hello(self) -> Hello:
        return hello()

    def check_document(self, kind: DocumentKind, name: ObjectId, data: bytes) -> None:
        if data.startswith(b"forged"):
            raise BadSignatureError(f"{kind} {name.short}: forged")

    def document_stored(self, kind: DocumentKind, name: ObjectId) -> None:
        self.documents.append((kind, name))

    def damaged(self, root: ShardRoot, problem: str) -> None:
        self.damage.append((root, problem))

    def dht_find(self, message: DhtFind) -> DhtFound:
        return DhtFound((message.key,), ())

    def dht_store(self, message: DhtStore) -> Message:
        if message.record == b"stale":
            raise RefusedError("stale")
        return Done()

    async def start_job(self, message: StartJob) -> Job:
        return Job(7, finished=False, done=0, of=len(message.objects))

    async def poll_job(self, message: PollJob) -> Job:
        return Job(message.number, finished=True, done=1, of=1, body=b"report")

    async def submit_leaves(self, remote: Identity, message: SubmitLeaves) -> LeavesAnchored:
        raise RefusedError(f"{remote.name} sent {len(message.leaves)} leaves")

    async def status(self) -> bytes:
        return b"status"

    def care_of(self, name: ObjectId) -> bytes:
        return b"care of " + name.raw

    async def events(self, count: int) -> bytes:
        return b"events %d" % count


@dataclass
class Gate:
    """Threads whose disk jobs can be held up."""

    open: trio.Event = field(default_factory=trio.Event)

    async def cpu(self, job: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        await trio.lowlevel.checkpoint()
        return job(*args)

    async def disk(self, job: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        await self.open.wait()
        return job(*args)


class Bench:
    """A server on a simulated drive, inside a nursery, and clients that connect to it."""

    def __init__(self, nursery: trio.Nursery, *, quota_bytes: int | None = None) -> None:
        self.nursery = nursery
        self.drive = SimDrive()
        disk = SimDisk(self.drive, Life())
        self.store = ShardStore(disk, HOME, quota_bytes=quota_bytes, reserve_bytes=0, clock=FixedClock())
        self.store.start()
        self.handlers = FakeHandlers()
        self.threads = Gate()
        self.threads.open.set()
        self.server = self.make_server()

    def make_server(self, limits: ServerLimits | None = None, conversation: ConversationLimits | None = None) -> Server:
        self.server = Server(
            me=ME,
            store=self.store,
            threads=self.threads,
            handlers=self.handlers,
            limits=limits,
            conversation_limits=conversation,
        )
        return self.server

    def dial(self, who: Identity | None = None) -> MemoryConnection:
        ours, theirs = connection_pair(who or identity("client"), ME)
        self.nursery.start_soon(self.server.serve_connection, theirs)
        return ours

    async def client(self, who: Identity | None = None) -> RawClient:
        client = RawClient(self.dial(who))
        assert await client.greet() == hello()
        return client

    def incoming(self) -> list[str]:
        return sorted(self.drive.folder(f"{HOME}/incoming").live)

    def put(self, seed: int = 0, **shape: int) -> Sample:
        item = sample(seed, **shape)
        store_sample(self.store, item)
        return item


@asynccontextmanager
async def a_bench(quota_bytes: int | None = None) -> AsyncGenerator[Bench, None]:
    async with trio.open_nursery() as nursery:
        yield Bench(nursery, quota_bytes=quota_bytes)
        nursery.cancel_scope.cancel()


# Its tests ask for the clock by name, too: pytest-trio looks no further.
@pytest.fixture
async def bench(autojump_clock: MockClock) -> AsyncIterator[Bench]:
    async with a_bench() as bench:
        yield bench


def begin(upload: int, item: Sample) -> UploadBegin:
    plan = item.plan
    return UploadBegin(upload, SCHEME.needed, SCHEME.total, plan.index, plan.chunks, plan.expected_bytes)


def failure(answer: Message) -> tuple[str, str]:
    assert isinstance(answer, Failure), answer
    return answer.code, answer.text


# --- greeting ---------------------------------------------------------------------------------


async def test_both_sides_greet_first(autojump_clock: MockClock, bench: Bench) -> None:
    client = await bench.client()
    assert await client.ask(Ping()) == Done()


@pytest.mark.parametrize(
    ("greeting", "why"), [(hello(pool=PoolId(bytes(32))), "belongs to pool"), (hello(version=2), "protocol 1, not 2")]
)
async def test_a_stranger_is_told_why_and_closed(
    autojump_clock: MockClock, bench: Bench, greeting: Hello, why: str
) -> None:
    client = RawClient(bench.dial())
    code, text = failure(await client.greet(greeting))
    assert code == "peer-refused"
    assert why in text
    assert await client.is_closed()


async def test_who_does_not_greet_is_closed(autojump_clock: MockClock, bench: Bench) -> None:
    client = RawClient(bench.dial())
    await client.say(Ping())
    assert await client.is_closed()
    await wait_until(lambda: bench.server.statistics().counters.protocol_errors == 1)


async def test_who_says_nothing_is_closed_after_the_handshake_deadline(autojump_clock: MockClock, bench: Bench) -> None:
    client = RawClient(bench.dial())
    start = trio.current_time()
    assert await client.is_closed(within_s=60)
    assert trio.current_time() - start == pytest.approx(HANDSHAKE_DEADLINE_S)


async def test_one_connection_too_many_is_told_to_wait(autojump_clock: MockClock, bench: Bench) -> None:
    bench.make_server(ServerLimits(connections=1))
    first = await bench.client()
    second = RawClient(bench.dial())
    assert failure((await second.hear())[1])[0] == "busy"
    assert await second.is_closed()
    assert await first.ask(Ping()) == Done()
    await first.connection.aclose()
    await wait_until(lambda: bench.server.statistics().connections == 0)
    await bench.client()
    figures = bench.server.statistics()
    assert (figures.connections, figures.connections_total, figures.connections_refused) == (1, 3, 1)


async def test_an_unused_connection_is_closed_and_a_used_one_is_not(autojump_clock: MockClock, bench: Bench) -> None:
    client = await bench.client()
    for _ in range(3):
        await trio.sleep(CONNECTION_IDLE_S - 1)
        assert await client.ask(Ping()) == Done()
    assert await client.is_closed(within_s=CONNECTION_IDLE_S + 1)


# --- uploads ----------------------------------------------------------------------------------


async def test_an_uploaded_shard_is_durable_when_it_is_acknowledged(autojump_clock: MockClock, bench: Bench) -> None:
    client, item = await bench.client(), sample()
    assert await client.ask(begin(1, item)) == Done()
    assert await client.ask(UploadData(1, item.lengths[:2], b"".join(item.shares[:2]))) == Done()
    assert await client.ask(UploadData(1, item.lengths[2:], item.shares[2])) == Done()
    assert await client.ask(UploadCommit(1, item.root)) == Done()
    bench.drive.cut_power()
    assert bench.drive.durable_paths(f"{HOME}/shards") != []
    assert bench.server.statistics().counters.shards_committed == 1


async def test_a_whole_upload_may_be_sent_without_waiting(autojump_clock: MockClock, bench: Bench) -> None:
    client, item = RawClient(bench.dial()), sample()
    await client.say(hello(), 0)
    await client.hear()
    async with trio.open_nursery() as nursery:

        async def say_all() -> None:
            await client.say(begin(1, item))
            await client.say(UploadData(1, item.lengths, item.data))
            await client.say(UploadCommit(1, item.root))

        nursery.start_soon(say_all)
        assert [await client.hear() for _ in range(3)] == [(1, Done()), (2, Done()), (3, Done())]
    assert bench.store.have([item.root]) == [True]


async def test_many_uploads_interleave_on_one_session(autojump_clock: MockClock, bench: Bench) -> None:
    async with trio.open_nursery() as nursery:
        session = Session(bench.dial(), hello())
        await nursery.start(session.serve)
        items = [sample(seed) for seed in range(12)]

        async def upload(item: Sample) -> None:
            number = session.next_upload()
            await session.request(begin(number, item))
            for share in item.shares:
                await session.request(UploadData(number, (len(share),), share))
            await session.request(UploadCommit(number, item.root))

        async with trio.open_nursery() as uploads:
            for item in items:
                uploads.start_soon(upload, item)
        answer = await session.request(Have(tuple(item.root for item in items)))
        assert answer == Held((True,) * 12)
        nursery.cancel_scope.cancel()
    assert bench.incoming() == []


async def test_what_was_sent_behind_a_refused_beginning_gets_the_same_refusal(autojump_clock: MockClock) -> None:
    async with a_bench(quota_bytes=100) as bench:
        client, item = await bench.client(), sample()
        async with trio.open_nursery() as nursery:

            async def say_all() -> None:
                await client.say(begin(1, item))
                await client.say(UploadData(1, item.lengths, item.data))
                await client.say(UploadCommit(1, item.root))

            nursery.start_soon(say_all)
            codes = [failure((await client.hear())[1])[0] for _ in range(3)]
        assert codes == [StoreFullError.code] * 3
        assert await client.ask(Ping()) == Done()


async def test_a_shard_that_arrives_damaged_is_refused_as_corrupt(autojump_clock: MockClock, bench: Bench) -> None:
    client, item = await bench.client(), sample()
    await client.ask(begin(1, item))
    await client.ask(UploadData(1, item.lengths, bytes(len(item.data))))
    assert failure(await client.ask(UploadCommit(1, item.root)))[0] == CorruptError.code
    assert bench.incoming() == []
    await client.ask(begin(1, item))
    await client.ask(UploadData(1, item.lengths, item.data))
    assert await client.ask(UploadCommit(1, item.root)) == Done()


async def test_an_aborted_upload_leaves_nothing_and_its_number_is_free(autojump_clock: MockClock, bench: Bench) -> None:
    client, item = await bench.client(), sample()
    await client.ask(begin(1, item))
    await client.ask(UploadData(1, item.lengths[:1], item.shares[0]))
    assert len(bench.incoming()) == 1
    assert await client.ask(UploadAbort(1)) == Done()
    assert bench.incoming() == []
    assert await client.ask(begin(1, item)) == Done()


async def test_uploads_of_a_connection_that_ends_are_aborted(autojump_clock: MockClock, bench: Bench) -> None:
    client, item = await bench.client(), sample()
    for number in range(3):
        await client.ask(begin(number, item))
    await client.ask(UploadData(0, item.lengths[:1], item.shares[0]))
    assert len(bench.incoming()) == 3
    await client.connection.aclose()
    await wait_until(lambda: bench.server.statistics().connections == 0)
    assert bench.incoming() == []
    assert bench.store.statistics().promised_bytes == 0
    assert bench.store.statistics().uploads == 0


async def test_an_upload_that_stalls_gives_its_room_back_and_the_connection_lives(
    autojump_clock: MockClock, bench: Bench
) -> None:
    client, item = await bench.client(), sample()
    await client.ask(begin(1, item))
    for _ in range(12):
        await trio.sleep(60)
        await client.ask(Ping())
    assert bench.incoming() == []
    assert bench.store.statistics().promised_bytes == 0
    assert failure(await client.ask(UploadData(1, item.lengths, item.data)))[0] == PeerUnavailableError.code
    assert await client.ask(UploadAbort(1)) == Done()


async def test_an_upload_whose_line_is_busy_with_another_one_is_not_stalled(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """The frames of several uploads go one after the other, and over a thin line each takes minutes."""
    client, item = await bench.client(), sample()
    assert await client.ask(begin(1, item)) == Done()
    frame_bytes = 16 * 64 * KIB
    large = UploadBegin(2, needed=4, total=6, index=0, chunks=256, expected_bytes=256 * 64 * KIB)
    assert await client.ask(large) == Done()
    for _ in range(12):
        await trio.sleep(frame_bytes / (2 * LINE_BYTES_PER_S_MIN))
        assert await client.ask(UploadData(2, (64 * KIB,) * 16, bytes(frame_bytes))) == Done()
    assert await client.ask(UploadData(1, item.lengths, item.data)) == Done()


async def test_too_many_uploads_at_once_are_told_to_wait(autojump_clock: MockClock, bench: Bench) -> None:
    client, item = await bench.client(), sample()
    for number in range(16):
        assert await client.ask(begin(number, item)) == Done()
    assert failure(await client.ask(begin(99, item)))[0] == BusyError.code
    await client.ask(UploadAbort(99))
    await client.ask(UploadAbort(0))
    assert await client.ask(begin(99, item)) == Done()


async def test_a_server_that_stops_finishes_what_is_under_way_and_begins_nothing(
    autojump_clock: MockClock, bench: Bench
) -> None:
    client, item = await bench.client(), sample()
    assert await client.ask(begin(1, item)) == Done()
    bench.server.stop_uploads()
    code, text = failure(await client.ask(begin(2, item)))
    assert code == BusyError.code
    assert "stopping" in text
    assert await client.ask(UploadData(1, item.lengths, item.data)) == Done()
    assert await client.ask(UploadCommit(1, item.root)) == Done()


async def test_failed_uploads_that_nobody_ends_do_not_pile_up(autojump_clock: MockClock) -> None:
    async with a_bench(quota_bytes=3000) as bench:
        client, small, large = await bench.client(), sample(), sample(chunks=9)
        for number in range(100):
            assert failure(await client.ask(begin(number, large)))[0] == StoreFullError.code
        assert await client.ask(begin(200, small)) == Done()
        assert failure(await client.ask(UploadCommit(99, large.root)))[0] == StoreFullError.code
        assert await client.is_closed() is False
        await client.say(UploadCommit(1, large.root))
        assert await client.is_closed()


async def test_more_unanswered_data_than_the_window_ends_the_connection(
    autojump_clock: MockClock, bench: Bench
) -> None:
    client, item = await bench.client(), sample(chunks=40, share_bytes=10)
    await client.ask(begin(1, item))
    bench.threads.open = trio.Event()

    async def say_all() -> None:
        for share in item.shares:
            await client.say(UploadData(1, (len(share),), share))

    with pytest.raises(PeerUnavailableError):
        await say_all()
    sent = client.last_id - 1
    assert UPLOAD_WINDOW_FRAMES < sent <= LANE_MESSAGES_MAX + 3
    bench.threads.open.set()
    await wait_until(lambda: bench.server.statistics().connections == 0)
    assert bench.incoming() == []
    await wait_until(lambda: bench.server.statistics().counters.protocol_errors == 1)


@pytest.mark.parametrize(
    "message", [UploadData(5, (1,), b"x"), UploadCommit(5, sample().root), UploadAbort(5)], ids=lambda item: item.KIND
)
async def test_an_upload_that_was_not_begun_ends_the_connection(
    autojump_clock: MockClock, bench: Bench, message: Message
) -> None:
    client = await bench.client()
    await client.say(message)
    assert await client.is_closed()


async def test_an_upload_begun_twice_ends_the_connection(autojump_clock: MockClock, bench: Bench) -> None:
    client = await bench.client()
    await client.ask(begin(1, sample()))
    await client.say(begin(1, sample()))
    assert await client.is_closed()
    await wait_until(lambda: bench.incoming() == [])


# --- shards -----------------------------------------------------------------------------------


async def test_shares_are_served_with_paths_that_lead_to_the_root(autojump_clock: MockClock, bench: Bench) -> None:
    client, item = await bench.client(), bench.put()
    answer = await client.ask(Read(item.root, 1, 2))
    assert isinstance(answer, Shares)
    assert bytes(answer.body) == b"".join(item.shares[1:])
    check_share(item.root, SCHEME, item.plan.index, 3, 2, item.shares[2], answer.paths[1])
    assert await client.ask(Have((item.root, sample(9).root))) == Held((True, False))


async def test_a_proof_holds_the_leaves_of_what_was_just_read(autojump_clock: MockClock, bench: Bench) -> None:
    client, item = await bench.client(), bench.put()
    answer = await client.ask(Prove(item.root))
    assert isinstance(answer, Leaves)
    leaves = [bytes(answer.body[at : at + 32]) for at in range(0, 96, 32)]
    assert root_of_leaves(SCHEME, item.plan.index, leaves) == item.root
    assert (answer.bad, answer.problem) == ((), "")
    assert bench.handlers.damage == []


async def test_damage_is_told_to_the_asker_and_to_the_daemon(autojump_clock: MockClock, bench: Bench) -> None:
    client, item = await bench.client(), bench.put()
    name = str(item.root)
    bench.drive.flip_bit(f"{HOME}/shards/{name[:2]}/{name[2:4]}/{name}", item.offset(1))
    whole = await client.ask(Read(item.root, 0, 3))
    assert isinstance(whole, Shares)
    assert whole.lengths == item.lengths[:1]
    assert failure(await client.ask(Read(item.root, 1, 1)))[0] == CorruptError.code
    proof = await client.ask(Prove(item.root))
    assert isinstance(proof, Leaves)
    assert proof.bad == (1,)
    assert [root for root, _ in bench.handlers.damage] == [item.root] * 3
    assert all("damaged" in words for _, words in bench.handlers.damage)


async def test_what_is_not_held_is_said_to_be_missing(autojump_clock: MockClock, bench: Bench) -> None:
    client = await bench.client()
    for message in (Read(sample().root, 0, 1), Prove(sample().root), GetManifest(ObjectId(bytes(32)))):
        assert failure(await client.ask(message))[0] == NoSuchShardError.code
    assert bench.server.statistics().counters.failures == 3


# --- documents --------------------------------------------------------------------------------


async def test_documents_are_checked_kept_and_given_back(autojump_clock: MockClock, bench: Bench) -> None:
    client, name = await bench.client(), object_id(MANIFEST)
    assert await client.ask(StoreManifest(name, MANIFEST)) == Done()
    assert await client.ask(StoreReceipt(name, b"receipt")) == Done()
    assert await client.ask(GetManifest(name)) == Blob(MANIFEST)
    assert await client.ask(GetReceipt(name)) == Blob(b"receipt")
    assert await client.ask(ListObjects(bytes(32))) == Objects((name,))
    assert await client.ask(ListObjects(name.raw)) == Objects(())
    assert bench.handlers.documents == [("manifest", name), ("receipt", name)]


async def test_a_document_that_proves_nothing_is_not_kept(autojump_clock: MockClock, bench: Bench) -> None:
    client, name = await bench.client(), object_id(b"forged manifest")
    assert failure(await client.ask(StoreManifest(name, b"forged manifest")))[0] == BadSignatureError.code
    assert failure(await client.ask(StoreReceipt(name, b"forged receipt")))[0] == BadSignatureError.code
    assert failure(await client.ask(StoreManifest(name, b"another")))[0] == CorruptError.code
    assert await client.ask(ListObjects(bytes(32))) == Objects(())
    assert bench.handlers.documents == []


# --- discovery and care -----------------------------------------------------------------------


async def test_discovery_is_passed_on(autojump_clock: MockClock, bench: Bench) -> None:
    client = await bench.client()
    assert await client.ask(DhtFind(b"k" * 32)) == DhtFound((b"k" * 32,), ())
    assert await client.ask(DhtStore(b"fresh")) == Done()
    assert failure(await client.ask(DhtStore(b"stale"))) == ("refused", "stale")


@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        (identity("client"), True),
        (ME, True),
        (identity("client", organisation="Another"), False),
        (identity("peer-2", role="peer"), False),
    ],
    ids=lambda value: f"{value.organisation} {value.name}" if isinstance(value, Identity) else str(value),
)
async def test_only_its_own_hospital_sets_a_peer_to_work_on_all_that_it_holds(
    autojump_clock: MockClock, bench: Bench, who: Identity, allowed: bool
) -> None:
    client = await bench.client(who)
    start = await client.ask(StartJob("sweep", full=True, grace=True, objects=()))
    if allowed:
        assert start == Job(7, finished=False, done=0, of=0)
    else:
        assert failure(start)[0] == RefusedError.code
    assert await client.ask(PollJob(7)) == Job(7, finished=True, done=1, of=1, body=b"report")
    named = await client.ask(StartJob("sweep", full=True, grace=True, objects=(ObjectId(bytes(32)),)))
    assert isinstance(named, Job) == (allowed or who.role == "client")
    assert await client.ask(GetStatus()) == Blob(b"status")
    assert await client.ask(GetCare(ObjectId(bytes(32)))) == Blob(b"care of " + bytes(32))
    assert await client.ask(GetEvents(5)) == Blob(b"events 5")


# --- hostile and unlucky peers ----------------------------------------------------------------


@pytest.mark.parametrize("message", [Done(), Held((True,)), Blob(b"x"), hello()], ids=lambda item: item.KIND)
async def test_an_answer_nobody_asked_for_ends_the_connection(
    autojump_clock: MockClock, bench: Bench, message: Message
) -> None:
    client = await bench.client()
    await client.say(message)
    assert await client.is_closed()
    await wait_until(lambda: bench.server.statistics().counters.protocol_errors == 1)


@pytest.mark.parametrize(
    "data",
    [
        bytes(64),
        b"\xff" * 64,
        b"GET / HTTP/1.1\r\n\r\n",
        frame_prefix({"id": 1}, 0),
        frame_prefix({"id": 1, "kind": "format-disk"}, 0),
        frame_prefix({"id": -1, "kind": "ping"}, 0),
        frame_prefix({"id": 1, "kind": "ping", "more": 1}, 0),
        frame_prefix({"id": 1, "kind": "ping"}, 3) + b"abc",
        frame_prefix({"id": 1, "kind": "read", "root": bytes(31), "first": 0, "count": 1}, 0),
        frame_prefix([1, 2], 0),
    ],
)
async def test_nonsense_ends_its_own_connection_only(autojump_clock: MockClock, bench: Bench, data: bytes) -> None:
    good, bad = await bench.client(), await bench.client(identity("mallory"))
    item = sample()
    await good.ask(begin(1, item))
    await bad.connection.send_all(data)
    assert await bad.is_closed()
    assert await good.ask(UploadData(1, item.lengths, item.data)) == Done()
    assert await good.ask(UploadCommit(1, item.root)) == Done()
    await wait_until(lambda: bench.server.statistics().counters.protocol_errors == 1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=4), st.booleans())
def test_any_bytes_whatever_leave_the_server_standing(pieces: list[bytes], greeted: bool) -> None:
    async def main() -> None:
        async with a_bench() as bench:
            connection = bench.dial()
            client = RawClient(connection)
            if greeted:
                await client.greet()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.is_closed, 10)
                try:
                    for piece in pieces:
                        await connection.send_all(piece)
                except PeerUnavailableError:
                    pass
                await connection.aclose()
            await wait_until(lambda: bench.server.statistics().connections == 0)
            assert await (await bench.client()).ask(Ping()) == Done()

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_a_peer_that_takes_no_answers_is_dropped_and_holds_nothing(
    autojump_clock: MockClock, bench: Bench
) -> None:
    item = bench.put(chunks=16, share_bytes=60_000)
    bench.make_server(ServerLimits(data_frames=16))
    greedy, other = await bench.client(), await bench.client(identity("other"))
    async with trio.open_nursery() as nursery:

        async def ask_much() -> None:
            while True:
                try:
                    await greedy.say(Read(item.root, 0, 16))
                except PeerUnavailableError:
                    return

        nursery.start_soon(ask_much)
        await trio.sleep(1)
        assert await other.ask(Ping()) == Done()
    answer = await other.ask(Read(item.root, 0, 16))
    assert isinstance(answer, Shares)
    assert bench.server.statistics().connections == 1


async def test_data_in_flight_is_given_back_by_answers_and_by_connections_that_end(
    autojump_clock: MockClock, bench: Bench
) -> None:
    item = bench.put()
    bench.make_server(ServerLimits(data_frames=4))
    for _ in range(3):
        client = await bench.client()
        for _ in range(5):
            assert isinstance(await client.ask(Read(item.root, 0, 1)), Shares)
        await client.ask(begin(1, item))
        bench.threads.open = trio.Event()
        for share in item.shares:
            await client.say(UploadData(1, (len(share),), share))
        await client.connection.aclose()
        bench.threads.open.set()
        await wait_until(lambda: bench.server.statistics().connections == 0)
    assert bench.incoming() == []


async def test_data_that_ends_a_connection_is_given_back_too(autojump_clock: MockClock, bench: Bench) -> None:
    item = bench.put()
    bench.make_server(ServerLimits(data_frames=2))
    for _ in range(3):
        client = await bench.client()
        await client.say(UploadData(5, (1,), b"x"))
        assert await client.is_closed()
    assert isinstance(await (await bench.client()).ask(Read(item.root, 0, 1)), Shares)


async def test_a_server_that_is_held_up_keeps_taking_pings_and_shows_that_it_lives(
    autojump_clock: MockClock, bench: Bench
) -> None:
    client, item = await bench.client(), bench.put()
    bench.threads.open = trio.Event()
    for _ in range(10):
        await client.say(Have((item.root,)))
    assert await client.ask(Ping()) == Done()
    for _ in range(REQUESTS_IN_FLIGHT_MAX - 10):
        await client.say(Have((item.root,)))
    await client.say(Ping())
    # At the bound it stops reading, and says Done to nobody.
    assert await client.hear() == (0, Done())
    assert await client.hear() == (0, Done())
    bench.threads.open.set()
    answers = [(await client.hear())[1] for _ in range(REQUESTS_IN_FLIGHT_MAX + 1)]
    assert answers.count(Held((True,))) == REQUESTS_IN_FLIGHT_MAX
    assert answers.count(Done()) == 1


async def test_a_failing_disk_is_an_answer_not_an_end(autojump_clock: MockClock, bench: Bench) -> None:
    client, item = await bench.client(), sample()
    await client.ask(begin(1, item))
    bench.drive.fail_at[bench.drive.calls + 1] = errno.EIO
    assert failure(await client.ask(UploadData(1, item.lengths, item.data)))[0] == "store-read-only"
    assert failure(await client.ask(UploadCommit(1, item.root)))[0] == "store-read-only"
    assert failure(await client.ask(begin(2, item)))[0] == "store-read-only"
    assert await client.ask(Ping()) == Done()


async def test_a_bug_in_a_handler_ends_the_connection_and_gives_its_uploads_back(
    autojump_clock: MockClock, bench: Bench
) -> None:
    async def broken() -> bytes:
        raise KeyError("bug")

    bench.handlers.status = broken  # type: ignore[method-assign]  # the test plants a bug there
    item = sample()
    ours, theirs = connection_pair(identity("client"), ME)
    client = RawClient(ours)

    async def converse() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.server.serve_connection, theirs)
            await client.greet()
            await client.ask(begin(1, item))
            await client.say(GetStatus())
            assert await client.is_closed()

    with pytest.raises(ExceptionGroup) as raised:
        await converse()
    assert raised.group_contains(KeyError, match="bug")
    assert bench.incoming() == []
    assert bench.server.statistics().connections == 0

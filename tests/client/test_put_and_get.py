"""What a put stored, a get restores: whole, in parts, by range; and a put tells its story truly. In the simulator."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from blake3 import blake3

from client.challenge import targets_of
from client.context import Client
from client.extents import ExtentStorer
from client.get import cat, get, open_object
from client.index import Index
from client.locate import find_manifest
from client.patience import LATE_PATIENCE_S
from client.placer import Placer
from client.progress import Silent
from client.put import PutResult, put
from client.receipts import check_document, make_document
from client.session import Pending, Session
from client.status import pool_status, view_peers
from core.errors import MoorageError, NotEnoughPeersError, NotInObjectError, PeerUnavailableError, UsageError
from core.ids import PeerId
from core.limits import CHUNK_BYTES, EXTENT_BYTES
from core.listing import Entry, Kind, RelativePath
from core.trees import SourceTree
from dht.node import Dht
from dht.records import PeerRecord
from erasure.scheme import Scheme
from erasure.shardfile import HEAD_BYTES
from tests.sim.chance import derive
from tests.sim.determinism import run_seeded
from tests.sim.disk import SimDisk
from tests.sim.entropy import seeded_cryptography
from tests.sim.fabric import NetFaults
from tests.sim.pool import SimPool
from tests.sim.trees import MemorySource, MemoryTarget
from tests.sim.world import World
from wire.messages import GetManifest, Have, Held, Leaves, Message, Prove, StoreManifest, UploadBegin, UploadCommit

SCHEME = Scheme(4, 6)
# What a daemon's restart takes.
RESTART_S = 2.5
NOISE = derive(1, "noise").randbytes(3 * CHUNK_BYTES)
FILES = {
    "study/a.dcm": NOISE[:1000],
    "study/b/empty": b"",
    "study/b/large.dcm": NOISE[: 2 * CHUNK_BYTES + 77],
    "study/b/z.txt": b"text " * 1000,
    "study/c": NOISE[7:17],
    "study/c.part": b"",
}


class Tree(MemorySource):
    """With folders and a link, as a real one has."""

    def walk(self) -> list[Entry]:
        folders = [Entry(RelativePath(path), Kind.FOLDER, 0, 5, 0o750, b"", b"", ()) for path in (b"study", b"study/b")]
        link = Entry(RelativePath(b"study/link"), Kind.LINK, 0, 6, 0o777, b"", b"../b", ())
        return sorted([*folders, *super().walk(), link], key=lambda entry: entry.path.raw.split(b"/"))


@dataclass
class Target(MemoryTarget):
    """Also remembers what it was asked to prepare."""

    entries: list[Entry] = field(default_factory=list[Entry])

    def __post_init__(self) -> None:
        super().__init__()

    def prepare(self, entries: Sequence[Entry]) -> None:
        self.entries = list(entries)


@dataclass
class Notes(Silent):
    """Progress that remembers what the user was told."""

    notes: list[str] = field(default_factory=list[str])

    def note(self, text: str) -> None:
        self.notes.append(text)


async def store(client: Client, tree: SourceTree, progress: Silent | None = None) -> PutResult:
    return await put(client, tree, name="study", scheme=SCHEME, allow_degraded=False, progress=progress or Silent())


async def restore(client: Client, result: PutResult, *paths: str) -> Target:
    target = Target()
    await get(client, result.object, target, paths=[path.encode() for path in paths], progress=Silent())
    return target


async def read(client: Client, result: PutResult, path: str, span: str | None) -> bytes | MoorageError:
    parts: list[bytes] = []

    async def write(data: memoryview) -> None:
        parts.append(bytes(data))

    try:
        count = await cat(client, result.object, path.encode(), span, write)
    except MoorageError as error:
        return error
    assert count == sum(map(len, parts))
    return b"".join(parts)


RANGES = {
    None: slice(None),
    "0-": slice(None),
    "0-0": slice(0, 1),
    f"{CHUNK_BYTES - 3}-{CHUNK_BYTES + 3}": slice(CHUNK_BYTES - 3, CHUNK_BYTES + 4),
    # The file begins 1,000 bytes into the stream: the chunks' borders lie elsewhere in it.
    f"{CHUNK_BYTES - 1003}-{CHUNK_BYTES - 998}": slice(CHUNK_BYTES - 1003, CHUNK_BYTES - 997),
    f"10-{2 * CHUNK_BYTES + 70}": slice(10, 2 * CHUNK_BYTES + 71),
    "-5": slice(-5, None),
    "-99999999999": slice(None),
    f"{2 * CHUNK_BYTES + 76}-": slice(2 * CHUNK_BYTES + 76, None),
    f"{2 * CHUNK_BYTES + 77}-": slice(0, 0),
    "99999999999-": slice(0, 0),
    "-0": slice(0, 0),
}
SELECTIONS: dict[tuple[str, ...], set[str]] = {
    (): set(FILES),
    ("study",): set(FILES),
    ("study/b",): {"study/b/empty", "study/b/large.dcm", "study/b/z.txt"},
    ("study/b/",): {"study/b/empty", "study/b/large.dcm", "study/b/z.txt"},
    ("study/c",): {"study/c"},
    ("study/b/empty",): {"study/b/empty"},
    ("study/b/z.txt", "study/a.dcm"): {"study/a.dcm", "study/b/z.txt"},
    ("study/b/z.txt", "study/b/z.txt", "study/b"): {"study/b/empty", "study/b/large.dcm", "study/b/z.txt"},
    ("study/link",): set(),
}


@dataclass
class Story:
    """What one client saw of one pool."""

    first: PutResult
    second: PutResult
    nothing: PutResult
    index: Index
    restored: dict[tuple[str, ...], Target]
    wrong: dict[tuple[str, ...], MoorageError]
    ranges: dict[str | None, bytes | MoorageError]
    odd: dict[tuple[str, str | None], bytes | MoorageError]
    document: str
    document_from_holders: str
    status: str
    emptied: Target


async def tell() -> Story:
    async with World(5).running() as world:
        pool = SimPool(world, peers=6, sites=3)
        await pool.start()
        async with pool.client() as client:
            first = await store(client, Tree(FILES))
            second = await store(client, Tree(FILES))
            _, index = await open_object(client, first.object)
            restored = {paths: await restore(client, first, *paths) for paths in SELECTIONS}
            wrong: dict[tuple[str, ...], MoorageError] = {}
            for paths in (("study/none",), ("stud",), ("study/c/x",), ("",), ("study/a.dcm", "nope")):
                with suppress(NotInObjectError):
                    await restore(client, first, *paths)
                    pytest.fail(f"restored {paths}")
                wrong[paths] = NotInObjectError()
            ranges = {span: await read(client, first, "study/b/large.dcm", span) for span in RANGES}
            odd = {
                (path, span): await read(client, first, path, span)
                for path, span in (
                    ("study/b/empty", None),
                    ("study/b/empty", "0-10"),
                    ("study/b", None),
                    ("study/link", None),
                    ("nope", None),
                    ("study/c", "5-4"),
                    ("study/c", "x"),
                )
            }
            document = await make_document(client, first.object)
            nothing = await store(client, MemorySource({"a/empty": b"", "b": b""}))
            emptied = await restore(client, nothing)
            status = pool_status(await view_peers(client), catalogued=2).words(client.ports.clock.now())
        forget_papers(pool)
        async with pool.client() as client:
            from_holders = await make_document(client, first.object)
    return Story(
        first,
        second,
        nothing,
        index,
        restored,
        wrong,
        ranges,
        odd,
        document,
        from_holders,
        status,
        emptied,
    )


def forget_papers(pool: SimPool) -> None:
    """The client's machine loses what it only keeps for convenience."""
    node = pool.client_node
    ports = node.start()
    for folder in ("manifests", "receipts", "catalogue"):
        path = f"{pool.client_home.folder}/{folder}"
        for name in ports.disk.list_folder(path):
            ports.disk.unlink(f"{path}/{name}")
    node.kill()


@pytest.fixture(scope="module")
def story() -> Story:
    return run_seeded(5, tell)[0]


def test_everything_comes_back_with_folders_and_links(story: Story) -> None:
    whole = story.restored[()]
    assert whole.files == FILES
    kinds = {str(entry.path): entry.kind for entry in whole.entries}
    assert kinds["study/b"] is Kind.FOLDER
    assert kinds["study/link"] is Kind.LINK
    assert story.first.files == len(FILES)
    assert story.first.plain_bytes == sum(map(len, FILES.values()))
    for entry in story.index.entries:
        if entry.kind is Kind.FILE:
            assert entry.digest == blake3(FILES[str(entry.path)]).digest()


def test_a_second_put_sends_nothing_and_is_the_same_object(story: Story) -> None:
    assert story.first.new_bytes > 0
    assert story.second.new_bytes == 0
    assert story.second.object == story.first.object
    assert story.second.receipt == story.first.receipt
    assert story.second.stored_bytes == story.first.stored_bytes


def test_a_get_from_the_holders_of_last_time_searches_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Dht] = []
    begin = Dht.__init__

    def begin_and_note(self: Dht, **words: Any) -> None:
        begin(self, **words)
        made.append(self)

    async def get_and_search() -> tuple[dict[str, bytes], list[Dht], bool]:
        async with World(6).running() as world:
            pool = SimPool(world, peers=6, sites=3)
            await pool.start()
            async with pool.client() as client:
                result = await store(client, Tree(FILES))
            with monkeypatch.context() as patched:
                patched.setattr(Dht, "__init__", begin_and_note)
                async with pool.client() as client:
                    restored = (await restore(client, result)).files
                    before = list(made)
                    await client.find_peers()
                    return restored, before, made == [client.dht]

    assert run_seeded(6, get_and_search)[0] == (FILES, [], True)


@pytest.mark.parametrize("paths", SELECTIONS, ids=" ".join)
def test_a_selection_restores_what_it_names_and_no_more(story: Story, paths: tuple[str, ...]) -> None:
    target = story.restored[paths]
    assert target.files == {path: FILES[path] for path in SELECTIONS[paths]}
    assert len(target.entries) == len({entry.path for entry in target.entries})


def test_a_path_that_is_not_there_is_an_error_before_anything_is_written(story: Story) -> None:
    assert len(story.wrong) == 5


@pytest.mark.parametrize("span", RANGES, ids=str)
def test_a_range_is_read_across_chunks_to_the_byte(story: Story, span: str | None) -> None:
    assert story.ranges[span] == FILES["study/b/large.dcm"][RANGES[span]]


def test_what_cannot_be_read_is_said(story: Story) -> None:
    assert story.odd["study/b/empty", None] == b""
    assert story.odd["study/b/empty", "0-10"] == b""
    for path in ("study/b", "study/link", "nope"):
        assert isinstance(story.odd[path, None], NotInObjectError)
    for span in ("5-4", "x"):
        assert isinstance(story.odd["study/c", span], UsageError)


def test_an_object_of_empty_files_is_an_object(story: Story) -> None:
    assert story.nothing.plain_bytes == 0
    assert story.nothing.files == 2
    assert story.emptied.files == {"a/empty": b"", "b": b""}


def test_the_receipt_proves_the_same_whoever_kept_it(story: Story) -> None:
    for document in (story.document, story.document_from_holders):
        # Signatures of a simulation are of the simulator's making.
        with seeded_cryptography(0):
            checked = check_document(document.encode(), pinned_pool=None)
        assert checked.statement.object == story.first.object
        assert checked.entries is not None
        assert {str(entry.path) for entry in checked.entries if entry.kind is Kind.FILE} == set(FILES)


def test_the_status_claims_no_more_than_was_verified(story: Story) -> None:
    assert story.status.startswith("6 of 6 peers answer")
    assert "not all of which were verified yet" in story.status


# --- more than one extent ---------------------------------------------------------------------


def patterned(size: int, seed: int) -> bytes:
    """Bytes that compress well, and differ at every chunk."""
    tile = derive(seed, "tile").randbytes(64) * (CHUNK_BYTES // 64 - 1)
    chunks = -(-size // CHUNK_BYTES)
    return b"".join(number.to_bytes(64, "big") + tile for number in range(chunks))[:size]


async def put_across_extents() -> None:
    files = {
        "a": patterned(EXTENT_BYTES - 5000, 1),
        "b": patterned(2 * CHUNK_BYTES, 2),
        "c": b"the last",
    }
    border = 5000
    async with World(6).running() as world:
        pool = SimPool(world, peers=6, sites=3)
        await pool.start()
        async with pool.client() as client:
            result = await store(client, MemorySource(files))
            _, index = await open_object(client, result.object)
            assert [extent.plain_bytes for extent in index.extents] == [EXTENT_BYTES, 2 * CHUNK_BYTES - 5000 + 8]
            assert (await restore(client, result, "b", "c")).files == {"b": files["b"], "c": files["c"]}
            for low, high in ((border - 2, border + 2), (border, border), (border - 1, border - 1), (0, 2 * border)):
                assert await read(client, result, "b", f"{low}-{high}") == files["b"][low : high + 1]
            assert await read(client, result, "a", "-7") == files["a"][-7:]
            assert (await restore(client, result)).files == files
            assert (await store(client, MemorySource(files))).new_bytes == 0


def test_a_file_may_cross_from_one_extent_into_the_next() -> None:
    run_seeded(6, put_across_extents)


# --- holders that fail ------------------------------------------------------------------------


class Saboteur:
    """Cuts the power of the first peer that is asked for ``kind``, before it hears of it."""

    def __init__(self, client: Client, pool: SimPool, kind: type[Message]) -> None:
        self.victim = ""
        self.struck = trio.Event()
        self._client = client
        self._pool = pool
        self._kind = kind
        self._names: dict[PeerId, str] = {}
        self._request = client.peers.request
        self._session = client.peers.session

    def sabotage(self, patch: pytest.MonkeyPatch, names: dict[PeerId, str]) -> None:
        self._names = names
        patch.setattr(self._client.peers, "request", self._ask)
        patch.setattr(self._client.peers, "session", self._converse)

    def _meet(self, peer: PeerId, message: Message) -> None:
        if not self.victim and isinstance(message, self._kind):
            self.victim = self._names[peer]
            self._pool.peers[self.victim].crash()
            self.struck.set()

    async def _ask(self, peer: PeerId, message: Message, **options: float) -> Message:
        self._meet(peer, message)
        return await self._request(peer, message, **options)

    async def _converse(self, peer: PeerId) -> Session:
        session = await self._session(peer)
        post = session.post

        async def say(message: Message) -> Pending:
            self._meet(peer, message)
            return await post(message)

        session.post = say  # type: ignore[method-assign]  # one way to be there when a commit is asked for
        return session


async def is_everywhere(client: Client, result: PutResult) -> bool:
    """Every holder that the manifest names has the manifest and its shards."""
    manifest = await find_manifest(client, result.object)
    for peer in manifest.holders():
        await client.peers.request(peer, GetManifest(result.object))
    wanted: dict[PeerId, list[object]] = {}
    for _, _, root, peer in manifest.shards():
        answer = await client.peers.request(peer, Have((root,)))
        wanted.setdefault(peer, []).append(answer == Held((True,)))
    return all(all(flags) for flags in wanted.values())


async def put_while_one_fails(kind: type[Message], *, spare: bool) -> None:
    files = {"study/a": NOISE[:CHUNK_BYTES], "study/b": NOISE[:5]}
    async with World(7).running() as world:
        pool = SimPool(world, peers=7 if spare else 6, sites=4 if spare else 3)
        await pool.start()
        notes = Notes()
        with pytest.MonkeyPatch.context() as patch:
            async with pool.client() as client:
                saboteur = Saboteur(client, pool, kind)
                names = {record.identity.peer: record.identity.name for record in await client.live_peers()}
                saboteur.sabotage(patch, names)
                if not spare:
                    with pytest.raises(NotEnoughPeersError, match="share") as caught:
                        await store(client, MemorySource(files), notes)
                    assert saboteur.victim in str(caught.value)
                    return
                result = await store(client, MemorySource(files), notes)
        assert saboteur.victim
        async with pool.client() as client:
            await client.live_peers()
            names = {record.identity.peer: record.identity.name for record in client.dht.known_peers()}
            assert saboteur.victim not in {names[peer] for peer in result.holders}
            assert await is_everywhere(client, result)
            assert (await restore(client, result)).files == files


@pytest.mark.parametrize("kind", [UploadCommit, StoreManifest])
def test_a_holder_that_fails_in_the_middle_is_replaced_everywhere(kind: type[Message]) -> None:
    run_seeded(7, put_replacing, kind)


async def put_replacing(kind: type[Message]) -> None:
    await put_while_one_fails(kind, spare=True)


async def put_refusing(kind: type[Message]) -> None:
    await put_while_one_fails(kind, spare=False)


def test_a_holder_that_fails_with_nobody_to_replace_it_is_named() -> None:
    run_seeded(7, put_refusing, UploadCommit)


async def put_through_a_restart(kind: type[Message], also: Sequence[str], stagger_s: float = 0.0) -> None:
    """``also`` are cut off with the victim; they start again ``stagger_s`` after one another."""
    files = {"study/a": NOISE[:CHUNK_BYTES], "study/b": NOISE[:5]}
    async with World(7).running() as world, trio.open_nursery() as nursery:
        pool = SimPool(world, peers=6, sites=3)
        await pool.start()
        with pytest.MonkeyPatch.context() as patch:
            async with pool.client() as client:
                saboteur = Saboteur(client, pool, kind)
                names = {record.identity.peer: record.identity.name for record in await client.live_peers()}
                saboteur.sabotage(patch, names)
                nursery.start_soon(start_again, saboteur, pool, also, stagger_s)
                result = await store(client, MemorySource(files))
        async with pool.client() as client:
            await client.live_peers()
            assert len(result.holders) == 6
            assert await is_everywhere(client, result)
            assert await copies(client, result) == {1}
            assert (await restore(client, result)).files == files


async def start_again(saboteur: Saboteur, pool: SimPool, also: Sequence[str], stagger_s: float) -> None:
    await saboteur.struck.wait()
    for name in also:
        if name != saboteur.victim:
            pool.peers[name].crash()
    await trio.sleep(RESTART_S)
    for name in sorted({saboteur.victim, *also}):
        pool.peers[name].start()
        await trio.sleep(stagger_s)


async def copies(client: Client, result: PutResult) -> set[int]:
    """At how many peers each shard of the object lies."""
    manifest = await find_manifest(client, result.object)
    roots = tuple(root for _, _, root, _ in manifest.shards())
    answers = [await client.peers.request(peer, Have(roots)) for peer in manifest.holders()]
    flags = [answer.flags for answer in answers if isinstance(answer, Held)]
    assert len(flags) == len(answers)
    return {sum(column) for column in zip(*flags, strict=True)}


@pytest.mark.parametrize("kind", [UploadBegin, UploadCommit, StoreManifest, Have])
def test_a_holder_that_starts_again_in_the_middle_is_waited_for(kind: type[Message]) -> None:
    """With nobody to replace it, whatever the put was doing."""
    run_seeded(7, put_through_a_restart, kind, ())


@pytest.mark.parametrize("kind", [StoreManifest, Have])
def test_holders_that_start_again_together_keep_what_they_had(kind: type[Message]) -> None:
    run_seeded(7, put_through_a_restart, kind, ("peer-1", "peer-2", "peer-3", "peer-4"))


@pytest.mark.parametrize("kind", [UploadBegin, UploadCommit, StoreManifest, Have])
def test_holders_that_start_again_one_after_another_are_waited_for(kind: type[Message]) -> None:
    """As the daemons of one host do."""
    run_seeded(7, put_through_a_restart, kind, ("peer-1", "peer-2", "peer-3", "peer-4"), 0.6)


async def two_extents_lose_the_same_holders(seed: bytes) -> None:
    """Another extent has waited for them, and they are back, while this one still looks for peers it does not know."""
    async with World(7).running() as world:
        pool = SimPool(world, peers=6, sites=3)
        await pool.start()
        async with pool.client() as client:
            placer = Placer(seed, SCHEME, await client.live_peers())
            homes = dict(enumerate(placer.holders(0)))
            lost = [index for index, peer in homes.items() if peer in sorted(homes.values())[:3]]
            for index in lost:
                placer.fail(homes[index], PeerUnavailableError("it restarts"))
            live_peers = Client.live_peers

            async def welcoming(asking: Client) -> Sequence[PeerRecord]:
                for index in lost:
                    placer.welcome(homes[index])
                return await live_peers(asking)

            storer = ExtentStorer(client, placer, SCHEME, Silent())
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Client, "live_peers", welcoming)
                found = await storer._replacements(0, homes, lost)
        assert found == {index: homes[index] for index in lost}


def test_holders_that_another_extent_waited_for_keep_what_they_had() -> None:
    for seed in range(8):  # the order of places differs
        run_seeded(7, two_extents_lose_the_same_holders, bytes([seed]))


async def put_with_a_late_spare() -> None:
    files = {"study/a": NOISE[:CHUNK_BYTES]}
    async with World(7, net=NetFaults(latency_s=(0.0001, 0.0003), part_p=0)).running() as world:
        pool = SimPool(world, peers=7, sites=4)
        await pool.start()
        async with pool.client() as client:
            names = {record.identity.peer: record.identity.name for record in await client.live_peers()}
        world.fabric.late_s["peer-1"] = LATE_PATIENCE_S / 2
        with pytest.MonkeyPatch.context() as patch:
            async with pool.client() as client:
                saboteur = Saboteur(client, pool, UploadCommit)
                saboteur.sabotage(patch, names)
                result = await store(client, MemorySource(files))
        assert saboteur.victim not in {"", "peer-1"}
        assert "peer-1" in {names[peer] for peer in result.holders}
        async with pool.client() as client:
            await client.live_peers()
            assert await is_everywhere(client, result)


def test_a_peer_that_was_late_takes_the_place_of_a_holder_that_fails() -> None:
    """It was not waited for while the others were enough."""
    run_seeded(7, put_with_a_late_spare)


# --- the same put again -----------------------------------------------------------------------


async def put_after_a_holder_lost_its_disk() -> None:
    files = {"study/a": NOISE[: 2 * CHUNK_BYTES]}
    async with World(8).running() as world:
        pool = SimPool(world, peers=6, sites=3)
        await pool.start()
        async with pool.client() as client:
            first = await store(client, MemorySource(files))
            manifest = await find_manifest(client, first.object)
            victim = manifest.groups[0][3]
            name = next(item.identity.name for item in client.dht.known_peers() if item.identity.peer == victim)
        wipe(pool, name)
        await trio.sleep(60.0)
        async with pool.client() as client:
            again = await store(client, MemorySource(files))
            data_bytes = sum(-(-length // 4) for length in (CHUNK_BYTES + 16, CHUNK_BYTES + 16))
            index_bytes = sum(-(-length // 4) for length in manifest.index_lengths)
            assert again.new_bytes == data_bytes + index_bytes
            assert await is_everywhere(client, again)
            assert (await restore(client, again)).files == files


def wipe(pool: SimPool, name: str) -> None:
    """The peer starts again without its shards."""
    node = pool.peers[name]
    node.kill()
    disk = SimDisk(node.drive)
    top = f"/pool/{name}/shards"
    for first in disk.list_folder(top):
        for second in disk.list_folder(f"{top}/{first}"):
            for shard in disk.list_folder(f"{top}/{first}/{second}"):
                disk.unlink(f"{top}/{first}/{second}/{shard}")
    node.start()


def test_a_put_again_sends_what_a_holder_lost_and_nothing_else() -> None:
    run_seeded(8, put_after_a_holder_lost_its_disk)


async def put_after_bits_have_rotted() -> None:
    files = {"study/a": derive(9, "noise").randbytes(8 * CHUNK_BYTES)}
    async with World(9).running() as world:
        pool = SimPool(world, peers=6, sites=3)
        await pool.start()
        async with pool.client() as client:
            first = await store(client, MemorySource(files))
            manifest = await find_manifest(client, first.object)
            names = {item.identity.peer: item.identity.name for item in client.dht.known_peers()}
            # One bit each of more shards than may be lost, and of one of the index: each holder still has its file.
            rotten = [(target.peer, target.root) for target in targets_of(manifest)][: SCHEME.spare + 1]
            rotten.append((manifest.groups[manifest.index[0].group][0], manifest.index[0].roots[0]))
            for peer, root in rotten:
                text = str(root)
                path = f"/pool/{names[peer]}/shards/{text[:2]}/{text[2:4]}/{text}"
                pool.peers[names[peer]].drive.flip_bit(path, HEAD_BYTES + 5)
            await store(client, MemorySource(files))
            for peer, root in rotten:
                answer = await client.peers.request(peer, Prove(root))
                assert isinstance(answer, Leaves)
                assert not answer.bad, (names[peer], answer.bad)
                assert not answer.problem, answer.problem


def test_a_put_again_believes_no_shard_that_was_not_read_again() -> None:
    """Whoever puts a study again may be about to delete it."""
    run_seeded(9, put_after_bits_have_rotted)

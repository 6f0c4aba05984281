"""What is pending is seen, called nothing else, and settled without its files: once, and only if all of it is held."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

import client.again
import client.finish
import client.settle
from anchor.cosignature import mldsa44_available
from anchor.manifest import Manifest, object_id, parse_manifest
from anchor.pending import check_pending, index_in_log, make_pending
from anchor.policy import parse_policy
from anchor.proof import Proof, format_proof, parse_proof
from anchor.receipt import check_receipt, encode_receipt, parse_receipt
from client.again import notes_of
from client.asker import Asker
from client.challenge import Target
from client.context import Client
from client.get import get
from client.holding import Holding, reread
from client.memory import CatalogueEntry
from client.pending import CheckedPending, check_pending_document, find_pending, make_pending_document
from client.progress import Silent
from client.publish import store_on_all
from client.put import PutResult, put
from client.settle import ASK_PATIENCE_S, PASSING_AGE_S, Settlement, settle, settle_in_passing
from client.unfinished import Unfinished, UnfinishedPuts, pending_of
from core.errors import (
    AmbiguousObjectError,
    BadSignatureError,
    MoorageError,
    PeerUnavailableError,
    PendingError,
    ReceiptError,
)
from core.ids import ObjectId, PeerId, PoolId
from erasure.scheme import Scheme
from tests.client.consortium import consortium
from tests.sim.chance import derive
from tests.sim.disk import SimDisk
from tests.sim.pool import SimPool
from tests.sim.trees import MemorySource, MemoryTarget
from tests.sim.world import SimNode
from wire.messages import StoreManifest, StoreReceipt

NOISE = derive(5, "noise").randbytes(300_000)
FILES = {"study/a": NOISE, "study/b": b"b"}
OTHER = {"other": NOISE[:1000]}


async def store(client_: Client, files: dict[str, bytes]) -> PutResult:
    """On two of four holders, so that two hospitals may be away."""
    return await put(
        client_, MemorySource(files), name="study", scheme=Scheme(1, 2), allow_degraded=True, progress=Silent()
    )


def waiting(client_: Client) -> list[Unfinished]:
    return pending_of(client_.memory, notes_of(client_))


async def leave_pending(pool: SimPool, nodes: list[SimNode], files: dict[str, bytes]) -> Unfinished:
    """Put without a quorum: two witnesses of four are down, and stay so."""
    for node in nodes[2:]:
        if node.is_up:
            node.kill()
    async with pool.client() as client_:
        with pytest.raises(PendingError, match="is pending: the log has the entry"):
            await store(client_, files)
        return waiting(client_)[-1]


async def bring_back(nodes: list[SimNode]) -> None:
    for node in nodes[2:]:
        node.start()
    # The log asks its witnesses by itself, with growing pauses.
    await trio.sleep(60.0)


def entries_of_log(receipt: bytes) -> int:
    return check_receipt(parse_receipt(receipt)).tree_size


async def test_what_is_pending_is_anchored_later_without_its_files(autojump_clock: trio.testing.MockClock) -> None:
    async with consortium() as (pool, nodes):
        note = await leave_pending(pool, nodes, FILES)
        name = note.entry.object
        assert note.receipt, "what the log has signed is kept"
        async with pool.client() as client_:
            assert list(client_.memory.objects()) == []
            settlement = await settle(client_)
            assert settlement.settled == ()
            assert [(item.entry, type(item.reason)) for item in settlement.pending] == [(note.entry, PendingError)]
        nodes[0].kill()
        nodes[0].start()
        await bring_back(nodes)
        async with pool.client() as client_:
            settlement = await settle(client_)
            assert (settlement.settled, settlement.pending) == ((note.entry,), ())
            assert waiting(client_) == notes_of(client_).all() == []
            assert list(client_.memory.objects()) == [note.entry]
            receipt = client_.memory.receipt_file(name) or b""
            statement = check_receipt(parse_receipt(receipt), pinned_pool=client_.home.roster.pool)
            assert (statement.object, statement.tree_size, len(statement.cosigners)) == (name, 1, 3)
            assert await settle(client_) == Settlement((), ())
            target = MemoryTarget()
            await get(client_, name, target, paths=[], progress=Silent())
            again = await store(client_, FILES)
            assert (again.object, again.new_bytes, again.receipt) == (name, 0, receipt)


async def test_a_later_put_settles_what_is_pending_in_passing(autojump_clock: trio.testing.MockClock) -> None:
    async with consortium() as (pool, nodes):
        note = await leave_pending(pool, nodes, FILES)
        said: list[str] = []
        async with pool.client() as client_:
            await settle_in_passing(client_, said.append)
            assert said == [], "so young a note may be that of a put that is anchoring still"
            await trio.sleep(PASSING_AGE_S)
            await settle_in_passing(client_, said.append)
            assert [f"object {note.entry.object} is pending still" in words for words in said] == [True]
        await bring_back(nodes)
        said.clear()
        async with pool.client() as client_:
            other = await store(client_, OTHER)
            await settle_in_passing(client_, said.append)
            assert said == [f"object {note.entry.object} was pending and is anchored now"]
            assert {entry.object for entry in client_.memory.objects()} == {other.object, note.entry.object}


async def test_a_settlement_in_passing_ends_in_time_and_never_fails(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with consortium() as (pool, nodes):
        note = await leave_pending(pool, nodes, FILES)
        said: list[str] = []

        def refuse(*_: object) -> None:
            raise OSError("no room")

        async def hang(*_: object) -> None:
            await trio.sleep_forever()

        async def fail(*_: object) -> None:
            raise OSError("no room")

        await trio.sleep(PASSING_AGE_S)
        async with pool.client() as client_:
            monkeypatch.setattr(client.settle, "store_on_all", hang)
            began = trio.current_time()
            await settle_in_passing(client_, said.append)
            assert trio.current_time() - began < 30
            assert ["not all that is pending was looked at" in words for words in said] == [True]
            said.clear()
            monkeypatch.setattr(client.settle, "store_on_all", fail)
            await settle_in_passing(client_, said.append)
            assert said == [f"object {note.entry.object} is pending still: this machine's disk: no room"]
            said.clear()
            monkeypatch.setattr(UnfinishedPuts, "all", refuse)
            await settle_in_passing(client_, said.append)
            assert said == ["what was pending could not be looked at: no room"]


async def test_what_holders_lost_is_not_settled(autojump_clock: trio.testing.MockClock) -> None:
    async with consortium() as (pool, nodes):
        await leave_pending(pool, nodes, FILES)
        await bring_back(nodes)
        nodes[1].kill()
        async with pool.client() as client_:
            (still,) = (await settle(client_)).pending
            assert "do not answer" in str(still.reason)
        names = [name for name, node in pool.peers.items() if node is nodes[1]]
        shards = f"{pool.homes[names[0]].folder}/shards"
        lose_one(nodes[1], shards)
        nodes[1].start()
        await trio.sleep(60.0)
        async with pool.client() as client_:
            (still,) = (await settle(client_)).pending
            assert "put the same files again" in str(still.reason)
            assert list(client_.memory.objects()) == []
            # With the files it can be made good; as this object or, where its index was hit, as another.
            again = await store(client_, FILES)
            assert [entry.object for entry in client_.memory.objects()] == [again.object]
            assert notes_of(client_).all() == []


def lose_one(node: SimNode, folder: str) -> None:
    disk = SimDisk(node.drive)
    path = folder
    while True:
        found = disk.stat(path)
        assert found is not None
        if not found.is_folder:
            disk.unlink(path)
            disk.sync_folder(path.rpartition("/")[0])
            return
        path = f"{path}/{disk.list_folder(path)[0]}"


async def test_a_log_that_was_never_reached_gets_the_entry_when_it_answers(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with consortium() as (pool, _):

        async def away(*_: object, **__: object) -> bytes:
            raise PendingError("the ledger peer does not answer")

        async with pool.client() as client_:
            with monkeypatch.context() as patch:
                patch.setattr(client.finish, "anchor_manifest", away)
                with pytest.raises(PendingError):
                    await store(client_, FILES)
            (note,) = waiting(client_)
            assert not note.receipt
            checked = check_pending_document(make_pending_document(note).encode(), pinned_pool=None)
            assert checked is not None
            assert (checked.object, checked.statement) == (note.entry.object, None)
            assert (await settle(client_)).settled == (note.entry,)


def signed_by_another_log(client_: Client, note: Unfinished) -> Unfinished:
    """What an organisation's first log would have left, after `rotate-key --key log`."""
    checkpoint = f"old/1\n1\n{base64.b64encode(bytes(32)).decode()}\n\n— old/1 {'A' * 92}\n".encode()
    proof = format_proof(Proof(0, (), checkpoint, b"leaf"))
    parts = make_pending(note.entry.object, proof, client_.home.roster_file)
    return note._replace(receipt=encode_receipt(parts))


async def store_without_log(client_: Client, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> Unfinished:
    async def away(*_: object, **__: object) -> bytes:
        raise PendingError("the ledger peer does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(client.finish, "anchor_manifest", away)
        with pytest.raises(PendingError):
            await store(client_, files)
    return waiting(client_)[-1]


def lost(manifests: Sequence[bytes], calls: list[int]) -> Callable[..., Awaitable[Holding]]:
    """Holders that have lost a shard of these objects, and nothing of others."""
    ids = [parse_manifest(data, expected=object_id(data)) for data in manifests]

    async def read(_: Client, manifest: Manifest, targets: Sequence[Target]) -> Holding:
        calls.append(len(targets))
        return Holding({(targets[0].root, targets[0].peer)} if manifest in ids else set(), {})

    return read


async def test_what_another_log_has_is_not_given_to_this_one_before_its_holders_have_it(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with consortium() as (pool, _), pool.client() as client_:
        note = signed_by_another_log(client_, await store_without_log(client_, monkeypatch, FILES))
        notes_of(client_).keep(note)
        with monkeypatch.context() as patch:
            patch.setattr(client.settle, "reread", lost([note.manifest_file], []))
            (still,) = (await settle(client_)).pending
            assert "1 of its shards are lost" in str(still.reason)
        other = await store(client_, OTHER)
        assert entries_of_log(other.receipt) == 1, "what was lost came into the log"
        assert (await settle(client_)).settled == (note.entry,)
        assert entries_of_log(client_.memory.receipt_file(note.entry.object) or b"") == 2


async def test_a_put_leaves_to_settling_what_is_large_or_has_no_entry(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with consortium() as (pool, nodes):
        note = await leave_pending(pool, nodes, FILES)
        await bring_back(nodes)
        said: list[str] = []
        async with pool.client() as client_:
            await trio.sleep(PASSING_AGE_S)
            with monkeypatch.context() as patch:
                patch.setattr(client.settle, "PASSING_MAX_BYTES", note.entry.stored_bytes - 1)
                await settle_in_passing(client_, said.append)
            notes_of(client_).keep(note._replace(receipt=b""))
            await settle_in_passing(client_, said.append)
            assert (said, len(waiting(client_))) == ([], 1)
            assert (await settle(client_)).settled == (note.entry,)


async def test_without_a_quorum_nothing_is_read_and_all_is_kept(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with consortium() as (pool, nodes):
        entries = [(await leave_pending(pool, nodes, {f"{n}": NOISE[n : n + 500]})).entry for n in range(4)]
        await trio.sleep(PASSING_AGE_S)
        calls: list[int] = []
        given: list[ObjectId] = []

        async def giving(peers: Asker, holders: Sequence[PeerId], message: StoreManifest) -> dict[PeerId, MoorageError]:
            given.append(message.object)
            return await store_on_all(peers, holders, message)

        monkeypatch.setattr(client.settle, "reread", lost([], calls))
        monkeypatch.setattr(client.settle, "store_on_all", giving)
        async with pool.client() as client_:
            await client_.find_peers()
            began = trio.current_time()
            still = (await settle(client_)).pending
            assert trio.current_time() - began < 3 * ASK_PATIENCE_S, "the log was asked for each"
            assert sorted(given) == sorted(entry.object for entry in entries)
            assert {str(item.reason) for item in still} == {
                "the log has the entry, but too few witnesses have cosigned it"
            }
            given.clear()
            said: list[str] = []
            await settle_in_passing(client_, said.append)
            assert (len(said), len(given), calls) == (1, 1, [])


async def leave_two_pending(pool: SimPool, nodes: list[SimNode]) -> tuple[Unfinished, Unfinished]:
    """Two objects, of which nothing is anchored; everybody is back."""
    first = await leave_pending(pool, nodes, FILES)
    second = await leave_pending(pool, nodes, OTHER)
    await bring_back(nodes)
    return first, second


async def test_what_is_lost_is_in_the_way_of_nothing_else(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with consortium() as (pool, nodes):
        bad, good = await leave_two_pending(pool, nodes)
        await trio.sleep(PASSING_AGE_S)
        calls: list[int] = []
        monkeypatch.setattr(client.settle, "reread", lost([bad.manifest_file], calls))
        said: list[str] = []
        async with pool.client() as client_:
            for _ in range(8):
                calls.clear()
                await settle_in_passing(client_, said.append)
                assert len(calls) <= 2
            assert f"object {good.entry.object} was pending and is anchored now" in said
            assert [item.entry for item in (await settle(client_)).pending] == [bad.entry]


async def test_what_begins_anew_meanwhile_is_not_settled_too(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with consortium() as (pool, _), pool.client() as client_:
        note = await store_without_log(client_, monkeypatch, FILES)

        async def no(*_: object) -> bool:
            return False

        async def meanwhile(client_: Client, manifest: Manifest, targets: Sequence[Target]) -> Holding:
            with monkeypatch.context() as patch:
                patch.setattr(client.again, "_is_held", no)
                # Another second, another manifest.
                await trio.sleep(2)
                await store(client_, FILES)
            return await reread(client_, manifest, targets)

        monkeypatch.setattr(client.settle, "reread", meanwhile)
        assert await settle(client_) == Settlement((), ())
        (entry,) = client_.memory.objects()
        assert entry.object != note.entry.object
        assert entries_of_log(client_.memory.receipt_file(entry.object) or b"") == 1
        notes_of(client_).update(note)
        assert notes_of(client_).all() == [], "what was ended came back"


async def test_where_the_quorum_is_lost_meanwhile_nothing_more_is_read(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_quorum(*_: object, **__: object) -> None:
        raise PendingError("too few witnesses")

    async with consortium() as (pool, nodes):
        for files in (FILES, OTHER):
            await leave_pending(pool, nodes, files)
        await bring_back(nodes)
        calls: list[int] = []
        monkeypatch.setattr(client.settle, "reread", lost([], calls))
        monkeypatch.setattr(client.settle, "finish", no_quorum)
        async with pool.client() as client_:
            assert [str(item.reason) for item in (await settle(client_)).pending] == ["too few witnesses"] * 2
            assert len(calls) == 1


async def test_an_error_of_one_is_not_that_of_others(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with consortium() as (pool, nodes):
        bad, good = await leave_two_pending(pool, nodes)
        async with pool.client() as client_:
            remember = client_.memory.remember_object

            def fail(entry: CatalogueEntry, manifest_file: bytes, receipt_file: bytes) -> None:
                if entry == bad.entry:
                    raise OSError("no room")
                remember(entry, manifest_file, receipt_file)

            monkeypatch.setattr(client_.memory, "remember_object", fail)
            settlement = await settle(client_)
            assert settlement.settled == (good.entry,)
            assert [(item.entry, item.reason.code) for item in settlement.pending] == [(bad.entry, "local-disk")]


async def test_what_too_few_holders_have_the_receipt_of_is_anchored_and_read_no_more(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: Asker, holders: Sequence[PeerId], __: StoreReceipt) -> dict[PeerId, MoorageError]:
        return {peer: PeerUnavailableError("gone") for peer in holders}

    async def away(*_: object, **__: object) -> None:
        raise PendingError("the log was asked")

    async with consortium() as (pool, _):
        async with pool.client() as client_:
            with monkeypatch.context() as patch:
                patch.setattr(client.finish, "store_on_all", refuse)
                with pytest.raises(PeerUnavailableError, match="holders took the receipt: the object is not safe yet"):
                    await store(client_, FILES)
            (note,) = waiting(client_)
            assert note.is_anchored
            assert check_receipt(parse_receipt(note.receipt)).object == note.entry.object
            with pytest.raises(PendingError, match="is anchored, but too few holders"):
                make_pending_document(note)
        calls: list[int] = []
        monkeypatch.setattr(client.settle, "reread", lost([], calls))
        monkeypatch.setattr(client.settle, "submit_leaves", away)
        monkeypatch.setattr(client.finish, "anchor_manifest", away)
        async with pool.client() as client_:
            assert ((await settle(client_)).settled, calls) == ((note.entry,), [])
            assert client_.memory.receipt_file(note.entry.object) == note.receipt


@pytest.mark.parametrize("last_step", ["remember_object", "end"])
async def test_a_settlement_that_was_broken_off_is_done_again(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, last_step: str
) -> None:
    async with consortium() as (pool, nodes):
        note = await leave_pending(pool, nodes, FILES)
        await bring_back(nodes)
        async with pool.client() as client_:
            where = type(client_.memory) if last_step == "remember_object" else type(notes_of(client_))

            def fail(*_: object) -> None:
                raise OSError("power cut")

            with monkeypatch.context() as patch:
                patch.setattr(where, last_step, fail)
                (still,) = (await settle(client_)).pending
                assert (still.reason.code, str(still.reason)) == ("local-disk", "this machine's disk: power cut")
            # Between its last two steps it is in the catalogue, and not pending any more.
            assert len(waiting(client_)) == (1 if last_step == "remember_object" else 0)
            assert (await settle(client_)).settled == (note.entry,)
            assert notes_of(client_).all() == []
            assert entries_of_log(client_.memory.receipt_file(note.entry.object) or b"") == 1


async def test_settlements_and_the_same_put_may_run_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with consortium() as (pool, nodes):
        note = await leave_pending(pool, nodes, FILES)
        await bring_back(nodes)
        async with pool.client() as client_:
            async with trio.open_nursery() as nursery:
                for _ in range(2):
                    nursery.start_soon(settle, client_)
                nursery.start_soon(store, client_, FILES)
            assert list(client_.memory.objects()) == [note.entry]
            assert notes_of(client_).all() == []
            assert entries_of_log(client_.memory.receipt_file(note.entry.object) or b"") == 1


# --- notes and documents ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Scene:
    """What is pending, as a document, and which pool it is of."""

    document: dict[str, Any]
    pool: PoolId


@pytest.fixture(scope="module")
def scene() -> Scene:
    made: list[Scene] = []

    async def run() -> None:
        async with consortium() as (pool, nodes):
            note = await leave_pending(pool, nodes, OTHER)
            async with pool.client() as client_:
                document = json.loads(make_pending_document(note))
                made.append(Scene(document, client_.home.roster.pool))
                await check_notes(client_, note)

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    return made[0]


@pytest.mark.skipif(not mldsa44_available(), reason="no ML-DSA-44 here")
async def test_witnesses_with_two_keys_are_counted_once_each(autojump_clock: trio.testing.MockClock) -> None:
    async with consortium(hybrid=True) as (pool, nodes):
        note = await leave_pending(pool, nodes, OTHER)
        found = check_pending_document(make_pending_document(note).encode(), pinned_pool=None)
        assert found is not None
        assert found.statement is not None
        assert (len(found.statement.cosigners) < 3, found.statement.needed, found.statement.witnesses) == (True, 3, 4)
        with pytest.raises(ReceiptError, match="lacks keys of witnesses"):
            check_receipt(parse_receipt(note.receipt))
        await bring_back(nodes)
        async with pool.client() as client_:
            assert (await settle(client_)).settled == (note.entry,)
            receipt = client_.memory.receipt_file(note.entry.object) or b""
            assert len(check_receipt(parse_receipt(receipt)).cosigners) == 3


async def check_notes(client_: Client, note: Unfinished) -> None:
    """By id or its beginning; one note for each content that begins anew; damage is told, and in nobody's way."""
    memory, notes = client_.memory, notes_of(client_)
    name = str(note.entry.object)
    for text in (name, name[:6], name.upper()):
        assert find_pending(memory, notes, text) == note
    assert find_pending(memory, notes, "") is None
    with pytest.raises(AmbiguousObjectError, match="give at least 4 digits"):
        find_pending(memory, notes, name[:2])
    assert [notes.find(note.entry.content), notes.find(bytes(32))] == [[note], []]
    twin = note._replace(entry=note.entry._replace(object=ObjectId(note.entry.object.raw[:20] + bytes(12))))
    notes.keep(twin)
    assert sorted(item.entry.object for item in notes.find(note.entry.content)) == sorted(
        [note.entry.object, twin.entry.object]
    )
    with pytest.raises(AmbiguousObjectError):
        find_pending(memory, notes, name[:8])
    logs = [parse_policy(organisation.policy) for organisation in client_.home.roster.organisations]
    assert [index_in_log(note.receipt, policy) for policy in logs] == [0, None, None, None]
    assert index_in_log(b"", logs[0]) is None
    notes.begin(note)
    assert notes.all() == [note]
    disk, path = client_.ports.disk, client_.home.path("state", "unfinished", "ab" * 32)
    with disk.open(path, "create") as file:
        file.write_at(0, b"no note")
    assert notes.damaged() == [path]
    assert (await settle(client_)).damaged == (path,)
    assert notes.all() == [note]


def checked(scene: Scene, pool: PoolId | None = None, **change: object) -> CheckedPending | None:
    return check_pending_document(json.dumps(scene.document | change).encode(), pinned_pool=pool)


def test_a_pending_receipt_says_how_far_it_is(scene: Scene) -> None:
    found = checked(scene, scene.pool)
    assert found is not None
    assert found.statement is not None
    statement = found.statement
    assert (statement.index, statement.tree_size, statement.needed, statement.witnesses) == (0, 1, 3, 4)
    assert len(statement.cosigners) < statement.needed
    assert (str(statement.object), statement.organisation) == (scene.document["object"], "hospital-1")
    assert scene.document["state"] == "pending"


def test_nothing_takes_a_pending_receipt_for_a_receipt(scene: Scene) -> None:
    parts = parse_receipt(base64.b64decode(scene.document["receipt"]))
    with pytest.raises(BadSignatureError, match="quorum"):
        check_receipt(parts)


def test_a_pending_receipt_of_another_pool_object_or_manifest_is_refused(scene: Scene) -> None:
    with pytest.raises(ReceiptError, match="from pool"):
        checked(scene, PoolId(bytes(32)))
    for change in ({"object": "00" * 32}, {"manifest": ""}, {"receipt": "!"}, {"receipt": None}, {"object": 7}):
        with pytest.raises(MoorageError):
            checked(scene, **change)
    assert checked(scene, format="moorage-receipt/1") is None


@given(st.data())
def test_a_pending_receipt_that_was_changed_is_refused(scene: Scene, data: st.DataObject) -> None:
    parts = bytearray(base64.b64decode(scene.document["receipt"]))
    parts[data.draw(st.integers(0, len(parts) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(MoorageError):
        checked(scene, receipt=base64.b64encode(parts).decode())


def test_an_entry_that_the_log_did_not_sign_is_not_even_pending(scene: Scene) -> None:
    parts = parse_receipt(base64.b64decode(scene.document["receipt"]))
    proof = parse_proof(parts.proof)
    text, _, _ = proof.checkpoint.partition(b"\n\n")
    foreign = text + b"\n\n" + "— someone AAAAAAAA\n".encode()
    with pytest.raises(BadSignatureError, match="no signature by a known key"):
        check_pending(replace(parts, proof=format_proof(replace(proof, checkpoint=foreign))))
    with pytest.raises(ReceiptError):
        check_pending(replace(parts, proof=format_proof(replace(proof, path=(bytes(32),)))))
    with pytest.raises(ReceiptError, match="another object"):
        check_pending(replace(parts, object=ObjectId(bytes(32))))
    with pytest.raises(MoorageError):
        check_pending(replace(parts, proof=format_proof(replace(proof, extra=None))))


@given(st.binary(max_size=200))
def test_any_bytes_are_no_pending_receipt(data: bytes) -> None:
    for candidate in (data, b"{" + data, b'{"format": "moorage-pending-receipt/1", "object": "' + data + b'"}'):
        with suppress(MoorageError):
            assert check_pending_document(candidate, pinned_pool=None) is None

"""New keys for a ledger peer while the others run: the witness remembers on, and a log ends when another follows it."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest
import trio
import trio.testing

from anchor.checkpoint import parse_checkpoint
from anchor.note import NoteKey, parse_note
from anchor.organisation import Organisation, Roster, with_policies
from anchor.policy import parse_policy
from anchor.proof import parse_proof
from anchor.witness import AddCheckpoint
from anchor.writer import LogWriter
from client.home import (
    NEXT_SERVICE_LOG_FILE,
    NEXT_SERVICE_WITNESS_FILE,
    SERVICE_LOG_FILE,
    SERVICE_WITNESS_FILE,
    HeldRoster,
    LedgerKeys,
)
from client.ledger import cosigners_of, policy_of
from client.logs import kept_policy, open_folder
from client.member import member_of
from client.trust import trust_in_home
from client.web import WebClient
from core.durable import read_file, write_file
from core.errors import BusyError, LedgerError, WitnessRefusedError
from core.identity import key_from_seed
from core.ports import Disk
from tests.anchor.ledgers import copy_tree, leaf
from tests.ledger.members import POOL_NAME, Member, folder_name
from tests.ledger.test_members import HOME, Consortium, anchored, consortium, proofs, remembered, witness_folder
from tests.sim.disk import SimDisk
from wire.messages import SubmitLeaves
from wire.web import WebPlace

NEW_WITNESS, NEW_LOG = b"\x11" * 32, b"\x22" * 32


def roster_with(made: Consortium, *, number: int = 1) -> Roster:
    """By the keys that the members have now; the first one's log has this number."""
    rows = [
        Organisation(
            name=member.name,
            issuer=member.hospital.issuer,
            manifest_key=bytes([member.number]) * 32,
            sealing_key=bytes([member.number]) * 32,
            policy="",
            member=member_of(
                member.address,
                origin_of(member, number),
                bytes([200 + member.number]) * 32,
                member.keys.log_seed,
                member.keys.witness_seed,
            ),
        )
        for member in made.members
    ]
    return Roster(POOL_NAME, 2, b"", with_policies(rows), (), b"r" * 32)


def origin_of(member: Member, number: int) -> str:
    return member.origin if member.number else f"{member.origin[:-1]}{number}"


async def go_by(made: Consortium, roster: Roster) -> None:
    """All that run; they take it up within seconds."""
    for member in made.members:
        member.roster = roster
    await trio.sleep(6)


def disk_of(made: Consortium, number: int) -> Disk:
    """While it does not run: a running peer's drive is its own."""
    return SimDisk(made.nodes[number].drive)


def give(disk: Disk, name: str, seed: bytes) -> None:
    write_file(disk, f"{HOME}/{name}", seed, token="t")


async def published(made: Consortium, number: int) -> bytes:
    """What the first log of this member shows."""
    member = made.members[number]
    web = WebClient(made.net(1), WebPlace(member.address, f"/log/{folder_name(member.origin)}"))
    found = await web.get("/checkpoint", max_bytes=10**6)
    await web.aclose()
    return found.body


def signers(note: bytes) -> set[tuple[str, bytes]]:
    return {(line.name, line.key_id) for line in parse_note(note).signatures}


def witness_keys(member: Member, seed: bytes, number: int = 1) -> set[tuple[str, bytes]]:
    keys: list[NoteKey] = [item.key for item in cosigners_of(origin_of(member, number), seed)]
    return {(key.name, key.key_id) for key in keys}


async def stopped_with_a_memory(made: Consortium, witness_seed: bytes) -> Disk:
    """The fourth peer has cosigned an entry of the first's log; it is down, and its seed lies on its disk."""
    await go_by(made, roster_with(made))
    await anchored(made.members[0], leaf(0))
    await trio.sleep(5)
    made.nodes[3].kill()
    disk = disk_of(made, 3)
    give(disk, SERVICE_WITNESS_FILE, witness_seed)
    return disk


async def test_a_witness_signs_with_its_new_key_from_what_it_remembers_and_with_the_old_no_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with consortium() as made:
        first, other = made.members[0], made.members[3]
        old = other.keys.witness_seed
        disk = await stopped_with_a_memory(made, old)
        give(disk, NEXT_SERVICE_WITNESS_FILE, NEW_WITNESS)
        backup = SimDisk()
        copy_tree(disk, backup, f"{HOME}/ledger/witness")
        made.nodes[3].start()
        await trio.sleep(5)
        await anchored(first, leaf(1))
        await trio.sleep(5)
        # Nobody goes by a key that is only there.
        assert witness_keys(other, old) <= signers(await remembered(other, first))
        other.keys = LedgerKeys(other.keys.log_seed, NEW_WITNESS)
        await go_by(made, roster_with(made))
        await anchored(first, leaf(2))
        await trio.sleep(5)
        seen = await remembered(other, first)
        assert parse_checkpoint(parse_note(seen).text).size == 3
        assert witness_keys(other, NEW_WITNESS) <= signers(seen)
        assert not witness_keys(other, old) & signers(seen)
        made.nodes[3].kill()
        disk = disk_of(made, 3)
        assert read_file(disk, f"{HOME}/{SERVICE_WITNESS_FILE}", max_bytes=99) == NEW_WITNESS
        assert disk.stat(f"{HOME}/{NEXT_SERVICE_WITNESS_FILE}") is None
        # An old copy of the folder is known for one, though other keys signed then.
        for path in (f"{witness_folder(first)}/checkpoint", f"{witness_folder(first)}/lock"):
            disk.unlink(path)
        copy_tree(backup, disk, witness_folder(first))
        made.nodes[3].start()
        await trio.sleep(5)
        assert not (await anchored(first, leaf(3))).pending
        await trio.sleep(30)
        assert other.ledger.witness is not None
        assert "an old copy" in str(other.ledger.witness.failure)


def begin_next_log(disk: Disk, member: Member) -> None:
    """As ``consortium rotate-key --key log`` does."""
    give(disk, SERVICE_LOG_FILE, member.keys.log_seed)
    give(disk, NEXT_SERVICE_LOG_FILE, NEW_LOG)
    policy = policy_of(origin_of(member, 2), NEW_LOG, member.keys.witness_seed)
    LogWriter.create(disk, f"{HOME}/ledger/log", key=key_from_seed(NEW_LOG), policy=policy)


@pytest.mark.parametrize("lost", [False, True])
async def test_a_log_ends_and_the_next_one_begins_when_the_roster_names_it(
    lost: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """Also when the folder of the first is gone."""
    async with consortium() as made:
        member = made.members[0]
        before = roster_with(made)
        await go_by(made, before)
        await anchored(member, leaf(0), leaf(1))
        made.nodes[0].kill()
        disk = disk_of(made, 0)
        begin_next_log(disk, member)
        if lost:
            folder = f"{HOME}/ledger/log/{folder_name(member.origin)}"
            for name in ("stage", "checkpoint"):
                disk.unlink(f"{folder}/{name}")
        made.nodes[0].start()
        await trio.sleep(5)
        if lost:
            with pytest.raises(BusyError):
                await anchored(member, leaf(2))
        else:
            assert (await anchored(member, leaf(2))).indices == (2,)
        member.keys = LedgerKeys(NEW_LOG, member.keys.witness_seed)
        after = roster_with(made, number=2)
        await go_by(made, after)
        await trio.sleep(5)
        answer = await anchored(member, leaf(3))
        assert not answer.pending, member.said
        assert answer.indices == (0,)
        policy = parse_policy(after.organisations[0].policy)
        (proof,) = proofs(answer, (leaf(3),))
        checked = parse_proof(proof).check(leaf(3), policy)
        assert len(checked.cosigner_names) >= 3
        assert parse_checkpoint(parse_note(answer.checkpoint).text).origin == origin_of(member, 2)
        if not lost:
            assert any("ended" in line and "follows it" in line for line in member.said)
            # Whoever tails it reads it to its end, which does not move any more.
            assert parse_checkpoint(parse_note(await published(made, 0)).text).size == 3
        made.nodes[0].kill()
        disk = disk_of(made, 0)
        assert read_file(disk, f"{HOME}/{SERVICE_LOG_FILE}", max_bytes=99) == NEW_LOG
        assert disk.stat(f"{HOME}/{NEXT_SERVICE_LOG_FILE}") is None
        # By what the log that ended can be verified is known for ever.
        for number, known in ((1, before), (2, after)):
            folder = f"{HOME}/ledger/log/{folder_name(origin_of(member, number))}"
            assert kept_policy(disk, folder) == known.organisations[0].policy
            if not (lost and number == 1):
                open_folder(disk, folder, kept_policy(disk, folder))
        home = replace(member.home(HOME, made.roster_file), held=HeldRoster(after, b""))
        trust = trust_in_home(disk, home, member.origin)
        assert trust is not None
        assert "a log that ended" in trust.words
        assert trust.policy == before.organisations[0].policy
        made.nodes[0].start()
        await trio.sleep(15)
        again = await anchored(member, leaf(3), leaf(4))
        assert again.indices == (0, 1)


async def test_what_is_published_bears_the_new_names_before_anything_new_is_written(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with consortium() as made:
        first, second = made.members[0], made.members[1]
        await go_by(made, roster_with(made))
        await anchored(second, leaf(0))
        made.nodes[0].kill()
        begin_next_log(disk_of(made, 0), first)
        made.nodes[0].start()
        await trio.sleep(10)
        first.keys = LedgerKeys(NEW_LOG, first.keys.witness_seed)
        after = roster_with(made, number=2)
        await go_by(made, after)
        await trio.sleep(20)
        note = await published(made, 1)
        parse_policy(after.organisations[1].policy).check_checkpoint(note)
        assert witness_keys(first, first.keys.witness_seed, 2) <= signers(note)


async def test_who_waits_for_a_log_that_ends_is_told(autojump_clock: trio.testing.MockClock) -> None:
    async with consortium() as made:
        member = made.members[0]
        await go_by(made, roster_with(made))
        await anchored(member, leaf(0))
        made.nodes[0].kill()
        begin_next_log(disk_of(made, 0), member)
        made.nodes[0].start()
        await trio.sleep(5)
        await anchored(member, leaf(1))
        for node in made.nodes[1:]:
            node.kill()
        failures: list[Exception] = []

        async def submit() -> None:
            try:
                await member.ledger.submit(member.person.identity, SubmitLeaves(20_000, (leaf(2),)))
            except LedgerError as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(submit)
            await trio.sleep(1)
            member.keys = LedgerKeys(NEW_LOG, member.keys.witness_seed)
            member.roster = roster_with(made, number=2)
        assert [str(error) for error in failures] != []
        assert "follows it" in str(failures[0])


async def test_a_memory_from_before_a_rotation_signs_nothing_before_it_is_synchronised(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Home and all came back from before: the key that the roster has is lost, and a third one follows it."""
    async with consortium() as made:
        first, other = made.members[0], made.members[3]
        old = other.keys.witness_seed
        disk = await stopped_with_a_memory(made, old)
        backup = SimDisk()
        copy_tree(disk, backup, f"{HOME}/ledger/witness")
        give(disk, NEXT_SERVICE_WITNESS_FILE, NEW_WITNESS)
        made.nodes[3].start()
        other.keys = LedgerKeys(other.keys.log_seed, NEW_WITNESS)
        await go_by(made, roster_with(made))
        await anchored(first, leaf(1))
        await trio.sleep(5)
        assert parse_checkpoint(parse_note(await remembered(other, first)).text).size == 2
        made.nodes[3].kill()
        disk = disk_of(made, 3)
        for name in ("checkpoint", "lock"):
            disk.unlink(f"{witness_folder(first)}/{name}")
        copy_tree(backup, disk, witness_folder(first))
        write_file(disk, f"{HOME}/ledger/witness/witness", marker_of(backup), token="t")
        give(disk, SERVICE_WITNESS_FILE, old)
        other.keys = LedgerKeys(other.keys.log_seed, old)
        other.said.clear()
        # The roster still has the key that is lost.
        made.nodes[3].start()
        await trio.sleep(10)
        assert other.ledger.witness is None
        assert any("the roster has other keys" in line and SERVICE_WITNESS_FILE in line for line in other.said)
        made.nodes[3].kill()
        give(disk_of(made, 3), NEXT_SERVICE_WITNESS_FILE, third := b"\x33" * 32)
        for node in made.nodes[:3]:
            node.kill()
        made.nodes[3].start()
        other.keys = LedgerKeys(other.keys.log_seed, third)
        await go_by(made, roster_with(made))
        await trio.sleep(60)
        assert other.ledger.witness is None, "nobody tells it what it signed"
        for node in made.nodes[:3]:
            node.start()
        await trio.sleep(120)
        assert any("remembers again" in line for line in other.said)
        assert parse_checkpoint(parse_note(await remembered(other, first)).text).size == 2
        await anchored(first, leaf(2))
        await trio.sleep(5)
        assert witness_keys(other, third) <= signers(await remembered(other, first))


def marker_of(disk: Disk) -> bytes:
    found = read_file(disk, f"{HOME}/ledger/witness/witness", max_bytes=10_000)
    assert found is not None
    return found


async def test_a_damaged_key_that_nobody_asks_for_keeps_no_roster_from_being_taken(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with consortium() as made:
        first, other = made.members[0], made.members[3]
        await go_by(made, roster_with(made))
        made.nodes[3].kill()
        give(disk_of(made, 3), NEXT_SERVICE_WITNESS_FILE, b"n" * 31)
        made.nodes[3].start()
        await trio.sleep(5)
        assert any("31 bytes" in line for line in other.said)
        await anchored(other, leaf(0))
        await anchored(first, leaf(1))
        await trio.sleep(5)
        assert await remembered(other, first)
        # A member leaves: nothing more is signed for it.
        whole = roster_with(made)
        other.roster = replace(whole, organisations=with_policies(list(whole.organisations[1:])))
        await trio.sleep(6)
        assert other.ledger.witness is not None
        with pytest.raises(WitnessRefusedError, match="does not serve"):
            await other.ledger.witness.add_checkpoint(AddCheckpoint(0, (), await published(made, 0)))


async def test_one_failure_of_the_disk_delays_a_new_key_by_a_minute(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async with consortium() as made:
        member = made.members[0]
        await go_by(made, roster_with(made))
        made.nodes[0].kill()
        begin_next_log(disk_of(made, 0), member)
        made.nodes[0].start()
        await trio.sleep(5)
        disk, calls = member.ledger._ports.disk, 0

        def fail_once(path: str) -> None:
            nonlocal calls
            if path == f"{HOME}/keys":
                calls += 1
                if calls == 1:
                    raise OSError(errno.EIO, "input/output error", path)
            sync(path)

        sync = disk.sync_folder
        monkeypatch.setattr(disk, "sync_folder", fail_once)
        member.keys = LedgerKeys(NEW_LOG, member.keys.witness_seed)
        await go_by(made, roster_with(made, number=2))
        assert calls == 1
        with pytest.raises((BusyError, LedgerError)):
            await anchored(member, leaf(0))
        await trio.sleep(70)
        assert (await anchored(member, leaf(0))).indices == (0,)

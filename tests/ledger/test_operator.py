"""The log operator among its witnesses: what is anchored, when, and what is not."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, Unpack

import pytest
import trio
import trio.testing

from anchor.files import read_file
from anchor.log import Anchored
from anchor.merkle import EMPTY_ROOT
from anchor.note import (
    NOTE_MAX_BYTES,
    Ed25519Signer,
    NoteKey,
    Signature,
    encode_base64,
    format_note,
    parse_note,
)
from anchor.policy import make_policy, parse_policy
from anchor.witness import AddCheckpoint, origin_folder
from core.errors import (
    BadSignatureError,
    BusyError,
    CorruptError,
    LedgerError,
    MalformedError,
    PeerUnavailableError,
    StoreFullError,
    UsageError,
    WitnessRefusedError,
)
from daemon.leafqueue import OperatorLimits
from tests.anchor.ledgers import COSIGNERS, FOUR, LOG, LOG_KEY, NOW_S, ORIGIN, POLICY, flip, leaf, leaves
from tests.ledger.consortium import NearWitness, check, create_log, near_witnesses, running
from tests.sim.disk import SimDisk
from tests.sim.drive import SimDrive
from tests.sim.threads import SimThreads

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@pytest.fixture
def disk() -> SimDisk:
    disk = SimDisk()
    create_log(disk)
    return disk


async def test_a_leaf_is_anchored_once_three_of_four_have_signed(
    disk: SimDisk, autojump_clock: trio.testing.MockClock
) -> None:
    witnesses = near_witnesses()
    witnesses[3].late_s = None
    async with running(disk, witnesses) as operator:
        began = trio.current_time()
        anchored = await operator.submit(leaf(0))
        check([anchored])
        assert anchored.index == 0
        assert trio.current_time() - began < 0.2
        assert operator.published_size == 1


async def test_many_at_once_share_a_commit(disk: SimDisk, autojump_clock: trio.testing.MockClock) -> None:
    witnesses = near_witnesses()
    found: list[Anchored] = []
    async with running(disk, witnesses) as operator, trio.open_nursery() as nursery:

        async def one(number: int) -> None:
            found.append(await operator.submit(leaf(number % 300)))

        for number in range(600):
            nursery.start_soon(one, number)
    check(found)
    assert len({(item.index, item.leaf) for item in found}) == 300
    assert {item.leaf for item in found} == set(leaves(0, 300))
    assert {item.index for item in found} == set(range(300))
    assert max(len(witness.asked) for witness in witnesses) < 8


async def test_under_load_commits_are_apart_and_a_lone_leaf_is_not_made_to_wait(
    disk: SimDisk, autojump_clock: trio.testing.MockClock
) -> None:
    """Each commit costs signatures and syncs, however few leaves it has."""
    witnesses = near_witnesses()
    limits = OperatorLimits()
    took: list[float] = []
    async with running(disk, witnesses, limits=limits) as operator:

        async def one(number: int) -> None:
            began = trio.current_time()
            await operator.submit(leaf(number))
            took.append(trio.current_time() - began)

        await one(0)
        took.clear()
        for number in range(1, 10):
            await one(number)
            await trio.sleep(0.05)
        assert max(took) < 0.04
        took.clear()
        asked = len(witnesses[0].asked)
        async with trio.open_nursery() as nursery:
            for number in range(10, 2010):
                nursery.start_soon(one, number)
                await trio.sleep(0.001)
        assert len(witnesses[0].asked) - asked <= 2 + 2 / limits.apart_s
        assert max(took) < limits.apart_s + 0.06


class CountedThreads(SimThreads):
    """Counts disk jobs that run at the same time."""

    def __init__(self) -> None:
        super().__init__(chance=random.Random(1))
        self.running = self.most = 0

    async def disk(self, job: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await super().disk(job, *args)
        finally:
            self.running -= 1


async def test_a_commits_tiles_are_synced_at_the_same_time(
    disk: SimDisk, autojump_clock: trio.testing.MockClock
) -> None:
    """A disk syncs several files together sooner than one after the other."""
    threads = CountedThreads()
    async with running(disk, near_witnesses(), threads=threads) as operator:
        assert not (await operator.submit_all(leaves(0, 700), 20)).pending
    assert threads.most >= 4


async def test_below_the_quorum_nothing_is_shown_and_leaves_are_durable(
    disk: SimDisk, autojump_clock: trio.testing.MockClock
) -> None:
    witnesses = near_witnesses()
    async with running(disk, witnesses) as operator:
        first = await operator.submit(leaf(0))
        for witness in witnesses[:2]:
            witness.late_s = None
        submitted = await operator.submit_all(leaves(1, 4), 8)
        assert submitted.pending
        assert [item.index for item in submitted.anchored] == [1, 2, 3]
        note = parse_note(submitted.anchored[0].checkpoint)
        assert [signature.name for signature in note.signatures] == [ORIGIN]
        with pytest.raises(BadSignatureError, match="nobody"):
            check(submitted.anchored)
        assert published(disk) == first.checkpoint
        for witness in witnesses:
            witness.late_s = 0.03
        # Nobody need submit it again.
        await trio.sleep(20)
        assert operator.published_size == 4
        again = await operator.submit_all(leaves(0, 4), 5)
        assert not again.pending
        check(again.anchored)


async def test_pending_leaves_are_anchored_after_a_restart(
    disk: SimDisk, autojump_clock: trio.testing.MockClock
) -> None:
    witnesses = near_witnesses()
    async with running(disk, witnesses) as operator:
        await operator.submit(leaf(0))
        for witness in witnesses[:2]:
            witness.late_s = None
        assert (await operator.submit_all([leaf(1)], 8)).pending
    for witness in witnesses:
        witness.late_s = 0.03
    async with running(disk, witnesses) as operator:
        await trio.sleep(1)
        assert operator.published_size == 2
        anchored = await operator.submit(leaf(1))
        assert anchored.index == 1
        check([anchored])


async def test_what_is_not_durable_yet_is_not_said_to_be_pending(
    disk: SimDisk, autojump_clock: trio.testing.MockClock
) -> None:
    witnesses = near_witnesses()
    for witness in witnesses[:2]:
        witness.late_s = None
    async with running(disk, witnesses) as operator:
        with pytest.raises(PeerUnavailableError, match="no quorum"):
            await operator.submit_all([leaf(0)], 8)
        assert operator.committed_size == 0


async def test_late_cosignatures_are_added_to_what_is_published(
    disk: SimDisk, autojump_clock: trio.testing.MockClock
) -> None:
    witnesses = near_witnesses()
    witnesses[3].late_s = 1.0
    async with running(disk, witnesses) as operator:
        anchored = await operator.submit(leaf(0))
        assert len(parse_policy(FOUR).check_checkpoint(anchored.checkpoint).cosigner_names) == 3
        await trio.sleep(5)
        note = published(disk)
        assert note is not None
        assert len(parse_policy(FOUR).check_checkpoint(note).cosigner_names) == 4


async def test_a_witness_that_comes_back_catches_up(disk: SimDisk, autojump_clock: trio.testing.MockClock) -> None:
    witnesses = near_witnesses()
    async with running(disk, witnesses) as operator:
        await operator.submit(leaf(0))
        witnesses[3].late_s = None
        for number in range(1, 20):
            await operator.submit(leaf(number))
        witnesses[3].late_s = 0.03
        await trio.sleep(30)
        latest = witnesses[3].witness.latest(ORIGIN)
        assert latest is not None
        assert latest.size == 20


async def test_a_dead_witness_costs_no_latency(disk: SimDisk, autojump_clock: trio.testing.MockClock) -> None:
    witnesses = near_witnesses()
    witnesses[0].late_s = None
    async with running(disk, witnesses) as operator:
        await operator.submit(leaf(0))
        for number in range(1, 50):
            began = trio.current_time()
            await operator.submit(leaf(number))
            assert trio.current_time() - began < 0.15


async def test_a_new_witness_far_behind_costs_one_more_round_trip(
    disk: SimDisk, autojump_clock: trio.testing.MockClock
) -> None:
    witnesses = near_witnesses()
    async with running(disk, witnesses[:3]) as operator:
        await operator.submit_all(leaves(0, 200), 5)
    async with running(disk, witnesses) as operator:
        await operator.submit(leaf(200))
        await trio.sleep(1)
    assert [request.old_size for request in witnesses[3].asked[:2]] == [200, 0]


async def test_a_full_queue_is_busy_and_empties(disk: SimDisk, autojump_clock: trio.testing.MockClock) -> None:
    limits = OperatorLimits(queue_leaves=100, unpublished_leaves=150)
    witnesses = near_witnesses()
    async with running(disk, witnesses, limits=limits) as operator:
        await operator.submit(b"first")
        with pytest.raises(BusyError):
            await operator.submit_all(leaves(0, 101), 5)
        assert not (await operator.submit_all(leaves(0, 100), 5)).pending
        for witness in witnesses:
            witness.late_s = None
        for first in (100, 200):
            assert (await operator.submit_all(leaves(first, first + 100), 40)).pending
        with pytest.raises(BusyError, match="quorum"):
            await operator.submit(b"more")


async def test_an_oversize_leaf_is_refused(disk: SimDisk, autojump_clock: trio.testing.MockClock) -> None:
    async with running(disk, near_witnesses()) as operator:
        with pytest.raises(UsageError):
            await operator.submit(bytes(65_536))
        check([await operator.submit(bytes(65_535))])


async def test_a_caller_that_leaves_takes_nothing_with_it(
    disk: SimDisk, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(disk, near_witnesses()) as operator:
        with trio.move_on_after(0.01):
            await operator.submit(leaf(0))
        await trio.sleep(1)
        assert operator.published_size == 1


async def test_a_full_disk_fails_those_who_wait_and_the_log_goes_on(autojump_clock: trio.testing.MockClock) -> None:
    drive = SimDrive(1)
    disk = SimDisk(drive)
    create_log(disk)
    async with running(disk, near_witnesses()) as operator:
        await operator.submit(leaf(0))
        drive.faults.capacity_bytes = drive.used_bytes
        with pytest.raises(StoreFullError):
            await operator.submit(leaf(1))
        drive.faults.capacity_bytes = 2**40
        check([await operator.submit(leaf(1))])


async def test_a_new_roster_changes_witnesses_without_a_restart(
    disk: SimDisk, autojump_clock: trio.testing.MockClock
) -> None:
    witnesses = near_witnesses()
    async with running(disk, witnesses[:1], POLICY) as operator:
        check([await operator.submit(leaf(0))], POLICY)
        operator.use(FOUR, witnesses)
        check([await operator.submit(leaf(1))])
        note = published(disk)
        assert note is not None
        assert parse_policy(FOUR).check_checkpoint(note).checkpoint.size == 2


async def test_a_disk_that_fails_stops_the_log_and_everybody_hears_why(
    disk: SimDisk, autojump_clock: trio.testing.MockClock
) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(LedgerError, match="somebody else has written")):
        async with running(disk, near_witnesses()) as operator:
            await operator.submit(leaf(0))
            flip(disk, f"{operator._writer.folder}/stage", 40)
            with pytest.raises(LedgerError):
                await operator.submit(leaf(1))
            with pytest.raises(LedgerError):
                await operator.submit(leaf(2))
            await trio.sleep(1)


@pytest.mark.parametrize("harm", ["damaged", "gone"])
async def test_an_old_tile_that_is_damaged_fails_its_own_leaves_only(
    harm: str, disk: SimDisk, autojump_clock: trio.testing.MockClock
) -> None:
    said: list[str] = []
    async with running(disk, near_witnesses(), said=said) as operator:
        await operator.submit_all(leaves(0, 600), 5)
        # The tiles of the newest commit are in memory.
        await operator.submit(leaf(600))
        tile = f"{operator._writer.folder}/tile/0/000"
        flip(disk, tile, 40) if harm == "damaged" else disk.unlink(tile)
        failures: list[str] = []

        async def fails() -> None:
            with pytest.raises(LedgerError, match="old tile") as failed:
                await operator.submit(leaf(10))
            failures.append(str(failed.value))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails)
            check([await operator.submit(leaf(550))])
        check([await operator.submit(leaf(601))])
        assert operator.failure is None
        assert len(failures) == 1
    assert any("leaf 10 " in line for line in said), said


async def test_what_an_old_tile_cannot_tell_is_refused_and_the_log_goes_on(
    disk: SimDisk, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(disk, near_witnesses()) as operator:
        await operator.submit_all(leaves(0, 600), 5)
        disk.unlink(f"{operator._writer.folder}/tile/0/000")
        with monkeypatch.context() as patch:
            # As of leaves that have left the memory of the newest.
            patch.setattr(operator._writer._known, "look", lambda hashes: ({}, list(hashes)))
            with pytest.raises(LedgerError, match="nothing was added"):
                await operator.submit(leaf(10))
        assert operator.failure is None
        assert (await operator.submit(leaf(600))).index == 600


async def test_who_loses_patience_while_a_commit_is_under_way_hears_of_the_one_before(
    disk: SimDisk, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    witnesses = near_witnesses()
    async with running(disk, witnesses) as operator, trio.open_nursery() as nursery:
        await operator.submit(leaf(0))
        for witness in witnesses[:2]:
            witness.late_s = None

        async def loses_patience() -> None:
            submitted = await operator.submit_all([leaf(1)], 8)
            assert submitted.pending
            assert submitted.anchored[0].index == 1

        nursery.start_soon(loses_patience)
        await trio.sleep(7)
        with monkeypatch.context() as patch:
            # As on a thread, between the log's signature and its durability.
            patch.setattr(operator._writer, "_latest", None)
            await trio.sleep(2)


async def test_a_log_that_is_longer_than_may_wait_takes_leaves_from_its_start_on(
    disk: SimDisk, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(disk, near_witnesses()) as operator:
        await operator.submit_all(leaves(0, 20), 5)
    witnesses = near_witnesses()
    async with running(disk, witnesses, limits=OperatorLimits(unpublished_leaves=10)) as operator:
        await trio.sleep(0.001)
        assert operator.published_size == -1
        check([await operator.submit(leaf(20))])


@pytest.mark.parametrize("at_s", [number / 100 for number in range(10)])
async def test_a_new_roster_at_any_moment_loses_nobody_who_waits(
    at_s: float, autojump_clock: trio.testing.MockClock
) -> None:
    disk = SimDisk()
    create_log(disk)
    witnesses = near_witnesses()
    threads = SimThreads(chance=random.Random(1), disk_cost_s=(0.02, 0.02), cpu_cost_s=(0.001, 0.001))
    async with running(disk, witnesses, threads=threads) as operator:
        await operator.submit_all(leaves(0, 300), 5)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:

                async def one(number: int) -> None:
                    check([await operator.submit(leaf(number))])

                for number in (10, 550):
                    nursery.start_soon(one, number)
                await trio.sleep(at_s)
                operator.use(FOUR, witnesses)


async def test_large_leaves_that_wait_for_a_quorum_are_bounded_in_bytes(
    disk: SimDisk, autojump_clock: trio.testing.MockClock
) -> None:
    witnesses = near_witnesses()
    async with running(disk, witnesses, limits=OperatorLimits(unpublished_bytes=100_000)) as operator:
        await operator.submit(leaf(0))
        for witness in witnesses[:2]:
            witness.late_s = None
        large = [bytes([number]) * 60_000 for number in range(3)]
        assert (await operator.submit_all(large[:2], 8)).pending
        with pytest.raises(BusyError, match="quorum"):
            await operator.submit(large[2])
        for witness in witnesses:
            witness.late_s = 0.03
        await trio.sleep(20)
        check([await operator.submit(large[2])])


class Forestalled(NearWitness):
    """Slow; meanwhile somebody else shows it a newer checkpoint of the log, which another witness was asked about."""

    other: NearWitness

    async def add_checkpoint(self, request: AddCheckpoint) -> str:
        await trio.sleep(1)
        if self.witness.latest(ORIGIN) is None:
            self.witness.add_checkpoint(0, (), self.other.asked[-1].checkpoint, now_s=NOW_S)
        return await super().add_checkpoint(request)


async def test_a_witness_that_was_shown_a_newer_checkpoint_by_others_stops_no_log(
    disk: SimDisk, autojump_clock: trio.testing.MockClock
) -> None:
    witnesses = near_witnesses()
    forestalled = Forestalled(witnesses[3].witness)
    forestalled.other = witnesses[0]
    async with running(disk, [*witnesses[:3], forestalled]) as operator:
        check([await operator.submit(leaf(0))])
        await trio.sleep(5)
        assert operator.failure is None
        check([await operator.submit(leaf(1))])


# --- attacks ----------------------------------------------------------------------------------


class Forger(NearWitness):
    """``change`` is done to what an honest witness would answer."""

    change: Callable[[str], str] = staticmethod(lambda lines: lines)

    async def add_checkpoint(self, request: AddCheckpoint) -> str:
        return self.change(await super().add_checkpoint(request))


def trailing_bits(lines: str) -> str:
    """The last character before the padding has unused bits: set them."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    body = lines.rstrip("\n")
    assert body.endswith("="), "the length of a signature changed: choose another test"
    padding = len(body) - len(body.rstrip("="))
    last = body[-padding - 1]
    return f"{body[: -padding - 1]}{alphabet[alphabet.index(last) | 1]}{'=' * padding}\n"


ATTACKS: dict[str, Callable[[str], str]] = {
    "forged cosignature": lambda lines: lines[:-20] + ("AAAA" if lines[-20:-16] != "AAAA" else "BBBB") + lines[-16:],
    "another witness' name": lambda lines: re.sub("[0-3]", lambda digit: str((int(digit[0]) + 1) % 4), lines, count=1),
    "unknown signature type": lambda _: Signature("hospital-1.example/witness", b"\xff" * 4, bytes(80)).line,
    "no signature at all": lambda _: "",
    "oversized note": lambda lines: lines * 2000,
    "garbage": lambda _: "<html>\n",
    "hundreds of lines": lambda lines: "— a AAAAAAAAAA==\n" * 500,
}


@pytest.mark.parametrize("name", sorted(ATTACKS))
async def test_attack_by_a_witness(name: str, disk: SimDisk, autojump_clock: trio.testing.MockClock) -> None:
    """With two others silent or as bad, nothing is published; with three honest ones, everything is."""
    honest = near_witnesses()
    forgers = [Forger(witness.witness, url=witness.url) for witness in honest]
    for forger in forgers:
        forger.change = ATTACKS[name]
    several = name == "oversized note"
    async with running(disk, [honest[0], *forgers[1:]]) as operator:
        await trio.sleep(10)
        # Many copies of one true line are one signature.
        assert (operator.published_size >= 0) == several
    async with running(disk, [honest[0], forgers[1], *honest[2:]]) as operator:
        anchored = await operator.submit(leaf(0))
        check([anchored])
        assert len(parse_note(anchored.checkpoint).signatures) <= 5


async def test_attack_trailing_base64_bits_are_read_as_go_reads_them(
    disk: SimDisk, autojump_clock: trio.testing.MockClock
) -> None:
    """Unused bits change nothing: the line counts, and what is published has the canonical one."""
    witnesses = near_witnesses(3)
    forgers = [Forger(witness.witness, url=witness.url) for witness in witnesses]
    for forger in forgers:
        forger.change = trailing_bits
    async with running(disk, forgers) as operator:
        anchored = await operator.submit(leaf(0))
        check([anchored])
        assert b"=\n" in anchored.checkpoint


@pytest.mark.parametrize(("ahead_s", "counts"), [(-600, True), (299, True), (600, False)])
async def test_attack_clock_ten_minutes_wrong(
    ahead_s: int, counts: bool, disk: SimDisk, autojump_clock: trio.testing.MockClock
) -> None:
    """A witness that is behind counts, for times order nothing; one that is far ahead does not."""

    class Ahead(NearWitness):
        async def add_checkpoint(self, request: AddCheckpoint) -> str:
            await trio.sleep(0.03)
            now_s = NOW_S + ahead_s
            return self.witness.add_checkpoint(request.old_size, request.proof, request.checkpoint, now_s=now_s)

    witnesses = near_witnesses(3)
    async with running(disk, [Ahead(witnesses[0].witness), *witnesses[1:]]) as operator:
        await trio.sleep(10)
        assert (operator.published_size == 0) == counts


def test_attack_duplicate_witness_keys() -> None:
    """One key under two names would count twice."""
    with pytest.raises(MalformedError, match="occurs twice"):
        parse_policy(FOUR.replace("quorum witnesses", f"witness again {COSIGNERS[0].key.vkey}\nquorum witnesses"))
    renamed = NoteKey("another.example/witness", COSIGNERS[0].key.signature_type, COSIGNERS[0].key.public)
    with pytest.raises(MalformedError, match="occurs twice"):
        make_policy(LOG.vkey, [COSIGNERS[0].key.vkey, renamed.vkey])


def test_attack_extension_lines_and_wrong_origin_never_reach_a_signature() -> None:
    """Extension lines are not covered by ML-DSA cosignatures; another log's checkpoint is not ours to sign."""
    witness = near_witnesses(1)[0].witness
    signer = Ed25519Signer(ORIGIN, LOG_KEY)
    for text, status in (
        (f"{ORIGIN}\n0\n{encode_base64(EMPTY_ROOT)}\nextension\n", 400),
        (f"{ORIGIN}/2\n0\n{encode_base64(EMPTY_ROOT)}\n", 404),
        (f"{ORIGIN}\n00\n{encode_base64(EMPTY_ROOT)}\n", 400),
        (f"{ORIGIN}\n0\n{encode_base64(EMPTY_ROOT)[:-2]}B=\n", 400),
    ):
        with pytest.raises(WitnessRefusedError) as refused:
            witness.add_checkpoint(0, (), format_note(text, [signer.sign(text)]), now_s=NOW_S)
        assert refused.value.status == status, text


def test_attack_oversized_note_is_refused_before_anything_is_verified() -> None:
    witness = near_witnesses(1)[0].witness
    text = f"{ORIGIN}\n0\n{encode_base64(EMPTY_ROOT)}\n"
    note = format_note(text, [Ed25519Signer(ORIGIN, LOG_KEY).sign(text)])
    for data in (note + b"\xe2\x80\x94 a " + b"A" * NOTE_MAX_BYTES + b"\n", note + note.splitlines(True)[-1] * 200):
        with pytest.raises(WitnessRefusedError) as refused:
            witness.add_checkpoint(0, (), data, now_s=NOW_S)
        assert refused.value.status == 400


async def test_attack_forged_leaf_is_not_proved_by_another_leafs_proof(
    disk: SimDisk, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(disk, near_witnesses()) as operator:
        anchored = await operator.submit(leaf(0))
    forged = dataclasses.replace(anchored, leaf=b"forged")
    with pytest.raises(CorruptError):
        check([forged])


def published(disk: SimDisk) -> bytes | None:
    return read_file(disk, f"{origin_folder('/ledger', ORIGIN)}/checkpoint")

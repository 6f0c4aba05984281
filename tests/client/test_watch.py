"""The monitor against operators and witnesses that lie: each attack by its name, each alarm with evidence."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar, TypeVarTuple, Unpack

import pytest
import trio
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from anchor.compact import Edge
from anchor.evidence import AlarmKind, Evidence, check_evidence, parse_evidence
from anchor.leaf import (
    Leaf,
    ManifestLeaf,
    SweepLeaf,
    manifest_leaf,
    organisation_key_name,
    peer_key_name,
    sign_leaf,
)
from anchor.log import Log
from anchor.merkle import leaf_hash
from anchor.monitor import View, encode_view, parse_view
from anchor.ownerleaves import DeleteLeaf, RevokeLeaf
from anchor.proof import format_proof
from anchor.roster import Organisation, sign_roster
from anchor.rules import ObjectState
from client.evidence import MonitorState, read_evidence
from client.logs import open_folder
from client.tilesource import FolderSource
from client.watch import QUORUM_PATIENCE_S, Head, Look, Target, Watcher
from core.encoding import encode_checked
from core.errors import CorruptError, LedgerError, MalformedError, MoorageError
from core.identity import public_bytes
from core.ids import ObjectId, PeerId
from core.ports import Disk
from erasure.scheme import Scheme
from tests.anchor.ledgers import COSIGNERS, NOW_S, ORIGIN, POLICY, copy_tree, create, flip, new_witness
from tests.sim.chance import SimChance
from tests.sim.disk import SimDisk
from tests.sim.drive import SimDrive
from tests.sim.life import NodeDead

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
NAME = "Hospital A"
OWNER = Ed25519PrivateKey.from_private_bytes(b"O" * 32)
STRANGER = Ed25519PrivateKey.from_private_bytes(b"X" * 32)
PEER = PeerId(b"p" * 32)
ROSTER = sign_roster(
    STRANGER,
    pool_name="test",
    epoch=1,
    organisations=[Organisation(NAME, b"issuer", public_bytes(OWNER), b"sealing", POLICY)],
    seeds=[],
)


class Inline:
    """``core.ports.Threads`` without threads."""

    async def cpu(self, job: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        return job(*args)

    async def disk(self, job: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        return job(*args)


@dataclass
class Hands:
    """A clock that is set by hand."""

    now_s: float = NOW_S + 100

    def now(self) -> float:
        return self.now_s


def object_of(number: int) -> ObjectId:
    return ObjectId(blake3(b"%d" % number).digest())


def manifest(number: int, key: Ed25519PrivateKey = OWNER) -> bytes:
    return manifest_leaf(
        key, organisation=NAME, object_id=object_of(number), size_bytes=1, scheme=Scheme(4, 6), time_s=NOW_S
    )


def by_owner(leaf: Leaf, key: Ed25519PrivateKey = OWNER) -> bytes:
    return sign_leaf(key, organisation_key_name(NAME), leaf)


def folder_of_log(log: Log, disk: Disk) -> FolderSource:
    return FolderSource(disk, Inline(), log.folder)


@dataclass
class Hospital:
    """A log on a drive of its own and its one witness; ``twin`` is the same log with another history."""

    disk: SimDisk = field(default_factory=SimDisk)
    witness_disk: SimDisk = field(default_factory=SimDisk)

    def __post_init__(self) -> None:
        self.witness = new_witness(0, self.witness_disk)
        self.log = create(self.disk, [self.witness])

    def append(self, *leaves: bytes, now_s: int = NOW_S) -> None:
        self.log.append(leaves, now_s)

    def target(self, *heads: Head, stall_s: float = 0) -> Target:
        return Target(ORIGIN, POLICY, ROSTER, folder_of_log(self.log, self.disk), heads, stall_s)

    def head(self) -> Head:
        folder = self.log.folder.replace("/anchor/", "/witness/")
        return Head("witness 0", FolderSource(self.witness_disk, Inline(), folder))


@dataclass
class Monitor:
    disk: SimDisk = field(default_factory=SimDisk)
    clock: Hands = field(default_factory=Hands)

    def __post_init__(self) -> None:
        self.state = MonitorState(self.disk, SimChance(1), "/monitor")

    async def look(self, target: Target) -> Look:
        return await Watcher(self.state, Inline(), self.clock).look(target)

    def proven(self, look: Look) -> tuple[AlarmKind, list[str]]:
        """The one alarm, and what its folder proves to somebody who has nothing else."""
        (alarm,) = look.alarms
        kept = read_evidence(self.disk, alarm.folder)
        assert kept == alarm.evidence
        return kept.kind, check_evidence(kept)


async def test_an_honest_log_is_followed_over_restarts_without_alarm() -> None:
    hospital, monitor = Hospital(), Monitor()
    sizes: list[int] = []
    for number in range(0, 600, 150):
        hospital.append(*(manifest(at) for at in range(number, number + 150)))
        look = await Monitor(monitor.disk).look(hospital.target(hospital.head()))
        assert (look.alarms, look.notes, look.silent, look.new_entries) == ((), (), "", 150)
        sizes.append(look.size)
    assert sizes == [150, 300, 450, 600]
    again = await monitor.look(hospital.target(hospital.head()))
    assert (again.new_entries, again.alarms) == (0, ())
    assert monitor.state.standing() == []


async def test_owners_may_change_revoke_and_delete() -> None:
    hospital, monitor = Hospital(), Monitor()
    first = manifest(1)
    second = by_owner(ManifestLeaf(object_of(1), b"m" * 32, 2, Scheme(4, 6), NOW_S, 2, leaf_hash(first)))
    revoke = by_owner(RevokeLeaf(object_of(1), leaf_hash(first), 3, leaf_hash(second), NOW_S))
    delete = by_owner(DeleteLeaf(object_of(1), 4, leaf_hash(revoke), NOW_S))
    hospital.append(first, second)
    assert (await monitor.look(hospital.target())).alarms == ()
    hospital.append(revoke, delete)
    assert (await monitor.look(hospital.target())).alarms == ()


async def test_a_fork_between_two_looks_is_proven_by_the_logs_own_signatures() -> None:
    hospital, twin, monitor = Hospital(), Hospital(), Monitor()
    hospital.append(*map(manifest, range(5)))
    twin.append(*map(manifest, range(100, 107)))
    assert (await monitor.look(hospital.target())).alarms == ()
    look = await monitor.look(twin.target())
    kind, proven = monitor.proven(look)
    assert kind is AlarmKind.FORK
    assert proven == [
        "the log signed 5 entries, and then 7 that do not begin with them",
        f"{COSIGNERS[0].key.name} cosigned both histories",
    ]
    assert look.size == 5, "what was seen first stays"
    assert (await monitor.look(hospital.target())).alarms == ()
    assert len(monitor.state.standing()) == 1, "the alarm stands until somebody takes it away"


async def test_a_fork_of_equal_size_is_proven() -> None:
    hospital, twin, monitor = Hospital(), Hospital(), Monitor()
    hospital.append(manifest(1))
    twin.append(manifest(2))
    await monitor.look(hospital.target())
    kind, proven = monitor.proven(await monitor.look(twin.target()))
    assert kind is AlarmKind.FORK
    assert proven[0] == "the log signed two histories of 1 entries"


@pytest.mark.parametrize(("ours", "theirs"), [(5, 3), (4, 4), (300, 256)])
async def test_a_fork_shown_to_a_witness_only_is_proven(ours: int, theirs: int) -> None:
    hospital, twin, monitor = Hospital(), Hospital(), Monitor()
    hospital.append(*map(manifest, range(ours)))
    twin.append(*map(manifest, range(1000, 1000 + theirs)))
    kind, proven = monitor.proven(await monitor.look(hospital.target(hospital.head(), twin.head())))
    assert kind is AlarmKind.FORK
    assert "signed" in proven[0]


async def test_two_witnesses_that_saw_two_histories_convict_the_log_that_shows_neither() -> None:
    hospital, first, second, monitor = Hospital(), Hospital(), Hospital(), Monitor()
    hospital.append(manifest(1))
    first.append(manifest(1), manifest(2))
    second.append(manifest(1), manifest(3))
    look = await monitor.look(hospital.target(first.head(), second.head()))
    (fork_alarm,) = (alarm for alarm in look.alarms if alarm.evidence.kind is AlarmKind.FORK)
    assert check_evidence(fork_alarm.evidence)[0] == "the log signed two histories of 2 entries"
    assert {alarm.evidence.kind for alarm in look.alarms} == {AlarmKind.FORK, AlarmKind.BEHIND}


async def test_a_larger_fork_at_a_witness_is_found_when_the_log_has_grown_past_it() -> None:
    hospital, twin, monitor = Hospital(), Hospital(), Monitor()
    hospital.append(manifest(1))
    twin.append(*map(manifest, range(10, 14)))
    monitor.clock.now_s = NOW_S + 10
    assert (await monitor.look(hospital.target(twin.head()))).alarms == ()
    hospital.append(*map(manifest, range(20, 26)))
    assert monitor.proven(await monitor.look(hospital.target(twin.head())))[0] is AlarmKind.FORK


async def test_a_log_restored_from_an_old_backup_is_a_rollback() -> None:
    hospital, monitor, backup = Hospital(), Monitor(), SimDisk()
    hospital.append(*map(manifest, range(3)))
    copy_tree(hospital.disk, backup, "/anchor")
    hospital.append(manifest(7))
    await monitor.look(hospital.target())
    restored = Target(ORIGIN, POLICY, ROSTER, FolderSource(backup, Inline(), hospital.log.folder))
    kind, proven = monitor.proven(await monitor.look(restored))
    assert kind is AlarmKind.ROLLBACK
    assert proven == ["the log signed 4 entries, and a checkpoint of 3"]
    # A monitor that never saw the larger tree learns of it from the witness, once it should have been published.
    fresh = Monitor()
    assert (await fresh.look(restored._replace(heads=(hospital.head(),)))).alarms[0].evidence.kind is AlarmKind.BEHIND
    assert (await fresh.look(hospital.target(hospital.head()))).alarms == ()
    assert fresh.state.standing() == [], "it passed when the log served again what its witness had seen"


async def test_a_stalled_log_raises_one_alarm_that_passes_when_it_goes_on() -> None:
    hospital, monitor = Hospital(), Monitor()
    hospital.append(manifest(1))
    monitor.clock.now_s = NOW_S + 3601
    look = await monitor.look(hospital.target(stall_s=3600))
    kind, proven = monitor.proven(look)
    assert kind is AlarmKind.STALL
    assert str(NOW_S) in proven[0]
    monitor.clock.now_s += 60
    assert (await monitor.look(hospital.target(stall_s=3600))).alarms[0].folder == look.alarms[0].folder
    hospital.append(manifest(2), now_s=int(monitor.clock.now_s))
    assert (await monitor.look(hospital.target(stall_s=3600))).alarms == ()
    assert monitor.state.standing() == []


async def test_a_log_that_does_not_answer_stalls_too_and_mends_nothing() -> None:
    hospital, monitor = Hospital(), Monitor()
    hospital.append(manifest(1))
    await monitor.look(hospital.target())
    monitor.clock.now_s = NOW_S + 7200
    gone = Target(ORIGIN, POLICY, ROSTER, FolderSource(SimDisk(), Inline(), "/nothing"), (), 3600)
    look = await monitor.look(gone)
    assert "no checkpoint" in look.silent
    assert look.alarms[0].evidence.kind is AlarmKind.STALL
    assert (await monitor.look(gone._replace(stall_s=0))).alarms == ()
    assert len(monitor.state.standing()) == 1


FIRST = manifest(1)
DELETE = by_owner(DeleteLeaf(object_of(1), 2, leaf_hash(FIRST), NOW_S))
BAD_ENTRIES = {
    "forged leaf": ([manifest(1, STRANGER)], "signature", 1),
    "a leaf in another's name": (
        [sign_leaf(OWNER, organisation_key_name("Clinic B"), RevokeLeaf(object_of(1), b"e" * 32, 2, b"p" * 32, 1))],
        "signature",
        1,
    ),
    "no leaf": ([b"what is this"], "malformed", 1),
    "version 1 again": (
        [FIRST, by_owner(ManifestLeaf(object_of(1), object_of(1).raw, 2, Scheme(4, 6), NOW_S))],
        "version",
        2,
    ),
    "prev of another leaf": (
        [FIRST, by_owner(ManifestLeaf(object_of(1), b"m" * 32, 2, Scheme(4, 6), NOW_S, 2, b"z" * 32))],
        "version",
        2,
    ),
    "a version left out": (
        [FIRST, by_owner(ManifestLeaf(object_of(1), b"m" * 32, 2, Scheme(4, 6), NOW_S, 3, leaf_hash(FIRST)))],
        "version",
        2,
    ),
    "begins with version 2": (
        [by_owner(ManifestLeaf(object_of(1), b"m" * 32, 2, Scheme(4, 6), NOW_S, 2, b"z" * 32))],
        "version",
        1,
    ),
    "an id that is not the manifest's": (
        [by_owner(ManifestLeaf(object_of(1), b"m" * 32, 2, Scheme(4, 6), NOW_S))],
        "version",
        1,
    ),
    "deletes what was never stored": ([DELETE], "version", 1),
    "speaks of what is deleted": (
        [FIRST, DELETE, by_owner(ManifestLeaf(object_of(1), b"m" * 32, 2, Scheme(4, 6), NOW_S, 3, leaf_hash(DELETE)))],
        "deleted",
        2,
    ),
    "revokes nothing": (
        [FIRST, by_owner(RevokeLeaf(object_of(1), b"z" * 32, 2, leaf_hash(FIRST), NOW_S))],
        "revoked-nothing",
        2,
    ),
    "a stranger deletes": (
        [FIRST, by_owner(DeleteLeaf(object_of(1), 2, leaf_hash(FIRST), NOW_S), STRANGER)],
        "signature",
        1,
    ),
    "a clock 10 minutes ahead": (
        [by_owner(ManifestLeaf(object_of(1), object_of(1).raw, 2, Scheme(4, 6), NOW_S + 600))],
        "future",
        1,
    ),
    "a sweep in another peer's name": (
        [sign_leaf(STRANGER, peer_key_name(PEER), SweepLeaf(PeerId(b"q" * 32), 1, 1, 1, 1, 1, NOW_S))],
        "signature",
        1,
    ),
}


NEEDS_THE_WHOLE_LOG = {"a version left out", "begins with version 2", "deletes what was never stored"}


@pytest.mark.parametrize("attack", BAD_ENTRIES)
async def test_a_bad_entry_is_proven_offline(attack: str) -> None:
    leaves, rule, proofs = BAD_ENTRIES[attack]
    hospital, monitor = Hospital(), Monitor()
    hospital.append(manifest(50), *leaves, manifest(51))
    look = await monitor.look(hospital.target())
    kind, proven = monitor.proven(look)
    assert kind is AlarmKind.BAD_ENTRY
    assert f"({rule})" in look.alarms[0].evidence.words
    assert (f"({rule})" in proven[0]) == (attack not in NEEDS_THE_WHOLE_LOG)
    assert len(look.alarms[0].evidence.proofs) == proofs
    assert (await monitor.look(hospital.target())).alarms == (), "it is judged once"
    assert len(monitor.state.standing()) == 1, "and stands"


async def test_what_this_release_does_not_know_is_said_and_is_no_alarm() -> None:
    hospital, monitor = Hospital(), Monitor()
    later = FIRST.replace(b"moorage/leaf/v1", b"moorage/leaf/v2")
    sweep = sign_leaf(STRANGER, peer_key_name(PEER), SweepLeaf(PEER, 1, 1, 1, 1, 1, NOW_S))
    hospital.append(later, sweep)
    look = await monitor.look(hospital.target())
    assert look.alarms == ()
    assert ["unknown-type" in look.notes[0], "unknown-signer" in look.notes[1]] == [True, True]


def serving(hospital: Hospital, note: bytes) -> Target:
    served = SimDrive()
    served.plant("/log/checkpoint", note)
    return hospital.target()._replace(source=FolderSource(SimDisk(served), Inline(), "/log"))


async def test_a_checkpoint_below_the_quorum_or_of_another_log_is_an_alarm_that_passes(
    autojump_clock: MockClock,
) -> None:
    hospital, monitor = Hospital(), Monitor()
    hospital.append(FIRST)
    note = hospital.log.published()
    assert note is not None
    for wrong in (note[: note.rindex("— ".encode())], note.replace(b"log/A", b"log/B"), b"garbage"):
        look = await monitor.look(serving(hospital, wrong))
        assert look.alarms[0].evidence.kind is AlarmKind.BAD_CHECKPOINT
        assert (await monitor.look(hospital.target())).alarms == ()
        assert monitor.state.standing() == []


@pytest.mark.parametrize(("after_s", "alarms"), [(QUORUM_PATIENCE_S - 5, 0), (QUORUM_PATIENCE_S + 5, 1)])
async def test_cosignatures_may_come_late_but_not_too_late(
    after_s: float, alarms: int, autojump_clock: MockClock
) -> None:
    hospital, monitor = Hospital(), Monitor()
    hospital.append(FIRST)
    note = hospital.log.published()
    assert note is not None
    path = f"{hospital.log.folder}/checkpoint"
    hospital.disk.drive.plant(path, note[: note.rindex("— ".encode())])

    async def cosign() -> None:
        await trio.sleep(after_s)
        hospital.disk.drive.plant(path, note)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cosign)
        assert len((await monitor.look(hospital.target())).alarms) == alarms


@pytest.mark.parametrize("path", ["tile/entries/000.p/3"])
async def test_a_flipped_bit_in_an_entry_is_no_proof_and_passes(path: str) -> None:
    hospital, monitor = Hospital(), Monitor()
    hospital.append(*map(manifest, range(3)))
    flip(hospital.disk, f"{hospital.log.folder}/{path}", 100)
    look = await monitor.look(hospital.target())
    assert monitor.proven(look) == (AlarmKind.UNREADABLE, [])
    assert look.size == 0
    flip(hospital.disk, f"{hospital.log.folder}/{path}", 100)
    assert (await monitor.look(hospital.target())).alarms == ()
    assert monitor.state.standing() == []


def fork() -> tuple[Hospital, Hospital]:
    hospital, twin = Hospital(), Hospital()
    hospital.append(*map(manifest, range(5)))
    twin.append(*map(manifest, range(100, 107)))
    return hospital, twin


async def test_evidence_with_any_byte_changed_proves_nothing_or_the_same() -> None:
    hospital, twin = fork()
    monitor = Monitor()
    await monitor.look(hospital.target())
    (alarm,) = (await monitor.look(twin.target())).alarms
    proven = check_evidence(alarm.evidence)
    files = alarm.evidence.files()
    for name in ("first.checkpoint", "second.checkpoint", "prefix", "policy"):
        for at in range(len(files[name])):
            changed = files[name][:at] + bytes([files[name][at] ^ 1]) + files[name][at + 1 :]
            # An unused bit of base64 changes nothing; a witness under another name is one that nobody knows.
            with suppress(MoorageError):
                assert check_evidence(parse_evidence(files | {name: changed})) in (proven, proven[:1])


async def test_honest_checkpoints_make_no_evidence_of_a_fork() -> None:
    hospital = Hospital()
    hospital.append(*map(manifest, range(3)))
    first = hospital.log.published()
    hospital.append(manifest(9))
    second = hospital.log.published()
    assert first is not None
    assert second is not None
    claim = Evidence(AlarmKind.FORK, ORIGIN, "lies", NOW_S, POLICY, ROSTER, (first, second))
    for forged in (claim, replace(claim, notes=(first, first)), replace(claim, notes=(first,))):
        with pytest.raises(MoorageError):
            check_evidence(forged)
    with pytest.raises(CorruptError):
        check_evidence(replace(claim, kind=AlarmKind.ROLLBACK))


async def test_a_monitor_whose_power_is_cut_anywhere_still_raises_the_alarm() -> None:
    hospital, twin = fork()
    bad = Hospital()
    bad.append(manifest(1, STRANGER))
    for crash_at in range(1, 60):
        drive = SimDrive(crash_at)
        monitor = Monitor(SimDisk(drive))
        await monitor.look(hospital.target())
        drive.crash_at = drive.operations + crash_at
        try:
            await monitor.look(twin.target())
            done = True
        except NodeDead:
            done = False
        drive.crash_at = None
        again = Monitor(SimDisk(drive))
        await again.look(twin.target())
        (standing,) = again.state.standing()
        check_evidence(standing[1])
        if done:
            return
    raise AssertionError("it never ended")


async def test_a_monitor_whose_power_is_cut_loses_no_bad_entry() -> None:
    bad = Hospital()
    bad.append(manifest(1, STRANGER))
    for crash_at in range(1, 80):
        drive = SimDrive(crash_at)
        drive.crash_at = crash_at
        try:
            await Monitor(SimDisk(drive)).look(bad.target())
            done = True
        except NodeDead:
            done = False
        drive.crash_at = None
        again = Monitor(SimDisk(drive))
        await again.look(bad.target())
        assert len(again.state.standing()) == 1
        if done:
            return
    raise AssertionError("it never ended")


async def test_a_damaged_memory_is_said_and_not_started_anew() -> None:
    hospital, monitor = Hospital(), Monitor()
    hospital.append(FIRST)
    await monitor.look(hospital.target())
    (path,) = (f"/monitor/{name}/view" for name in monitor.disk.list_folder("/monitor"))
    flip(monitor.disk, path, 40)
    with pytest.raises(LedgerError, match="damaged"):
        await monitor.look(hospital.target())


def framed(hospital: Hospital, bad: bytes, *earlier: bytes) -> list[str]:
    """What evidence says that was made to accuse an honest log."""
    places = {leaf: at for at, leaf in enumerate(hospital.log.leaves(0, hospital.log.size()))}
    log = open_folder(hospital.disk, hospital.log.folder, POLICY)
    proofs = tuple(format_proof(log.prove(places[leaf])) for leaf in (bad, *earlier))
    return check_evidence(Evidence(AlarmKind.BAD_ENTRY, ORIGIN, "lies", NOW_S, POLICY, ROSTER, proofs=proofs))


def test_an_honest_log_cannot_be_framed_by_leaving_entries_out() -> None:
    hospital = Hospital()
    second = by_owner(ManifestLeaf(object_of(1), b"m" * 32, 2, Scheme(4, 6), NOW_S, 2, leaf_hash(FIRST)))
    third = by_owner(RevokeLeaf(object_of(1), leaf_hash(FIRST), 3, leaf_hash(second), NOW_S))
    hospital.append(FIRST, second, third)
    for words in (framed(hospital, second), framed(hospital, third, FIRST), framed(hospital, third, second)):
        assert not any("breaks" in line for line in words)
    for bad, earlier in ((FIRST, second), (second, FIRST)):
        with pytest.raises(CorruptError):
            framed(hospital, bad, earlier)


names = st.sampled_from(["alarm.json", "policy", "roster", "prefix", "first.checkpoint", "entry-1.tlog-proof"])


@given(st.dictionaries(names, st.binary(max_size=100)))
def test_any_files_are_evidence_or_refused(files: dict[str, bytes]) -> None:
    whole = Evidence(AlarmKind.FORK, ORIGIN, "words", NOW_S, POLICY, ROSTER).files()
    for candidate in (files, whole | files):
        with suppress(MoorageError):
            check_evidence(parse_evidence(candidate))


@given(st.binary(max_size=100))
def test_any_bytes_are_a_view_or_refused(data: bytes) -> None:
    for candidate in (data, encode_checked({"v": 1, "note": data, "size": 1, "peaks": data, "objects": []})):
        with suppress(MalformedError):
            assert parse_view(encode_view(parse_view(candidate))) == parse_view(candidate)


def test_a_view_is_written_and_read_alike() -> None:
    state = ObjectState(NAME, 2, 7, True, (b"a" * 32, b"b" * 32))
    view = View(b"note", Edge(3, (b"x" * 32, b"y" * 32)), {object_of(1): state})
    assert parse_view(encode_view(view)) == view
    for wrong in (replace(view, edge=Edge(4, view.edge.peaks)), replace(view, edge=Edge(3, ()))):
        with pytest.raises(MalformedError):
            parse_view(encode_view(wrong))


async def test_a_log_of_many_levels_of_tiles_is_followed_quickly() -> None:
    """What a monitor reads anew is what is new: a second look reads one bundle."""
    hospital, monitor = Hospital(), Monitor()
    hospital.append(*(b"entry %d" % number for number in range(1000)))
    counted: list[str] = []
    target = hospital.target()
    source = target.source
    assert isinstance(source, FolderSource)

    class Counting(FolderSource):
        async def read(self, path: str, *, max_bytes: int) -> bytes | None:
            counted.append(path)
            return await super().read(path, max_bytes=max_bytes)

    target = target._replace(source=Counting(hospital.disk, Inline(), hospital.log.folder))
    await monitor.look(target)
    counted.clear()
    hospital.append(manifest(1))
    look = await monitor.look(target)
    assert look.new_entries == 1
    assert counted == ["checkpoint", "tile/entries/003.p/233"]

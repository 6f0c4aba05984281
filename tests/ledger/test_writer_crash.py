"""Power cuts at every operation of a log operator's disk and of its witness': what was promised holds, no fork."""

from __future__ import annotations

import functools

import pytest

from anchor import knownleaves
from anchor.log import Anchored, Log
from anchor.merkle import leaf_hash
from anchor.note import format_note, parse_signature_line
from anchor.witness import LocalWitness
from anchor.writer import LogWriter
from core.ports import Disk
from tests.anchor.ledgers import (
    LOG_KEY,
    NOW_S,
    ORIGIN,
    POLICY,
    copy_tree,
    leaf,
    leaves,
    new_witness,
    reopened_witness,
)
from tests.anchor.test_log_crash import check_promises
from tests.sim.crash import crash_everywhere
from tests.sim.disk import SimDisk
from tests.sim.drive import DiskFaults, SimDrive
from tests.sim.life import NodeDead


def opened(disk: Disk) -> LogWriter:
    return LogWriter.open(disk, "/anchor", key=LOG_KEY, policy=POLICY)


def embedded(disk: Disk) -> Log:
    return Log.open(disk, "/anchor", key=LOG_KEY, policy=POLICY, witnesses=[])


def anchor(writer: LogWriter, witness: LocalWitness, items: list[bytes]) -> list[Anchored]:
    """As the operator does it: the witness signs what is committed before its tiles are written, in any order."""
    found = writer.add(items)
    note = cosigned(writer, witness)
    for folder in sorted(writer.unsettled, reverse=len(items) > 1):
        writer.settle(folder)
    writer.publish(note)
    return writer.latest.prove(note, [(found[leaf_hash(item)], item) for item in items])


def cosigned(writer: LogWriter, witness: LocalWitness) -> bytes:
    commit = writer.latest
    seen = witness.latest(ORIGIN)
    old_size = seen.size if seen is not None else 0
    lines = witness.add_checkpoint(old_size, commit.consistency(old_size), commit.note, now_s=NOW_S)
    return format_note(
        commit.checkpoint.text, [commit.log_signature, *(parse_signature_line(line) for line in lines.splitlines())]
    )


@functools.cache
def nearly_full_tile() -> tuple[SimDisk, SimDisk]:
    disk, witness_disk = SimDisk(), SimDisk()
    LogWriter.create(disk, "/anchor", key=LOG_KEY, policy=POLICY)
    writer = opened(disk)
    anchor(writer, new_witness(0, witness_disk), leaves(0, 254))
    writer.close()
    return disk, witness_disk


class OperatorStory:
    """A log fills its first tile while its drive is cut; the witness, elsewhere, remembers all that it signed."""

    def __init__(self) -> None:
        witness_disk = SimDisk()
        copy_tree(nearly_full_tile()[1], witness_disk, "/witness")
        self.witness = new_witness(0, witness_disk)
        self.promised: list[Anchored] = []
        self.writer: LogWriter | None = None

    def prepare(self, disk: Disk) -> None:
        copy_tree(nearly_full_tile()[0], disk, "/anchor")

    def run(self, disk: Disk) -> None:
        writer = self.writer = opened(disk)
        self.promised += anchor(writer, self.witness, [leaf(254)])
        self.promised += anchor(writer, self.witness, [leaf(255), leaf(256)])
        writer.close()

    def release(self) -> None:
        """A process that goes on after an error lets go of its lock."""
        if self.writer is not None:
            self.writer.close()

    def recover(self, disk: Disk) -> None:
        # Another leaf first: had the cut taken what was cosigned, the witness would object.
        writer = self.writer = opened(disk)
        self.promised += anchor(writer, self.witness, [b"another", *leaves(253, 260)])
        writer.close()

    def check(self, disk: Disk) -> None:
        log = embedded(disk)
        assert sorted(log.leaves(0, 1000)) == sorted([b"another", *leaves(0, 260)]), "a leaf was lost or added twice"
        check_promises(log, self.promised, POLICY)
        latest = self.witness.latest(ORIGIN)
        assert latest is not None
        assert latest.size == 261


@pytest.mark.parametrize("least", [pytest.param(knownleaves.RUN_MIN, marks=pytest.mark.slow), 64])
def test_a_power_cut_anywhere_in_an_operators_commit_keeps_every_promise(
    least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knownleaves, "RUN_MIN", least)
    assert crash_everywhere(OperatorStory, images=1) > 80


class CreatedStory:
    """A log from its first folder on."""

    def __init__(self) -> None:
        self.witness = new_witness(0, SimDisk())
        self.promised: list[Anchored] = []

    def prepare(self, disk: Disk) -> None:
        """Nothing."""

    def run(self, disk: Disk) -> None:
        if not Log.exists(disk, "/anchor", ORIGIN):
            LogWriter.create(disk, "/anchor", key=LOG_KEY, policy=POLICY)
        writer = opened(disk)
        self.promised += anchor(writer, self.witness, [leaf(0)])
        writer.close()

    recover = run

    def check(self, disk: Disk) -> None:
        assert embedded(disk).size() == 1
        check_promises(embedded(disk), self.promised, POLICY)


def test_a_power_cut_anywhere_in_a_logs_first_moments_is_survived() -> None:
    assert crash_everywhere(CreatedStory, images=2) > 50


def killed_then_cut(kill_at: int) -> bool:
    """The operator is killed at an operation, the next one goes on, then the power is cut; False: no such operation."""
    story, drive = OperatorStory(), SimDrive(kill_at, faults=DiskFaults(name_kept_p=0.0, file_lost_p=1.0))
    disk = SimDisk(drive)
    story.prepare(disk)
    drive.crash_at = drive.operations + kill_at
    drive.on_crash = drive.life.end
    try:
        story.run(disk)
    except NodeDead:
        drive.crash_at = None
        writer = opened(SimDisk(drive))
        story.promised += anchor(writer, story.witness, [leaf(0)])
        drive.cut_power()
        writer = opened(SimDisk(drive))
        story.promised += anchor(writer, story.witness, [b"another"])
        writer.close()
        check_promises(embedded(SimDisk(drive)), story.promised, POLICY)
        return True
    return False


def test_what_a_killed_operator_left_is_durable_before_it_is_published() -> None:
    kill_at = 1
    while killed_then_cut(kill_at):
        kill_at += 1
    assert kill_at > 40


class ResyncStory:
    """A witness that lost its folder is synchronised, and its drive is cut meanwhile."""

    def __init__(self) -> None:
        self.log_disk = SimDisk()
        LogWriter.create(self.log_disk, "/anchor", key=LOG_KEY, policy=POLICY)
        self.writer = opened(self.log_disk)
        self.note = b""

    def prepare(self, disk: Disk) -> None:
        anchor(self.writer, new_witness(0, SimDisk()), leaves(0, 5))
        note = self.writer.published()
        assert note is not None
        self.note = note

    def run(self, disk: Disk) -> None:
        template = new_witness(0, SimDisk())
        LocalWitness.resync(disk, "/witness", template._cosigners, template._logs, [self.note])

    def recover(self, disk: Disk) -> None:
        if disk.stat("/witness/witness") is None:
            self.run(disk)

    def check(self, disk: Disk) -> None:
        latest = reopened_witness(0, disk).latest(ORIGIN)
        assert latest is not None
        assert latest.size == 5


def test_a_witness_may_sign_only_when_all_is_remembered_again() -> None:
    assert crash_everywhere(ResyncStory, images=2) > 20

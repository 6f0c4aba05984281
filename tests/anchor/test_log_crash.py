"""Power cuts at every operation of log and witness: what was promised holds, and no second history is signed."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pytest

from anchor import leafindex
from anchor.log import Anchored, Log
from anchor.merkle import check_consistency, consistency_proof, leaf_hash, node_hash, subtree_root
from anchor.policy import parse_policy
from anchor.proof import parse_proof
from core.ports import Disk
from tests.anchor.ledgers import (
    NOW_S,
    ORIGIN,
    POLICY,
    copy_tree,
    create,
    leaf,
    leaves,
    new_witness,
    reopen,
    reopened_witness,
)
from tests.sim.crash import crash_everywhere
from tests.sim.disk import SimDisk
from tests.sim.drive import DiskFaults, SimDrive
from tests.sim.life import NodeDead


def check_promises(log: Log, promised: Sequence[Anchored], policy: str) -> None:
    """Every proof that was ever given is true of the log as it is now."""
    size = log.check()
    hashes = [leaf_hash(item) for item in log.leaves(0, size)]

    @functools.cache
    def hash_at(level: int, index: int) -> bytes:
        if level == 0:
            return hashes[index]
        return node_hash(hash_at(level - 1, 2 * index), hash_at(level - 1, 2 * index + 1))

    root = subtree_root(hash_at, 0, size)
    for item in promised:
        assert log.leaves(item.index, 1) == [item.leaf]
        old = parse_proof(item.proof_file()).check(item.leaf, parse_policy(policy)).checkpoint
        check_consistency(old.size, size, old.root, root, consistency_proof(hash_at, old.size, size))


@functools.cache
def nearly_full_tile() -> tuple[SimDisk, SimDisk]:
    """Drives of a log of 254 leaves and of its witness, to be copied."""
    disk, witness_disk = SimDisk(), SimDisk()
    create(disk, [new_witness(0, witness_disk)]).append(leaves(0, 254), NOW_S)
    return disk, witness_disk


class AppendStory:
    """A log fills its first tile while its drive is cut; the witness, elsewhere, remembers all that it signed."""

    def __init__(self) -> None:
        witness_disk = SimDisk()
        copy_tree(nearly_full_tile()[1], witness_disk, "/witness")
        self.witness = new_witness(0, witness_disk)
        self.promised: list[Anchored] = []

    def prepare(self, disk: Disk) -> None:
        copy_tree(nearly_full_tile()[0], disk, "/anchor")

    def run(self, disk: Disk) -> None:
        log = reopen(disk, [self.witness])
        self.promised += log.append([leaf(254)], NOW_S)
        self.promised += log.append([leaf(255), leaf(256)], NOW_S)

    def recover(self, disk: Disk) -> None:
        # Another leaf first: had the cut taken what was cosigned, the witness would object.
        self.promised += reopen(disk, [self.witness]).append([b"another", *leaves(253, 260)], NOW_S)

    def check(self, disk: Disk) -> None:
        log = reopen(disk, [self.witness])
        assert sorted(log.leaves(0, 1000)) == sorted([b"another", *leaves(0, 260)]), "a leaf was lost or added twice"
        check_promises(log, self.promised, POLICY)
        latest = self.witness.latest(ORIGIN)
        assert latest is not None
        assert latest.size == 261
        assert disk.list_folder(f"{log.folder}/tile/0/000.p") == [], "partial tiles outlived the full one"


@pytest.mark.parametrize("least", [pytest.param(leafindex.BLOCK_MIN, marks=pytest.mark.slow), 256])
def test_a_power_cut_anywhere_in_an_append_keeps_every_promise(least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that makes a block of the index of leaves."""
    monkeypatch.setattr(leafindex, "BLOCK_MIN", least)
    assert crash_everywhere(AppendStory, images=1) > 100


def killed_then_cut(kill_at: int) -> bool:
    """The process is killed at an operation, the next one goes on, then the power is cut; False: there was no such."""
    # The cut takes all that it may.
    story, drive = AppendStory(), SimDrive(kill_at, faults=DiskFaults(name_kept_p=0.0, file_lost_p=1.0))
    disk = SimDisk(drive)
    story.prepare(disk)
    drive.crash_at = drive.operations + kill_at
    drive.on_crash = drive.life.end
    try:
        story.run(disk)
    except NodeDead:
        drive.crash_at = None
        # Publishes what the killed process committed, and writes nothing else.
        story.promised += reopen(SimDisk(drive), [story.witness]).append([leaf(0)], NOW_S)
        drive.cut_power()
        log = reopen(SimDisk(drive), [story.witness])
        # Had the cut taken what was cosigned, this leaf would be in its place, and the witness would object.
        story.promised += log.append([b"another"], NOW_S)
        check_promises(log, story.promised, POLICY)
        return True
    return False


def test_what_a_killed_process_left_is_durable_before_it_is_published() -> None:
    """A kill leaves names and bytes that look written but are not: a power cut may still take them."""
    kill_at = 1
    while killed_then_cut(kill_at):
        kill_at += 1
    assert kill_at > 50


class EmbeddedStory:
    """Log and witness on one drive, cut from the first folder on."""

    def __init__(self) -> None:
        self.promised: list[Anchored] = []

    def prepare(self, disk: Disk) -> None:
        """Nothing."""

    def _ledger(self, disk: Disk) -> Log:
        witness = new_witness(0, disk)
        return (reopen if Log.exists(disk, "/anchor", ORIGIN) else create)(disk, [witness])

    def run(self, disk: Disk) -> None:
        log = self._ledger(disk)
        self.promised += log.append([leaf(0)], NOW_S)

    def recover(self, disk: Disk) -> None:
        self.promised += self._ledger(disk).append([b"another", leaf(0)], NOW_S)

    def check(self, disk: Disk) -> None:
        log = self._ledger(disk)
        assert log.size() == 2
        check_promises(log, self.promised, POLICY)


def test_a_power_cut_anywhere_in_the_life_of_an_embedded_ledger_is_survived() -> None:
    assert crash_everywhere(EmbeddedStory, images=1) > 100


class WitnessStory:
    """A witness' drive is cut; the log offers one history, and afterwards another one."""

    def __init__(self) -> None:
        self.cosigned = 0

    def prepare(self, disk: Disk) -> None:
        new_witness(0, disk)

    def run(self, disk: Disk) -> None:
        witness = reopened_witness(0, disk)
        log = create(SimDisk(), [witness])
        for number in range(3):
            log.append([leaf(number)], NOW_S)
            self.cosigned = number + 1

    def recover(self, disk: Disk) -> None:
        reopened_witness(0, disk).latest(ORIGIN)

    def check(self, disk: Disk) -> None:
        latest = reopened_witness(0, disk).latest(ORIGIN)
        size = latest.size if latest is not None else 0
        assert size >= self.cosigned, "it forgot what it had signed"


def test_a_witness_never_forgets_what_it_signed() -> None:
    assert crash_everywhere(WitnessStory, images=2) > 50

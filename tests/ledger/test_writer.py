"""A log whose writer stays: the same files as the embedded log's, one writer, every leaf once."""

from __future__ import annotations

import pytest

from anchor import knownleaves
from anchor.files import read_file
from anchor.log import Log
from anchor.merkle import leaf_hash
from anchor.writer import LogWriter
from core.errors import LedgerError, StoreFullError, UsageError
from core.limits import LEAF_MAX_BYTES
from core.ports import Disk
from tests.anchor.ledgers import ALONE, FOUR, LOG_KEY, NOW_S, ORIGIN, copy_tree, flip, leaf, leaves
from tests.sim.disk import SimDisk
from tests.sim.drive import DiskFaults, SimDrive


def create(disk: Disk, policy: str = FOUR) -> LogWriter:
    LogWriter.create(disk, "/ledger", key=LOG_KEY, policy=policy)
    return reopen(disk, policy)


def reopen(disk: Disk, policy: str = FOUR) -> LogWriter:
    return LogWriter.open(disk, "/ledger", key=LOG_KEY, policy=policy)


def append(writer: LogWriter, items: list[bytes]) -> dict[bytes, int]:
    found = writer.add(items)
    writer.settle()
    return found


def files(disk: Disk, folder: str) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    for name in disk.list_folder(folder):
        path = f"{folder}/{name}"
        what = disk.stat(path)
        assert what is not None
        if what.is_folder:
            found |= {f"{name}/{inner}": data for inner, data in files(disk, path).items()}
        else:
            found[name] = read_file(disk, path)
    return found


def test_its_files_are_those_of_the_embedded_log_byte_for_byte() -> None:
    disk = SimDisk()
    writer = create(disk, ALONE)
    log = Log.create(disk, "/embedded", key=LOG_KEY, policy=ALONE, witnesses=[], now_s=NOW_S)
    size = 0
    for step in (1, 2, 252, 1, 1, 600, 3):
        group = leaves(size, size + step)
        append(writer, group)
        writer.publish(writer.latest.note)
        log.append(group, NOW_S)
        size += step
    assert files(disk, writer.folder) == files(disk, log.folder)


def test_folders_may_be_settled_one_by_one_in_any_order() -> None:
    disk, other = SimDisk(), SimDisk()
    writer, whole = create(disk), create(other)
    size = 0
    for step in (3, 252, 600):
        group = leaves(size, size + step)
        append(whole, group)
        writer.add(group)
        for folder in sorted(writer.unsettled, reverse=True):
            with pytest.raises(AssertionError, match="not durable yet"):
                writer.add([b"too soon"])
            writer.settle(folder)
            writer.settle(folder)
        size += step
        assert writer.unsettled == []
    assert files(disk, writer.folder) == files(other, whole.folder)


def test_a_commit_knows_the_proof_that_it_extends_the_one_before() -> None:
    disk = SimDisk()
    writer = create(disk)
    for first, end in ((0, 3), (3, 300), (300, 301)):
        append(writer, leaves(first, end))
        commit = writer.latest
        assert commit.old_size == first
        assert commit.growth == commit.consistency(first)
    writer.close()
    commit = reopen(disk).latest
    assert (commit.old_size, commit.growth) == (301, ())


def test_two_leaves_are_not_proved_at_one_place() -> None:
    writer = create(SimDisk())
    append(writer, leaves(0, 3))
    commit = writer.latest
    assert len(commit.prove(commit.note, [(1, leaf(1)), (1, leaf(1))])) == 2
    for places in ([(1, leaf(1)), (1, leaf(2))], [(1, leaf(2)), (1, leaf(1))]):
        with pytest.raises(LedgerError, match="damaged"):
            commit.prove(commit.note, places)


def test_either_opens_what_the_other_wrote() -> None:
    disk = SimDisk()
    writer = create(disk, ALONE)
    append(writer, leaves(0, 300))
    writer.close()
    log = Log.open(disk, "/ledger", key=LOG_KEY, policy=ALONE, witnesses=[])
    log.append(leaves(290, 310), NOW_S)
    assert log.check() == 310
    writer = reopen(disk, ALONE)
    assert append(writer, [leaf(305), leaf(400)]) == {leaf_hash(leaf(305)): 305, leaf_hash(leaf(400)): 310}


def test_two_processes_on_one_folder_do_not_make_two_histories() -> None:
    disk = SimDisk()
    create(disk)
    with pytest.raises(LedgerError, match="another process writes it"):
        reopen(disk)


def test_a_folder_that_was_exchanged_under_a_running_writer_gets_nothing_more() -> None:
    """Compare-and-swap: somebody restored a backup while the daemon ran."""
    disk, backup = SimDisk(), SimDisk()
    writer = create(disk)
    append(writer, leaves(0, 3))
    copy_tree(disk, backup, writer.folder)
    append(writer, leaves(3, 5))
    old = read_file(backup, f"{writer.folder}/stage")
    assert old is not None
    disk.unlink(f"{writer.folder}/stage")
    with disk.open(f"{writer.folder}/stage", "create") as file:
        file.write_at(0, old)
        file.sync()
    with pytest.raises(LedgerError, match="somebody else has written"):
        writer.add([leaf(9)])


def test_a_leaf_is_in_once_however_old_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knownleaves, "RUN_MIN", 256)
    monkeypatch.setattr(knownleaves, "RUN_MAX", 1024)
    disk = SimDisk()
    writer = create(disk)
    for first in range(0, 4000, 500):
        append(writer, leaves(first, first + 500))
    assert len(writer._known._runs) > 1
    for number in (0, 255, 256, 1023, 1024, 2999, 3999):
        assert append(writer, [leaf(number)]) == {leaf_hash(leaf(number)): number}
    writer.close()
    writer = reopen(disk)
    for number in (0, 255, 256, 1023, 1024, 2999, 3999):
        assert append(writer, [leaf(number)]) == {leaf_hash(leaf(number)): number}
    assert append(writer, [leaf(5000), leaf(5000)]) == {leaf_hash(leaf(5000)): 4000}


def test_an_oversize_leaf_is_refused_and_harms_nothing() -> None:
    writer = create(SimDisk())
    with pytest.raises(UsageError, match="65535"):
        writer.add([leaf(0), bytes(LEAF_MAX_BYTES + 1)])
    assert writer.latest.checkpoint.size == 0
    append(writer, [bytes(LEAF_MAX_BYTES)])


def test_a_flipped_bit_below_the_right_edge_is_never_signed() -> None:
    """A log died in 2022 of one flipped bit that it had signed."""
    disk = SimDisk()
    writer = create(disk)
    append(writer, leaves(0, 600))
    append(writer, [leaf(600)])
    writer.close()
    # Only this file has the hashes of the first two tiles together.
    flip(disk, f"{writer.folder}/tile/1/000.p/2", 40)
    with pytest.raises(LedgerError, match="its tiles do not lead to the root"):
        reopen(disk)


def test_a_full_disk_is_said_and_nothing_is_lost() -> None:
    drive = SimDrive(1, faults=DiskFaults())
    disk = SimDisk(drive)
    writer = create(disk)
    append(writer, leaves(0, 10))
    drive.faults.capacity_bytes = drive.used_bytes
    with pytest.raises(StoreFullError):
        writer.add(leaves(10, 20))
    drive.faults.capacity_bytes = 2**40
    assert writer.recover().checkpoint.size == 10
    append(writer, leaves(5, 20))
    assert writer.latest.checkpoint.size == 20


def test_proofs_of_any_age_convince() -> None:
    writer = create(SimDisk(), ALONE)
    for first in range(0, 700, 100):
        append(writer, leaves(first, first + 100))
    commit = writer.latest
    for index in (0, 99, 255, 256, 511, 699):
        commit.prove(commit.note, [(index, leaf(index))])
    for size in (1, 100, 256, 300, 699):
        assert len(commit.root_at(size)) == 32
        commit.consistency(size)


def test_a_lost_folder_does_not_begin_again() -> None:
    with pytest.raises(LedgerError, match="restore it"):
        reopen(SimDisk())
    disk = SimDisk()
    create(disk)
    with pytest.raises(LedgerError, match="exists"):
        LogWriter.create(disk, "/ledger", key=LOG_KEY, policy=FOUR)


def test_its_key_must_be_in_the_policy() -> None:
    writer = create(SimDisk())
    with pytest.raises(UsageError):
        writer.use_policy("quorum none\n")
    writer.use_policy(ALONE)
    assert writer.origin == ORIGIN

"""A log in a folder: what it writes, what it recognises, and when it refuses to go on."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchor.checkpoint import parse_checkpoint
from anchor.leafindex import find_hashes
from anchor.log import Log
from anchor.merkle import leaf_hash
from anchor.note import Ed25519Signer, parse_note
from anchor.policy import parse_policy
from anchor.stage import Stage, encode_stage, parse_stage, take_group
from core.errors import (
    CorruptError,
    LedgerError,
    MalformedError,
    PeerUnavailableError,
    StoreFullError,
    StoreReadOnlyError,
    UsageError,
)
from core.limits import LEAF_MAX_BYTES
from host.disk import RealDisk
from tests.anchor.ledgers import (
    ALONE,
    COSIGNERS,
    FOUR,
    LOG_KEY,
    NOW_S,
    ORIGIN,
    POLICY,
    Switched,
    check_anchored,
    copy_tree,
    create,
    flip,
    leaf,
    leaves,
    new_witness,
    reopen,
)
from tests.anchor.vectors import TESSERA, TESSERA_ENTRIES, TESSERA_ORIGIN, TESSERA_VKEY, tessera_key
from tests.sim.disk import SimDisk
from tests.sim.drive import DiskFaults


def test_tesseras_log_is_written_again_byte_for_byte(tmp_path: Path) -> None:
    disk, key, policy = RealDisk(), tessera_key(), f"log {TESSERA_VKEY}\nquorum none\n"
    log = Log.create(disk, str(tmp_path), key=key, policy=policy, witnesses=[], now_s=1)
    folder = Path(log.folder)
    assert log.origin == TESSERA_ORIGIN
    assert (folder / "checkpoint").read_bytes() == (TESSERA / "checkpoint.0").read_bytes()
    for number, entry in enumerate(TESSERA_ENTRIES, start=1):
        log.append([entry], 1)
        assert (folder / "checkpoint").read_bytes() == (TESSERA / f"checkpoint.{number}").read_bytes()
    theirs = {path.relative_to(TESSERA): path.read_bytes() for path in (TESSERA / "tile").rglob("*") if path.is_file()}
    ours = {path.relative_to(folder): path.read_bytes() for path in (folder / "tile").rglob("*") if path.is_file()}
    assert ours == theirs
    assert len(ours) == 30


def test_appended_leaves_are_proved_under_one_cosigned_checkpoint() -> None:
    log = create(SimDisk(), [new_witness()])
    anchored = log.append(leaves(0, 5), NOW_S)
    check_anchored(anchored, list(enumerate(leaves(0, 5))))
    assert {item.checkpoint for item in anchored} == {log.published()}
    checked = parse_policy(POLICY).check_checkpoint(anchored[0].checkpoint)
    assert (checked.checkpoint.size, checked.time_s) == (5, NOW_S)
    assert log.size() == log.check() == 5


def test_a_leaf_is_anchored_once_also_within_a_batch_and_after_reopening() -> None:
    disk, witness = SimDisk(), new_witness()
    log = create(disk, [witness])
    check_anchored(log.append([leaf(0), leaf(1), leaf(0)], NOW_S), [(0, leaf(0)), (1, leaf(1)), (0, leaf(0))])
    again = reopen(disk, [witness])
    check_anchored(again.append([leaf(2), leaf(1)], NOW_S), [(2, leaf(2)), (1, leaf(1))])
    assert again.leaves(0, 10) == leaves(0, 3)


def test_nothing_to_append_still_publishes() -> None:
    log = create(SimDisk(), [new_witness()])
    assert log.append([], NOW_S) == []
    assert log.publish(NOW_S) == log.published()


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=5))
def test_batches_of_any_size_fill_tiles_and_leave_only_needed_files(batches: list[int]) -> None:
    disk = SimDisk()
    log = create(disk, [], ALONE)
    size = 0
    for batch in batches:
        check_anchored(
            log.append(leaves(size, size + batch)[:3], NOW_S),
            list(enumerate(leaves(0, size + batch)))[size : size + min(3, batch)],
            ALONE,
        )
        log.append(leaves(size, size + batch), NOW_S)
        size += batch
    assert log.check() == log.size() == size
    full = size // 256
    kept = disk.list_folder(f"{log.folder}/tile/0")
    assert [name for name in kept if "." not in name] == [f"{index:03d}" for index in range(full)]
    assert not any(disk.list_folder(f"{log.folder}/tile/0/{index:03d}.p") for index in range(full))
    probes = sorted({0, size // 2, size - 1})
    check_anchored(
        log.append([leaf(number) for number in probes], NOW_S), [(number, leaf(number)) for number in probes], ALONE
    )


def test_a_large_batch_is_split_into_commits() -> None:
    log = create(SimDisk(), [], ALONE)
    assert [item.index for item in log.append(leaves(0, 2500), NOW_S)] == list(range(2500))
    big = [bytes([number]) * LEAF_MAX_BYTES for number in range(200)]
    assert take_group(big) == 128
    assert take_group(leaves(0, 2500)) == 1024
    with pytest.raises(UsageError):
        log.append([b"x" * (LEAF_MAX_BYTES + 1)], NOW_S)


def test_two_openers_of_one_folder_take_turns() -> None:
    disk, witness = SimDisk(), new_witness()
    one = create(disk, [witness])
    other = reopen(disk, [witness])
    for number in range(0, 40, 2):
        check_anchored(one.append([leaf(number)], NOW_S), [(number, leaf(number))])
        check_anchored(
            other.append([leaf(number + 1), leaf(number)], NOW_S),
            [(number + 1, leaf(number + 1)), (number, leaf(number))],
        )
    assert one.check() == 40


def test_threads_that_append_at_once_wait_for_each_other(tmp_path: Path) -> None:
    disk = RealDisk()
    top = str(tmp_path)
    Log.create(disk, top, key=LOG_KEY, policy=ALONE, witnesses=[], now_s=NOW_S)

    def work(first: int) -> None:
        log = Log.open(disk, top, key=LOG_KEY, policy=ALONE, witnesses=[])
        for number in range(first, first + 8):
            log.append([leaf(number)], NOW_S)

    threads = [threading.Thread(target=work, args=(100 * number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log = Log.open(disk, top, key=LOG_KEY, policy=ALONE, witnesses=[])
    assert log.check() == 24
    assert sorted(log.leaves(0, 24)) == sorted(leaves(0, 8) + leaves(100, 108) + leaves(200, 208))


def test_a_log_is_created_once_and_opened_only_where_it_is() -> None:
    disk, witness = SimDisk(), new_witness()
    assert not Log.exists(disk, "/anchor", ORIGIN)
    with pytest.raises(LedgerError, match="no log"):
        reopen(disk, [witness])
    create(disk, [witness])
    assert Log.exists(disk, "/anchor", ORIGIN)
    with pytest.raises(LedgerError, match="exists"):
        create(disk, [witness])


def test_a_key_that_the_policy_does_not_name_opens_no_log() -> None:
    with pytest.raises(UsageError):
        create(SimDisk(), [], f"log {Ed25519Signer('other', tessera_key()).key.vkey}\nquorum none\n")


def test_a_log_that_lost_its_folder_is_not_started_again() -> None:
    witness = new_witness()
    create(SimDisk(), [witness]).append(leaves(0, 3), NOW_S)
    with pytest.raises(LedgerError, match="has seen 3 entries, here are only 0"):
        create(SimDisk(), [witness])


def test_a_log_restored_from_an_old_backup_signs_nothing_more() -> None:
    disk, backup, witness = SimDisk(), SimDisk(), new_witness()
    log = create(disk, [witness])
    log.append(leaves(0, 3), NOW_S)
    copy_tree(disk, backup, "/anchor")
    published = log.append(leaves(3, 6), NOW_S)[0].checkpoint
    restored = reopen(backup, [witness])
    with pytest.raises(LedgerError, match="restored from a backup"):
        restored.append(leaves(10, 11), NOW_S)
    # As many entries as the witness has seen, or more: other ones, so it is a fork.
    for first in (11, 13, 15):
        with pytest.raises(LedgerError):
            restored.append(leaves(first, first + 2), NOW_S)
    assert log.published() == published
    assert restored.published() != published
    check_anchored(log.append(leaves(6, 7), NOW_S), [(6, leaf(6))])


def test_a_restored_backup_that_is_complete_goes_on() -> None:
    disk, backup, witness = SimDisk(), SimDisk(), new_witness()
    create(disk, [witness]).append(leaves(0, 3), NOW_S)
    copy_tree(disk, backup, "/anchor")
    check_anchored(reopen(backup, [witness]).append(leaves(3, 4), NOW_S), [(3, leaf(3))])


def test_leaves_wait_until_enough_witnesses_answer() -> None:
    witnesses = [Switched(new_witness(number)) for number in range(4)]
    log = create(SimDisk(), witnesses, FOUR)
    before = log.published()
    witnesses[0].on = witnesses[3].on = False
    with pytest.raises(PeerUnavailableError, match="fewer than its policy asks for"):
        log.append(leaves(0, 2), NOW_S)
    assert log.published() == before
    assert log.size() == 2
    with pytest.raises(PeerUnavailableError):
        log.append(leaves(2, 3), NOW_S)
    witnesses[3].on = True
    check_anchored(log.append(leaves(0, 2), NOW_S + 9), [(0, leaf(0)), (1, leaf(1))], FOUR)
    witnesses[0].on, witnesses[1].on = True, False
    check_anchored(log.append(leaves(3, 4), NOW_S + 9), [(3, leaf(3))], FOUR)


def test_a_witness_that_joins_later_or_lost_its_memory_is_caught_up() -> None:
    disk = SimDisk()
    create(disk, [new_witness(0)]).append(leaves(0, 300), NOW_S)
    log = reopen(disk, [new_witness(number) for number in range(4)], FOUR)
    check_anchored(log.append(leaves(5, 6), NOW_S), [(5, leaf(5))], FOUR)


def test_cosignatures_that_do_not_verify_or_come_from_the_future_do_not_count() -> None:
    class Wrong:
        def add_checkpoint(self, old_size: int, proof: object, checkpoint: bytes, *, now_s: int) -> str:
            text = parse_note(checkpoint).text
            other = text.replace(ORIGIN, ORIGIN + "x")
            lines = (
                COSIGNERS[0].sign(other, time_s=now_s).line,
                COSIGNERS[0].sign(text, time_s=now_s + 1000).line,
                COSIGNERS[1].sign(text, time_s=now_s).line,
                "garbage\n",
            )
            return "".join(lines)

    with pytest.raises(PeerUnavailableError, match="nobody"):
        create(SimDisk(), [Wrong()])


def test_a_damaged_right_edge_stops_the_log_before_it_signs() -> None:
    for victim, offset in (("tile/1/000.p/1", 3), ("tile/0/001.p/4", 40), ("tile/entries/001.p/4", 3)):
        disk, witness = SimDisk(), new_witness()
        log = create(disk, [witness])
        log.append(leaves(0, 256), NOW_S)
        log.append(leaves(256, 260), NOW_S)
        log.append(leaves(260, 261), NOW_S)
        copied = SimDisk()
        copy_tree(disk, copied, "/anchor")
        flip(copied, f"{log.folder}/{victim}", offset)
        damaged = reopen(copied, [witness])
        if victim.startswith("tile/1"):
            with pytest.raises(LedgerError, match="right edge is damaged"):
                damaged.append(leaves(300, 301), NOW_S)
            assert damaged.size() == 261
        else:
            # An older partial tile: nothing is built on it.
            damaged.append(leaves(261, 262), NOW_S)


def test_check_finds_every_flipped_byte_of_full_tiles_and_entries() -> None:
    disk = SimDisk()
    log = create(disk, [], ALONE)
    log.append(leaves(0, 600), NOW_S)
    log.append(leaves(600, 601), NOW_S)
    assert log.check() == 601
    for path in ("tile/0/000", "tile/0/001", "tile/1/000.p/2", "tile/entries/000", "tile/entries/001"):
        for offset in (0, 1, 17, 63):
            flip(disk, f"{log.folder}/{path}", offset)
            with pytest.raises((CorruptError, MalformedError)):
                log.check()
            flip(disk, f"{log.folder}/{path}", offset)
    assert log.check() == 601


def test_every_flipped_byte_of_the_commit_record_shows() -> None:
    disk = SimDisk()
    log = create(disk, [], ALONE)
    log.append(leaves(0, 1), NOW_S)
    path = f"{log.folder}/stage"
    found = disk.stat(path)
    assert found is not None
    for offset in range(found.size_bytes):
        flip(disk, path, offset)
        with pytest.raises(LedgerError, match="commit record is damaged"):
            log.append(leaves(1, 2), NOW_S)
        flip(disk, path, offset)
    check_anchored(log.append(leaves(1, 2), NOW_S), [(1, leaf(1))], ALONE)


def test_a_damaged_published_checkpoint_is_made_anew() -> None:
    disk, witness = SimDisk(), new_witness()
    log = create(disk, [witness])
    anchored = log.append(leaves(0, 2), NOW_S)
    flip(disk, f"{log.folder}/checkpoint", 30)
    assert log.publish(NOW_S) == anchored[0].checkpoint == log.published()


def test_a_full_disk_adds_nothing_and_room_lets_it_go_on() -> None:
    disk, witness = SimDisk(), new_witness()
    log = create(disk, [witness])
    log.append(leaves(0, 3), NOW_S)
    room = disk.drive.faults.capacity_bytes
    for spare in range(0, 2000, 50):
        disk.drive.faults = DiskFaults(capacity_bytes=disk.drive.used_bytes + spare)
        try:
            log.append([b"x" * 100, b"%d" % spare], NOW_S)
        except StoreFullError:
            continue
    disk.drive.faults = DiskFaults(capacity_bytes=room)
    log.append([b"x" * 100], NOW_S)
    assert log.check() == log.size()
    assert log.leaves(0, 3) == leaves(0, 3)


def test_a_read_only_disk_is_said_to_be_one() -> None:
    disk = SimDisk()
    log = create(disk, [], ALONE)
    disk.drive.faults = DiskFaults(read_only=True)
    with pytest.raises(StoreReadOnlyError):
        log.append(leaves(0, 1), NOW_S)


def test_a_failing_disk_is_a_ledger_error_and_leaves_a_log_that_goes_on() -> None:
    disk, witness = SimDisk(), new_witness()
    log = create(disk, [witness])
    log.append(leaves(0, 250), NOW_S)
    for number in range(250, 280):
        disk.drive.faults = DiskFaults(write_error_p=0.1, sync_error_p=0.1, read_error_p=0.02)
        try:
            log.append([leaf(number)], NOW_S)
        except LedgerError:
            pass
        finally:
            disk.drive.faults = DiskFaults()
    log.append(leaves(250, 280), NOW_S)
    assert log.check() == 280


@given(st.lists(st.integers(0, 3), max_size=60), st.lists(st.integers(0, 5), max_size=30))
def test_hashes_are_found_where_they_first_stand_whole(stored: list[int], wanted: list[int]) -> None:
    """Hashes of one repeated byte, so that false matches across borders abound."""
    hashes = [bytes([value]) * 32 for value in dict.fromkeys(stored)]
    expected = {
        bytes([value]) * 32: hashes.index(bytes([value]) * 32) for value in wanted if bytes([value]) * 32 in hashes
    }
    assert find_hashes(b"".join(hashes), [bytes([value]) * 32 for value in wanted]) == expected


def test_a_match_across_two_hashes_is_no_match() -> None:
    wanted = leaf_hash(b"wanted")
    torn = b"\0" * 16 + wanted + b"\0" * 16
    assert find_hashes(torn, [wanted]) == {}
    assert find_hashes(torn + wanted, [wanted]) == {wanted: 2}


@given(st.binary(max_size=100))
def test_any_bytes_are_a_commit_record_or_refused(data: bytes) -> None:
    with pytest.raises((CorruptError, MalformedError)):
        parse_stage(data)


def test_a_commit_record_is_written_and_read_alike() -> None:
    stage = Stage(b"note", {"tile/0/000.p/1": b"a", "tile/entries/000.p/1": b""})
    assert parse_stage(encode_stage(stage)) == stage


def test_every_published_size_was_cosigned_in_order() -> None:
    witness_disk, disk = SimDisk(), SimDisk()
    witness = new_witness(0, witness_disk)
    log = create(disk, [witness])
    for size in range(1, 5):
        log.append([leaf(size)], NOW_S + size)
        latest = witness.latest(ORIGIN)
        published = log.published()
        assert published is not None
        assert latest == parse_checkpoint(parse_note(published).text)
        assert latest is not None
        assert latest.size == size

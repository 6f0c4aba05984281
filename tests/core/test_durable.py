"""Small files are there whole or not at all, whenever the power goes."""

from __future__ import annotations

import errno
from contextlib import suppress

import pytest

from core.durable import clear_workshop, read_file, remove_parts, write_file, write_file_in_workshop
from tests.sim.disk import SimDisk
from tests.sim.drive import SimDrive
from tests.sim.life import NodeDead

PATH = "/home/state/file"


def test_a_file_is_replaced_and_read_up_to_the_reader_s_limit() -> None:
    disk = SimDisk(SimDrive(1, "node"))
    assert read_file(disk, PATH, max_bytes=10) is None
    write_file(disk, PATH, b"old", token="1")
    write_file(disk, PATH, b"new and longer", token="2")
    assert read_file(disk, PATH, max_bytes=100) == b"new and longer"
    assert read_file(disk, PATH, max_bytes=3) == b"new "
    assert disk.list_folder("/home/state") == ["file"]


def test_a_power_cut_at_any_operation_leaves_the_old_file_or_the_new_one() -> None:
    outcomes: set[bytes] = set()
    for cut in range(1, 40):
        drive = SimDrive(cut, "node")
        disk = SimDisk(drive)
        write_file(disk, PATH, b"old", token="1")
        drive.crash_at = drive.operations + cut
        with suppress(NodeDead):
            write_file(disk, PATH, b"new", token="2")
        drive.crash_at = None
        disk = SimDisk(drive)
        data = read_file(disk, PATH, max_bytes=10)
        assert data in (b"old", b"new")
        outcomes.add(data)
        remove_parts(disk, "/home/state")
        assert disk.list_folder("/home/state") == ["file"]
    assert outcomes == {b"old", b"new"}


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SimDisk(SimDrive(1, "node"))
    write_file(disk, PATH, b"old", token="1")

    def refuse(source: str, target: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(disk, "rename", refuse)
    with pytest.raises(OSError, match="Input/output"):
        write_file(disk, PATH, b"new", token="2")
    assert disk.list_folder("/home/state") == ["file"]
    assert read_file(disk, PATH, max_bytes=10) == b"old"


# --- several writers in one folder --------------------------------------------------------------

WORKSHOP = "/home/parts"


def test_what_a_killed_process_left_in_a_workshop_goes_when_the_next_one_clears_it() -> None:
    left = 0
    for kill in range(1, 20):
        drive = SimDrive(kill, "node")
        disk = SimDisk(drive)
        write_file_in_workshop(disk, WORKSHOP, PATH, b"old", token="1")
        drive.crash_at = drive.operations + kill
        with suppress(NodeDead):
            write_file_in_workshop(disk, WORKSHOP, PATH, b"new", token="2")
        drive.crash_at = None
        disk = SimDisk(drive)
        left += len(disk.list_folder(WORKSHOP))
        clear_workshop(disk, WORKSHOP)
        assert disk.list_folder(WORKSHOP) == []
        assert disk.list_folder("/home/state") == ["file"]
        assert read_file(disk, PATH, max_bytes=10) in (b"old", b"new")
    assert left > 0


def test_clearing_a_workshop_spares_what_is_being_written() -> None:
    disk = SimDisk(SimDrive(1, "node"))
    disk.make_folders(WORKSHOP)
    under_way = f"{WORKSHOP}/1-1.part"
    with disk.lock(under_way, wait=False) as ours:
        assert ours
        clear_workshop(disk, WORKSHOP)
        assert disk.list_folder(WORKSHOP) == ["1-1.part"]
        # A writer that draws the same token steps aside.
        write_file_in_workshop(disk, WORKSHOP, PATH, b"mine", token="1")
    assert read_file(disk, PATH, max_bytes=10) == b"mine"


def test_a_file_that_is_cleared_before_it_is_locked_is_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SimDisk(SimDrive(1, "node"))
    rename, met = disk.rename, 0

    def clear_first(source: str, target: str) -> None:
        nonlocal met
        met += 1
        if met == 1:
            disk.unlink(source)
        rename(source, target)

    monkeypatch.setattr(disk, "rename", clear_first)
    write_file_in_workshop(disk, WORKSHOP, PATH, b"data", token="1")
    assert read_file(disk, PATH, max_bytes=10) == b"data"
    assert met == 2


def test_a_failed_write_leaves_nothing_in_the_workshop(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SimDisk(SimDrive(1, "node"))

    def refuse(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, "rename", refuse)
    with pytest.raises(OSError, match="No space"):
        write_file_in_workshop(disk, WORKSHOP, PATH, b"data", token="1")
    assert disk.list_folder(WORKSHOP) == []


def test_a_leftover_whose_token_comes_again_is_no_obstacle() -> None:
    disk = SimDisk(SimDrive(1, "node"))
    disk.drive.plant(f"{PATH}.7.part", b"half of something")
    write_file(disk, PATH, b"new", token="7")
    assert read_file(disk, PATH, max_bytes=10) == b"new"
    assert disk.list_folder("/home/state") == ["file"]


def test_a_write_that_ran_out_of_memory_leaves_nothing_beside_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SimDisk(SimDrive(1, "node"))
    write_file(disk, PATH, b"old", token="1")

    def fail(source: str, target: str) -> None:
        raise MemoryError

    monkeypatch.setattr(disk, "rename", fail)
    with pytest.raises(MemoryError):
        write_file(disk, PATH, b"new", token="2")
    assert disk.list_folder("/home/state") == ["file"]

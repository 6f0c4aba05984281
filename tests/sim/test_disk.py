from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from core.ports import Disk
from tests.sim.crash import crash_everywhere
from tests.sim.disk import SimDisk
from tests.sim.drive import DiskFaults, SimDrive
from tests.sim.life import NodeDead

NEVER = DiskFaults(name_kept_p=0.0, file_lost_p=1.0)


def write(disk: Disk, path: str, data: bytes) -> None:
    with disk.open(path, "create") as file:
        file.write_at(0, data)


def write_durably(disk: Disk, path: str, data: bytes) -> None:
    with disk.open(path, "create") as file:
        file.write_at(0, data)
        file.sync()
    disk.sync_folder(path.rpartition("/")[0] or "/")


def read(disk: Disk, path: str) -> bytes:
    with disk.open(path, "read") as file:
        return file.read_at(0, 1 << 30)


# --- what survives --------------------------------------------------------------------------


def test_what_was_synced_survives_a_power_cut() -> None:
    drive = SimDrive(faults=NEVER)
    disk = SimDisk(drive)
    disk.make_folders("/a/b")
    write_durably(disk, "/a/b/file", b"durable")
    drive.cut_power()
    assert read(SimDisk(drive), "/a/b/file") == b"durable"


@pytest.mark.parametrize(("sync_file", "sync_folder"), [(False, True), (True, False), (False, False)])
def test_what_was_not_synced_is_lost(*, sync_file: bool, sync_folder: bool) -> None:
    drive = SimDrive(faults=NEVER)
    disk = SimDisk(drive)
    with disk.open("/file", "create") as file:
        file.write_at(0, b"x" * 1000)
        if sync_file:
            file.sync()
    if sync_folder:
        disk.sync_folder("/")
    drive.cut_power()
    disk = SimDisk(drive)
    if sync_folder:
        assert read(disk, "/file") == b""
    else:
        assert disk.stat("/file") is None


def test_a_rename_is_durable_when_both_folders_are_synced() -> None:
    for synced in ((), ("/a",), ("/b",)):
        drive = SimDrive(faults=NEVER)
        disk = SimDisk(drive)
        disk.make_folders("/a")
        disk.make_folders("/b")
        write_durably(disk, "/a/file", b"x")
        disk.rename("/a/file", "/b/file")
        for folder in synced:
            disk.sync_folder(folder)
        drive.cut_power()
        assert SimDisk(drive).list_folder("/a") == ["file"], synced
    drive = SimDrive(faults=NEVER)
    disk = SimDisk(drive)
    disk.make_folders("/a")
    disk.make_folders("/b")
    write_durably(disk, "/a/file", b"x")
    disk.rename("/a/file", "/b/file")
    disk.sync_folder("/a")
    disk.sync_folder("/b")
    drive.cut_power()
    disk = SimDisk(drive)
    assert (disk.list_folder("/a"), disk.list_folder("/b")) == ([], ["file"])


def test_a_rename_is_never_seen_by_halves() -> None:
    for seed in range(40):
        drive = SimDrive(seed)
        disk = SimDisk(drive)
        disk.make_folders("/a")
        disk.make_folders("/b")
        write_durably(disk, "/a/file", b"new")
        write_durably(disk, "/b/file", b"old")
        disk.rename("/a/file", "/b/file")
        drive.cut_power()
        disk = SimDisk(drive)
        seen = (disk.list_folder("/a"), read(disk, "/b/file"))
        assert seen in ((["file"], b"old"), ([], b"new"))


def test_an_older_change_never_undoes_a_newer_one_that_is_durable() -> None:
    for seed in range(40):
        drive = SimDrive(seed)
        disk = SimDisk(drive)
        disk.make_folders("/a")
        disk.make_folders("/b")
        write_durably(disk, "/a/first", b"first")
        write_durably(disk, "/b/second", b"second")
        disk.rename("/a/first", "/b/target")
        disk.rename("/b/second", "/b/target")
        disk.sync_folder("/b")
        drive.cut_power()
        assert read(SimDisk(drive), "/b/target") == b"second"


def test_un_synced_bytes_come_back_whole_torn_or_not_at_all() -> None:
    kinds: set[str] = set()
    for seed in range(60):
        drive = SimDrive(seed)
        disk = SimDisk(drive)
        write_durably(disk, "/file", bytes(4096))
        with disk.open("/file", "update") as file:
            file.write_at(0, b"x" * 4096)
        drive.cut_power()
        data = read(SimDisk(drive), "/file")
        kinds.add("whole" if data == b"x" * 4096 else "none" if data == bytes(4096) else "torn")
    assert kinds == {"whole", "torn", "none"}


def test_a_journal_keeps_the_first_changes() -> None:
    for seed in range(30):
        drive = SimDrive(seed, faults=DiskFaults(names_ordered=True))
        disk = SimDisk(drive)
        for name in ("a", "b", "c"):
            write(disk, f"/{name}", b"")
        drive.cut_power()
        assert SimDisk(drive).list_folder("/") in ([], ["a"], ["a", "b"], ["a", "b", "c"])


def test_the_dead_reach_the_drive_no_more() -> None:
    drive = SimDrive()
    disk = SimDisk(drive)
    with disk.open("/file", "create") as file:
        drive.cut_power()
        for call in (
            lambda: disk.stat("/file"),
            lambda: disk.list_folder("/"),
            lambda: disk.unlink("/file"),
            lambda: file.write_at(0, b"x"),
            file.sync,
        ):
            with pytest.raises(NodeDead):
                call()


def test_the_same_seed_loses_the_same() -> None:
    def fate(seed: int) -> list[tuple[str, bytes]]:
        drive = SimDrive(seed)
        disk = SimDisk(drive)
        for name in "abcdefgh":
            write(disk, f"/{name}", name.encode() * 2000)
        drive.cut_power()
        disk = SimDisk(drive)
        return [(name, read(disk, f"/{name}")) for name in disk.list_folder("/")]

    assert fate(1) == fate(1)
    assert fate(1) != fate(2)


# --- faults ---------------------------------------------------------------------------------


def test_a_full_drive_takes_what_fits_and_then_refuses() -> None:
    drive = SimDrive(faults=DiskFaults(capacity_bytes=10))
    disk = SimDisk(drive)
    with disk.open("/file", "create") as file:
        file.write_at(0, b"1234")
        with pytest.raises(OSError, match="No space left") as caught:
            file.write_at(4, b"56789abc")
        assert caught.value.errno == errno.ENOSPC
        assert file.read_at(0, 100) == b"123456789a"
    assert disk.free_bytes("/") == 0
    disk.unlink("/file")
    assert disk.free_bytes("/") == 10


def test_space_is_counted_through_rename_and_power_cuts() -> None:
    drive = SimDrive(faults=DiskFaults(capacity_bytes=100))
    disk = SimDisk(drive)
    write_durably(disk, "/a", bytes(10))
    write_durably(disk, "/b", bytes(20))
    disk.rename("/a", "/b")
    assert disk.free_bytes("/") == 90
    disk.sync_folder("/")
    drive.cut_power()
    assert SimDisk(drive).free_bytes("/") == 90


def test_a_read_only_drive_can_be_read() -> None:
    drive = SimDrive()
    disk = SimDisk(drive)
    write_durably(disk, "/file", b"x")
    drive.faults.read_only = True
    assert read(disk, "/file") == b"x"
    calls: list[Callable[[], None]] = [
        lambda: write(disk, "/another", b""),
        lambda: disk.rename("/file", "/another"),
        lambda: disk.unlink("/file"),
        lambda: disk.make_folders("/folder"),
    ]
    for call in calls:
        with pytest.raises(OSError, match="Read-only"):
            call()


def test_the_nth_call_fails_as_told_and_only_that_one() -> None:
    drive = SimDrive()
    disk = SimDisk(drive)
    drive.fail_at[drive.calls + 2] = errno.EMFILE
    assert disk.list_folder("/") == []
    with pytest.raises(OSError, match="Too many open files"):
        disk.list_folder("/")
    assert disk.list_folder("/") == []


def test_a_sync_that_fails_forgets_the_bytes_and_the_next_one_succeeds() -> None:
    drive = SimDrive(faults=NEVER)
    disk = SimDisk(drive)
    write_durably(disk, "/file", b"old")
    with disk.open("/file", "update") as file:
        file.write_at(0, b"new")
        drive.faults.sync_error_p = 1
        with pytest.raises(OSError, match="Input/output error"):
            file.sync()
        drive.faults.sync_error_p = 0
        file.sync()
    assert read(disk, "/file") == b"new"
    assert drive.durable_bytes("/file") == b"old"


def test_rot_is_silent_and_durable() -> None:
    drive = SimDrive()
    disk = SimDisk(drive)
    write_durably(disk, "/file", b"\0\0\0")
    drive.flip_bit("/file", 1, bit=3)
    assert read(disk, "/file") == b"\0\x08\0"
    assert drive.durable_bytes("/file") == b"\0\x08\0"


def test_a_bad_sector_gives_errors_until_it_is_written() -> None:
    drive = SimDrive()
    disk = SimDisk(drive)
    write_durably(disk, "/file", bytes(2000))
    drive.break_sector("/file", 600)
    with disk.open("/file", "update") as file:
        assert file.read_at(0, 512) == bytes(512)
        with pytest.raises(OSError, match="Input/output error"):
            file.read_at(500, 100)
        assert drive.durable_bytes("/file") is None
        file.write_at(512, bytes(512))
        assert file.read_at(500, 100) == bytes(100)


def test_the_world_can_plant_remove_and_wipe_behind_the_nodes_back() -> None:
    drive = SimDrive(faults=NEVER)
    disk = SimDisk(drive)
    drive.plant("/a/b/file", b"planted")
    drive.plant("/a/other", b"x")
    assert read(disk, "/a/b/file") == b"planted"
    assert drive.durable_paths("/a") == ["/a/b/file", "/a/other"]
    drive.remove("/a/b")
    drive.cut_power()
    assert SimDisk(drive).list_folder("/a") == ["other"]
    drive.wipe()
    assert SimDisk(drive).list_folder("/") == []


# --- the enumerator finds what it should ----------------------------------------------------


class Replace:
    """Replaces a file twice; ``faults`` names what it forgets."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.promised = b"zero"
        self.tried = [b"zero"]

    def prepare(self, disk: Disk) -> None:
        disk.make_folders("/home")
        write_durably(disk, "/home/file", b"zero")

    def run(self, disk: Disk) -> None:
        for data in (b"one" * 700, b"two" * 500):
            self.tried.append(data)
            if self.fault == "promises first":
                self.promised = data
            self._replace(disk, data)
            self.promised = data

    def _replace(self, disk: Disk, data: bytes) -> None:
        path = "/home/file" if self.fault == "writes in place" else "/home/file.part"
        with disk.open(path, "update") as file:
            file.write_at(0, data)
            if self.fault == "renames first":
                disk.rename(path, "/home/file")
            if self.fault != "syncs no file":
                file.sync()
        if path != "/home/file" and self.fault != "renames first":
            disk.rename(path, "/home/file")
        if self.fault != "syncs no folder":
            disk.sync_folder("/home")

    def recover(self, disk: Disk) -> None:
        if disk.stat("/home/file.part") is not None:
            disk.unlink("/home/file.part")

    def check(self, disk: Disk) -> None:
        data = read(disk, "/home/file")
        assert data in self.tried[self.tried.index(self.promised) :]


def test_a_careful_program_survives_every_power_cut() -> None:
    assert crash_everywhere(Replace, images=6) == 11 * 6 * 2


@pytest.mark.parametrize(
    "fault", ["syncs no file", "syncs no folder", "renames first", "writes in place", "promises first"]
)
def test_a_careless_program_is_caught(fault: str) -> None:
    with pytest.raises(AssertionError) as caught:
        crash_everywhere(lambda: Replace(fault), images=6)
    assert "power cut at operation" in caught.value.__notes__[0]

"""Small files are there whole or not at all, whenever the power goes."""

from __future__ import annotations

import errno
from contextlib import suppress

import pytest

from core.durable import read_file, remove_parts, write_file
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

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from core.ports import Buffer
from host.disk import RealDisk


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_private_files_and_folders_are_for_their_user_alone(tmp_path: Path) -> None:
    disk = RealDisk()
    disk.make_folders(str(tmp_path / "a" / "b"))
    with disk.open(str(tmp_path / "file"), "create"), disk.lock(str(tmp_path / "lock"), wait=True):
        pass
    assert [mode(tmp_path / name) for name in ("a", "a/b", "file", "lock")] == [0o700, 0o700, 0o600, 0o600]


def test_other_files_and_folders_have_the_modes_of_the_umask(tmp_path: Path) -> None:
    disk = RealDisk(private=False)
    before = os.umask(0o027)
    try:
        disk.make_folders(str(tmp_path / "a"))
        with disk.open(str(tmp_path / "file"), "update"):
            pass
    finally:
        os.umask(before)
    assert [mode(tmp_path / name) for name in ("a", "file")] == [0o750, 0o640]


def test_short_writes_and_reads_of_the_system_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite, pread = os.pwrite, os.pread

    def short_write(descriptor: int, data: Buffer, offset: int) -> int:
        return pwrite(descriptor, memoryview(data)[:3], offset)

    def short_read(descriptor: int, length: int, offset: int) -> bytes:
        return pread(descriptor, min(length, 4), offset)

    monkeypatch.setattr(os, "pwrite", short_write)
    monkeypatch.setattr(os, "pread", short_read)
    with RealDisk().open(str(tmp_path / "file"), "create") as file:
        file.write_at(1, b"0123456789")
        assert file.read_at(0, 11) == b"\0" + b"0123456789"
        assert file.read_at(2, 100) == b"123456789"


def test_a_system_that_writes_nothing_is_an_error_and_no_endless_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_nothing(_descriptor: int, _data: Buffer, _offset: int) -> int:
        return 0

    monkeypatch.setattr(os, "pwrite", write_nothing)
    with RealDisk().open(str(tmp_path / "file"), "create") as file, pytest.raises(OSError, match="nothing was written"):
        file.write_at(0, b"x")


def test_an_error_of_an_open_file_names_it() -> None:
    with RealDisk().open("/dev/full", "update") as file, pytest.raises(OSError, match="No space left") as caught:
        file.write_at(0, b"x")
    assert caught.value.filename == "/dev/full"


def test_a_pipe_under_a_name_that_is_read_hangs_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with RealDisk().open(str(tmp_path / "pipe"), "read") as file, pytest.raises(OSError, match="Illegal seek"):
        file.read_at(0, 1)


def test_what_need_not_stay_in_memory_leaves_it(tmp_path: Path) -> None:
    disk, path = RealDisk(), str(tmp_path / "file")
    if disk.file_system(str(tmp_path)) not in {"btrfs", "ext4", "xfs"}:
        pytest.skip("not every file system tells what is in memory")
    with disk.open(path, "create") as file:
        file.write_at(0, bytes(100_000))
        file.sync()
    with open(path, "rb") as file:
        room = bytearray(100_000)
        assert os.preadv(file.fileno(), [room], 0, os.RWF_NOWAIT) == 100_000
        disk.uncache(path)
        with pytest.raises(BlockingIOError):
            os.preadv(file.fileno(), [room], 0, os.RWF_NOWAIT)


def test_a_link_is_not_followed_by_stat(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    found = RealDisk().stat(str(tmp_path / "link"))
    assert found is not None
    assert not found.is_folder


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths in the order in which they were synced."""
    paths: list[str] = []
    fsync = os.fsync

    def recording(descriptor: int) -> None:
        paths.append(Path(f"/proc/self/fd/{descriptor}").readlink().as_posix())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    return paths


def test_new_folders_are_durable_from_the_top_down(tmp_path: Path, synced: list[str]) -> None:
    disk = RealDisk()
    disk.make_folders(str(tmp_path / "a" / "b" / "c"))
    assert synced[-3:] == [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")]


def test_a_folder_that_another_made_is_made_durable_once(tmp_path: Path, synced: list[str]) -> None:
    (tmp_path / "a").mkdir()
    disk = RealDisk()
    disk.make_folders(str(tmp_path / "a"))
    disk.make_folders(str(tmp_path / "a"))
    assert synced == [str(tmp_path)]


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    disk = RealDisk()
    for _ in range(2):
        disk.make_folders(str(tmp_path / "a"))
        (tmp_path / "a").rmdir()
    assert disk.stat(str(tmp_path / "a")) is None


def test_a_disk_that_fails_is_not_taken_for_one_without_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    monkeypatch.setattr(os, "stat", fail)
    with pytest.raises(OSError, match="Input/output error"):
        RealDisk().make_folders(str(tmp_path / "a" / "b"))


def test_sync_reaches_the_file_and_the_folder(tmp_path: Path, synced: list[str]) -> None:
    disk = RealDisk()
    with disk.open(str(tmp_path / "file"), "create") as file:
        file.sync()
    disk.sync_folder(str(tmp_path))
    assert synced == [str(tmp_path / "file"), str(tmp_path)]


HOLD = """
import sys
from host.disk import RealDisk
with RealDisk().lock(sys.argv[1], wait=True) as got:
    print(got, flush=True)
    sys.stdin.read()
"""


def test_a_lock_of_a_file_that_exists_is_had_on_a_read_only_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "lock")
    with RealDisk().lock(path, wait=False):
        pass
    really_open = os.open

    def read_only(name: str, flags: int, mode: int = 0o777) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), name)
        return really_open(name, flags, mode)

    monkeypatch.setattr(os, "open", read_only)
    with RealDisk().lock(path, wait=False) as got:
        assert got


def test_a_lock_excludes_other_processes_and_ends_when_they_are_killed(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    disk = RealDisk()
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"
        with disk.lock(path, wait=False) as got:
            assert not got
        holder.send_signal(signal.SIGKILL)
        with disk.lock(path, wait=True) as got:
            assert got

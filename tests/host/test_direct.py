"""What is written past the page cache is what was to be written, whatever its pieces and its file system."""

from __future__ import annotations

import errno
import fcntl
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.buffers import ALIGNED_BYTES, unfilled_aligned
from core.errors import TargetError
from core.limits import MIB
from core.listing import Entry, Kind, RelativePath
from core.ports import Buffer
from host import restore
from host.direct import STAGE_BYTES, DirectWriter
from host.restore import RestoreTree

Pwrite = Callable[[int, Buffer, int], int]


def is_direct(descriptor: int) -> bool:
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT)


def aligned(data: bytes) -> memoryview:
    place = unfilled_aligned(len(data))
    place[:] = data
    return place


def write(path: Path, pieces: list[Buffer]) -> bytes:
    """What the file holds afterwards."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        writer = DirectWriter.over(descriptor)
        if writer is None:
            pytest.skip("this file system has no direct writes")
        at = 0
        for piece in pieces:
            writer.write_at(at, piece)
            at += len(piece)
        writer.finish()
        assert not is_direct(descriptor), "who goes on with this descriptor writes what he likes"
    finally:
        os.close(descriptor)
    return path.read_bytes()


SIZES = st.one_of(
    st.integers(0, 3 * ALIGNED_BYTES),
    st.sampled_from([ALIGNED_BYTES, STAGE_BYTES - 1, STAGE_BYTES, STAGE_BYTES + 1, 3 * STAGE_BYTES]),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.tuples(SIZES, st.sampled_from([bytes, bytearray, aligned])), max_size=6))
def test_a_file_holds_its_pieces(tmp_path: Path, pieces: list[tuple[int, Callable[[bytes], Buffer]]]) -> None:
    chance = random.Random(len(pieces))
    data = [chance.randbytes(size) for size, _ in pieces]
    given_pieces = [kind(item) for item, (_, kind) in zip(data, pieces, strict=True)]
    assert write(tmp_path / "file", given_pieces) == b"".join(data)


def test_aligned_pieces_go_to_the_disk_uncopied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, bool]] = []
    system: Pwrite = os.pwrite

    def pwrite(descriptor: int, data: Buffer, offset: int) -> int:
        calls.append((len(data), is_direct(descriptor)))
        return system(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    chance = random.Random(1)
    data = [chance.randbytes(2 * MIB), chance.randbytes(MIB + 7)]
    assert write(tmp_path / "file", [aligned(item) for item in data]) == b"".join(data)
    assert calls == [(2 * MIB, True), (MIB, True), (7, False)]


def test_a_block_that_the_file_system_refuses_goes_through_the_page_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system: Pwrite = os.pwrite

    def pwrite(descriptor: int, data: Buffer, offset: int) -> int:
        if is_direct(descriptor):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return system(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    data = random.Random(2).randbytes(2 * MIB + 5)
    assert write(tmp_path / "file", [aligned(data)]) == data


def test_a_write_cut_short_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system: Pwrite = os.pwrite

    def pwrite(descriptor: int, data: Buffer, offset: int) -> int:
        if not is_direct(descriptor):
            return system(descriptor, data, offset)
        # In the middle of a block, from where no direct write goes on: the system says EINVAL to the next.
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        if offset % ALIGNED_BYTES:
            return system(descriptor, data, offset)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~os.O_DIRECT)
        try:
            return system(descriptor, memoryview(data)[:10_000], offset)
        finally:
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)

    monkeypatch.setattr(os, "pwrite", pwrite)
    data = random.Random(3).randbytes(300_000)
    assert write(tmp_path / "file", [aligned(data)]) == data


def test_a_system_that_writes_nothing_is_an_error_and_no_endless_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pwrite(_descriptor: int, _data: Buffer, _offset: int) -> int:
        return 0

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(OSError, match="nothing was written"):
        write(tmp_path / "file", [aligned(bytes(MIB))])


def test_other_errors_are_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pwrite(descriptor: int, data: Buffer, offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "file", [aligned(bytes(MIB))])


def test_a_file_system_without_direct_writes_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = fcntl.fcntl

    def control(descriptor: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETFL:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return system(descriptor, command, argument)

    monkeypatch.setattr(fcntl, "fcntl", control)
    with (tmp_path / "file").open("wb") as file:
        assert DirectWriter.over(file.fileno()) is None


def large(size: int) -> Entry:
    return Entry(RelativePath(b"large"), Kind.FILE, size, 1_700_000_000_000_000_000, 0o640, b"", b"", ())


def tree_on(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> RestoreTree:
    """A restore into a file system of that kind, as far as it knows; files of 4 MiB are large."""

    def file_system_of(_path: str) -> str:
        return kind

    monkeypatch.setattr(restore, "DIRECT_FILE_BYTES", 4 * MIB)
    monkeypatch.setattr(restore, "file_system_of", file_system_of)
    return RestoreTree(str(folder))


@pytest.fixture
def direct_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the writes that went past the page cache."""
    sizes: list[int] = []
    system: Pwrite = os.pwrite

    def pwrite(descriptor: int, data: Buffer, offset: int) -> int:
        if is_direct(descriptor):
            sizes.append(len(data))
        return system(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    return sizes


@pytest.mark.parametrize(
    ("size", "kind", "passed_by"),
    [
        (4 * MIB, "ext4", 4 * MIB),
        (4 * MIB + 1, "xfs", 4 * MIB),
        (4 * MIB - 1, "ext4", 0),
        (4 * MIB, "nfs4", 0),
        (4 * MIB, "", 0),
    ],
)
def test_a_large_file_is_restored_past_the_page_cache_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, direct_bytes: list[int], size: int, kind: str, passed_by: int
) -> None:
    data, entry = random.Random(size).randbytes(size), large(size)
    tree = tree_on(tmp_path, kind, monkeypatch)
    tree.prepare([entry])
    tree.make_folders([entry])
    for at in range(0, size, MIB):
        tree.write_at(entry, at, data[at : at + MIB])
    tree.finish_file(entry)
    tree.finish([entry])
    found = tmp_path / "large"
    assert found.read_bytes() == data
    assert (found.stat().st_mode & 0o777, found.stat().st_mtime_ns) == (0o640, entry.modified_ns)
    with found.open("rb") as file:
        has_direct = DirectWriter.over(file.fileno()) is not None
    assert sum(direct_bytes) == (passed_by if has_direct else 0)


def test_a_large_file_that_is_given_up_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree, entry = tree_on(tmp_path, "ext4", monkeypatch), large(8 * MIB)
    tree.prepare([entry])
    tree.write_at(entry, 0, bytes(MIB + 1))
    tree.abandon()
    assert not list(tmp_path.iterdir())


def test_a_large_file_for_which_there_is_no_memory_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def over(_descriptor: int) -> DirectWriter:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(DirectWriter, "over", over)
    tree, entry = tree_on(tmp_path, "ext4", monkeypatch), large(8 * MIB)
    tree.prepare([entry])
    with pytest.raises(TargetError, match="memory"):
        tree.write_at(entry, 0, bytes(MIB))
    tree.abandon()
    assert not list(tmp_path.iterdir())

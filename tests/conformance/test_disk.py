from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.ports import Disk, FileStat
from host.disk import RealDisk
from tests.sim.disk import SimDisk


@dataclass
class Place:
    disk: Disk
    top: str
    """An empty folder."""

    def path(self, *names: str) -> str:
        return "/".join((self.top, *names))

    def write(self, name: str, data: bytes) -> str:
        path = self.path(name)
        with self.disk.open(path, "create") as file:
            file.write_at(0, data)
            file.sync()
        return path

    def read(self, name: str) -> bytes:
        with self.disk.open(self.path(name), "read") as file:
            return file.read_at(0, file.size() + 1)


@pytest.fixture(params=["real", "simulated"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "real":
        return Place(RealDisk(), str(tmp_path))
    disk = SimDisk()
    disk.make_folders("/top")
    return Place(disk, "/top")


def test_bytes_come_back_from_any_offset(place: Place) -> None:
    place.write("file", b"0123456789")
    with place.disk.open(place.path("file"), "read") as file:
        assert file.size() == 10
        assert [file.read_at(0, 10), file.read_at(3, 4), file.read_at(8, 5), file.read_at(10, 1)] == [
            b"0123456789",
            b"3456",
            b"89",
            b"",
        ]
        assert file.read_at(0, 0) == b""


def test_any_buffer_can_be_written(place: Place) -> None:
    with place.disk.open(place.path("file"), "create") as file:
        file.write_at(0, bytearray(b"ab"))
        file.write_at(2, memoryview(b"xcdx")[1:3])
        file.write_at(4, b"")
    assert place.read("file") == b"abcd"


def test_a_write_beyond_the_end_fills_the_gap_with_zeros(place: Place) -> None:
    with place.disk.open(place.path("file"), "create") as file:
        file.write_at(3, b"x")
        assert file.read_at(0, 9) == b"\0\0\0x"


def test_create_refuses_an_existing_file_and_update_keeps_its_bytes(place: Place) -> None:
    path = place.write("file", b"old bytes")
    with pytest.raises(FileExistsError), place.disk.open(path, "create"):
        pass
    with place.disk.open(path, "update") as file:
        file.write_at(0, b"new")
    assert place.read("file") == b"new bytes"


def test_update_makes_what_is_not_there(place: Place) -> None:
    with place.disk.open(place.path("file"), "update") as file:
        assert file.size() == 0


def test_what_is_not_there_cannot_be_read(place: Place) -> None:
    with pytest.raises(FileNotFoundError), place.disk.open(place.path("file"), "read"):
        pass
    with pytest.raises(FileNotFoundError), place.disk.open(place.path("no", "file"), "create"):
        pass
    assert place.disk.stat(place.path("file")) is None
    assert place.disk.stat(place.path("no", "file")) is None


def test_a_file_opened_for_reading_cannot_be_written(place: Place) -> None:
    path = place.write("file", b"x")
    with place.disk.open(path, "read") as file, pytest.raises(OSError, match="Bad file descriptor"):
        file.write_at(0, b"y")


def test_a_closed_file_is_closed_and_may_be_closed_again(place: Place) -> None:
    with place.disk.open(place.write("file", b"x"), "read") as file:
        file.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            file.read_at(0, 1)


def test_a_folder_is_no_file(place: Place) -> None:
    place.disk.make_folders(place.path("folder"))
    for mode in ("read", "update"):
        with pytest.raises(IsADirectoryError), place.disk.open(place.path("folder"), mode):
            pass
    with pytest.raises(IsADirectoryError):
        place.disk.rename(place.write("file", b"x"), place.path("folder"))
    with pytest.raises(OSError, match=r"directory|not permitted"):
        place.disk.unlink(place.path("folder"))


def test_a_file_is_no_folder(place: Place) -> None:
    path = place.write("file", b"x")
    assert place.disk.stat(f"{path}/below") is None
    with pytest.raises(NotADirectoryError), place.disk.open(f"{path}/below", "create"):
        pass
    with pytest.raises(NotADirectoryError):
        place.disk.list_folder(path)
    with pytest.raises(NotADirectoryError):
        place.disk.sync_folder(path)
    with pytest.raises(FileExistsError):
        place.disk.make_folders(path)
    with pytest.raises(FileExistsError):
        place.disk.make_folders(f"{path}/below")


def test_stat_tells_size_kind_and_that_a_file_was_written(place: Place) -> None:
    path = place.write("file", b"12345")
    found = place.disk.stat(path)
    assert found == FileStat(5, is_folder=False, modified_ns=found.modified_ns if found else 0)
    folder = place.disk.stat(place.top)
    assert folder is not None
    assert folder.is_folder


def test_names_are_listed_in_ascending_order(place: Place) -> None:
    for name in ("b", "a", "B", "é", "a.part", "\udcff"):
        place.write(name, b"")
    assert place.disk.list_folder(place.top) == ["B", "a", "a.part", "b", "é", "\udcff"]


def test_a_folder_that_does_not_exist_is_listed_as_empty(place: Place) -> None:
    assert place.disk.list_folder(place.path("nowhere")) == []


def test_folders_are_made_with_their_parents_and_again(place: Place) -> None:
    for _ in range(2):
        place.disk.make_folders(place.path("a", "b", "c"))
    assert place.disk.list_folder(place.path("a", "b")) == ["c"]


def test_rename_replaces_its_target(place: Place) -> None:
    place.write("target", b"old")
    place.disk.rename(place.write("source", b"new"), place.path("target"))
    place.disk.sync_folder(place.top)
    assert place.disk.list_folder(place.top) == ["target"]
    assert place.read("target") == b"new"


def test_a_file_keeps_its_bytes_for_who_has_it_open(place: Place) -> None:
    path = place.write("file", b"old")
    with place.disk.open(path, "read") as file:
        place.disk.rename(place.write("other", b"new"), path)
        assert file.read_at(0, 3) == b"old"
        place.disk.unlink(path)
        assert file.read_at(0, 3) == b"old"


def test_a_folder_is_renamed_with_all_in_it(place: Place) -> None:
    place.disk.make_folders(place.path("a", "b"))
    place.write("a/b/file", b"x")
    place.disk.rename(place.path("a"), place.path("c"))
    assert place.read("c/b/file") == b"x"
    assert place.disk.stat(place.path("a")) is None


def test_what_is_not_there_cannot_be_renamed_or_removed(place: Place) -> None:
    with pytest.raises(FileNotFoundError):
        place.disk.rename(place.path("source"), place.path("target"))
    with pytest.raises(FileNotFoundError):
        place.disk.unlink(place.path("source"))
    with pytest.raises(FileNotFoundError):
        place.disk.sync_folder(place.path("source"))


def test_unlink_removes_a_name(place: Place) -> None:
    place.disk.unlink(place.write("file", b"x"))
    assert place.disk.list_folder(place.top) == []


def test_what_need_not_stay_in_memory_stays_on_the_disk(place: Place) -> None:
    path = place.write("file", b"data" * 5000)
    place.disk.uncache(path)
    assert place.read("file") == b"data" * 5000
    place.disk.uncache(place.path("nothing"))
    place.disk.uncache(place.top)


def test_free_space_is_a_number_of_bytes(place: Place) -> None:
    assert place.disk.free_bytes(place.top) > 0
    assert place.disk.file_system(place.top)
    with pytest.raises(FileNotFoundError):
        place.disk.free_bytes(place.path("nowhere"))


def test_a_lock_excludes_others_while_it_is_held(place: Place) -> None:
    path = place.path("lock")
    with place.disk.lock(path, wait=True) as first:
        assert first
        with place.disk.lock(path, wait=False) as second:
            assert not second
        # One that was not got takes nothing away when it is left.
        with place.disk.lock(path, wait=False) as third:
            assert not third
    with place.disk.lock(path, wait=False) as fourth:
        assert fourth


def test_a_lock_ends_with_an_error_inside_it(place: Place) -> None:
    path = place.path("lock")
    with pytest.raises(ZeroDivisionError), place.disk.lock(path, wait=True):
        raise ZeroDivisionError
    with place.disk.lock(path, wait=False) as got:
        assert got


PIECES = st.lists(st.tuples(st.integers(0, 3000), st.binary(max_size=1500)), max_size=12)


@given(pieces=PIECES)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_is_an_array_of_bytes(place: Place, pieces: list[tuple[int, bytes]]) -> None:
    model = bytearray()
    with place.disk.open(place.path("file"), "update") as file:
        # The fixture's place serves all examples.
        place.disk.unlink(place.path("file"))
    with place.disk.open(place.path("file"), "create") as file:
        for offset, data in pieces:
            file.write_at(offset, data)
            if data:
                model.extend(bytes(max(0, offset + len(data) - len(model))))
                model[offset : offset + len(data)] = data
        assert file.size() == len(model)
        assert file.read_at(0, len(model) + 1) == bytes(model)

"""Every structure on the disk, through power cuts, kills and failing calls (`python -m tests.crash` prints a table)."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest

from core.ports import Disk
from tests.crash.cuts import CutDrive, Directories, files_of, images_of
from tests.crash.enumerate import NORMAL, THOROUGH, Effort, Errors, Story, crash_everywhere, fail_everywhere, fail_once
from tests.crash.stories_client import PoolMade
from tests.crash.structures import STORIES
from tests.sim.disk import SimDisk

by_name = pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name.replace(" ", "-"))


@by_name
def test_no_power_cut_and_no_kill_loses_or_tears_anything(story: type[Story]) -> None:
    tally = crash_everywhere(story, Effort(every=story.slow))
    assert tally.ordered + tally.weak >= tally.cuts


@by_name
def test_no_failing_call_loses_anything_or_stops_the_next_operation(story: type[Story]) -> None:
    assert fail_everywhere(story, every=story.slow) > 5


@pytest.mark.slow
@pytest.mark.timeout(3600)
@by_name
def test_no_power_cut_loses_anything_in_nearly_every_legal_image(story: type[Story]) -> None:
    # Stories that take longest: some cuts and calls still, four minutes of the processor otherwise.
    every = max(1, story.slow // 10)
    crash_everywhere(story, THOROUGH if story.slow == 1 else replace(NORMAL, every=every))
    fail_everywhere(story, every=every)


# --- does it see anything at all? -----------------------------------------------------------------


class Careless(Story):
    """Replaces a file as one should not: each subclass leaves out a step."""

    errors: ClassVar[Errors] = (OSError,)
    sync_file = sync_folder = rename = True

    def __init__(self) -> None:
        self.acknowledged = b""

    def _write(self, disk: Disk, data: bytes) -> None:
        disk.make_folders("/home")
        path = "/home/file.part" if self.rename else "/home/file"
        with disk.open(path, "update") as file:
            file.write_at(0, data)
            if self.sync_file:
                file.sync()
        if self.rename:
            disk.rename(path, "/home/file")
        if self.sync_folder:
            disk.sync_folder("/home")
        self.acknowledged = data

    def prepare(self, disk: Disk) -> None:
        self._write(disk, b"o" * 3000)

    def run(self, disk: Disk) -> None:
        self._write(disk, b"n" * 3000)

    def recover(self, disk: Disk) -> None:
        if disk.stat("/home/file.part") is not None:
            disk.unlink("/home/file.part")

    def check(self, disk: Disk) -> None:
        found = dict(files_of(_drive(disk).root))
        assert found.get("/home/file") in (b"n" * 3000, self.acknowledged)


def _drive(disk: Disk) -> CutDrive:
    assert isinstance(disk, SimDisk)
    assert isinstance(disk.drive, CutDrive)
    return disk.drive


class NoFileSync(Careless):
    sync_file = False


class NoFolderSync(Careless):
    sync_folder = False


class InPlace(Careless):
    rename = False


@pytest.mark.parametrize("story", [NoFileSync, NoFolderSync, InPlace])
def test_what_leaves_out_a_step_is_caught(story: type[Story]) -> None:
    with pytest.raises(AssertionError):
        crash_everywhere(story, Effort())


def test_what_leaves_out_none_passes() -> None:
    crash_everywhere(Careless, NORMAL)
    fail_everywhere(Careless)


def test_all_images_of_two_names_and_one_write_are_found() -> None:
    """Weak: each name alone, and the bytes lost, kept or garbage where their file has a name; ordered: prefixes."""
    counts: dict[Directories, int] = {}
    for directories in Directories:
        drive = CutDrive(directories)
        disk = SimDisk(drive)
        with disk.open("/a", "create") as file:
            file.write_at(0, b"x" * 100)
        with disk.open("/b", "create"):
            pass
        images = images_of(drive, tries_max=100, samples=0, seed=0)
        assert images.complete
        counts[directories] = len(images.scripts)
    # a: absent, empty, whole, garbage; b: absent or empty.
    assert counts == {Directories.WEAK: 4 * 2, Directories.ORDERED: 1 + 3 + 3}


def test_a_pool_whose_last_step_failed_is_made_for_good_before_it_is_used() -> None:
    """The roster had its name, the sync of its folder failed: the next command took the pool for made."""
    story, drive = PoolMade(), CutDrive(Directories.WEAK)
    story.run(SimDisk(drive))
    assert all(fail_once(PoolMade, "EIO", call) for call in range(drive.calls - 3, drive.calls + 1))
    assert not fail_once(PoolMade, "EIO", drive.calls + 1)

"""Power cuts at every operation of a story, and several legal states of the drive after each.

After Zheng et al., "Torturing Databases for Fun and Profit" (OSDI 2014), and ALICE (Pillai et al., OSDI 2014).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Protocol

from core.ports import Disk
from tests.sim.disk import SimDisk
from tests.sim.drive import DiskFaults, SimDrive
from tests.sim.life import NodeDead

# Recovery is cut once too, in half of the states, at one of its first operations.
RECOVERY_OPERATIONS = 12


class Story(Protocol):
    """A program's work on a disk, and what must hold whenever it is cut short. One object lives through one crash."""

    def prepare(self, disk: Disk) -> None:
        """What was there before, undisturbed."""
        ...

    def run(self, disk: Disk) -> None:
        """What the power is cut in. Notes in the object what was promised so far."""
        ...

    def recover(self, disk: Disk) -> None:
        """What the program does when it starts again; cut short itself at times, and then run again."""
        ...

    def check(self, disk: Disk) -> None:
        """Asserts that every promise is kept."""
        ...


def crash_everywhere(tell: Callable[[], Story], *, images: int = 4) -> int:
    """Cut the power at each operation of the story, and after the last.

    Args:
        tell: makes a fresh story.
        images: states of the drive tried per cut and per kind of file system (journal or not).

    Returns:
        How many crashes were survived.

    Raises:
        AssertionError: of ``check``, or whatever ``recover`` raised, with a note that says where the power was cut.
    """
    story, drive = tell(), SimDrive()
    disk = SimDisk(drive)
    story.prepare(disk)
    first = drive.operations + 1
    story.run(disk)
    cuts = range(first, drive.operations + 2)
    for crash_at in cuts:
        for seed in range(images):
            for names_ordered in (False, True):
                _crash(tell(), seed, crash_at, names_ordered=names_ordered)
    return len(cuts) * images * 2


def _crash(story: Story, seed: int, crash_at: int, *, names_ordered: bool) -> None:
    drive = SimDrive(seed * 1_000_003 + crash_at, faults=DiskFaults(names_ordered=names_ordered))
    disk = SimDisk(drive)
    story.prepare(disk)
    drive.crash_at = crash_at
    where = f"power cut at operation {crash_at}, seed {seed}, names_ordered={names_ordered}"
    try:
        _until_dead(drive, story.run, disk)
        where += f", amid {drive.log[-1]}" if drive.log else ""
        if seed % 2:
            drive.crash_at = drive.operations + drive.chance.randint(1, RECOVERY_OPERATIONS)
            _until_dead(drive, story.recover, SimDisk(drive))
        drive.crash_at = None
        disk = SimDisk(drive)
        story.recover(disk)
        story.check(disk)
    except Exception as error:  # only to say where; it goes on
        error.add_note(where)
        raise


def _until_dead(drive: SimDrive, work: Callable[[Disk], None], disk: Disk) -> None:
    with contextlib.suppress(NodeDead):
        work(disk)
    if not drive.life.dead:
        drive.cut_power()

"""Every crash of a story: the power cut at each disk operation, in every legal image; kills; and calls that fail.

After Pillai et al. (ALICE, OSDI 2014) for the images, and SQLite's out-of-memory and input/output error tests for the
calls: the first one fails, then the second, and so on until the story ends without having met the failure.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from core.errors import MoorageError
from core.ports import Disk
from tests.crash.cuts import Choices, CutDrive, Directories, images_of
from tests.sim.disk import SimDisk
from tests.sim.life import NodeDead

# A recovery that never ends would be cut for ever.
RECOVERY_CUTS_MAX = 60


Errors: TypeAlias = "tuple[type[BaseException], ...]"


class Story:
    """A structure at work. One object lives through one crash, or one failing call.

    ``run`` notes in the object what was acknowledged, ``check`` asserts that it is there and whole, that nothing torn
    bears a final name, and that nothing is left over. ``errors`` are what a failing disk may raise in ``run``.
    """

    name: ClassVar[str]
    errors: ClassVar[Errors] = (MoorageError,)
    slow: ClassVar[int] = 1
    """The fast tests try each so many-th cut and call: for stories that take long."""

    def prepare(self, disk: Disk) -> None:
        """What was there before, undisturbed."""

    def run(self, disk: Disk) -> None:
        raise NotImplementedError

    def recover(self, disk: Disk) -> None:
        """What the program does when it starts again. Raises nothing on a healthy disk."""
        raise NotImplementedError

    def again(self, disk: Disk) -> None:
        """The next operation in the same process, on a disk that is well again: it must succeed."""
        self.run(disk)

    def check(self, disk: Disk) -> None:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Effort:
    """How much of what is exponential is tried at each cut: see ``images_of``."""

    tries_max: int = 8
    samples: int = 2
    recovery_cuts_max: int = 1
    every: int = 1
    """Only each so many-th cut or call is tried: for stories that take long."""


NORMAL = Effort(tries_max=64, samples=16, recovery_cuts_max=12)
THOROUGH = Effort(tries_max=3000, samples=200, recovery_cuts_max=RECOVERY_CUTS_MAX)


@dataclass(slots=True)
class Tally:
    """What was survived. ``partial``: cuts with more images than were tried."""

    cuts: int = 0
    ordered: int = 0
    weak: int = 0
    partial: int = 0
    killed: int = 0
    recoveries: int = 0
    failed_calls: int = 0

    @property
    def states(self) -> int:
        return self.ordered + self.weak + self.killed + self.recoveries + self.failed_calls


@contextmanager
def _telling(where: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        error.add_note(where)
        raise


def _run_until_dead(work: Callable[[Disk], None], drive: CutDrive) -> None:
    """A life of the node in which the drive's ``crash_at`` may come."""
    disk = SimDisk(drive)
    with suppress(NodeDead):
        work(disk)


def _live(story: Story, directories: Directories, crash_at: int) -> CutDrive:
    """The drive as it is when the process dies at operation ``crash_at`` of ``run``: nothing lost yet."""
    drive = CutDrive(directories)
    disk = SimDisk(drive)
    story.prepare(disk)
    drive.crash_at = drive.operations + crash_at
    drive.on_crash = drive.life.end
    with suppress(NodeDead):
        story.run(disk)
    drive.crash_at = None
    drive.life.end()
    return drive


def _recover_and_check(story: Story, drive: CutDrive) -> None:
    drive.crash_at = None
    drive.on_crash = None
    disk = SimDisk(drive)
    story.recover(disk)
    story.check(disk)


def operations_of(tell: Callable[[], Story], directories: Directories) -> int:
    drive = CutDrive(directories)
    disk, story = SimDisk(drive), tell()
    story.prepare(disk)
    before = drive.operations
    story.run(disk)
    return drive.operations - before


def crash_everywhere(tell: Callable[[], Story], effort: Effort) -> Tally:
    """Cut the power at each operation of the story and after the last, in both models of directories.

    Raises AssertionError, or whatever recovery raised, with a note that says where.
    """
    tally = Tally()
    for directories in Directories:
        for crash_at in range(1, operations_of(tell, directories) + 2, effort.every):
            tally.cuts += 1
            _crash(tell, directories, crash_at, effort, tally)
            _kill(tell, directories, crash_at)
            tally.killed += 1
    return tally


def _crash(tell: Callable[[], Story], directories: Directories, crash_at: int, effort: Effort, tally: Tally) -> None:
    frozen = _live(tell(), directories, crash_at)
    images = images_of(frozen, tries_max=effort.tries_max, samples=effort.samples, seed=crash_at)
    tally.partial += not images.complete
    for script in images.scripts:
        with _telling(f"power cut at operation {crash_at} {_last(frozen)}, {directories.value}, image {list(script)}"):
            story = tell()
            drive = _live(story, directories, crash_at)
            drive.choices = Choices(script)
            drive.cut_power()
            _recover_and_check(story, drive)
    if directories is Directories.ORDERED:
        tally.ordered += len(images.scripts)
    else:
        tally.weak += len(images.scripts)
    # The recovery is cut too: from the worst image, at each of its operations, and the worst is left again.
    for recovery_cut in range(1, effort.recovery_cuts_max + 1):
        where = (
            f"power cuts at operation {crash_at} {_last(frozen)} and {recovery_cut} of recovery, {directories.value}"
        )
        with _telling(where):
            if not _cut_twice(tell(), directories, crash_at, recovery_cut):
                break
        tally.recoveries += 1


def _last(drive: CutDrive) -> str:
    return str(drive.log[-1]) if drive.log else "(none)"


def _cut_twice(story: Story, directories: Directories, crash_at: int, recovery_cut: int) -> bool:
    drive = _live(story, directories, crash_at)
    drive.choices = Choices()
    drive.cut_power()
    drive.crash_at, drive.on_crash = drive.operations + recovery_cut, None
    _run_until_dead(story.recover, drive)
    came = drive.operations >= (drive.crash_at or 0)
    if not drive.life.dead:
        drive.cut_power()
    _recover_and_check(story, drive)
    return came


def _kill(tell: Callable[[], Story], directories: Directories, crash_at: int) -> None:
    """The process is killed, and the drive lives on; only when it has started again is the power cut."""
    with _telling(f"killed at operation {crash_at}, then a power cut after recovery, {directories.value}"):
        story = tell()
        drive = _live(story, directories, crash_at)
        _recover_and_check(story, drive)
        drive.choices = Choices()
        drive.cut_power()
        _recover_and_check(story, drive)


# --- calls that fail ------------------------------------------------------------------------------


def _os_error(code: int) -> Callable[[str], BaseException]:
    return lambda path: OSError(code, os.strerror(code), path)


FAILURES: Mapping[str, Callable[[str], BaseException]] = {
    "EIO": _os_error(errno.EIO),
    "ENOSPC": _os_error(errno.ENOSPC),
    "EMFILE": _os_error(errno.EMFILE),
    "EROFS": _os_error(errno.EROFS),
    "MemoryError": lambda path: MemoryError(path),
}
# These do not go away by themselves.
LASTING = ("ENOSPC", "EROFS", "EIO")


def fail_everywhere(tell: Callable[[], Story], *, every: int = 1) -> int:
    """Have each call of the story fail, in each way; how many failures were survived."""
    survived = 0
    for kind, lasting in [*((kind, False) for kind in FAILURES), *((kind, True) for kind in LASTING)]:
        call = 1
        while fail_once(tell, kind, call, lasting=lasting):
            survived += 1
            call += every
    return survived


def fail_once(tell: Callable[[], Story], kind: str, call: int, *, lasting: bool = False) -> bool:
    """Have one call fail (and all that follow), then cut the power. False when the story ended before that call."""
    story, drive = tell(), CutDrive(Directories.WEAK)
    disk = SimDisk(drive)
    story.prepare(disk)
    drive.failure, drive.fails_on, drive.fail_call = FAILURES[kind], lasting, drive.calls + call
    where = f"call {call} of the story fails with {kind}{' and all that follow' if lasting else ''}"
    with _telling(where):
        with suppress(*story.errors, MemoryError):
            story.run(disk)
        met = drive.calls >= drive.fail_call
        drive.fail_call = 0
        if not met:
            return False
        # The same process goes on; then the power is cut, and what was acknowledged by now must be there.
        story.again(disk)
        drive.cut_power()
        _recover_and_check(story, drive)
    return True

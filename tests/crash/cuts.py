"""A drive whose fate at a power cut is chosen, not drawn: every legal image of it can be had, one after the other."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from blake3 import blake3

from tests.sim.drive import SECTOR_BYTES, DiskFaults, File, Folder, Node, SimDrive, overwrite


class Directories(Enum):
    """Which name changes may survive without their folder's sync."""

    ORDERED = "ordered"
    """The first few, as a journal keeps them."""
    WEAK = "weak"
    """Any of them, each on its own."""


class WriteFate(Enum):
    """What becomes of bytes that were written and not synced."""

    LOST = 0
    KEPT = 1
    GARBAGE = 2
    FRONT = 3
    """Only the first half of its sectors arrived."""
    BACK = 4
    """Only the other half: a hole of zeros before it where the file was shorter."""


# One sector arrives, or does not, or is not what was written.
SMALL_FATES = (WriteFate.LOST, WriteFate.KEPT, WriteFate.GARBAGE)


@dataclass(slots=True)
class Choices:
    """Answers from a script, then the first option each time; remembers how many options there were.

    With ``chance`` what the script does not say is drawn.
    """

    script: Sequence[int] = ()
    chance: random.Random | None = None
    made: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def choose(self, options: int) -> int:
        at = len(self.made)
        if at < len(self.script):
            answer = min(self.script[at], options - 1)
        else:
            answer = self.chance.randrange(options) if self.chance else 0
        self.made.append((answer, options))
        return answer

    def next_script(self) -> list[int] | None:
        """The script of the next combination, the last choice fastest; None after the last."""
        made = list(self.made)
        while made:
            answer, options = made.pop()
            if answer + 1 < options:
                return [*(taken for taken, _ in made), answer + 1]
        return None


class LastChoices(Choices):
    """Always the last option."""

    def choose(self, options: int) -> int:
        self.made.append((options - 1, options))
        return options - 1


class CutDrive(SimDrive):
    """``choices`` decide what a power cut leaves; the first option of each is that nothing was kept."""

    def __init__(self, directories: Directories, choices: Choices | None = None) -> None:
        super().__init__(faults=DiskFaults(names_ordered=directories is Directories.ORDERED))
        self.choices = choices or Choices()
        self.fail_call = 0
        """The number of the call that fails (0: none), by ``failure``; with ``fails_on`` all that follow fail, too."""
        self.failure: Callable[[str], BaseException] | None = None
        self.fails_on = False

    def call(self, path: str, error_p: float = 0.0) -> None:
        super().call(path, error_p)
        due = self.calls == self.fail_call or (self.fails_on and self.calls > self.fail_call)
        if self.failure is not None and self.fail_call and due:
            raise self.failure(path)

    def cut_power(self) -> None:
        self.life.end()
        if self.faults.names_ordered:
            kept = self._changes[: self.choices.choose(len(self._changes) + 1)]
        else:
            kept = [change for change in self._changes if self.choices.choose(2)]
        for change in kept:
            change.settle()
        self._changes.clear()
        self._reboot(self.root)
        self.used_bytes = sum(len(data) for _, data in files_of(self.root))

    def _decide(self, file: File) -> None:
        for offset, data in file.pending:
            self._settle_write(file.durable, offset, data)
        file.pending.clear()
        file.live = bytearray(file.durable)

    def _settle_write(self, durable: bytearray, offset: int, data: bytes) -> None:
        sectors = -(-len(data) // SECTOR_BYTES)
        fates = tuple(WriteFate) if sectors > 1 else SMALL_FATES
        half = sectors // 2 * SECTOR_BYTES
        match fates[self.choices.choose(len(fates))]:
            case WriteFate.LOST:
                pass
            case WriteFate.KEPT:
                overwrite(durable, offset, data)
            case WriteFate.GARBAGE:
                overwrite(durable, offset, bytes(byte ^ 0xA5 for byte in data))
            case WriteFate.FRONT:
                overwrite(durable, offset, data[:half])
            case WriteFate.BACK:
                overwrite(durable, offset + half, data[half:])


def files_of(folder: Folder, path: str = "") -> Iterator[tuple[str, bytes]]:
    """Every file as it is seen now, by ascending path."""
    for name in sorted(folder.live):
        node: Node = folder.live[name]
        if isinstance(node, Folder):
            yield from files_of(node, f"{path}/{name}")
        else:
            yield f"{path}/{name}", bytes(node.live)


def _folders_of(folder: Folder, path: str = "") -> Iterator[str]:
    for name in sorted(folder.live):
        node = folder.live[name]
        if isinstance(node, Folder):
            yield f"{path}/{name}"
            yield from _folders_of(node, f"{path}/{name}")


def image_digest(drive: SimDrive) -> bytes:
    """Equal for drives that hold the same files and folders."""
    digest = blake3()
    for name in _folders_of(drive.root):
        digest.update(f"{name}\0".encode())
    for name, data in files_of(drive.root):
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.digest()


@dataclass(frozen=True, slots=True)
class Images:
    """Scripts that lead to distinct images; the first keeps nothing, the last of all choices is among them.

    ``complete``: there are no others.
    """

    scripts: tuple[tuple[int, ...], ...]
    complete: bool


def images_of(frozen: CutDrive, *, tries_max: int, samples: int, seed: int) -> Images:
    """The images that a power cut of ``frozen`` may leave: all, or, when ``tries_max`` combinations were not enough,
    those of half as many first ones, that of everything kept, and ``samples`` drawn ones."""
    found: dict[bytes, tuple[int, ...]] = {}

    def look(choices: Choices) -> Choices:
        drive = copy.deepcopy(frozen)
        drive.choices = choices
        drive.cut_power()
        found.setdefault(image_digest(drive), tuple(answer for answer, _ in choices.made))
        return choices

    script: list[int] | None = look(Choices()).next_script()
    look(LastChoices())
    tries = 1
    while script is not None and tries < tries_max:
        script = look(Choices(script)).next_script()
        tries += 1
    if script is not None:
        chance = random.Random(seed)
        for _ in range(samples):
            look(Choices(chance=chance))
    return Images(tuple(found.values()), script is None)

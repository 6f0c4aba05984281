"""What else a daemon keeps: journal, care book, silence, trash list, records of discovery, its address."""

from __future__ import annotations

from typing import ClassVar

from client.health import Health
from core.durable import read_file, remove_parts, write_file
from core.errors import MoorageError
from core.ids import ObjectId, PeerId, ShardRoot
from core.ports import Disk
from daemon.carebook import CareBook, CareEntry
from daemon.journal import Event, Journal, Note
from daemon.silence import Silence
from daemon.trash import UNNAMED_FILE, UNNAMED_FILE_MAX_BYTES, parse_unnamed, write_unnamed
from dht.store import Quotas, read_store, write_store
from tests.crash.enumerate import Errors, Story
from tests.daemon.shards import FixedClock

HOME = "/home/peer"
STATE = f"{HOME}/state"
OBJECTS = [ObjectId(bytes([number]) * 32) for number in range(3)]
PEERS = [PeerId(bytes([0x50 + number]) * 32) for number in range(2)]
JOURNAL_FILE_MAX_BYTES = 400
JOURNAL_FILES_MAX = 4


def no_parts(disk: Disk, folder: str) -> None:
    found = [name for name in disk.list_folder(folder) if name.endswith((".part", ".tmp"))]
    assert not found, f"leftovers in {folder}: {found}"


class Journalled(Story):
    """Events arrive; files are begun and the oldest deleted."""

    name = "journal"

    def __init__(self) -> None:
        self.acknowledged: list[Event] = []
        self._journal: tuple[Disk, Journal] | None = None
        self._texts = 0

    def _open(self, disk: Disk) -> Journal:
        if self._journal is None or self._journal[0] is not disk:
            journal = Journal(
                disk,
                f"{HOME}/journal",
                FixedClock(),
                file_max_bytes=JOURNAL_FILE_MAX_BYTES,
                files_max=JOURNAL_FILES_MAX,
            )
            journal.start()
            self._journal = disk, journal
        return self._journal[1]

    def _append(self, disk: Disk, count: int) -> None:
        first, self._texts = self._texts, self._texts + count
        notes = [Note("test", f"event {number}") for number in range(first, first + count)]
        self.acknowledged += self._open(disk).append(notes)

    def prepare(self, disk: Disk) -> None:
        self._append(disk, 3)

    def run(self, disk: Disk) -> None:
        for count in (1, 3, 2, 4, 3):
            self._append(disk, count)

    def recover(self, disk: Disk) -> None:
        self._append(disk, 1)

    def check(self, disk: Disk) -> None:
        found = list(self._open(disk).after(0))
        numbers = [event.number for event in found]
        assert numbers == sorted(set(numbers)), f"numbers do not rise: {numbers}"
        kept = {(event.number, event.text) for event in found}
        # Whole files are deleted, so that a few of the oldest may be gone.
        newest = [(event.number, event.text) for event in self.acknowledged if event.number >= min(numbers)]
        assert len(newest) >= min(len(self.acknowledged), JOURNAL_FILES_MAX - 1), "too much was deleted"
        assert set(newest) <= kept, "an acknowledged event is lost"
        assert len(disk.list_folder(f"{HOME}/journal")) <= JOURNAL_FILES_MAX + 1


class CareNoted(Story):
    """Looks are noted, one by one and together; an object is forgotten."""

    name = "care book"
    errors: ClassVar[Errors] = (OSError,)

    def __init__(self) -> None:
        self.noted: dict[ObjectId, CareEntry] = {}
        self._book: tuple[Disk, CareBook] | None = None
        self._second = 0

    def _open(self, disk: Disk) -> CareBook:
        if self._book is None or self._book[0] is not disk:
            book = CareBook(disk, f"{STATE}/care")
            book.load()
            self._book = disk, book
        return self._book[1]

    def _entry(self) -> CareEntry:
        self._second += 1
        return CareEntry(self._second, self._second, Health.FULL, 2)

    def prepare(self, disk: Disk) -> None:
        entry = self._entry()
        self._open(disk).note(OBJECTS[0], entry)
        self.noted[OBJECTS[0]] = entry

    def run(self, disk: Disk) -> None:
        entries = {name: self._entry() for name in OBJECTS}
        self._open(disk).note_all(entries)
        self.noted |= entries
        # Whether it is remembered after all does not matter: it is forgotten again.
        self.noted.pop(OBJECTS[2])
        self._open(disk).forget(OBJECTS[2])

    def recover(self, disk: Disk) -> None:
        self._open(disk)

    def check(self, disk: Disk) -> None:
        entries = self._open(disk).entries()
        for name, entry in self.noted.items():
            assert name in entries, "a look is forgotten"
            assert entries[name].checked_s >= entry.checked_s, "an older look came back"
        no_parts(disk, f"{STATE}/care")


class SmallFile(Story):
    """A file that is replaced. ``old`` and ``new`` are what may be read from it: the one, or the other."""

    errors: ClassVar[Errors] = (OSError,)
    path = f"{STATE}/file"

    def __init__(self) -> None:
        self.written = 0
        """How often it was acknowledged."""
        self.begun = 0

    def write(self, disk: Disk, number: int) -> None:
        raise NotImplementedError

    def read(self, disk: Disk) -> int:
        """The number of the version that is there; 0 for none. Raises nothing."""
        raise NotImplementedError

    def _write(self, disk: Disk) -> None:
        self.begun += 1
        self.write(disk, self.begun)
        self.written = self.begun

    def prepare(self, disk: Disk) -> None:
        self._write(disk)

    def run(self, disk: Disk) -> None:
        self._write(disk)
        self._write(disk)

    def recover(self, disk: Disk) -> None:
        """As ``daemon.node`` begins."""
        remove_parts(disk, STATE)

    def check(self, disk: Disk) -> None:
        assert self.written <= self.read(disk) <= self.begun, "torn, lost, or from nowhere"
        no_parts(disk, STATE)


class SilenceSaved(SmallFile):
    name = "silence of peers"
    path = f"{STATE}/silence"

    def __init__(self) -> None:
        super().__init__()
        self.saved = Silence()

    def write(self, disk: Disk, number: int) -> None:
        # Each is another hour of silence, seen in looks half an hour apart.
        silence = Silence()
        for half in range(2 * number + 1):
            silence.note([], PEERS, 1000.0 + 1800.0 * half)
        silence.save(disk, self.path, "1")

    def read(self, disk: Disk) -> int:
        silence = Silence()
        silence.load(disk, self.path)
        seconds = {spell.observed_s for spell in silence._spells.values()}
        assert len(seconds) <= 1
        return int(seconds.pop()) // 3600 if seconds else 0


class TrashListed(SmallFile):
    name = "trash list"
    path = f"{HOME}/{UNNAMED_FILE}"

    def write(self, disk: Disk, number: int) -> None:
        write_unnamed(disk, self.path, {ShardRoot(bytes([7]) * 32): number})

    def read(self, disk: Disk) -> int:
        data = read_file(disk, self.path, max_bytes=UNNAMED_FILE_MAX_BYTES)
        return 0 if data is None else next(iter(parse_unnamed(data).values()))


class RecordsSaved(SmallFile):
    """The record store; what a crash leaves beside it goes with the next save."""

    name = "records of discovery"
    errors: ClassVar[Errors] = (OSError, MoorageError)
    path = f"{STATE}/records"

    def write(self, disk: Disk, number: int) -> None:
        write_store(disk, self.path, [bytes([number]) * 700] * 3)

    def read(self, disk: Disk) -> int:
        raws = read_store(disk, self.path, Quotas())
        return raws[0][0] if raws else 0


class AddressKept(SmallFile):
    name = "own address and port"
    path = f"{STATE}/address"

    def write(self, disk: Disk, number: int) -> None:
        write_file(disk, self.path, f"10.0.0.1:{number}\n".encode(), token=f"{number:08x}")

    def read(self, disk: Disk) -> int:
        data = read_file(disk, self.path, max_bytes=100)
        return 0 if data is None else int(data.partition(b":")[2])


STORIES: tuple[type[Story], ...] = (Journalled, CareNoted, SilenceSaved, TrashListed, RecordsSaved, AddressKept)

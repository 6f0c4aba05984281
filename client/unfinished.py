"""Puts of which everything is stored and nothing anchored yet: what is pending, and can be gone on with.

Where an organisation's log is another machine's, too few witnesses may answer for hours. Without these notes each
further attempt would sign another manifest, and leave another leaf in the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from client.home import WORKSHOP_FOLDER, Home
from client.memory import ENTRY_MAX_BYTES, CatalogueEntry, ClientMemory, encode_entry, parse_entry
from core.durable import read_file, write_file_in_workshop
from core.encoding import encode_checked
from core.errors import MalformedError, MoorageError
from core.ids import DIGEST_BYTES, ObjectId
from core.limits import KIB, MANIFEST_MAX_BYTES, RECEIPT_MAX_BYTES
from core.ports import Chance, Disk
from core.schema import Fields

NOTE_MAX_BYTES = MANIFEST_MAX_BYTES + ENTRY_MAX_BYTES + RECEIPT_MAX_BYTES + KIB


class Unfinished(NamedTuple):
    """``entry`` goes into the catalogue when the manifest is anchored and its holders have the receipt.

    ``receipt``: the pending one (``anchor.pending``) under the roster of its day, empty before the log has the leaf;
    where ``is_anchored`` the receipt itself, which too few holders took.
    """

    entry: CatalogueEntry
    manifest_file: bytes
    receipt: bytes = b""
    is_anchored: bool = False


class UnfinishedPuts:
    """Notes in a client's home, one for each object. All methods block: call them inside a disk job."""

    def __init__(self, disk: Disk, home: Home, chance: Chance) -> None:
        self._disk = disk
        self._home = home
        self._chance = chance

    def _path(self, name: str) -> str:
        return self._home.path("state", "unfinished", name)

    def keep(self, unfinished: Unfinished) -> None:
        """Durably, in place of what there was about this object. Raises OSError."""
        data = encode_checked(
            {
                "object": unfinished.entry.object.raw,
                "entry": encode_entry(unfinished.entry),
                "manifest": unfinished.manifest_file,
                "receipt": unfinished.receipt,
                "anchored": unfinished.is_anchored,
            }
        )
        workshop, token = self._home.path(WORKSHOP_FOLDER), self._chance.token(4).hex()
        write_file_in_workshop(self._disk, workshop, self._path(str(unfinished.entry.object)), data, token=token)

    def update(self, unfinished: Unfinished) -> None:
        """As ``keep``, but nothing when the note was ended meanwhile: what begins anew is not brought back."""
        if self.get(unfinished.entry.object) is not None:
            self.keep(unfinished)

    def begin(self, unfinished: Unfinished) -> None:
        """As ``keep``; what an earlier put of the same content left could not be gone on with. Raises OSError."""
        self.keep(unfinished)
        for other in self.find(unfinished.entry.content):
            if other.entry.object != unfinished.entry.object:
                self.end(other.entry.object)

    def survey(self) -> tuple[list[Unfinished], list[str]]:
        """What is pending, the oldest first; and paths of notes that are damaged: nothing can go on from them."""
        found: list[Unfinished] = []
        damaged: list[str] = []
        for name, note in self._read():
            if note is None:
                damaged.append(self._path(name))
            else:
                found.append(note)
        return sorted(found, key=lambda note: (note.entry.created_s, note.entry.object)), damaged

    def all(self) -> list[Unfinished]:
        """What is pending, the oldest first, less the notes that are damaged."""
        return self.survey()[0]

    def damaged(self) -> list[str]:
        """Paths of notes that cannot be read."""
        return self.survey()[1]

    def _read(self) -> Iterator[tuple[str, Unfinished | None]]:
        for name in self._disk.list_folder(self._home.path("state", "unfinished")):
            data = read_file(self._disk, self._path(name), max_bytes=NOTE_MAX_BYTES)
            # Another process may have ended it meanwhile.
            if data is not None:
                yield name, _parsed(name, data)

    def get(self, object_id: ObjectId) -> Unfinished | None:
        """None when there is no note of this object, or none that can be read."""
        data = read_file(self._disk, self._path(str(object_id)), max_bytes=NOTE_MAX_BYTES)
        return None if data is None else _parsed(str(object_id), data)

    def find(self, content: bytes) -> list[Unfinished]:
        """Those of this content: one, unless two puts of it ran at the same time."""
        return [note for _, note in self._read() if note is not None and note.entry.content == content]

    def end(self, object_id: ObjectId) -> None:
        """It is anchored, or begins anew. Does nothing when there is no note. Raises OSError."""
        try:
            self._disk.unlink(self._path(str(object_id)))
        except FileNotFoundError:
            return


def pending_of(memory: ClientMemory, notes: UnfinishedPuts) -> list[Unfinished]:
    """What is pending, the oldest first. Blocks."""
    return not_anchored(memory, notes.all())


def not_anchored(memory: ClientMemory, found: Iterable[Unfinished]) -> list[Unfinished]:
    """Of these the ones that are pending. Blocks."""
    # Of a put that ended between its last two steps there is a note, too: it is anchored.
    return [note for note in found if memory.entry(note.entry.object) is None]


def _parsed(name: str, data: bytes) -> Unfinished | None:
    try:
        return _parse(ObjectId.parse(name), data)
    except MoorageError:
        return None


def _parse(object_id: ObjectId, data: bytes) -> Unfinished:
    fields = Fields.checked(data, max_bytes=NOTE_MAX_BYTES, what="note of an unfinished put")
    entry = parse_entry(object_id, fields.blob("entry", max_bytes=ENTRY_MAX_BYTES))
    manifest_file = fields.blob("manifest", max_bytes=MANIFEST_MAX_BYTES)
    receipt, is_anchored = fields.blob("receipt", max_bytes=RECEIPT_MAX_BYTES), fields.flag("anchored")
    if fields.exact("object", DIGEST_BYTES) != object_id.raw:
        raise MalformedError("note of an unfinished put: it is another object's")
    fields.end()
    return Unfinished(entry, manifest_file, receipt, is_anchored)

"""Puts of which everything is stored and nothing anchored yet: the same put again goes on with the same object.

Where an organisation's log is another machine's, too few witnesses may answer for hours. Without this note each
further attempt would sign another manifest, and leave another leaf in the log.
"""

from __future__ import annotations

from typing import NamedTuple

from client.home import WORKSHOP_FOLDER, Home
from client.memory import ENTRY_MAX_BYTES, CatalogueEntry, encode_entry, parse_entry
from core.durable import read_file, write_file_in_workshop
from core.encoding import encode_checked
from core.errors import MoorageError
from core.ids import DIGEST_BYTES, ObjectId
from core.limits import KIB, MANIFEST_MAX_BYTES
from core.ports import Chance, Disk
from core.schema import Fields

NOTE_MAX_BYTES = MANIFEST_MAX_BYTES + ENTRY_MAX_BYTES + KIB


class Unfinished(NamedTuple):
    """``entry`` goes into the catalogue when the manifest is anchored."""

    entry: CatalogueEntry
    manifest_file: bytes


class UnfinishedPuts:
    """Notes in a client's home, one for each content that is put. All methods block: call them inside a disk job."""

    def __init__(self, disk: Disk, home: Home, chance: Chance) -> None:
        self._disk = disk
        self._home = home
        self._chance = chance

    def _path(self, content: bytes) -> str:
        return self._home.path("state", "unfinished", content.hex())

    def begin(self, unfinished: Unfinished) -> None:
        """Durably. Raises OSError."""
        data = encode_checked(
            {
                "object": unfinished.entry.object.raw,
                "entry": encode_entry(unfinished.entry),
                "manifest": unfinished.manifest_file,
            }
        )
        workshop, token = self._home.path(WORKSHOP_FOLDER), self._chance.token(4).hex()
        write_file_in_workshop(self._disk, workshop, self._path(unfinished.entry.content), data, token=token)

    def find(self, content: bytes) -> Unfinished | None:
        """None when there is no note of this content, or none that can be read: then the put begins anew."""
        data = read_file(self._disk, self._path(content), max_bytes=NOTE_MAX_BYTES)
        if data is None:
            return None
        try:
            found = _parse(data)
        except MoorageError:
            return None
        return found if found.entry.content == content else None

    def end(self, content: bytes) -> None:
        """It is anchored, or begins anew. Does nothing when there is no note. Raises OSError."""
        try:
            self._disk.unlink(self._path(content))
        except FileNotFoundError:
            return


def _parse(data: bytes) -> Unfinished:
    fields = Fields.checked(data, max_bytes=NOTE_MAX_BYTES, what="note of an unfinished put")
    object_id = ObjectId(fields.exact("object", DIGEST_BYTES))
    entry = parse_entry(object_id, fields.blob("entry", max_bytes=ENTRY_MAX_BYTES))
    manifest_file = fields.blob("manifest", max_bytes=MANIFEST_MAX_BYTES)
    fields.end()
    return Unfinished(entry, manifest_file)

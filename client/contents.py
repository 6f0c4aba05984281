"""Which objects have a given content: an index of the catalogue, so that a put need not read all of it.

Empty files ``HOME/state/contents/abc/CONTENT-OBJECT``, in 4,096 folders by the content's first digits. An object's is
durable before its catalogue entry; one without an entry says nothing. A home of before the index gets it at its next
put; ``complete`` says that it has. Whoever deletes the folder loses nothing but the time of that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from client.home import Home
from core.errors import MalformedIdError
from core.ids import ObjectId
from core.ports import Disk

FOLDER = ("state", "contents")
COMPLETE = "complete"
BUCKET_DIGITS = 3


class Named(NamedTuple):
    """A content, and an object that has it."""

    content: bytes
    object: ObjectId


class ContentIndex:
    """All methods block and raise OSError."""

    def __init__(self, disk: Disk, home: Home) -> None:
        self._disk = disk
        self._folder = home.path(*FOLDER)

    def _bucket(self, content: bytes) -> str:
        return f"{self._folder}/{content.hex()[:BUCKET_DIGITS]}"

    def add(self, named: Named) -> None:
        """Durably."""
        self._add_all([named])

    def _add_all(self, names: Iterable[Named]) -> None:
        touched: dict[str, None] = {}
        for content, name in names:
            bucket = self._bucket(content)
            if bucket not in touched:
                self._disk.make_folders(bucket)
                touched[bucket] = None
            with self._disk.open(f"{bucket}/{content.hex()}-{name}", "update"):
                pass
        for bucket in touched:
            self._disk.sync_folder(bucket)

    def is_complete(self) -> bool:
        return self._disk.stat(f"{self._folder}/{COMPLETE}") is not None

    def complete(self, names: Iterable[Named]) -> None:
        """Add what the catalogue had before there was an index."""
        self._disk.make_folders(self._folder)
        self._add_all(names)
        with self._disk.open(f"{self._folder}/{COMPLETE}", "update"):
            pass
        self._disk.sync_folder(self._folder)

    def find(self, content: bytes) -> list[ObjectId]:
        """Objects that may have this content, ascending: their entries say whether they do."""
        begin = f"{content.hex()}-"
        found: list[ObjectId] = []
        for file in self._disk.list_folder(self._bucket(content)):
            if file.startswith(begin):
                try:
                    found.append(ObjectId.parse(file.removeprefix(begin)))
                except MalformedIdError:
                    continue
        return found

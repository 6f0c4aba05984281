"""What a client's home remembers of its puts: extents that are stored, and the catalogue of objects.

Both are a convenience: the owner's keys and the pool are enough to find and read everything again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from anchor.manifest import Manifest, parse_manifest
from client.contents import ContentIndex, Named
from client.home import WORKSHOP_FOLDER, Home
from core.durable import clear_workshop, read_file, write_file_in_workshop
from core.encoding import decode, encode, encode_checked, with_digest, without_digest
from core.errors import (
    AmbiguousObjectError,
    CorruptError,
    MalformedError,
    MalformedIdError,
    MoorageError,
    UnknownObjectError,
)
from core.ids import DIGEST_BYTES, ObjectId, PeerId, ShardRoot, derived_digest
from core.limits import EXTENT_CHUNKS, KIB, MANIFEST_MAX_BYTES, RECEIPT_MAX_BYTES, SEALED_CHUNK_MAX_BYTES, TAG_BYTES
from core.ports import Chance, Disk
from core.schema import Fields, split_column
from erasure.scheme import Scheme

BEGUN_SUFFIX = ".begun"
EXTENT_RECORD_MAX_BYTES = 64 * KIB
ENTRY_MAX_BYTES = 64 * KIB
NAME_MAX_BYTES = 16 * KIB
# Fewer digits would be a typing error more often than an object.
SHORT_ID_MIN = 4


@dataclass(frozen=True, slots=True)
class StoredExtent:
    """An extent that all its holders acknowledged: what a later put needs to use it without sending it again."""

    roots: tuple[ShardRoot, ...]
    holders: tuple[PeerId, ...]
    sealed_lengths: tuple[int, ...]
    codecs: bytes

    @property
    def sealed_bytes(self) -> int:
        return sum(self.sealed_lengths)


class CatalogueEntry(NamedTuple):
    """One stored object as its owner sees it. ``content`` names listing and scheme, for idempotent puts."""

    object: ObjectId
    content: bytes
    name: str
    files: int
    plain_bytes: int
    stored_bytes: int
    created_s: int


class ClientMemory:
    """Files under a client's home. All methods block: call them inside a disk job."""

    def __init__(self, disk: Disk, home: Home, chance: Chance) -> None:
        self._disk = disk
        self._home = home
        self._chance = chance
        self._workshop = home.path(WORKSHOP_FOLDER)
        self._cleared = False
        self._contents = ContentIndex(disk, home)

    def _write(self, path: str, data: bytes) -> None:
        if not self._cleared:
            # Commands are killed too. Whoever writes next clears up, so that nothing gathers.
            clear_workshop(self._disk, self._workshop)
            self._cleared = True
        write_file_in_workshop(self._disk, self._workshop, path, data, token=self._chance.token(4).hex())

    # --- extents ------------------------------------------------------------------------------

    def _extent_path(self, name: bytes) -> str:
        return self._home.path("state", "extents", name.hex()[:2], name.hex())

    def extent(self, key: bytes, scheme: Scheme) -> StoredExtent | None:
        """The record of an earlier upload; None when there is none, or none that can be read."""
        name = extent_record_name(key, scheme)
        data = read_file(self._disk, self._extent_path(name), max_bytes=EXTENT_RECORD_MAX_BYTES)
        try:
            found = None if data is None else parse_extent_record(data, name, scheme)
        except MoorageError:
            return None
        if found is not None:
            # Whoever wrote the record may have failed or died right after it.
            with suppress(OSError):
                self._disk.unlink(self._extent_path(name) + BEGUN_SUFFIX)
        return found

    def begin_extent(self, key: bytes, scheme: Scheme) -> bool:
        """Note that an upload of this extent begins; True when one began before and its end was never noted."""
        path = self._extent_path(extent_record_name(key, scheme)) + BEGUN_SUFFIX
        if self._disk.stat(path) is not None:
            return True
        # Not durable, nor need it be: after a power cut the extent is merely sent again.
        self._disk.make_folders(path.rpartition("/")[0])
        with self._disk.open(path, "update"):
            return False

    def remember_extent(self, key: bytes, scheme: Scheme, extent: StoredExtent) -> None:
        name = extent_record_name(key, scheme)
        self._write(self._extent_path(name), encode_extent_record(extent, name))
        with suppress(FileNotFoundError):
            self._disk.unlink(self._extent_path(name) + BEGUN_SUFFIX)

    # --- objects ------------------------------------------------------------------------------

    def remember_object(self, entry: CatalogueEntry, manifest_file: bytes, receipt_file: bytes) -> None:
        """The entry comes last: an object is in the catalogue only with its manifest and receipt."""
        name = str(entry.object)
        self._write(self._home.path("manifests", name), manifest_file)
        self._write(self._home.path("receipts", name), receipt_file)
        self._contents.add(Named(entry.content, entry.object))
        self._write(
            self._home.path("catalogue", name),
            encode_entry(entry),
        )

    def objects(self) -> Iterator[CatalogueEntry]:
        """The catalogue, by ascending object id, less the entries that are damaged (``damaged``)."""
        for object_id, data in self._entries():
            with suppress(MalformedError):
                yield parse_entry(object_id, data)

    def count(self) -> int:
        """How many objects the catalogue names. Reads no entry: those of damaged ones are stored all the same."""
        return sum(len(name) == 2 * DIGEST_BYTES for name in self._disk.list_folder(self._home.path("catalogue")))

    def damaged(self) -> list[ObjectId]:
        """Catalogue entries that cannot be read: their objects are stored all the same."""
        found: list[ObjectId] = []
        for object_id, data in self._entries():
            try:
                parse_entry(object_id, data)
            except MalformedError:
                found.append(object_id)
        return found

    def _entries(self) -> Iterator[tuple[ObjectId, bytes]]:
        for name in self._disk.list_folder(self._home.path("catalogue")):
            try:
                object_id = ObjectId.parse(name)
            except MalformedIdError:
                continue
            data = self._entry_file(object_id)
            if data is not None:
                yield object_id, data

    def entry(self, object_id: ObjectId) -> CatalogueEntry | None:
        """None when it is not in the catalogue, or its entry is damaged."""
        data = self._entry_file(object_id)
        try:
            return None if data is None else parse_entry(object_id, data)
        except MalformedError:
            return None

    def _entry_file(self, object_id: ObjectId) -> bytes | None:
        return read_file(self._disk, self._home.path("catalogue", str(object_id)), max_bytes=ENTRY_MAX_BYTES)

    def find_content(self, content: bytes) -> list[CatalogueEntry]:
        """Objects of this content; several when an earlier one could not be used again.

        Reads the whole catalogue once, where it is older than its index.
        """
        if not self._contents.is_complete():
            entries = list(self.objects())
            with suppress(OSError):
                self._contents.complete(Named(entry.content, entry.object) for entry in entries)
            return [entry for entry in entries if entry.content == content]
        found: list[CatalogueEntry] = []
        for object_id in self._contents.find(content):
            data = self._entry_file(object_id)
            with suppress(MalformedError):
                if data is not None:
                    found.append(parse_entry(object_id, data))
        return [entry for entry in found if entry.content == content]

    def resolve(self, text: str) -> ObjectId:
        """An object id from its digits or a beginning of them, at least four.

        Raises MalformedIdError, AmbiguousObjectError, UnknownObjectError.
        """
        text = text.lower()
        if len(text) > 2 * DIGEST_BYTES or not text or any(digit not in "0123456789abcdef" for digit in text):
            raise MalformedIdError(f"{text!r} is not an object id: those are 64 hexadecimal digits (`moorage ls`)")
        if len(text) == 2 * DIGEST_BYTES:
            return ObjectId.parse(text)
        names = self._disk.list_folder(self._home.path("catalogue"))
        found = [name for name in names if name.startswith(text) and len(name) == 2 * DIGEST_BYTES]
        if len(text) < SHORT_ID_MIN or len(found) > 1:
            raise AmbiguousObjectError(
                f"{text!r} is short for {len(found)} objects: give more of its digits, at least {SHORT_ID_MIN} "
                "(`moorage ls`)"
            )
        if not found:
            raise UnknownObjectError(f"no object in the catalogue begins with {text!r} (`moorage ls`)")
        return ObjectId.parse(found[0])

    def manifest_file(self, object_id: ObjectId) -> bytes | None:
        return read_file(self._disk, self._home.path("manifests", str(object_id)), max_bytes=MANIFEST_MAX_BYTES)

    def manifest(self, object_id: ObjectId) -> Manifest | None:
        """None when it is not here or damaged: every holder has a copy."""
        data = self.manifest_file(object_id)
        try:
            return None if data is None else parse_manifest(data, expected=object_id)
        except MoorageError:
            return None

    def receipt_file(self, object_id: ObjectId) -> bytes | None:
        return read_file(self._disk, self._home.path("receipts", str(object_id)), max_bytes=RECEIPT_MAX_BYTES)


def extent_record_name(key: bytes, scheme: Scheme) -> bytes:
    """32 bytes that name an extent's record: not the key itself, which a file's name would give away."""
    return derived_digest("moorage 2026 extent record v1", key + str(scheme).encode())


def encode_extent_record(extent: StoredExtent, name: bytes) -> bytes:
    """The record, then BLAKE3 of it keyed by its name: a later index repeats its lengths and codecs unchecked."""
    body = encode(
        {
            "roots": b"".join(root.raw for root in extent.roots),
            "holders": b"".join(peer.raw for peer in extent.holders),
            "lengths": b"".join(length.to_bytes(4, "big") for length in extent.sealed_lengths),
            "codecs": extent.codecs,
        }
    )
    return with_digest(body, key=name)


def parse_extent_record(data: bytes, name: bytes, scheme: Scheme) -> StoredExtent:
    """Raises CorruptError, MalformedError."""
    body = without_digest(data, key=name)
    if body is None:
        raise CorruptError("extent record: its bytes do not match the digest at its end")
    fields = Fields(decode(body, max_bytes=EXTENT_RECORD_MAX_BYTES), what="extent record")
    column_bytes = scheme.total * DIGEST_BYTES
    roots = split_column(fields.exact("roots", column_bytes), DIGEST_BYTES, what="roots")
    holders = split_column(fields.exact("holders", column_bytes), DIGEST_BYTES, what="holders")
    column = split_column(fields.blob("lengths", max_bytes=4 * EXTENT_CHUNKS), 4, what="lengths")
    codecs = fields.blob("codecs", min_bytes=1, max_bytes=EXTENT_CHUNKS)
    fields.end()
    lengths = tuple(int.from_bytes(raw, "big") for raw in column)
    if len(lengths) != len(codecs) or any(not TAG_BYTES < length <= SEALED_CHUNK_MAX_BYTES for length in lengths):
        raise MalformedError("extent record: lengths and codecs do not agree")
    return StoredExtent(
        roots=tuple(ShardRoot(raw) for raw in roots),
        holders=tuple(PeerId(raw) for raw in holders),
        sealed_lengths=lengths,
        codecs=codecs,
    )


def encode_entry(entry: CatalogueEntry) -> bytes:
    return encode_checked(
        {
            "content": entry.content,
            "name": entry.name.encode("utf-8", "surrogateescape"),
            "files": entry.files,
            "bytes": entry.plain_bytes,
            "stored": entry.stored_bytes,
            "created": entry.created_s,
        }
    )


def parse_entry(object_id: ObjectId, data: bytes) -> CatalogueEntry:
    """A catalogue entry. Raises MalformedError."""
    fields = Fields.checked(data, max_bytes=ENTRY_MAX_BYTES, what=f"catalogue entry {object_id.short}")
    entry = CatalogueEntry(
        object=object_id,
        content=fields.exact("content", DIGEST_BYTES),
        name=fields.blob("name", max_bytes=NAME_MAX_BYTES).decode("utf-8", "surrogateescape"),
        files=fields.integer("files", high=2**40),
        plain_bytes=fields.integer("bytes", high=2**60),
        stored_bytes=fields.integer("stored", high=2**60),
        created_s=fields.integer("created", high=2**40),
    )
    fields.end()
    return entry

"""The index: the private part of an object, sealed before it leaves the client (docs/format.md, "Index").

It holds the listing, the extents' keys, and how each chunk was compressed. Its bytes are chunked, sealed and
coded like any extent's; the manifest holds what is needed to read it, but for its key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, cast

from blake3 import blake3

from core.encoding import Value, decode, encode
from core.errors import MalformedError, NewerVersionError
from core.ids import DIGEST_BYTES, derived_digest
from core.limits import CHUNK_BYTES, EXTENT_BYTES, EXTENT_CHUNKS, FILES_PER_OBJECT_MAX, PATH_MAX_BYTES
from core.limits import SEALED_CHUNK_MAX_BYTES as SEALED_MAX
from core.listing import Entry, Kind, RelativePath, Span
from core.schema import Fields, split_column
from core.sealing import KEY_BYTES

INDEX_VERSION = 1
# 10 million files of 100 bytes each in the listing.
INDEX_MAX_BYTES = 2**31
EXTENTS_MAX = 2**20
SPANS_PER_FILE_MAX = 2**16
STREAM_MAX_BYTES = 2**60
_MODE_MAX = 0o7777
_KINDS: Mapping[int, Kind] = MappingProxyType({int(kind): kind for kind in Kind})
# Path, kind, size, time, mode, digest or target; then spans, but in a listing.
_ENTRY_FIELDS = 6


class SealedExtent(NamedTuple):
    """How to open an extent: its key, plain size, and each chunk's sealed length and codec."""

    key: bytes
    plain_bytes: int
    lengths: tuple[int, ...]
    codecs: bytes

    def chunk_bytes(self, chunk: int) -> int:
        """The plain size of a chunk: 256 KiB but for the last."""
        return min(CHUNK_BYTES, self.plain_bytes - chunk * CHUNK_BYTES)


class Index(NamedTuple):
    """What an object holds, and what its stream is made of."""

    entries: tuple[Entry, ...]
    extents: tuple[SealedExtent, ...]


def _entry_value(entry: Entry, *, with_spans: bool) -> Value:
    value: list[Value] = [
        entry.path.raw,
        entry.kind.value,
        entry.size_bytes,
        entry.modified_ns,
        entry.mode,
        entry.target if entry.kind is Kind.LINK else entry.digest,
    ]
    if with_spans:
        value.append([number for span in entry.spans for number in (span.offset, span.length)])
    return value


def encode_listing(entries: Sequence[Entry]) -> bytes:
    """The file list without places: what a receipt opens and a restored tree is compared with."""
    return encode([_entry_value(entry, with_spans=False) for entry in entries])


def listing_commitment(salt: bytes, listing: bytes) -> bytes:
    """Keyed BLAKE3: binds the listing without letting anyone without the salt confirm a guess."""
    return blake3(listing, key=salt).digest()


def listing_salt(index_key: bytes) -> bytes:
    """32 bytes derived from the index key, from which the key cannot be found."""
    return derived_digest("moorage 2026 listing salt v1", index_key)


def index_extent_key(index_key: bytes, number: int) -> bytes:
    """Each extent of an index has a key of its own: chunk numbers, the nonces, begin anew in each."""
    return blake3(b"index extent" + number.to_bytes(4, "big"), key=index_key).digest()


def encode_index(index: Index) -> bytes:
    return encode(
        {
            "v": INDEX_VERSION,
            "entries": [_entry_value(entry, with_spans=True) for entry in index.entries],
            "extents": [
                [
                    extent.key,
                    extent.plain_bytes,
                    b"".join(length.to_bytes(4, "big") for length in extent.lengths),
                    extent.codecs,
                ]
                for extent in index.extents
            ],
        }
    )


def _parse_entry(value: Value, *, with_spans: bool) -> Entry:
    """An index may have millions of these: exact types are asked for, which is several times quicker than matching."""
    if type(value) is not list:
        raise MalformedError("index: an entry is not a list")
    fields = cast(list[Value], value)
    if len(fields) != _ENTRY_FIELDS + with_spans:
        raise MalformedError("index: an entry is not [path, kind, size, time, mode, content]")
    raw, number, size, modified_ns, mode, content = fields[:_ENTRY_FIELDS]
    kind = _KINDS.get(number) if type(number) is int else None
    if (
        kind is None
        or not (type(raw) is bytes and type(content) is bytes)
        or not (type(size) is int and type(modified_ns) is int and type(mode) is int)
        or not (0 <= size <= STREAM_MAX_BYTES and 0 <= mode <= _MODE_MAX)
    ):
        raise MalformedError("index: an entry is not [path, kind, size, time, mode, content]")
    _check_content(kind, size, content)
    return Entry(
        path=RelativePath(raw),
        kind=kind,
        size_bytes=size,
        modified_ns=modified_ns,
        mode=mode,
        digest=content if kind is Kind.FILE else b"",
        target=content if kind is Kind.LINK else b"",
        spans=_parse_spans(fields[_ENTRY_FIELDS], size) if with_spans else (),
    )


def _check_content(kind: Kind, size_bytes: int, content: bytes) -> None:
    """A file has a digest, a link a target that a file system takes, a folder neither; only files have a size."""
    if kind is Kind.FILE:
        fits = len(content) == DIGEST_BYTES
    elif kind is Kind.LINK:
        fits = 0 < len(content) < PATH_MAX_BYTES and b"\0" not in content and not size_bytes
    else:
        fits = not content and not size_bytes
    if not fits:
        raise MalformedError(f"index: a {kind.name.lower()} has a digest, target or size that it cannot have")


def _parse_spans(value: Value, size_bytes: int) -> tuple[Span, ...]:
    """In file order and stream order at once, so that one pass over the stream gives each file from its beginning."""
    numbers = cast(list[Value], value) if type(value) is list else None
    if numbers is None or len(numbers) > 2 * SPANS_PER_FILE_MAX or len(numbers) % 2:
        raise MalformedError("index: spans are not a list of pairs")
    spans: list[Span] = []
    end = size = 0
    for offset, length in zip(numbers[::2], numbers[1::2], strict=True):
        if not (type(offset) is int and type(length) is int and 0 <= offset <= STREAM_MAX_BYTES):
            raise MalformedError("index: a span is not two positions")
        if not 0 < length <= STREAM_MAX_BYTES or offset < end:
            raise MalformedError("index: a file's spans are empty or out of order")
        spans.append(Span(offset, length))
        end = offset + length
        size += length
    if size != size_bytes:
        raise MalformedError("index: a file's spans do not add up to its size")
    return tuple(spans)


def _parse_extent(value: Value) -> SealedExtent:
    match value:
        case [bytes(key), int(plain_bytes), bytes(lengths), bytes(codecs)] if (
            len(key) == KEY_BYTES
            and not isinstance(plain_bytes, bool)
            and 0 < plain_bytes <= EXTENT_BYTES
            and 0 < len(codecs) <= EXTENT_CHUNKS
        ):
            pass
        case _:
            raise MalformedError("index: an extent is not [key, size, lengths, codecs]")
    column = tuple(int.from_bytes(raw, "big") for raw in split_column(lengths, 4, what="index lengths"))
    chunks = -(-plain_bytes // CHUNK_BYTES)
    if not len(column) == len(codecs) == chunks or any(not 0 < length <= SEALED_MAX for length in column):
        raise MalformedError("index: an extent's chunks, lengths and codecs do not agree")
    return SealedExtent(key, plain_bytes, column, codecs)


def parse_listing(data: bytes) -> tuple[Entry, ...]:
    """Entries without spans. Raises MalformedError."""
    value = decode(data, max_bytes=INDEX_MAX_BYTES)
    if isinstance(value, str | bytes) or not isinstance(value, Sequence) or len(value) > FILES_PER_OBJECT_MAX:
        raise MalformedError("listing: not a list of entries")
    return tuple(_parse_entry(item, with_spans=False) for item in value)


def parse_index(data: bytes) -> Index:
    """Raises MalformedError, NewerVersionError."""
    fields = Fields(decode(data, max_bytes=INDEX_MAX_BYTES), what="index")
    version = fields.integer("v", low=1, high=2**31)
    if version > INDEX_VERSION:
        raise NewerVersionError(f"index of version {version}; this release knows {INDEX_VERSION}: upgrade moorage")
    entries = tuple(
        _parse_entry(item, with_spans=True) for item in fields.items("entries", max_items=FILES_PER_OBJECT_MAX)
    )
    extents = tuple(_parse_extent(item) for item in fields.items("extents", max_items=EXTENTS_MAX))
    fields.end()
    stream_bytes = sum(extent.plain_bytes for extent in extents)
    # Of a file's spans the last lies farthest.
    if any(entry.spans and sum(entry.spans[-1]) > stream_bytes for entry in entries):
        raise MalformedError("index: a file lies beyond the stream's end")
    _check_tree(entries)
    return Index(entries, extents)


def _check_tree(entries: Sequence[Entry]) -> None:
    """Paths are unique and nothing lies below a file or link, so that restoring never follows a link."""
    kinds = {entry.path.raw: entry.kind for entry in entries}
    if len(kinds) != len(entries):
        raise MalformedError("index: a path occurs twice")
    # Many files lie in one folder: each is looked at once.
    sound = {b""}
    for entry in entries:
        parent = entry.path.parent
        while parent not in sound:
            if kinds.get(parent, Kind.FOLDER) is not Kind.FOLDER:
                raise MalformedError(f"index: {entry.path} lies below something that is no folder")
            sound.add(parent)
            parent = parent.rpartition(b"/")[0]

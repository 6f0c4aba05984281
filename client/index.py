"""The index: the private part of an object, sealed before it leaves the client (docs/format.md, "Index").

It holds the listing, the extents' keys, and how each chunk was compressed. Its bytes are chunked, sealed and
coded like any extent's; the manifest holds what is needed to read it, but for its key.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

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
_KINDS = frozenset(int(kind) for kind in Kind)


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
        int(entry.kind),
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
    if isinstance(value, str | bytes) or not isinstance(value, Sequence) or not value:
        raise MalformedError("index: an entry is not a list")
    fields, spans = (value[:-1], value[-1]) if with_spans else (value, ())
    match fields:
        case [bytes(raw), int(kind), int(size), int(modified_ns), int(mode), bytes(content)] if (
            not any(isinstance(number, bool) for number in (kind, size, modified_ns, mode))
            and kind in _KINDS
            and 0 <= size <= STREAM_MAX_BYTES
            and 0 <= mode <= _MODE_MAX
        ):
            pass
        case _:
            raise MalformedError("index: an entry is not [path, kind, size, time, mode, content]")
    _check_content(Kind(kind), size, content)
    return Entry(
        path=RelativePath(raw),
        kind=Kind(kind),
        size_bytes=size,
        modified_ns=modified_ns,
        mode=mode,
        digest=content if kind == Kind.FILE else b"",
        target=content if kind == Kind.LINK else b"",
        spans=_parse_spans(spans, size if with_spans else 0),
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
    if isinstance(value, str | bytes) or not isinstance(value, Sequence) or len(value) > 2 * SPANS_PER_FILE_MAX:
        raise MalformedError("index: spans are not a list")
    numbers: list[int] = []
    for number in value:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= STREAM_MAX_BYTES:
            raise MalformedError("index: a span is not two positions")
        numbers.append(number)
    spans = tuple(Span(offset, length) for offset, length in zip(numbers[::2], numbers[1::2], strict=False))
    if len(numbers) % 2 or sum(span.length for span in spans) != size_bytes:
        raise MalformedError("index: a file's spans do not add up to its size")
    # In file order and stream order at once, so that one pass over the stream gives each file from its beginning.
    if any(not span.length for span in spans) or any(
        after.offset < before.offset + before.length for before, after in pairwise(spans)
    ):
        raise MalformedError("index: a file's spans are empty or out of order")
    return spans


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
    if any(span.offset + span.length > stream_bytes for entry in entries for span in entry.spans):
        raise MalformedError("index: a file lies beyond the stream's end")
    _check_tree(entries)
    return Index(entries, extents)


def _check_tree(entries: Sequence[Entry]) -> None:
    """Paths are unique and nothing lies below a file or link, so that restoring never follows a link."""
    kinds = {entry.path.raw: entry.kind for entry in entries}
    if len(kinds) != len(entries):
        raise MalformedError("index: a path occurs twice")
    for entry in entries:
        parent = entry.path.parent
        while parent:
            if kinds.get(parent, Kind.FOLDER) is not Kind.FOLDER:
                raise MalformedError(f"index: {entry.path} lies below something that is no folder")
            parent = parent.rpartition(b"/")[0]

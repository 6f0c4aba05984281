"""The manifest: the public, signed description of an object (docs/format.md, "Manifest").

It tells any holder all that sweeping and repair need, and nothing about what the object is: no name, path,
time or unsalted digest of content.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.encoding import Value, decode, encode
from core.errors import BadSignatureError, CorruptError, MalformedError, NewerVersionError, UsageError
from core.identity import ED25519_KEY_BYTES, ED25519_SIGNATURE_BYTES
from core.ids import DIGEST_BYTES, ObjectId, PeerId, PoolId, ShardRoot
from core.limits import (
    CHUNK_BYTES,
    EXTENT_BYTES,
    EXTENT_CHUNKS,
    GROUP_BYTES,
    KIB,
    MANIFEST_MAX_BYTES,
    SEALED_CHUNK_MAX_BYTES,
    TAG_BYTES,
    TOTAL_SHARES_MAX,
)
from core.schema import Fields, split_column
from core.sealing import SLOT_MAX_BYTES
from core.signing import check_signature, sign
from erasure.scheme import Scheme

MANIFEST_VERSION = 1
MANIFEST_DOMAIN = "moorage 2026 manifest v1"
# An extent needs over 200 bytes at 4+2, so the byte limit comes first; this stops absurd counts early.
EXTENTS_MAX = MANIFEST_MAX_BYTES // 64
GROUPS_MAX = 1024
SLOTS_MAX = 64
# What an extent takes besides its roots, at most: the names of its fields, and its numbers.
EXTENT_FRAME_BYTES = 41
# For all that is no data extent: some 2,000 chunks of index, which list millions of files.
REST_BYTES = 16 * KIB


@dataclass(frozen=True, slots=True)
class Extent:
    """Up to 256 chunks coded alike. ``roots[i]`` names share i's shard; ``group`` says who got the shards."""

    chunks: int
    sealed_bytes: int
    group: int
    roots: tuple[ShardRoot, ...]


class KeySlot(NamedTuple):
    """The index key, wrapped for one sealing key."""

    key_id: bytes
    wrapped: bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """``groups[g][i]`` is the first holder of share i in group g.

    ``index`` are the extents that hold the sealed index; ``index_lengths`` are the sealed bytes of its chunks and
    ``index_codecs`` (one byte each) how they were compressed, since nothing else describes them. ``index_bytes`` is the
    index's plain size. ``listing`` is a salted commitment to the file list, which a receipt can open.
    """

    pool: PoolId
    epoch: int
    owner_key: bytes
    created_s: int
    scheme: Scheme
    degraded: bool
    groups: tuple[tuple[PeerId, ...], ...]
    extents: tuple[Extent, ...]
    index: tuple[Extent, ...]
    index_lengths: tuple[int, ...]
    index_codecs: bytes
    index_bytes: int
    listing: bytes
    slots: tuple[KeySlot, ...]

    def all_extents(self) -> tuple[Extent, ...]:
        """Data extents, then index extents: shard addresses count through both."""
        return self.extents + self.index

    def shards(self) -> Iterator[tuple[int, int, ShardRoot, PeerId]]:
        """(extent number, share index, root, first holder) of every shard of the object."""
        for number, extent in enumerate(self.all_extents()):
            for share, root in enumerate(extent.roots):
                yield number, share, root, self.groups[extent.group][share]

    def holders(self) -> tuple[PeerId, ...]:
        """Every first holder once, in ascending order."""
        return tuple(sorted({peer for group in self.groups for peer in group}))


def _extent_value(extent: Extent) -> Value:
    return {
        "chunks": extent.chunks,
        "sealed": extent.sealed_bytes,
        "group": extent.group,
        "roots": b"".join(root.raw for root in extent.roots),
    }


def _lengths_column(lengths: Sequence[int]) -> bytes:
    return b"".join(length.to_bytes(4, "big") for length in lengths)


def check_extents_fit(extents: int, scheme: Scheme) -> None:
    """Raises UsageError when a manifest could not list so many extents, before anything is sent.

    ``sign_manifest`` measures exactly; this leaves REST_BYTES for all that is not known yet.
    """
    group_bytes = scheme.total * DIGEST_BYTES
    groups = -(-extents * EXTENT_BYTES // GROUP_BYTES)
    size_bytes = extents * (group_bytes + EXTENT_FRAME_BYTES) + groups * (group_bytes + 3) + REST_BYTES
    if size_bytes > MANIFEST_MAX_BYTES:
        raise UsageError(
            f"{extents} extents of 64 MiB at {scheme} are more than one manifest lists: put several objects"
        )


def sign_manifest(key: Ed25519PrivateKey, manifest: Manifest) -> bytes:
    """The manifest file: canonical MessagePack of the body and its signature. Raises UsageError when too large."""
    body = encode(
        {
            "v": MANIFEST_VERSION,
            "pool": manifest.pool.raw,
            "epoch": manifest.epoch,
            "owner": manifest.owner_key,
            "created": manifest.created_s,
            "needed": manifest.scheme.needed,
            "total": manifest.scheme.total,
            "degraded": manifest.degraded,
            "groups": [b"".join(peer.raw for peer in group) for group in manifest.groups],
            "extents": [_extent_value(extent) for extent in manifest.extents],
            "index": [_extent_value(extent) for extent in manifest.index],
            "index_lengths": _lengths_column(manifest.index_lengths),
            "index_codecs": manifest.index_codecs,
            "index_bytes": manifest.index_bytes,
            "listing": manifest.listing,
            "slots": [{"key": slot.key_id, "wrapped": slot.wrapped} for slot in manifest.slots],
        }
    )
    data = encode({"body": body, "signature": sign(key, MANIFEST_DOMAIN, body)})
    if len(data) > MANIFEST_MAX_BYTES:
        raise UsageError(
            f"the object's manifest would take {len(data)} bytes, at most {MANIFEST_MAX_BYTES} are allowed: "
            "put the files as several objects"
        )
    return data


def object_id(manifest_file: bytes) -> ObjectId:
    """The name of the object that a manifest file describes: plain BLAKE3 of the file's bytes."""
    return ObjectId(blake3(manifest_file).digest())


def _parse_extent(value: Value, *, total: int, groups: int) -> Extent:
    fields = Fields(value, what="manifest extent")
    chunks = fields.integer("chunks", low=1, high=EXTENT_CHUNKS)
    extent = Extent(
        chunks=chunks,
        sealed_bytes=fields.integer("sealed", low=chunks, high=chunks * SEALED_CHUNK_MAX_BYTES),
        group=fields.integer("group", high=groups - 1),
        roots=tuple(
            ShardRoot(raw)
            for raw in split_column(fields.exact("roots", total * DIGEST_BYTES), DIGEST_BYTES, what="roots")
        ),
    )
    fields.end()
    return extent


def _parse_slot(value: Value) -> KeySlot:
    fields = Fields(value, what="manifest key slot")
    slot = KeySlot(fields.exact("key", DIGEST_BYTES), fields.blob("wrapped", max_bytes=SLOT_MAX_BYTES))
    fields.end()
    return slot


def _parse_body(body: bytes) -> Manifest:
    fields = Fields(decode(body, max_bytes=MANIFEST_MAX_BYTES), what="manifest")
    version = fields.integer("v", low=1, high=2**31)
    if version > MANIFEST_VERSION:
        raise NewerVersionError(
            f"manifest of version {version}; this release knows {MANIFEST_VERSION}: upgrade moorage"
        )
    total = fields.integer("total", low=2, high=TOTAL_SHARES_MAX)
    needed = fields.integer("needed", low=1, high=total - 1)
    groups: list[tuple[PeerId, ...]] = []
    for item in fields.items("groups", max_items=GROUPS_MAX):
        if not isinstance(item, bytes) or len(item) != total * DIGEST_BYTES:
            raise MalformedError(f"manifest: a group is not {total} peer ids")
        groups.append(tuple(PeerId(raw) for raw in split_column(item, DIGEST_BYTES, what="group")))
    extents, index = (
        tuple(_parse_extent(item, total=total, groups=len(groups)) for item in fields.items(key, max_items=EXTENTS_MAX))
        for key in ("extents", "index")
    )
    lengths = fields.blob("index_lengths", max_bytes=4 * EXTENTS_MAX * EXTENT_CHUNKS)
    manifest = Manifest(
        pool=PoolId(fields.exact("pool", DIGEST_BYTES)),
        epoch=fields.integer("epoch", high=2**31),
        owner_key=fields.exact("owner", ED25519_KEY_BYTES),
        created_s=fields.integer("created", high=2**40),
        scheme=Scheme(needed, total),
        degraded=fields.flag("degraded"),
        groups=tuple(groups),
        extents=extents,
        index=index,
        index_lengths=tuple(
            int.from_bytes(raw, "big") for raw in split_column(lengths, 4, what="manifest index lengths")
        ),
        index_codecs=fields.blob("index_codecs", max_bytes=EXTENTS_MAX * EXTENT_CHUNKS),
        index_bytes=fields.integer("index_bytes", low=1, high=2**40),
        listing=fields.exact("listing", DIGEST_BYTES),
        slots=tuple(_parse_slot(item) for item in fields.items("slots", max_items=SLOTS_MAX)),
    )
    fields.end()
    _check_index(manifest)
    return manifest


def _check_index(manifest: Manifest) -> None:
    """What says how to open the index fits its extents: nothing else describes those."""
    lengths, at = manifest.index_lengths, 0
    for number, extent in enumerate(manifest.index):
        plain_bytes = min(EXTENT_BYTES, manifest.index_bytes - number * EXTENT_BYTES)
        sealed_bytes = sum(lengths[at : at + extent.chunks])
        at += extent.chunks
        if extent.chunks != -(-plain_bytes // CHUNK_BYTES) or sealed_bytes != extent.sealed_bytes:
            raise MalformedError("manifest: the index's size, chunks and lengths do not agree")
    if not len(lengths) == len(manifest.index_codecs) == at or at * CHUNK_BYTES < manifest.index_bytes:
        raise MalformedError("manifest: the index's chunks, lengths and codecs do not agree")
    if any(not TAG_BYTES < length <= SEALED_CHUNK_MAX_BYTES for length in lengths):
        raise MalformedError("manifest: a chunk of the index cannot be as long as it says")


def parse_manifest(data: bytes, *, expected: ObjectId) -> Manifest:
    """A manifest whose bytes are the object's and whose signature is by the owner key it names.

    Whether that key is on the roster, and whether the ledger holds it, a receipt shows (``anchor.receipt``).

    Raises:
        CorruptError: the bytes do not hash to ``expected``.
        BadSignatureError, MalformedError, NewerVersionError
    """
    if object_id(data) != expected:
        raise CorruptError(f"manifest {expected.short}: its bytes do not match its name")
    outer = Fields(decode(data, max_bytes=MANIFEST_MAX_BYTES), what="manifest file")
    body = outer.blob("body", max_bytes=MANIFEST_MAX_BYTES)
    signature = outer.exact("signature", ED25519_SIGNATURE_BYTES)
    outer.end()
    manifest = _parse_body(body)
    try:
        check_signature(manifest.owner_key, signature, MANIFEST_DOMAIN, body)
    except BadSignatureError as error:
        raise BadSignatureError(f"manifest {expected.short}: not signed by the owner it names") from error
    return manifest

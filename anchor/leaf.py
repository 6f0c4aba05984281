"""A leaf: one entry of a log, a small signed note that people can read (docs/format.md, "Leaf").

A manifest's leaf, with its signature about 450 bytes whatever the object's size:

    moorage/leaf/v1
    type manifest
    object 6b1c...
    manifest blake3 6b1c...
    bytes 524288000
    scheme 4+2
    version 1
    time 1790000000

    — moorage/organisation/Hospital%20A xLrqB...

Nothing personal is in it. A leaf made again from the same values by the same key has the same bytes (Ed25519 is
deterministic), so a log recognises it and anchors it once: give ``time_s`` from what is anchored (a manifest's
``created_s``), not from a clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from anchor.leaflines import Lines
from anchor.note import TYPE_ED25519, Ed25519Signer, Ed25519Verifier, NoteKey, Signature, format_note, parse_note
from anchor.ownerleaves import DeleteLeaf, DigestLeaf, RevokeLeaf
from core.errors import BadSignatureError, MalformedError, NewerVersionError
from core.ids import ObjectId, PeerId, ShardRoot
from core.limits import LEAF_MAX_BYTES
from erasure.scheme import Scheme

_FORMAT = "moorage/leaf/v"
_HEADER = f"{_FORMAT}1"


@dataclass(frozen=True, slots=True)
class ManifestLeaf:
    """An object was stored. ``previous`` is the leaf hash of the version before, from version 2 on."""

    TYPE: ClassVar[str] = "manifest"

    object: ObjectId
    manifest: bytes
    """BLAKE3 of the manifest file, 32 bytes."""
    size_bytes: int
    scheme: Scheme
    time_s: int
    version: int = 1
    previous: bytes | None = None

    def lines(self) -> Iterator[str]:
        yield f"object {self.object}"
        yield f"manifest blake3 {self.manifest.hex()}"
        yield f"bytes {self.size_bytes}"
        yield f"scheme {self.scheme}"
        yield f"version {self.version}"
        if self.previous is not None:
            yield f"prev {self.previous.hex()}"
        yield f"time {self.time_s}"

    @classmethod
    def parse(cls, lines: Lines) -> Self:
        return cls(
            object=lines.object_id("object"),
            manifest=lines.digest("manifest blake3"),
            size_bytes=lines.number("bytes"),
            scheme=lines.scheme("scheme"),
            version=lines.number("version"),
            previous=lines.digest("prev") if lines.has("prev") else None,
            time_s=lines.number("time"),
        )


@dataclass(frozen=True, slots=True)
class RelocateLeaf:
    """A shard was rebuilt on, or moved to, another peer than the manifest or an earlier leaf says."""

    TYPE: ClassVar[str] = "relocate"

    object: ObjectId
    extent: int
    share: int
    root: ShardRoot
    source: PeerId
    target: PeerId
    time_s: int

    def lines(self) -> Iterator[str]:
        yield f"object {self.object}"
        yield f"extent {self.extent}"
        yield f"share {self.share}"
        yield f"root {self.root}"
        yield f"from {self.source}"
        yield f"to {self.target}"
        yield f"time {self.time_s}"

    @classmethod
    def parse(cls, lines: Lines) -> Self:
        return cls(
            object=lines.object_id("object"),
            extent=lines.number("extent"),
            share=lines.number("share"),
            root=lines.root("root"),
            source=lines.peer("from"),
            target=lines.peer("to"),
            time_s=lines.number("time"),
        )


@dataclass(frozen=True, slots=True)
class SweepLeaf:
    """What a peer's sweep read, found and mended between two times."""

    TYPE: ClassVar[str] = "sweep"

    peer: PeerId
    since_s: int
    shards: int
    size_bytes: int
    findings: int
    repairs: int
    time_s: int

    def lines(self) -> Iterator[str]:
        yield f"peer {self.peer}"
        yield f"since {self.since_s}"
        yield f"shards {self.shards}"
        yield f"bytes {self.size_bytes}"
        yield f"findings {self.findings}"
        yield f"repairs {self.repairs}"
        yield f"time {self.time_s}"

    @classmethod
    def parse(cls, lines: Lines) -> Self:
        return cls(
            peer=lines.peer("peer"),
            since_s=lines.number("since"),
            shards=lines.number("shards"),
            size_bytes=lines.number("bytes"),
            findings=lines.number("findings"),
            repairs=lines.number("repairs"),
            time_s=lines.number("time"),
        )


Leaf: TypeAlias = ManifestLeaf | RelocateLeaf | SweepLeaf | DigestLeaf | RevokeLeaf | DeleteLeaf
_KINDS: tuple[type[Leaf], ...] = (ManifestLeaf, RelocateLeaf, SweepLeaf, DigestLeaf, RevokeLeaf, DeleteLeaf)


class SignedLeaf(NamedTuple):
    """A parsed leaf whose signature is not checked yet: ``check`` does."""

    leaf: Leaf
    text: str
    signature: Signature

    def check(self, public_key: bytes) -> None:
        """Raises BadSignatureError unless the raw Ed25519 ``public_key`` signed it (under whatever name)."""
        key = NoteKey(self.signature.name, TYPE_ED25519, public_key)
        if key.key_id != self.signature.key_id:
            raise BadSignatureError(f"leaf: signed by another key, which calls itself {key.name!r}")
        Ed25519Verifier(key).check(self.text, self.signature.blob)


def escape_name(name: str) -> str:
    """Percent-encode what a key name or an origin must not contain; other scripts stay readable."""
    return "".join(
        f"%{ord(character):02X}"
        if character in "+%" or character.isspace() or not character.isprintable()
        else character
        for character in name
    )


def organisation_key_name(organisation: str) -> str:
    """The name under which an organisation's manifest key signs leaves."""
    return f"moorage/organisation/{escape_name(organisation)}"


def peer_key_name(peer: PeerId) -> str:
    """The name under which a peer's key signs leaves."""
    return f"moorage/peer/{peer}"


def format_leaf(leaf: Leaf) -> str:
    """The note's text."""
    return "".join(f"{line}\n" for line in (_HEADER, f"type {leaf.TYPE}", *leaf.lines()))


def sign_leaf(key: Ed25519PrivateKey, key_name: str, leaf: Leaf) -> bytes:
    """The leaf's bytes, ready for ``Log.append``. Raises MalformedError for an impossible key name."""
    text = format_leaf(leaf)
    return format_note(text, [Ed25519Signer(key_name, key).sign(text)])


def parse_leaf(data: bytes) -> SignedLeaf:
    """From a leaf's bytes; its signature is not checked.

    Raises:
        NewerVersionError: of a version or type that this release does not know.
        MalformedError
    """
    if len(data) > LEAF_MAX_BYTES:
        raise MalformedError(f"leaf: {len(data)} bytes, at most {LEAF_MAX_BYTES} allowed")
    note = parse_note(data)
    header, *lines = note.text[:-1].split("\n")
    if header != _HEADER:
        if header.startswith(_FORMAT) and header.removeprefix(_FORMAT).isdecimal():
            raise NewerVersionError(f"leaf: {header[:40]!r}; this release knows {_HEADER!r}: upgrade moorage")
        raise MalformedError(f"leaf: does not begin with {_HEADER!r}")
    cursor = Lines(lines)
    word = cursor.text("type")
    for kind in _KINDS:
        if word == kind.TYPE:
            leaf = kind.parse(cursor)
            break
    else:
        raise NewerVersionError(f"leaf: of unknown type {word[:40]!r}: upgrade moorage")
    # One value, one text: whatever else the lines said (an extra line, a scheme "04+2") shows here.
    if len(note.signatures) != 1 or format_note(format_leaf(leaf), note.signatures) != data:
        raise MalformedError("leaf: not in its one canonical form with one signature")
    return SignedLeaf(leaf, note.text, note.signatures[0])


def manifest_leaf(
    key: Ed25519PrivateKey,
    *,
    organisation: str,
    object_id: ObjectId,
    size_bytes: int,
    scheme: Scheme,
    time_s: int,
    version: int = 1,
    previous: bytes | None = None,
) -> bytes:
    """The leaf that anchors a manifest.

    Args:
        key: the organisation's manifest key.
        organisation: its name on the roster.
        object_id: BLAKE3 of the manifest file, hence also the manifest's digest.
        size_bytes: what the object's owner wants to state as its size.
        time_s: the manifest's ``created_s``, so that a second try makes the same leaf.
    """
    leaf = ManifestLeaf(object_id, object_id.raw, size_bytes, scheme, time_s, version, previous)
    return sign_leaf(key, organisation_key_name(organisation), leaf)

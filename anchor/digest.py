"""Anchoring any file by salted digests, and opening them again (docs/ledger/monitor.md, "Any file").

A log is read by all members. The plain digest of a short report, or of a form with one name in it, would let each of
them try all names; a salted one tells nothing without the salt. The salt goes with the proof, to whoever has the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

from blake3 import blake3

from anchor.leaf import parse_leaf
from anchor.ownerleaves import DigestLeaf
from core.errors import CorruptError, MalformedError
from core.ids import derived_digest
from core.ports import Buffer

SALT_BYTES = 32
_SALT_CONTEXT = "moorage 2026 digest salt v1"
_OPENING = b"\nsalt "
_OPENING_BYTES = len(_OPENING) + 2 * SALT_BYTES + 1


class Opened(NamedTuple):
    """A leaf as a proof carries it; ``salt`` is None where the leaf needs none."""

    leaf: bytes
    salt: bytes | None


def plain_digest(parts: Iterable[Buffer]) -> bytes:
    """BLAKE3 of a file that comes in parts. It never leaves the home: see ``digest_salt``."""
    hasher = blake3()
    for part in parts:
        hasher.update(part)
    return hasher.digest()


def digest_salt(secret: bytes, plain: bytes) -> bytes:
    """The same for the same file, so that it is anchored once; unknown to all who lack ``secret`` (32 bytes)."""
    return derived_digest(_SALT_CONTEXT, secret + plain)


def salted_digest(salt: bytes, parts: Iterable[Buffer]) -> DigestLeaf:
    """What a file's leaf says. ``salt`` is 32 bytes."""
    assert len(salt) == SALT_BYTES, "salts have one length"
    plain, keyed = sha256(salt), blake3(key=salt)
    for part in parts:
        plain.update(part)
        keyed.update(part)
    return DigestLeaf(plain.digest(), keyed.digest())


def pack_opened(leaf: bytes, salt: bytes) -> bytes:
    """What a proof file's ``extra`` line carries: the leaf, then a line that opens it."""
    return leaf + _OPENING + salt.hex().encode() + b"\n"


def split_opened(extra: bytes) -> Opened:
    """Undo ``pack_opened``; bytes without a salt are a leaf. A leaf ends in a signature, hence never looks salted."""
    tail = extra[-_OPENING_BYTES:]
    if len(tail) < _OPENING_BYTES or not tail.startswith(_OPENING) or not tail.endswith(b"\n"):
        return Opened(extra, None)
    try:
        salt = bytes.fromhex(tail[len(_OPENING) : -1].decode("ascii"))
    except (UnicodeDecodeError, ValueError) as error:
        raise MalformedError("proof: its salt is not hexadecimal") from error
    if len(salt) != SALT_BYTES or salt.hex().encode() != tail[len(_OPENING) : -1]:
        raise MalformedError(f"proof: its salt is not {2 * SALT_BYTES} lower-case hexadecimal digits")
    return Opened(extra[:-_OPENING_BYTES], salt)


def check_digest(opened: Opened, parts: Iterable[Buffer]) -> DigestLeaf:
    """Believe that the leaf is about this file, or raise.

    Raises:
        MalformedError: not a leaf about a file, or its salt is missing.
        CorruptError: it is about another file.
    """
    leaf = parse_leaf(opened.leaf).leaf
    if not isinstance(leaf, DigestLeaf):
        raise MalformedError(f"proof: its leaf is of type {leaf.TYPE!r}, not about a file's digest")
    if opened.salt is None:
        raise MalformedError("proof: it carries no salt, without which no file can be compared with it")
    if salted_digest(opened.salt, parts) != leaf:
        raise CorruptError("proof: the file is not the one that was anchored (or not the salt that it was anchored by)")
    return leaf

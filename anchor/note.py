"""Signed notes: readable text with signature lines below it (c2sp.org/signed-note@v1.0.0).

A key is known by its name *and* its id, which binds the name, the kind of signature and the public key. A line
by an unknown key is ignored; one bad line by a known key spoils the whole note.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple, Protocol, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from core.errors import BadSignatureError, MalformedError
from core.identity import ED25519_KEY_BYTES, ED25519_SIGNATURE_BYTES, public_bytes

# Signature types that signed-note assigns.
TYPE_ED25519 = 0x01
TYPE_ED25519_COSIGNATURE = 0x04
TYPE_MLDSA44_COSIGNATURE = 0x06

HASH_BYTES = 32
KEY_ID_BYTES = 4
# 64 witnesses with two keys each, of which one signs with 2,428 bytes: 128 lines and 420 KB of base64.
SIGNATURES_MAX = 128
NOTE_MAX_BYTES = 512 * 1024
# tlog-cosignature stores a name's length in one byte; the same bound serves every kind of key.
KEY_NAME_MAX_BYTES = 255

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_NAME = re.compile(r"[^\s+\x00-\x1f]+")
_SIGNATURE_LINE = re.compile(r"— (?P<name>[^ +]+) (?P<blob>[A-Za-z0-9+/]+={0,2})")
_VKEY = re.compile(r"(?P<name>[^+]+)\+(?P<id>[0-9a-f]{8})\+(?P<blob>[A-Za-z0-9+/]+={0,2})")


def encode_base64(data: bytes) -> str:
    """Standard base64 with padding (RFC 4648, section 4)."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Lenient in one point: unused bits of the last character may be set, as Go accepts them. Raises MalformedError.

    Signature lines need this: a flipped unused bit must end as a bad signature or not at all, not as bad syntax.
    """
    try:
        return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise MalformedError(f"not base64: {error}") from error


def decode_hash(text: str) -> bytes:
    """Exactly 32 bytes in their one canonical encoding. Raises MalformedError."""
    raw = decode_base64(text)
    if len(raw) != HASH_BYTES or encode_base64(raw) != text:
        raise MalformedError(f"{text[:60]!r} is not the base64 of {HASH_BYTES} bytes")
    return raw


def _check_name(name: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise MalformedError(f"key name {name[:60]!r}: it must not be empty nor contain spaces or plus signs")
    if len(name.encode()) > KEY_NAME_MAX_BYTES:
        raise MalformedError(f"key name {name[:60]!r}... is longer than {KEY_NAME_MAX_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key under a name: ``public`` is 32 bytes of Ed25519 or 1,312 of ML-DSA-44. Raises MalformedError."""

    name: str
    signature_type: int
    public: bytes

    def __post_init__(self) -> None:
        _check_name(self.name)

    @property
    def key_id(self) -> bytes:
        """4 bytes; a hint for finding keys, not a commitment."""
        return sha256(self.name.encode() + b"\n" + bytes([self.signature_type]) + self.public).digest()[:KEY_ID_BYTES]

    @property
    def vkey(self) -> str:
        """The text form: name, hexadecimal id and base64 of type and key, joined by plus signs."""
        blob = encode_base64(bytes([self.signature_type]) + self.public)
        return f"{self.name}+{self.key_id.hex()}+{blob}"

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """From a vkey of any signature type. Raises MalformedError, also when the id is not the key's."""
        match = _VKEY.fullmatch(vkey)
        if match is None:
            raise MalformedError(f"{vkey[:60]!r} is not NAME+ID+KEY")
        blob = decode_base64(match["blob"])
        key = cls(match["name"], blob[0], blob[1:])
        if key.key_id.hex() != match["id"] or key.vkey != vkey:
            raise MalformedError(f"{vkey[:60]!r}: the key id does not belong to the key")
        return key


class Signature(NamedTuple):
    """One line below a note. ``blob`` is what follows the key id: a signature, or a time and a signature."""

    name: str
    key_id: bytes
    blob: bytes

    @property
    def line(self) -> str:
        return f"— {self.name} {encode_base64(self.key_id + self.blob)}\n"


class Verifier(Protocol):
    """A public key that checks one kind of signature."""

    @property
    def key(self) -> NoteKey: ...

    def check(self, text: str, blob: bytes) -> int:
        """The time in seconds that the signature itself states, 0 when it states none. Raises BadSignatureError."""
        ...


class Signer(Protocol):
    """A private key under a name."""

    @property
    def key(self) -> NoteKey: ...

    def sign(self, text: str, *, time_s: int) -> Signature: ...


@dataclass(frozen=True, slots=True)
class Ed25519Verifier:
    """Plain Ed25519 over the note's text (type 0x01)."""

    key: NoteKey

    def __post_init__(self) -> None:
        if self.key.signature_type != TYPE_ED25519 or len(self.key.public) != ED25519_KEY_BYTES:
            raise MalformedError(f"key {self.key.name!r} is not an Ed25519 note key")

    def check(self, text: str, blob: bytes) -> int:
        verify_ed25519(self.key, blob, text.encode())
        return 0


class Ed25519Signer:
    """Plain Ed25519 over the note's text (type 0x01); it states no time."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self.key = NoteKey(name, TYPE_ED25519, public_bytes(private))
        self._private = private

    def sign(self, text: str, *, time_s: int = 0) -> Signature:
        del time_s
        return Signature(self.key.name, self.key.key_id, self._private.sign(text.encode()))


def verify_ed25519(key: NoteKey, signature: bytes, message: bytes) -> None:
    """Raises BadSignatureError unless ``signature`` is by ``key`` over ``message`` (RFC 8032)."""
    if len(signature) != ED25519_SIGNATURE_BYTES:
        raise BadSignatureError(f"{key.name}: a signature of {len(signature)} bytes")
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise BadSignatureError(f"{key.name}: signature does not verify") from error


class Note(NamedTuple):
    """A note's text (ending in a newline) and its signature lines, none of them checked."""

    text: str
    signatures: tuple[Signature, ...]


class Verified(NamedTuple):
    """A key whose signature was checked, and the time that the signature states (0: none)."""

    key: NoteKey
    time_s: int


def format_note(text: str, signatures: Iterable[Signature]) -> bytes:
    """The note's bytes. ``text`` ends in a newline."""
    assert text.endswith("\n"), "a note's text ends in a newline"
    return (text + "\n" + "".join(signature.line for signature in signatures)).encode()


def parse_signature_line(line: str) -> Signature:
    """One line without its newline. Raises MalformedError."""
    match = _SIGNATURE_LINE.fullmatch(line)
    if match is None:
        raise MalformedError(f"note: {line[:60]!r} is not a signature line")
    _check_name(match["name"])
    raw = decode_base64(match["blob"])
    if len(raw) <= KEY_ID_BYTES:
        raise MalformedError(f"note: the signature of {match['name']} is empty")
    return Signature(match["name"], raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:])


def parse_note(data: bytes) -> Note:
    """Split a note; nothing is verified. Raises MalformedError."""
    if len(data) > NOTE_MAX_BYTES:
        raise MalformedError(f"note: {len(data)} bytes, at most {NOTE_MAX_BYTES} allowed")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError("note: not UTF-8") from error
    if _CONTROL.search(whole) is not None:
        raise MalformedError("note: contains a control character")
    text, blank, tail = whole.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise MalformedError("note: no blank line before its signatures, or no newline at its end")
    lines = tail[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise MalformedError(f"note: {len(lines)} signatures, at most {SIGNATURES_MAX} allowed")
    return Note(text + "\n", tuple(parse_signature_line(line) for line in lines))


def verify_note(note: Note, verifiers: Sequence[Verifier]) -> tuple[Verified, ...]:
    """The known keys that signed, in the order of their lines, each once.

    Raises:
        BadSignatureError: a line by a known key does not verify, or no line is by a known key.
    """
    known = {(verifier.key.name, verifier.key.key_id): verifier for verifier in verifiers}
    found: dict[tuple[str, bytes], Verified] = {}
    for signature in note.signatures:
        who = (signature.name, signature.key_id)
        if who in known:
            verifier = known[who]
            found.setdefault(who, Verified(verifier.key, verifier.check(note.text, signature.blob)))
    if not found:
        raise BadSignatureError("note: no signature by a known key")
    return tuple(found.values())

"""Cosignatures: a witness vouches, at a stated time, for a checkpoint (c2sp.org/tlog-cosignature@v1.0.1).

Ed25519 (type 0x04) is what every witness network speaks; ML-DSA-44 (type 0x06, FIPS 204) outlives quantum
computers and also commits to the cosigner's name. One Ed25519 key must not serve two cosigners.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from anchor.checkpoint import INTEGER_MAX, parse_checkpoint
from anchor.note import (
    TYPE_ED25519,
    TYPE_ED25519_COSIGNATURE,
    TYPE_MLDSA44_COSIGNATURE,
    Ed25519Verifier,
    NoteKey,
    Signature,
    Verifier,
    verify_ed25519,
)
from core.errors import BadSignatureError, MalformedError
from core.identity import ED25519_KEY_BYTES, public_bytes

MLDSA44_KEY_BYTES = 1312
MLDSA44_SIGNATURE_BYTES = 2420
_TIME_BYTES = 8


def mldsa44_available() -> bool:
    """Whether the cryptographic library under ``cryptography`` was built with ML-DSA-44."""
    try:
        MLDSA44PrivateKey.from_seed_bytes(bytes(32))
    except UnsupportedAlgorithm:
        return False
    return True


def cosigned_message(text: str, time_s: int) -> bytes:
    """What an Ed25519 cosigner signs: the checkpoint's text behind the time."""
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def _counted(text: str) -> bytes:
    raw = text.encode()
    assert 0 < len(raw) <= 255, "names are bounded where they are parsed"
    return bytes([len(raw)]) + raw


def _mldsa44_message(name: str, text: str, time_s: int) -> bytes:
    checkpoint = parse_checkpoint(text)
    return b"".join(
        (
            b"subtree/v1\n\0",
            _counted(name),
            time_s.to_bytes(8, "big"),
            _counted(checkpoint.origin),
            # A checkpoint is the subtree that begins with the first leaf.
            (0).to_bytes(8, "big"),
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )


def _split_time(key: NoteKey, blob: bytes) -> tuple[int, bytes]:
    time_s = int.from_bytes(blob[:_TIME_BYTES], "big")
    if len(blob) <= _TIME_BYTES or not 0 < time_s <= INTEGER_MAX:
        raise BadSignatureError(f"{key.name}: a cosignature without a time")
    return time_s, blob[_TIME_BYTES:]


@dataclass(frozen=True, slots=True)
class Ed25519CosignatureVerifier:
    """Checks type 0x04. Raises MalformedError for a key of another kind."""

    key: NoteKey

    def __post_init__(self) -> None:
        if self.key.signature_type != TYPE_ED25519_COSIGNATURE or len(self.key.public) != ED25519_KEY_BYTES:
            raise MalformedError(f"key {self.key.name!r} is not an Ed25519 cosignature key")

    def check(self, text: str, blob: bytes) -> int:
        time_s, signature = _split_time(self.key, blob)
        verify_ed25519(self.key, signature, cosigned_message(text, time_s))
        return time_s


@dataclass(frozen=True, slots=True)
class MLDSA44CosignatureVerifier:
    """Checks type 0x06. Raises MalformedError for a key of another kind."""

    key: NoteKey

    def __post_init__(self) -> None:
        if self.key.signature_type != TYPE_MLDSA44_COSIGNATURE or len(self.key.public) != MLDSA44_KEY_BYTES:
            raise MalformedError(f"key {self.key.name!r} is not an ML-DSA-44 cosignature key")

    def check(self, text: str, blob: bytes) -> int:
        time_s, signature = _split_time(self.key, blob)
        if len(signature) != MLDSA44_SIGNATURE_BYTES:
            raise BadSignatureError(f"{self.key.name}: a signature of {len(signature)} bytes")
        message = _mldsa44_message(self.key.name, text, time_s)
        try:
            MLDSA44PublicKey.from_public_bytes(self.key.public).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise BadSignatureError(f"{self.key.name}: cosignature does not verify") from error
        except UnsupportedAlgorithm as error:
            raise BadSignatureError(f"{self.key.name}: this machine's library cannot check ML-DSA-44") from error
        return time_s


class Ed25519Cosigner:
    """Cosigns checkpoints with type 0x04."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self.key = NoteKey(name, TYPE_ED25519_COSIGNATURE, public_bytes(private))
        self._private = private

    def sign(self, text: str, *, time_s: int) -> Signature:
        """``text`` is a checkpoint's."""
        signature = self._private.sign(cosigned_message(text, time_s))
        return Signature(self.key.name, self.key.key_id, _stamp(time_s) + signature)


class MLDSA44Cosigner:
    """Cosigns checkpoints with type 0x06 (hedged: equal messages get different signatures)."""

    def __init__(self, name: str, private: MLDSA44PrivateKey) -> None:
        self.key = NoteKey(name, TYPE_MLDSA44_COSIGNATURE, private.public_key().public_bytes_raw())
        self._private = private

    def sign(self, text: str, *, time_s: int) -> Signature:
        """``text`` is a checkpoint's. Raises MalformedError when it is not."""
        signature = self._private.sign(_mldsa44_message(self.key.name, text, time_s))
        return Signature(self.key.name, self.key.key_id, _stamp(time_s) + signature)


Cosigner: TypeAlias = Ed25519Cosigner | MLDSA44Cosigner


def _stamp(time_s: int) -> bytes:
    assert 0 < time_s <= INTEGER_MAX, "a cosignature states a time"
    return time_s.to_bytes(_TIME_BYTES, "big")


def verifier_of(key: NoteKey) -> Verifier:
    """The verifier for the key's kind of signature. Raises MalformedError for a kind that we do not know."""
    if key.signature_type == TYPE_ED25519:
        return Ed25519Verifier(key)
    if key.signature_type == TYPE_ED25519_COSIGNATURE:
        return Ed25519CosignatureVerifier(key)
    if key.signature_type == TYPE_MLDSA44_COSIGNATURE:
        return MLDSA44CosignatureVerifier(key)
    raise MalformedError(f"key {key.name!r}: signature type {key.signature_type:#04x} is not known")


def is_cosignature_key(key: NoteKey) -> bool:
    """Whether a witness may have it (a log may have any)."""
    return key.signature_type != TYPE_ED25519

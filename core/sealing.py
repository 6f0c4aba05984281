"""Encryption: convergent extent keys, sealed chunks, and key slots.

Chunks are sealed with AES-256-GCM (NIST SP 800-38D) under a key of their extent, the nonce being the chunk's
number: a key seals one plaintext only, because it is derived from it. The additional data binds the chunk's
codec. Key slots wrap an index key by HPKE (RFC 9180) in the hybrid suite MLKEM768-X25519, because these
records must stay secret for longer than classical key exchange may last.
"""

from __future__ import annotations

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from core.compression import COMPRESSOR
from core.errors import CorruptError, MalformedError
from core.ids import derived_digest
from core.limits import TAG_BYTES
from core.ports import Buffer

KEY_BYTES = 32
NONCE_BYTES = 12
# FIPS 203: seed d || z, encapsulation key of ML-KEM-768. RFC 7748: X25519.
MLKEM_SEED_BYTES = 64
MLKEM_PUBLIC_BYTES = 1184
X25519_KEY_BYTES = 32
SEALING_SEED_BYTES = MLKEM_SEED_BYTES + X25519_KEY_BYTES
SEALING_PUBLIC_BYTES = MLKEM_PUBLIC_BYTES + X25519_KEY_BYTES
SLOT_INFO = b"moorage 2026 key slot v1"
SLOT_MAX_BYTES = 2048

_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def convergent_key(secret: bytes, plaintext_digest: bytes) -> bytes:
    """The extent key: keyed BLAKE3 of the extent's plaintext digest under the organisation's 32-byte secret.

    Equal extents of one organisation get equal keys; nobody without the secret can confirm a guess. The
    compressor's version is bound in, because another version may pack the same chunk into other bytes, and two
    messages under one GCM key and nonce would betray each other.
    """
    return blake3(b"extent" + plaintext_digest + COMPRESSOR.encode(), key=secret).digest()


def content_id(secret: bytes, description: bytes) -> bytes:
    """32 bytes that name what a put stores (listing and scheme), to nobody but the organisation itself."""
    return blake3(b"content" + description, key=secret).digest()


def _nonce(chunk: int) -> bytes:
    return chunk.to_bytes(NONCE_BYTES, "big")


class ChunkSealer:
    """Seals and opens the chunks of one extent. Not shared between threads."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, chunk: int, codec: int, packed: Buffer) -> bytes:
        """``len(packed) + 16`` bytes."""
        return self._cipher.encrypt(_nonce(chunk), packed, bytes([codec]))

    def seal_into(self, chunk: int, codec: int, packed: Buffer, target: memoryview) -> None:
        """Write to ``target``, of ``len(packed) + 16`` bytes."""
        self._cipher.encrypt_into(_nonce(chunk), packed, bytes([codec]), target)

    def open(self, chunk: int, codec: int, sealed: Buffer) -> bytes:
        """Raises CorruptError when the tag does not fit key, number, codec and bytes."""
        if len(sealed) < TAG_BYTES:
            raise CorruptError(f"chunk {chunk}: shorter than its tag")
        try:
            return self._cipher.decrypt(_nonce(chunk), sealed, bytes([codec]))
        except InvalidTag as error:
            raise CorruptError(f"chunk {chunk}: decryption failed") from error

    def open_into(self, chunk: int, codec: int, sealed: Buffer, target: memoryview) -> None:
        """Write to ``target``, of ``len(sealed) - 16`` bytes; what it holds after an error is not to be used.

        Raises as ``open``.
        """
        try:
            self._cipher.decrypt_into(_nonce(chunk), sealed, bytes([codec]), target)
        except InvalidTag as error:
            raise CorruptError(f"chunk {chunk}: decryption failed") from error


def sealing_public_key(seed: bytes) -> bytes:
    """The public half (1,216 bytes: ML-KEM-768 then X25519) of the key that 96 unpredictable bytes make."""
    assert len(seed) == SEALING_SEED_BYTES, len(seed)
    mlkem = MLKEM768PrivateKey.from_seed_bytes(seed[:MLKEM_SEED_BYTES]).public_key()
    x25519 = X25519PrivateKey.from_private_bytes(seed[MLKEM_SEED_BYTES:]).public_key()
    return mlkem.public_bytes_raw() + x25519.public_bytes_raw()


def wrap_key(public_key: bytes, key: bytes) -> bytes:
    """``key`` for the holder of a sealing key: 1,168 bytes for 32. Raises MalformedError for a bad public key."""
    try:
        if len(public_key) != SEALING_PUBLIC_BYTES:
            raise ValueError(f"{len(public_key)} bytes, not {SEALING_PUBLIC_BYTES}")
        mlkem = MLKEM768PublicKey.from_public_bytes(public_key[:MLKEM_PUBLIC_BYTES])
        x25519 = X25519PublicKey.from_public_bytes(public_key[MLKEM_PUBLIC_BYTES:])
        return _SUITE.encrypt(key, MLKEM768X25519PublicKey(mlkem, x25519), SLOT_INFO)
    except ValueError as error:
        raise MalformedError(f"sealing key: {error}") from error


def unwrap_key(seed: bytes, slot: bytes) -> bytes:
    """The key that ``wrap_key`` wrapped for this seed's public key. Raises CorruptError."""
    mlkem = MLKEM768PrivateKey.from_seed_bytes(seed[:MLKEM_SEED_BYTES])
    x25519 = X25519PrivateKey.from_private_bytes(seed[MLKEM_SEED_BYTES:])
    try:
        return _SUITE.decrypt(slot, MLKEM768X25519PrivateKey(mlkem, x25519), SLOT_INFO)
    except (InvalidTag, ValueError) as error:
        raise CorruptError("key slot: not for this key, or damaged") from error


def sealing_key_id(public_key: bytes) -> bytes:
    """32 bytes that name a sealing key in a slot."""
    return derived_digest("moorage 2026 sealing key id v1", public_key)

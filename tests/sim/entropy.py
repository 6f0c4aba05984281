"""The one seam where chance enters below the ports: HPKE and hedged ML-DSA draw from OpenSSL, which takes no seed.

Key slots and ML-DSA cosignatures would make object ids and receipts differ between two runs of one seed, so stand-ins
with the same sizes, the same keys and the same refusals take their place while ``seeded_cryptography`` is open.
Everything else (Ed25519, AES-GCM, BLAKE3, certificates) is deterministic or draws from the chance port, and is real.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Generator
from typing import Self

from blake3 import blake3
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

import anchor.cosignature
import client.ledger
import core.sealing
from anchor.cosignature import MLDSA44_SIGNATURE_BYTES
from tests.sim.chance import derive
from tests.sim.patches import replaced

ENCAPSULATION_BYTES = 1120
TAG_BYTES = 16


class _SealingPublic:
    def __init__(self, mlkem: MLKEM768PublicKey, x25519: X25519PublicKey) -> None:
        self.raw = mlkem.public_bytes_raw() + x25519.public_bytes_raw()


class _SealingPrivate:
    def __init__(self, mlkem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> None:
        self.public = _SealingPublic(mlkem.public_key(), x25519.public_key())


class _SeededSuite:
    """A slot is for one key and shows every flipped bit, as HPKE's; it hides nothing."""

    def __init__(self, seed: int) -> None:
        self._chance = derive(seed, "hpke")

    def encrypt(self, plaintext: bytes, public: _SealingPublic, info: bytes) -> bytes:
        start = self._chance.randbytes(ENCAPSULATION_BYTES)
        return start + self._crossed(start, plaintext, public) + self._tag(start, plaintext, public, info)

    def decrypt(self, slot: bytes, private: _SealingPrivate, info: bytes) -> bytes:
        start, tag = slot[:ENCAPSULATION_BYTES], slot[-TAG_BYTES:]
        plaintext = self._crossed(start, slot[ENCAPSULATION_BYTES:-TAG_BYTES], private.public)
        if tag != self._tag(start, plaintext, private.public, info):
            raise InvalidTag
        return plaintext

    @staticmethod
    def _crossed(start: bytes, data: bytes, public: _SealingPublic) -> bytes:
        stream = blake3(public.raw + start).digest(length=len(data))
        return bytes(a ^ b for a, b in zip(data, stream, strict=True))

    @staticmethod
    def _tag(start: bytes, plaintext: bytes, public: _SealingPublic, info: bytes) -> bytes:
        return blake3(public.raw + start + info + plaintext).digest(length=TAG_BYTES)


class _CosigningPublic:
    """Stands in for ``MLDSA44PublicKey``: whoever has the public key can sign, so forgery is not what it tests."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    @classmethod
    def from_public_bytes(cls, raw: bytes) -> Self:
        # The real one judges the bytes.
        return cls(mldsa.MLDSA44PublicKey.from_public_bytes(raw).public_bytes_raw())

    def public_bytes_raw(self) -> bytes:
        return self._raw

    def sign(self, message: bytes) -> bytes:
        return hashlib.shake_256(self._raw + message).digest(MLDSA44_SIGNATURE_BYTES)

    def verify(self, signature: bytes, message: bytes) -> None:
        if signature != self.sign(message):
            raise InvalidSignature


class _CosigningPrivate:
    """Stands in for ``MLDSA44PrivateKey``."""

    def __init__(self, public: _CosigningPublic) -> None:
        self._public = public

    @classmethod
    def from_seed_bytes(cls, seed: bytes) -> Self:
        return cls(_CosigningPublic(mldsa.MLDSA44PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()))

    def public_key(self) -> _CosigningPublic:
        return self._public

    def sign(self, message: bytes) -> bytes:
        return self._public.sign(message)


@contextlib.contextmanager
def seeded_cryptography(seed: int) -> Generator[None, None, None]:
    """Inside, key slots and ML-DSA cosignatures follow from the seed; made outside, they are not understood inside."""
    with contextlib.ExitStack() as stack:
        for owner, name, value in (
            (core.sealing, "_SUITE", _SeededSuite(seed)),
            (core.sealing, "MLKEM768X25519PublicKey", _SealingPublic),
            (core.sealing, "MLKEM768X25519PrivateKey", _SealingPrivate),
            (anchor.cosignature, "MLDSA44PublicKey", _CosigningPublic),
            (client.ledger, "MLDSA44PrivateKey", _CosigningPrivate),
        ):
            stack.enter_context(replaced(owner, name, value))
        yield

"""Names of things: 32-byte digests with a purpose, never bare bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from blake3 import blake3

from core.errors import MalformedIdError

DIGEST_BYTES = 32
SHORT_HEX_CHARACTERS = 12


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A 32-byte name. Subclasses say of what; values of different classes never compare equal."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != DIGEST_BYTES:
            raise MalformedIdError(f"{type(self).__name__} needs {DIGEST_BYTES} bytes, got {len(self.raw)}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """From 64 hexadecimal digits. Raises MalformedIdError."""
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
        if len(raw) != DIGEST_BYTES or text != raw.hex():
            raise MalformedIdError(f"{text!r} is not {DIGEST_BYTES * 2} lower-case hexadecimal digits")
        return cls(raw)

    @property
    def short(self) -> str:
        """The first 12 hexadecimal digits, for people."""
        return self.raw.hex()[:SHORT_HEX_CHARACTERS]

    def __str__(self) -> str:
        return self.raw.hex()


class ObjectId(Digest):
    """BLAKE3 of a manifest file's bytes."""

    __slots__ = ()


class ShardRoot(Digest):
    """The Merkle root that names a shard (docs/format.md, "Shard file")."""

    __slots__ = ()


class PeerId(Digest):
    """A peer is its key: BLAKE3 of its raw Ed25519 public key under a context of its own."""

    __slots__ = ()

    @classmethod
    def of_key(cls, public_key: bytes) -> Self:
        return cls(derived_digest("moorage 2026 peer id v1", public_key))


class PoolId(Digest):
    """BLAKE3 of the key that signs the pool's roster; in a consortium, of its first root metadata."""

    __slots__ = ()

    @classmethod
    def of_key(cls, public_key: bytes) -> Self:
        return cls(derived_digest("moorage 2026 pool id v1", public_key))


def derived_digest(context: str, data: bytes | memoryview) -> bytes:
    """BLAKE3 in derive-key mode: digests of different contexts never collide (BLAKE3 paper, section 2.3)."""
    return blake3(data, derive_key_context=context).digest()

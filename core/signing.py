"""Ed25519 signatures over canonical structures, each kind under a domain of its own."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from core.errors import BadSignatureError


def _message(domain: str, data: bytes) -> bytes:
    # A NUL ends the domain, so no domain is a prefix of another's message.
    return domain.encode() + b"\0" + data


def sign(key: Ed25519PrivateKey, domain: str, data: bytes) -> bytes:
    """64 bytes (RFC 8032) over ``domain``, NUL, ``data``."""
    return key.sign(_message(domain, data))


def check_signature(public_key: bytes, signature: bytes, domain: str, data: bytes) -> None:
    """Raises BadSignatureError unless ``signature`` is by the raw ``public_key`` over ``data`` in ``domain``."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, _message(domain, data))
    except (InvalidSignature, ValueError) as error:
        raise BadSignatureError(f"{domain}: signature does not verify") from error

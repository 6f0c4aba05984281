"""Mutual TLS 1.3 (RFC 8446): contexts for both directions, and errors of OpenSSL in words.

Both sides show a certificate that one of the roster's organisations issued. Names of hosts mean nothing: a peer
is its key, and its addresses change.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.errors import MoorageError, PeerRefusedError, PeerUnavailableError
from core.identity import certificate_pem, private_pem
from core.ports import FRAMES, HTTP

# Offered by the listener, its favourite first. Something else behind the same port is recognised before a byte of
# ours is sent to it.
APPLICATION_PROTOCOLS = (FRAMES, HTTP)

# Codes of OpenSSL's x509_vfy.h.
_CAUSES = {
    9: "it is not valid yet: is the clock right on both sides?",
    10: "it has expired: its organisation renews it (`moorage certificate renew`)",
}
_UNKNOWN_ISSUER_CODES = frozenset({2, 7, 18, 19, 20, 21})
_UNKNOWN_ISSUER = "no organisation on our roster issued it: another pool, or an old roster here"
# Alerts of RFC 8446, section 6.2, by the words of OpenSSL's sslerr.h.
_ALERTS = {
    "TLSV1_ALERT_UNKNOWN_CA": "no organisation on its roster issued it: another pool, or an old roster there",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it has expired: renew it (`moorage certificate renew`)",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it was revoked",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it found a fault with it",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "it is of a kind that it does not take",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it is malformed, or not valid yet: is the clock right on both sides?",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "none was shown",
    "TLSV1_ALERT_ACCESS_DENIED": "access denied",
    "TLSV1_ALERT_DECRYPT_ERROR": "its issuer's signature does not verify: another pool of the same name",
}


class Contexts(NamedTuple):
    """OpenSSL's settings: for a listener, and for who calls to speak frames or HTTP."""

    accepting: ssl.SSLContext
    connecting: ssl.SSLContext
    browsing: ssl.SSLContext


def make_contexts(certificate: bytes, key: Ed25519PrivateKey, issuers: Iterable[bytes]) -> Contexts:
    """Contexts of one identity (DER and key) that trust ``issuers`` (DER) and nobody else."""
    contexts = Contexts(
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    )
    trusted = b"".join(issuers)
    for context, protocols in zip(contexts, (APPLICATION_PROTOCOLS, [FRAMES], [HTTP]), strict=True):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(protocols)
        if trusted:
            context.load_verify_locations(cadata=trusted)
    # Resumption would skip the check of the certificate against a newer roster.
    contexts.accepting.num_tickets = 0
    _load_identity(contexts, certificate_pem(certificate) + private_pem(key))
    return contexts


def _load_identity(contexts: Contexts, pem: bytes) -> None:
    # OpenSSL, as Python reaches it, takes keys from files only.
    with _nameless_file(pem) if hasattr(os, "memfd_create") else _private_file(pem) as path:
        for context in contexts:
            context.load_cert_chain(path)


@contextmanager
def _nameless_file(data: bytes) -> Generator[str]:
    """In memory only: a process that is killed here leaves no key behind."""
    descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
    with open(descriptor, "wb", buffering=0) as file:
        file.write(data)
        yield f"/proc/self/fd/{descriptor}"


@contextmanager
def _private_file(data: bytes) -> Generator[str]:
    """Where the system has no such files: in a folder that is this user's alone (mkdtemp: 0700)."""
    with tempfile.TemporaryDirectory(prefix="moorage-") as folder:
        path = Path(folder, "identity.pem")
        path.touch(mode=0o600)
        path.write_bytes(data)
        yield str(path)


def explain(where: str, error: OSError) -> MoorageError:
    """The error to raise for a stream or handshake with ``where`` that failed with ``error``.

    PeerRefusedError: one side does not accept the other's certificate. PeerUnavailableError: anything else.
    """
    match error:
        case ssl.SSLCertVerificationError(verify_code=int(code), verify_message=str(message)):
            cause = _UNKNOWN_ISSUER if code in _UNKNOWN_ISSUER_CODES else _CAUSES.get(code, message)
            return PeerRefusedError(f"{where}: its certificate is refused: {cause}")
        case ssl.SSLError(reason=str(reason)) if reason in _ALERTS:
            return PeerRefusedError(f"{where} refuses our certificate: {_ALERTS[reason]}")
        case ssl.SSLEOFError():
            return PeerUnavailableError(f"{where}: the connection was cut")
        case ssl.SSLError(reason=str(reason)):
            return PeerUnavailableError(f"{where}: TLS failed: {reason.lower().replace('_', ' ')}")
        case _:
            return PeerUnavailableError(f"{where}: {error.strerror or error}")

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
from functools import cached_property
from pathlib import Path

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


class Contexts:
    """OpenSSL's settings for one identity that trusts some organisations and nobody else; each made when first used."""

    def __init__(self, certificate: bytes, key: Ed25519PrivateKey, issuers: Iterable[bytes]) -> None:
        """``certificate`` and ``issuers`` are DER."""
        self._identity = certificate_pem(certificate) + private_pem(key)
        self._trusted = b"".join(issuers)

    @cached_property
    def accepting(self) -> ssl.SSLContext:
        """For a listener."""
        context = self._make(ssl.PROTOCOL_TLS_SERVER, APPLICATION_PROTOCOLS)
        # Resumption would skip the check of the certificate against a newer roster.
        context.num_tickets = 0
        return context

    @cached_property
    def connecting(self) -> ssl.SSLContext:
        """For who calls to speak frames."""
        return self._make(ssl.PROTOCOL_TLS_CLIENT, [FRAMES])

    @cached_property
    def browsing(self) -> ssl.SSLContext:
        """For who calls to speak HTTP."""
        return self._make(ssl.PROTOCOL_TLS_CLIENT, [HTTP])

    def _make(self, protocol: int, applications: Iterable[str]) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(applications)
        if self._trusted:
            context.load_verify_locations(cadata=self._trusted)
        # OpenSSL, as Python reaches it, takes keys from files only.
        with _nameless_file(self._identity) if hasattr(os, "memfd_create") else _private_file(self._identity) as path:
            context.load_cert_chain(path)
        return context


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

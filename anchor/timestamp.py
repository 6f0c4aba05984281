"""Time stamps by an authority (RFC 3161) on a checkpoint: what a court may ask for beside the witnesses' times.

Needs the package rfc3161-client (the extra ``tsa``), which parses and verifies; nothing here reaches the network.
"""

from __future__ import annotations

from hashlib import sha256, sha512
from typing import NamedTuple

from cryptography import x509

from core.errors import BadSignatureError, MalformedError, UsageError

QUERY_TYPE = "application/timestamp-query"
# A token with its chain of certificates has a few kilobytes.
REPLY_MAX_BYTES = 64 * 1024


class Stamp(NamedTuple):
    """What a time stamp says. ``believed``: its chain leads to a certificate that the reader named."""

    time_s: int
    authority: str
    believed: bool


def stamping_is_possible() -> bool:
    """Whether the library is there."""
    try:
        import rfc3161_client
    except ImportError:
        return False
    return bool(rfc3161_client)


def stamp_request(data: bytes) -> bytes:
    """The query for SHA-256 of ``data``; it asks for the authority's certificate. Raises UsageError (no library)."""
    if not stamping_is_possible():
        raise UsageError("time stamps need the package rfc3161-client: pip install 'moorage[tsa]'")
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    # No nonce: an older stamp of the same bytes would prove more, not less.
    builder = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256)
    return builder.nonce(nonce=False).cert_request(cert_request=True).build().as_bytes()


def parse_certificates(pem: bytes) -> list[x509.Certificate]:
    """Raises MalformedError."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise MalformedError(f"time stamp: not a PEM file of certificates: {error}") from error


def check_stamp(reply: bytes, data: bytes, pem: bytes = b"") -> Stamp:
    """What a time stamp of ``data`` says.

    Args:
        reply: the authority's answer, as ``openssl ts`` reads it.
        pem: certificates to believe, and those between; without any, the stamp must only fit to ``data``.

    Raises:
        UsageError: the library is missing.
        MalformedError: no time stamp, or a refusal.
        BadSignatureError: it is of other bytes, or not by whom the certificates say.
    """
    if not stamping_is_possible():
        raise UsageError("time stamps need the package rfc3161-client: pip install 'moorage[tsa]'")
    from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

    try:
        response = decode_timestamp_response(reply)
        status, info = response.status, response.tst_info
        imprint = info.message_imprint.message
        time_s = int(info.gen_time.timestamp())
    except ValueError as error:
        raise MalformedError(f"time stamp: cannot be read, or refused by its authority: {error}") from error
    if status not in (0, 1):
        raise MalformedError(f"time stamp: the authority refused it (status {status})")
    authority = _authority(response.signed_data.certificates)
    if not pem:
        if imprint != _imprint(data, len(imprint)):
            raise BadSignatureError("time stamp: it is of other bytes than this checkpoint")
        return Stamp(time_s, authority, believed=False)
    builder = VerifierBuilder()
    for certificate in parse_certificates(pem):
        if certificate.issuer == certificate.subject:
            builder = builder.add_root_certificate(certificate)
        else:
            builder = builder.add_intermediate_certificate(certificate)
    try:
        builder.build().verify_message(response, data)
    except (VerificationError, ValueError) as error:
        raise BadSignatureError(f"time stamp: {error}") from error
    return Stamp(time_s, authority, believed=True)


def _imprint(data: bytes, size_bytes: int) -> bytes:
    return sha512(data).digest() if size_bytes == 64 else sha256(data).digest()


def _authority(certificates: set[bytes]) -> str:
    """The subject of the certificate that comes with a stamp; empty when none does."""
    for der in sorted(certificates):
        try:
            certificate = x509.load_der_x509_certificate(der)
            usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except (ValueError, x509.ExtensionNotFound):
            continue
        if x509.oid.ExtendedKeyUsageOID.TIME_STAMPING in usage:
            return certificate.subject.rfc4514_string()
    return ""

"""Who is who: Ed25519 keys, and X.509 certificates by which an organisation vouches for its peers and clients.

A certificate carries the name (CN), organisation (O), site (L) and role (OU) of its holder. Peers present
them in TLS 1.3 and inside their peer records; ``read_certificate`` is the one place that believes one.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from core.errors import MalformedError, PeerRefusedError
from core.ids import PeerId
from core.ports import Identity

ED25519_KEY_BYTES = 32
ED25519_SIGNATURE_BYTES = 64
CERTIFICATE_MAX_BYTES = 1000
NAME_MAX_CHARACTERS = 64
# What hostile DER raises in cryptography, some of it only when subject, key or dates are first looked at. What it only
# warns of (a serial number below 1, a country of eight letters) is an error where warnings are errors.
_BAD_DER = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, UserWarning)


# A guest is an organisation that was invited: all that it may do is ask to be taken in.
Role = Literal["peer", "client", "guest"]


def key_from_seed(seed: bytes) -> Ed25519PrivateKey:
    """An Ed25519 key from 32 unpredictable bytes (RFC 8032, section 5.1.5)."""
    return Ed25519PrivateKey.from_private_bytes(seed)


def public_bytes(key: Ed25519PrivateKey | Ed25519PublicKey) -> bytes:
    """The raw 32-byte public key."""
    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def private_pem(key: Ed25519PrivateKey) -> bytes:
    """PKCS #8, unencrypted: the file's mode protects it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate_pem(certificate: bytes) -> bytes:
    """PEM of a DER certificate."""
    return x509.load_der_x509_certificate(certificate).public_bytes(serialization.Encoding.PEM)


def certificate_of_pem(pem: bytes) -> bytes:
    """DER of the first certificate in a PEM text. Raises ValueError."""
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


def certificate_key(certificate: bytes) -> bytes:
    """The raw public key in a believed DER certificate, which is Ed25519."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    assert isinstance(key, Ed25519PublicKey), "believed"
    return public_bytes(key)


def certificate_end_s(certificate: bytes) -> float:
    """When a believed DER certificate ends: seconds since 1970."""
    return x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()


def certificate_begin_s(certificate: bytes) -> float:
    """From when on a believed DER certificate is valid: seconds since 1970."""
    return x509.load_der_x509_certificate(certificate).not_valid_before_utc.timestamp()


def _stamp(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(seconds), tz=datetime.UTC)


def _serial(token: bytes) -> int:
    # 1 to 159 bits, positive (RFC 5280, section 4.1.2.2).
    return int.from_bytes(token[:19], "big") | 1


def make_issuer(key: Ed25519PrivateKey, *, organisation: str, now: float, valid_s: float, serial: bytes) -> bytes:
    """An organisation's self-signed certificate (DER). ``serial`` is 19 unpredictable bytes."""
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(_serial(serial))
        .not_valid_before(_stamp(now - 300))
        .not_valid_after(_stamp(now + valid_s))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, None)
    )
    return certificate.public_bytes(serialization.Encoding.DER)


def check_issuer(certificate: bytes, organisation: str) -> None:
    """Raises MalformedError unless this DER is a certificate that ``organisation`` signed itself, with Ed25519."""
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        parsed.verify_directly_issued_by(parsed)
        constraints = parsed.extensions.get_extension_for_class(x509.BasicConstraints).value
        named = [item.value for item in parsed.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
        sound = constraints.ca and isinstance(parsed.public_key(), Ed25519PublicKey) and named == [organisation]
    except (*_BAD_DER, InvalidSignature, x509.ExtensionNotFound) as error:
        raise MalformedError(f"issuer of {organisation!r}: not a self-signed certificate: {error}") from error
    if not sound:
        raise MalformedError(f"issuer of {organisation!r}: not an issuer's certificate of that organisation")


def issue_certificate(
    issuer_key: Ed25519PrivateKey,
    issuer: bytes,
    holder: Ed25519PublicKey,
    *,
    name: str,
    site: str,
    role: Role,
    now: float,
    valid_s: float,
    serial: bytes,
) -> bytes:
    """A peer's or client's certificate (DER) by its organisation's ``issuer`` certificate and key."""
    parent = x509.load_der_x509_certificate(issuer)
    organisation = _one(parent.subject, NameOID.ORGANIZATION_NAME)
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role),
            x509.NameAttribute(NameOID.LOCALITY_NAME, site),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(parent.subject)
        .public_key(holder)
        .serial_number(_serial(serial))
        .not_valid_before(_stamp(now - 300))
        .not_valid_after(_stamp(now + valid_s))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
            critical=False,
        )
        .sign(issuer_key, None)
    )
    return certificate.public_bytes(serialization.Encoding.DER)


def _one(name: x509.Name, oid: x509.ObjectIdentifier) -> str:
    values = [attribute.value for attribute in name.get_attributes_for_oid(oid)]
    # Names go to logs and terminals: no line ends, no escape sequences.
    if len(values) != 1 or not 0 < len(values[0]) <= NAME_MAX_CHARACTERS or not str(values[0]).isprintable():
        raise PeerRefusedError(f"certificate: needs exactly one printable {oid.dotted_string} in its subject")
    return str(values[0])


def _role(text: str) -> Role:
    match text:
        case "peer" | "client" | "guest":
            return text
        case _:
            raise PeerRefusedError(f"certificate: unknown role {text!r}")


def read_certificate(certificate: bytes, issuers: Mapping[str, bytes], *, now: float) -> tuple[Identity, bytes]:
    """Believe a certificate, or raise.

    Args:
        certificate: DER, at most CERTIFICATE_MAX_BYTES.
        issuers: DER of each organisation's own certificate, by organisation name (the roster's).
        now: seconds since 1970; must lie in the certificate's validity.

    Returns:
        The holder's identity and its raw Ed25519 public key.

    Raises:
        PeerRefusedError: malformed, of an unknown organisation, badly signed, or out of its time.
    """
    return _read(certificate, issuers, now)


def read_old_certificate(certificate: bytes, issuers: Mapping[str, bytes]) -> tuple[Identity, bytes]:
    """As ``read_certificate``, whether it has ended or not: for whoever makes its successor, and for nobody else."""
    return _read(certificate, issuers, None)


def _read(certificate: bytes, issuers: Mapping[str, bytes], now: float | None) -> tuple[Identity, bytes]:
    if len(certificate) > CERTIFICATE_MAX_BYTES:
        raise PeerRefusedError(f"certificate: {len(certificate)} bytes, at most {CERTIFICATE_MAX_BYTES} allowed")
    try:
        return _believe(certificate, issuers, now)
    except _BAD_DER as error:
        raise PeerRefusedError(f"certificate: not X.509: {error}") from error


def _check_dates(parsed: x509.Certificate, issuer: x509.Certificate, organisation: str, role: Role, now: float) -> None:
    mend = f"`moorage certificate renew` where {organisation!r} has its issuing key makes a new one"
    if role == "guest":
        mend = "it was an invitation's: ask for another one"
    for dated, what, words, late in (
        (parsed, "certificate", mend, f"If it is, {mend}"),
        (issuer, "issuer's certificate", "the roster needs another one", "The roster is not older than that"),
    ):
        begins, ends = dated.not_valid_before_utc, dated.not_valid_after_utc
        if now > ends.timestamp():
            raise PeerRefusedError(f"{what} of {organisation!r} ended on {ends:%Y-%m-%d}: {words}")
        if now < begins.timestamp():
            raise PeerRefusedError(
                f"{what} of {organisation!r} begins on {begins:%Y-%m-%d}: is the clock right? {late}"
            )


def _believe(certificate: bytes, issuers: Mapping[str, bytes], now: float | None) -> tuple[Identity, bytes]:
    parsed = x509.load_der_x509_certificate(certificate)
    holder = parsed.public_key()
    if not isinstance(holder, Ed25519PublicKey):
        raise PeerRefusedError("certificate: its key is not Ed25519")
    organisation = _one(parsed.subject, NameOID.ORGANIZATION_NAME)
    role = _role(_one(parsed.subject, NameOID.ORGANIZATIONAL_UNIT_NAME))
    if organisation not in issuers:
        raise PeerRefusedError(f"certificate: organisation {organisation!r} is not on this pool's roster")
    issuer = x509.load_der_x509_certificate(issuers[organisation])
    try:
        parsed.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise PeerRefusedError(f"certificate: not issued by {organisation!r}: {error}") from error
    if not certificate.endswith(b"\0" + parsed.signature):
        # The signature covers all before it, but not how many of its own last bits are said to be unused.
        raise PeerRefusedError("certificate: its signature is not written in whole bytes")
    if now is not None:
        _check_dates(parsed, issuer, organisation, role, now)
    key = public_bytes(holder)
    identity = Identity(
        peer=PeerId.of_key(key),
        organisation=organisation,
        site=_one(parsed.subject, NameOID.LOCALITY_NAME),
        name=_one(parsed.subject, NameOID.COMMON_NAME),
        role=role,
        certificate=certificate,
    )
    return identity, key

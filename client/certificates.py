"""Certificates of homes: read whatever their dates, and made anew for the same key where the issuing key is.

A peer is its key (``core.ids.PeerId``), so with a new certificate it stays who it is.
"""

from __future__ import annotations

import posixpath
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from anchor.roster import Roster
from client.home import (
    TLS_CERTIFICATE_FILE,
    TLS_KEY_FILE,
    WORKSHOP_FOLDER,
    load_tls_key,
    read_home_certificate,
    read_home_file,
)
from core.durable import write_file_in_workshop
from core.errors import HomeError, PeerRefusedError
from core.identity import (
    Role,
    certificate_begin_s,
    certificate_end_s,
    certificate_key,
    certificate_pem,
    issue_certificate,
    public_bytes,
    read_certificate,
    read_old_certificate,
)
from core.ports import Disk, Identity

YEAR_S = 365.25 * 86400
ISSUER_VALID_S = 30 * YEAR_S
CERTIFICATE_VALID_S = 2 * YEAR_S
SERIAL_BYTES = 19
DAY_S = 86400
# A daemon and `doctor` warn then. `certificate renew` acts a month before: who gives it each month is not warned.
WARNING_DAYS = 60
# A new issuer needs a new roster, which everybody has to agree on.
ISSUER_WARNING_DAYS = 2 * 365
# Who is so late has rather a clock that runs ahead, under which a new certificate would be of no use to anybody.
LATE_DAYS = 365
# What was valid before the last renewal, for a certificate that is lost, damaged, or dated by a wrong clock.
BEFORE_FILE = f"{TLS_CERTIFICATE_FILE}.before"


class Issuing(NamedTuple):
    """With what an organisation vouches for its peers and clients: its name, its certificate (DER) and the key."""

    organisation: str
    certificate: bytes
    key: Ed25519PrivateKey


class HomeCertificate(NamedTuple):
    """A home's certificate as it lies there, perhaps ended; ``begin_s`` and ``end_s``: seconds since 1970.

    ``damage``: why it cannot be used; then all else is from the one of before.
    """

    folder: str
    identity: Identity
    begin_s: float
    end_s: float
    damage: str = ""

    def is_due(self, now: float, within_days: float) -> bool:
        """Also one that is not valid yet: it was made by a clock that ran ahead."""
        return bool(self.damage) or self.begin_s > now or self.end_s - now <= within_days * DAY_S


def issuer_key_file(organisation: str) -> str:
    return f"keys/issuers/{organisation}.key"


def read_issuing(disk: Disk, home: str, roster: Roster, organisation: str) -> Issuing:
    """The key by which the organisation vouches for its peers, in the client's home ``home``.

    Blocks. Raises HomeError: it is not here, or not the one that the roster has.
    """
    known = roster.organisation(organisation)
    if known is None:
        raise HomeError(f"{organisation} is not on the roster of {home}")
    path = posixpath.join(home, issuer_key_file(organisation))
    if disk.stat(path) is None:
        raise HomeError(
            f"{path} is missing, the key with which {organisation} issues certificates: give --home the client's home "
            "that has it, or put it back from where it is kept"
        )
    pem = read_home_file(disk, home, issuer_key_file(organisation))
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise HomeError(f"{path} is no private key: restore it from its backup ({error})") from error
    if not isinstance(key, Ed25519PrivateKey) or public_bytes(key) != certificate_key(known.issuer):
        raise HomeError(f"{path} is not the key that the roster has of {organisation}: restore it from its backup")
    return Issuing(organisation, known.issuer, key)


def read_certificate_of(disk: Disk, folder: str, roster: Roster) -> HomeCertificate:
    """That of before where it cannot be used. Blocks. Raises HomeError, PeerRefusedError (issued by nobody on the
    roster)."""
    try:
        return _read_one(disk, folder, TLS_CERTIFICATE_FILE, roster)
    except (HomeError, PeerRefusedError) as error:
        if disk.stat(posixpath.join(folder, BEFORE_FILE)) is None:
            raise
        return _read_one(disk, folder, BEFORE_FILE, roster)._replace(damage=str(error))


def _read_one(disk: Disk, folder: str, name: str, roster: Roster) -> HomeCertificate:
    certificate = read_home_certificate(disk, folder, name)
    identity, key = read_old_certificate(certificate, roster.issuers)
    if name == BEFORE_FILE and key != public_bytes(load_tls_key(disk, folder)):
        raise HomeError(f"{folder}/{name} is not for the key of this home ({TLS_KEY_FILE})")
    return HomeCertificate(folder, identity, certificate_begin_s(certificate), certificate_end_s(certificate))


def day_text(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d}"


def valid_s_from(issuing: Issuing, now: float) -> float:
    """How long a certificate that is issued now lasts: no longer than its issuer's own.

    Raises HomeError (the issuer's has ended, or begins later than now).
    """
    begins, ends = certificate_begin_s(issuing.certificate), certificate_end_s(issuing.certificate)
    if now < begins:
        raise HomeError(
            f"this machine's clock says {day_text(now)}, and the issuer's certificate of {issuing.organisation} begins "
            f"on {day_text(begins)}: set the clock"
        )
    if now >= ends:
        raise HomeError(
            f"the issuer's certificate of {issuing.organisation} ended on {day_text(ends)}: set the clock (it says "
            f"{day_text(now)}); if it is right, a roster with another issuer has to come first (docs/ledger/roster.md)"
        )
    return min(CERTIFICATE_VALID_S, ends - now)


def issue(
    issuing: Issuing, key: Ed25519PublicKey, *, name: str, site: str, role: Role, now: float, serial: bytes
) -> bytes:
    """A certificate (DER) that begins now. Raises HomeError, as ``valid_s_from``."""
    return issue_certificate(
        issuing.key,
        issuing.certificate,
        key,
        name=name,
        site=site,
        role=role,
        now=now,
        valid_s=valid_s_from(issuing, now),
        serial=serial,
    )


def successor(issuing: Issuing, certificate: bytes, *, now: float, serial: bytes) -> bytes:
    """A certificate (DER) for the same key, name, site and role, with new dates.

    Args:
        certificate: DER, which this organisation issued; it may have ended.

    Raises HomeError (a guest's; or the issuer's own certificate ends), PeerRefusedError (somebody else issued it).
    """
    identity, key = read_old_certificate(certificate, {issuing.organisation: issuing.certificate})
    if identity.role == "guest":
        raise HomeError("an invitation is not renewed: make another one with `moorage consortium invite`")
    valid_s = valid_s_from(issuing, now)
    if certificate_begin_s(certificate) <= now and now + valid_s <= certificate_end_s(certificate):
        raise HomeError(
            f"the issuer's certificate of {issuing.organisation} ends before a new one could: a roster with another "
            "issuer has to come first (docs/ledger/roster.md)"
        )
    public = Ed25519PublicKey.from_public_bytes(key)
    return issue(issuing, public, name=identity.name, site=identity.site, role=identity.role, now=now, serial=serial)


def issue_for_home(
    disk: Disk, folder: str, issuing: Issuing, *, name: str, site: str, role: Role, now: float, serial: bytes
) -> bytes:
    """A certificate (DER) for the key of a home that has lost its own. Blocks. Raises HomeError."""
    public = load_tls_key(disk, folder).public_key()
    return issue(issuing, public, name=name, site=site, role=role, now=now, serial=serial)


def check_same(before: Identity, after: Identity) -> None:
    """A new certificate changes dates and nothing else. Raises HomeError."""
    if before.peer != after.peer:
        raise HomeError("it is for another key")
    for what in ("organisation", "name", "site", "role"):
        was, would_be = getattr(before, what), getattr(after, what)
        if was != would_be:
            raise HomeError(f"its {what} is {would_be}, and this home's is {was}")


def install_certificate(disk: Disk, folder: str, roster: Roster, certificate: bytes, *, now: float, token: str) -> None:
    """Put a certificate (DER) into the home that it is for; a daemon that runs there takes it up. Blocks.

    The one of before is kept as BEFORE_FILE, if it is valid at ``now`` or has been.

    Raises HomeError (it is for another key, or says other things of the home than that of before), PeerRefusedError
    (not of this pool, or out of its time), OSError.
    """
    identity, key = read_certificate(certificate, roster.issuers, now=now)
    if key != public_bytes(load_tls_key(disk, folder)):
        raise HomeError(f"the certificate is not for the key of this home ({folder}/{TLS_KEY_FILE})")
    workshop = posixpath.join(folder, WORKSHOP_FOLDER)
    before = None
    with suppress(HomeError, PeerRefusedError):
        before = read_certificate_of(disk, folder, roster)
    if before is not None:
        try:
            check_same(before.identity, identity)
        except HomeError as error:
            raise HomeError(f"the certificate is not for this home ({folder}): {error}") from error
        if not before.damage and before.begin_s <= now:
            pem = certificate_pem(before.identity.certificate)
            write_file_in_workshop(disk, workshop, posixpath.join(folder, BEFORE_FILE), pem, token=f"{token}-before")
    write_file_in_workshop(
        disk, workshop, posixpath.join(folder, TLS_CERTIFICATE_FILE), certificate_pem(certificate), token=token
    )

"""Organisations, peers and clients with real certificates, always the same for the same names."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.identity import Role, issue_certificate, key_from_seed, make_issuer, read_certificate
from core.ports import Identity
from tests.sim.clock import START_S

YEAR_S = 365 * 86_400.0


def _bytes(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=32).digest()


@dataclass(frozen=True)
class Person:
    """A peer or a client: who it is, and the key that proves it."""

    identity: Identity
    key: Ed25519PrivateKey

    @property
    def certificate(self) -> bytes:
        return self.identity.certificate


@dataclass(frozen=True)
class Organisation:
    name: str
    key: Ed25519PrivateKey
    issuer: bytes
    """DER."""

    @property
    def issuers(self) -> dict[str, bytes]:
        """A roster of this organisation alone."""
        return {self.name: self.issuer}

    def admit(
        self, name: str, *, site: str = "site", role: Role = "peer", now: float = START_S, valid_s: float = YEAR_S
    ) -> Person:
        key = key_from_seed(_bytes(f"{self.name}/{name}/{role}"))
        serial = _bytes(f"{self.name}/{name}/{role}/{now}")[:19]
        certificate = issue_certificate(
            self.key,
            self.issuer,
            key.public_key(),
            name=name,
            site=site,
            role=role,
            now=now,
            valid_s=valid_s,
            serial=serial,
        )
        identity, _ = read_certificate(certificate, self.issuers, now=now)
        return Person(identity, key)


def make_organisation(name: str = "Hospital", *, pool: str = "", now: float = START_S) -> Organisation:
    """``pool`` tells apart organisations of one name whose keys differ."""
    key = key_from_seed(_bytes(f"{pool}/{name}"))
    serial = _bytes(f"{pool}/{name}/serial")[:19]
    issuer = make_issuer(key, organisation=name, now=now, valid_s=10 * YEAR_S, serial=serial)
    return Organisation(name, key, issuer)

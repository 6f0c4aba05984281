"""Hospitals and peers with keys from seeds, for the tests of ``dht``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.identity import Role, issue_certificate, key_from_seed, make_issuer, public_bytes
from core.ids import ObjectId, PeerId, derived_digest
from core.ports import Address, Identity
from dht.records import PeerRecord, make_peer_record, make_provider_record

START = 1_790_000_000.0
YEAR_S = 365 * 86400
GIB = 2**30
HOME = Address("10.0.0.1", 7000)


def seed_of(text: str) -> bytes:
    return derived_digest("moorage 2026 test seed", text.encode())


@dataclass(frozen=True)
class Hospital:
    name: str
    key: Ed25519PrivateKey
    issuer: bytes


@dataclass(frozen=True)
class Person:
    """A peer (or client) with its key and certificate."""

    key: Ed25519PrivateKey
    certificate: bytes

    @property
    def peer(self) -> PeerId:
        return PeerId.of_key(public_bytes(self.key))

    def record(
        self,
        address: Address = HOME,
        *,
        sequence: int = 1,
        now: float = START,
        life_s: int = 86400,
        free_bytes: int = 500 * GIB,
    ) -> bytes:
        return make_peer_record(
            self.key,
            self.certificate,
            address=address,
            free_bytes=free_bytes,
            capacity_bytes=1000 * GIB,
            version=1,
            draining=False,
            sequence=sequence,
            now=now,
            life_s=life_s,
        )

    def provides(
        self,
        object_id: ObjectId,
        shards: list[tuple[int, int]] | None = None,
        *,
        sequence: int = 1,
        now: float = START,
        life_s: int = 86400,
    ) -> bytes:
        return make_provider_record(
            self.key,
            self.certificate,
            object_id=object_id,
            shards=[(0, 0)] if shards is None else shards,
            sequence=sequence,
            now=now,
            life_s=life_s,
        )


@cache
def hospital(name: str) -> Hospital:
    key = key_from_seed(seed_of(name))
    issuer = make_issuer(key, organisation=name, now=START - YEAR_S, valid_s=5 * YEAR_S, serial=seed_of(name)[:19])
    return Hospital(name, key, issuer)


@cache
def person(name: str, at: str = "St. Elsewhere", role: Role = "peer", site: str = "basement") -> Person:
    key = key_from_seed(seed_of(f"{at}/{name}"))
    owner = hospital(at)
    certificate = issue_certificate(
        owner.key,
        owner.issuer,
        key.public_key(),
        name=name,
        site=site,
        role=role,
        now=START - 86400,
        valid_s=YEAR_S,
        serial=seed_of(f"{name} serial")[:19],
    )
    return Person(key, certificate)


ISSUERS = {name: hospital(name).issuer for name in ("St. Elsewhere", "Princeton-Plainsboro")}


def an_object(number: int) -> ObjectId:
    return ObjectId(seed_of(f"object {number}"))


def sketch(number: int, *, sequence: int = 1, port: int = 7000, expires_s: int = int(START) + 86400) -> PeerRecord:
    """A record for pure code that checks no signature; its peer id is spread over the whole space."""
    peer = PeerId(seed_of(f"sketch {number}"))
    identity = Identity(peer, "St. Elsewhere", "basement", f"peer-{number}", "peer", b"")
    raw = f"{number} {sequence} {port}".encode()
    return PeerRecord(identity, Address("10.9.9.9", port), 1, 2, 1, False, sequence, int(START), expires_s, raw)


class FixedClock:
    """A ``core.ports.Clock`` that stands still until a test moves it."""

    def __init__(self, now: float = START) -> None:
        self.seconds = now

    def now(self) -> float:
        return self.seconds

"""The roster: who belongs to the pool, signed by the pool's key.

It lists each organisation's certificate issuer, manifest key, sealing key and log, and the addresses where a
newcomer may knock first. Format: docs/format.md, "Roster".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.encoding import Value, decode, encode
from core.errors import MalformedError, NewerVersionError
from core.identity import (
    CERTIFICATE_MAX_BYTES,
    ED25519_KEY_BYTES,
    ED25519_SIGNATURE_BYTES,
    NAME_MAX_CHARACTERS,
    public_bytes,
)
from core.ids import PoolId
from core.limits import ROSTER_MAX_BYTES
from core.ports import Address
from core.schema import Fields
from core.signing import check_signature, sign

ROSTER_VERSION = 1
ROSTER_DOMAIN = "moorage 2026 roster v1"
# Consortia of hospitals count dozens; 64 with hybrid sealing keys and policies stay below ROSTER_MAX_BYTES.
ORGANISATIONS_MAX = 64
SEEDS_MAX = 64
SEALING_KEY_MAX_BYTES = 2048
POLICY_MAX_CHARACTERS = 16_384


@dataclass(frozen=True, slots=True)
class Organisation:
    """A hospital: its certificate issuer (DER), manifest key, HPKE sealing key and its log's policy.

    ``policy`` is c2sp.org/tlog-policy text: the log's verification key, its witnesses and its quorum.
    """

    name: str
    issuer: bytes
    manifest_key: bytes
    sealing_key: bytes
    policy: str


@dataclass(frozen=True, slots=True)
class Roster:
    """A pool as its organisations signed it: who belongs to it, and where to knock first."""

    pool_name: str
    epoch: int
    pool_key: bytes
    organisations: tuple[Organisation, ...]
    seeds: tuple[Address, ...]

    @property
    def pool(self) -> PoolId:
        return PoolId.of_key(self.pool_key)

    @property
    def issuers(self) -> dict[str, bytes]:
        return {organisation.name: organisation.issuer for organisation in self.organisations}

    def organisation_of_key(self, manifest_key: bytes) -> Organisation | None:
        """The organisation that signs manifests with this raw public key."""
        for organisation in self.organisations:
            if organisation.manifest_key == manifest_key:
                return organisation
        return None


def _body(roster: Roster) -> bytes:
    return encode(
        {
            "v": ROSTER_VERSION,
            "pool": roster.pool_name,
            "epoch": roster.epoch,
            "key": roster.pool_key,
            "organisations": [
                {
                    "name": organisation.name,
                    "issuer": organisation.issuer,
                    "manifest_key": organisation.manifest_key,
                    "sealing_key": organisation.sealing_key,
                    "policy": organisation.policy,
                }
                for organisation in roster.organisations
            ],
            "seeds": [[seed.host, seed.port] for seed in roster.seeds],
        }
    )


def sign_roster(
    key: Ed25519PrivateKey,
    *,
    pool_name: str,
    epoch: int,
    organisations: Sequence[Organisation],
    seeds: Sequence[Address],
) -> bytes:
    """The roster file's bytes."""
    roster = Roster(pool_name, epoch, public_bytes(key), tuple(organisations), tuple(seeds))
    body = _body(roster)
    return encode({"body": body, "signature": sign(key, ROSTER_DOMAIN, body)})


def _parse_seed(value: Value) -> Address:
    match value:
        # True is an int, too.
        case [str(host), int(port)] if len(host) <= 255 and 0 < port < 65536 and not isinstance(port, bool):
            return Address(host, port)
        case _:
            raise MalformedError("roster: a seed is not [host, port]")


def _parse_organisation(value: Value) -> Organisation:
    fields = Fields(value, what="roster organisation")
    organisation = Organisation(
        name=fields.text("name", max_characters=NAME_MAX_CHARACTERS),
        issuer=fields.blob("issuer", max_bytes=CERTIFICATE_MAX_BYTES),
        manifest_key=fields.exact("manifest_key", ED25519_KEY_BYTES),
        sealing_key=fields.blob("sealing_key", max_bytes=SEALING_KEY_MAX_BYTES),
        policy=fields.text("policy", max_characters=POLICY_MAX_CHARACTERS),
    )
    fields.end()
    _check_printable(organisation.name)
    return organisation


def _check_printable(name: str) -> None:
    """A receipt of any origin carries a roster, and its names go to terminals."""
    if not name.isprintable():
        raise MalformedError(f"roster: name {name!r} cannot be printed")


def _check_distinct(organisations: Sequence[Organisation]) -> None:
    """A certificate names one organisation, and a manifest's key is one organisation's."""
    for values in zip(*((item.name, item.manifest_key) for item in organisations), strict=True):
        if len(set(values)) != len(values):
            raise MalformedError("roster: two organisations have one name or one manifest key")


def parse_roster(data: bytes) -> Roster:
    """A roster whose signature is by the key it names. Whether that is *our* pool's key, the caller compares.

    Raises:
        MalformedError, NewerVersionError, BadSignatureError
    """
    outer = Fields(decode(data, max_bytes=ROSTER_MAX_BYTES), what="roster file")
    body = outer.blob("body", max_bytes=ROSTER_MAX_BYTES)
    signature = outer.exact("signature", ED25519_SIGNATURE_BYTES)
    outer.end()
    fields = Fields(decode(body, max_bytes=ROSTER_MAX_BYTES), what="roster")
    version = fields.integer("v", low=1, high=2**31)
    if version > ROSTER_VERSION:
        raise NewerVersionError(f"roster of version {version}; this release knows {ROSTER_VERSION}: upgrade moorage")
    roster = Roster(
        pool_name=fields.text("pool", max_characters=NAME_MAX_CHARACTERS),
        epoch=fields.integer("epoch", high=2**31),
        pool_key=fields.exact("key", ED25519_KEY_BYTES),
        organisations=tuple(
            _parse_organisation(item) for item in fields.items("organisations", max_items=ORGANISATIONS_MAX)
        ),
        seeds=tuple(_parse_seed(item) for item in fields.items("seeds", max_items=SEEDS_MAX)),
    )
    fields.end()
    _check_printable(roster.pool_name)
    _check_distinct(roster.organisations)
    check_signature(roster.pool_key, signature, ROSTER_DOMAIN, body)
    return roster

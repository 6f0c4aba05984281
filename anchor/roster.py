"""The roster: who belongs to the pool, signed by the pool's key.

It lists each organisation's certificate issuer, manifest key, sealing key and log, and the addresses where a
newcomer may knock first. Version 1, signed by one key, is that of a pool in one hand; version 2 is a consortium's,
whose members sign each version by threshold (``anchor.rosterfile``, ``anchor.rootchain``). Format: docs/format.md,
"Roster".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from anchor.organisation import Organisation, Roster
from anchor.rosterfile import is_roster_file, parse_roster_file, roster_of
from core.encoding import Value, decode, encode
from core.errors import MalformedError, NewerVersionError
from core.identity import (
    CERTIFICATE_MAX_BYTES,
    ED25519_KEY_BYTES,
    ED25519_SIGNATURE_BYTES,
    NAME_MAX_CHARACTERS,
    public_bytes,
)
from core.limits import ROSTER_MAX_BYTES
from core.ports import Address
from core.schema import Fields
from core.signing import check_signature, sign

__all__ = ["Organisation", "Roster", "parse_roster", "read_roster", "sign_roster"]

ROSTER_VERSION = 1
ROSTER_DOMAIN = "moorage 2026 roster v1"
# Consortia of hospitals count dozens; 64 with hybrid sealing keys and policies stay below ROSTER_MAX_BYTES.
ORGANISATIONS_MAX = 64
SEEDS_MAX = 64
SEALING_KEY_MAX_BYTES = 2048
POLICY_MAX_CHARACTERS = 16_384


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


def parse_roster(data: bytes, *, now_s: float | None = None) -> Roster:
    """A roster whose signatures hold: by the key it names (v1), or by the thresholds of every version up to it (v2).

    Whether that is *our* pool, the caller compares. With ``now_s`` one that has expired by then is refused.

    Raises:
        MalformedError, NewerVersionError, BadSignatureError, RosterError
    """
    if not is_roster_file(data):
        return _parse_first(data)
    roster = _verified(data)
    if now_s is not None:
        from anchor.rootchain import check_current

        check_current(roster, now_s)
    return roster


# A peer that is given a thousand receipts of one day verifies their roster once: it takes as long as all the rest.
@lru_cache(maxsize=8)
def _verified(data: bytes) -> Roster:
    # Only who is told of a roster by others verifies it; its library is not loaded for anything else.
    from anchor.rootchain import verify_chain

    file = parse_roster_file(data)
    verify_chain(file)
    return roster_of(file)


def read_roster(data: bytes) -> Roster:
    """A roster of a home of ours, which was verified when the home accepted it: a changed byte shows, a forgery not.

    Raises as ``parse_roster``.
    """
    return roster_of(parse_roster_file(data)) if is_roster_file(data) else _parse_first(data)


def _parse_first(data: bytes) -> Roster:
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

"""The targets of a consortium's roster: ``ledger``, by which records are verified, and ``members``, how to reach them.

Canonical MessagePack; formats in docs/format.md, "Roster of a consortium".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

from anchor.organisation import Member, Organisation, Roster
from core.encoding import Value, decode, encode
from core.errors import CorruptError, MalformedError, NewerVersionError
from core.identity import CERTIFICATE_MAX_BYTES, ED25519_KEY_BYTES, NAME_MAX_CHARACTERS
from core.limits import ROSTER_MAX_BYTES
from core.ports import Address
from core.schema import Fields

CONSORTIUM_VERSION = 2
MEMBERS_MAX = 64
DOORS_MAX = 64
URL_MAX_CHARACTERS = 300
SEALING_KEY_BYTES_MAX = 2048
SHA256_BYTES = 32
EPOCH_MAX = 1024


def check_version(fields: Fields) -> None:
    version = fields.integer("v", low=1, high=2**31)
    if version > CONSORTIUM_VERSION:
        raise NewerVersionError(
            f"roster of version {version}; this release knows {CONSORTIUM_VERSION}: upgrade moorage"
        )
    if version < CONSORTIUM_VERSION:
        raise MalformedError(f"roster file: version {version} has another form")


def ledger_row(organisation: Organisation) -> Value:
    """An organisation as ``ledger`` has it. Every organisation of a consortium is a member."""
    member = organisation.member
    assert member is not None, organisation.name
    return {
        "name": organisation.name,
        "manifest_key": organisation.manifest_key,
        "admin_key": member.admin_key,
        "log": [member.log_origin, member.log_key, member.log_url],
        "witness": [member.witness_ed25519, digest_of(member.witness_mldsa44), member.witness_url],
    }


def members_row(organisation: Organisation) -> Value:
    """An organisation as ``members`` has it."""
    return {"issuer": organisation.issuer, "sealing_key": organisation.sealing_key}


def encode_ledger(roster: Roster) -> bytes:
    """The target ``ledger``."""
    rows = [ledger_row(item) for item in roster.organisations]
    return encode({"v": CONSORTIUM_VERSION, "pool": roster.pool_name, "epoch": roster.epoch, "organisations": rows})


def digest_of(key: bytes) -> bytes:
    return sha256(key).digest() if key else b""


def witness_keys_of(roster: Roster) -> tuple[bytes, ...]:
    return tuple(item.member.witness_mldsa44 if item.member is not None else b"" for item in roster.organisations)


def encode_members(roster: Roster) -> bytes:
    """The target ``members``, in the order of ``ledger``."""
    rows = [members_row(item) for item in roster.organisations]
    seeds: list[Value] = [[seed.host, seed.port] for seed in roster.seeds]
    return encode({"v": CONSORTIUM_VERSION, "epoch": roster.epoch, "organisations": rows, "seeds": seeds})


def parse_organisation(value: Value) -> Organisation:
    """A row of ``ledger``, without issuer, sealing key and policy; instead of the ML-DSA-44 key it has its SHA-256.

    Raises MalformedError.
    """
    fields = Fields(value, what="roster organisation")
    name = fields.text("name", max_characters=NAME_MAX_CHARACTERS)
    manifest_key = fields.exact("manifest_key", ED25519_KEY_BYTES)
    admin_key = fields.exact("admin_key", ED25519_KEY_BYTES)
    match fields.raw("log"), fields.raw("witness"):
        case [str(origin), bytes(log_key), str(log_url)], [bytes(ed25519), bytes(mldsa44), str(witness_url)]:
            member = Member(admin_key, origin, log_key, log_url, ed25519, mldsa44, witness_url)
        case _:
            raise MalformedError(f"roster: log and witness of {name!r} are not [origin, key, URL] and [key, key, URL]")
    fields.end()
    _check_member(name, member)
    return Organisation(name, b"", manifest_key, b"", "", member)


def _check_member(name: str, member: Member) -> None:
    sizes = len(member.log_key), len(member.witness_ed25519)
    if sizes != (ED25519_KEY_BYTES, ED25519_KEY_BYTES) or len(member.witness_mldsa44) not in (0, SHA256_BYTES):
        raise MalformedError(f"roster: a key of {name!r} has a wrong size")
    # They stand in policies, where blanks part words, and go to terminals.
    for text in (member.log_origin, member.log_url, member.witness_url):
        if not 0 < len(text) <= URL_MAX_CHARACTERS or not text.isprintable() or any(map(str.isspace, text)):
            raise MalformedError(f"roster: an origin or URL of {name!r} is empty, too long or has blanks in it")
    if not (member.log_url.startswith("https://") and member.witness_url.startswith("https://")):
        raise MalformedError(f"roster: a URL of {name!r} is not https")
    if "+" in member.log_origin:
        raise MalformedError(f"roster: the origin of {name!r} cannot name a key")
    if not name or not name.isprintable():
        raise MalformedError(f"roster: name {name!r} cannot be printed")


def check_distinct(organisations: Sequence[Organisation]) -> None:
    """No two may share a name, an origin or a key, nor may one key serve for two things. Raises MalformedError."""
    names: list[object] = []
    keys: list[object] = []
    for item in organisations:
        assert item.member is not None, item.name
        names.append(item.name)
        member = item.member
        keys += [item.manifest_key, member.admin_key, member.log_key, member.witness_ed25519, member.log_origin]
        keys += [member.witness_mldsa44] if member.witness_mldsa44 else []
    for values in (names, keys):
        if len(set(values)) != len(values):
            raise MalformedError("roster: a name, an origin or a key occurs twice")


def _parse_seed(value: Value) -> Address:
    match value:
        case [str(host), int(port)] if 0 < len(host) <= 255 and 0 < port < 65536 and not isinstance(port, bool):
            return Address(host, port)
        case _:
            raise MalformedError("roster: a seed is not [host, port]")


def parse_ledger(data: bytes) -> tuple[str, int, list[Organisation]]:
    fields = Fields(decode(data, max_bytes=ROSTER_MAX_BYTES), what="roster")
    check_version(fields)
    name = fields.text("pool", max_characters=NAME_MAX_CHARACTERS)
    epoch = fields.integer("epoch", low=1, high=EPOCH_MAX)
    organisations = [parse_organisation(item) for item in fields.items("organisations", max_items=MEMBERS_MAX)]
    fields.end()
    if not name.isprintable() or not organisations:
        raise MalformedError("roster: it has no organisations, or the pool's name cannot be printed")
    check_distinct(organisations)
    return name, epoch, organisations


def parse_reach(value: Value, organisation: Organisation) -> Organisation:
    """``organisation`` with its row of ``members``. Raises MalformedError."""
    fields = Fields(value, what="roster member")
    whole = replace(
        organisation,
        issuer=fields.blob("issuer", min_bytes=1, max_bytes=CERTIFICATE_MAX_BYTES),
        sealing_key=fields.blob("sealing_key", max_bytes=SEALING_KEY_BYTES_MAX),
    )
    fields.end()
    return whole


def with_witness_key(organisation: Organisation, key: bytes) -> Organisation:
    """``organisation`` with the ML-DSA-44 key whose SHA-256 it has; without one its witness is not known.

    Raises CorruptError.
    """
    member = organisation.member
    assert member is not None, organisation.name
    if key and digest_of(key) != member.witness_mldsa44:
        raise CorruptError(f"roster: a key of {organisation.name!r} is not the one that was signed")
    known = bool(key) or not member.witness_mldsa44
    return replace(organisation, member=replace(member, witness_mldsa44=key, is_witness_known=known))


def parse_members(
    data: bytes, epoch: int, organisations: list[Organisation]
) -> tuple[list[Organisation], tuple[Address, ...]]:
    fields = Fields(decode(data, max_bytes=ROSTER_MAX_BYTES), what="roster members")
    check_version(fields)
    if fields.integer("epoch", low=1, high=EPOCH_MAX) != epoch:
        raise MalformedError("roster: its two parts are of different epochs")
    rows = fields.items("organisations", max_items=MEMBERS_MAX)
    seeds = tuple(_parse_seed(item) for item in fields.items("seeds", max_items=DOORS_MAX))
    fields.end()
    if len(rows) != len(organisations):
        raise MalformedError("roster: its two parts list different organisations")
    return [parse_reach(row, item) for row, item in zip(rows, organisations, strict=True)], seeds

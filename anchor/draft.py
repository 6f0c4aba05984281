"""What the organisations of a consortium sign of a roster's version: metadata of The Update Framework, not yet signed.

Version N of all four roles (root, targets, snapshot, timestamp) is made at once, from nothing but the roster, so that
every organisation signs the same bytes without having them sent. All four have the same keys, one an organisation, and
the same threshold, floor(2n/3)+1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import Key, Signature, SSlibKey
from tuf.api.metadata import MetaFile, Role, Root, Signed, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import CanonicalJSONSerializer

from anchor.organisation import Roster, byzantine_majority
from anchor.rosterfile import LEDGER_TARGET, MEMBERS_TARGET, canonical_json, target_row
from anchor.rosterparts import encode_ledger, encode_members
from core.errors import BadSignatureError
from core.identity import ED25519_SIGNATURE_BYTES, public_bytes
from core.ids import derived_digest

# Of TUF. What is signed must not depend on which release of the library an organisation has.
SPECIFICATION = "1.0.31"
# In the order in which a ballot's signatures stand.
ROLES = (Root.type, Targets.type, Snapshot.type, Timestamp.type)
CONTENTS_CONTEXT = "moorage 2026 roster contents v1"


def tuf_key(admin_key: bytes) -> SSlibKey:
    """An organisation's key as TUF writes it, under its own id (SHA-256 of that)."""
    value = {"public": admin_key.hex()}
    fields = {"keytype": "ed25519", "scheme": "ed25519", "keyval": value}
    return SSlibKey(sha256(canonical_json(fields)).hexdigest(), "ed25519", "ed25519", value)


class Ballot(NamedTuple):
    """One organisation's four signatures of a version, in the order of ROLES, under its raw public key."""

    admin_key: bytes
    signatures: tuple[bytes, ...]


class Draft(NamedTuple):
    """All that is signed of one version; ``ledger`` and ``members`` are its targets."""

    roster: Roster
    signed: tuple[Signed, ...]
    """In the order of ROLES."""
    payloads: tuple[bytes, ...]
    """Canonical JSON of each: what signatures are over."""
    ledger: bytes
    members: bytes

    @property
    def contents(self) -> bytes:
        """32 bytes that name this version's contents, whoever signed it."""
        return contents_of(self.payloads)


def contents_of(payloads: Sequence[bytes]) -> bytes:
    return derived_digest(CONTENTS_CONTEXT, b"".join(len(item).to_bytes(4, "big") + item for item in payloads))


def stamp(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)


def root_of_keys(version: int, expires: datetime, keys: Sequence[bytes]) -> Root:
    # In the order in which a reader of the file finds them.
    listed = {key.keyid: cast(Key, key) for key in sorted(map(tuf_key, keys), key=lambda key: key.keyid)}
    roles = {role: Role(list(listed), byzantine_majority(len(keys))) for role in ROLES}
    return Root(version, SPECIFICATION, expires, listed, roles, consistent_snapshot=True)


def rest_of(version: int, expires: datetime, targets: Mapping[str, dict[str, Any]]) -> tuple[Signed, ...]:
    rows = {name: TargetFile(int(row["length"]), dict(row["hashes"]), name) for name, row in targets.items()}
    meta = MetaFile(version)
    return (
        Targets(version, SPECIFICATION, expires, rows),
        Snapshot(version, SPECIFICATION, expires, {"targets.json": meta}),
        Timestamp(version, SPECIFICATION, expires, MetaFile(version)),
    )


def admin_keys(roster: Roster) -> list[bytes]:
    return [item.member.admin_key for item in roster.organisations if item.member is not None]


def draft_of(roster: Roster) -> Draft:
    """What is to be signed of a roster; its epoch, organisations, seeds, name and expiry make it, ``root`` does not."""
    ledger, members = encode_ledger(roster), encode_members(roster)
    expires = stamp(roster.expires_s)
    rows = {LEDGER_TARGET: target_row(ledger), MEMBERS_TARGET: target_row(members)}
    signed = (root_of_keys(roster.epoch, expires, admin_keys(roster)), *rest_of(roster.epoch, expires, rows))
    return Draft(roster, signed, tuple(canonical(item) for item in signed), ledger, members)


def canonical(signed: Signed) -> bytes:
    return CanonicalJSONSerializer().serialize(signed)


def sign_draft(draft: Draft, key: Ed25519PrivateKey) -> Ballot:
    return Ballot(public_bytes(key), tuple(key.sign(payload) for payload in draft.payloads))


def signature_of(ballot: Ballot, role: int) -> Signature:
    return Signature(tuf_key(ballot.admin_key).keyid, ballot.signatures[role].hex())


def check_ballot(draft: Draft, ballot: Ballot) -> None:
    """Raises BadSignatureError unless all four signatures hold."""
    key = tuf_key(ballot.admin_key)
    if len(ballot.signatures) != len(ROLES) or any(len(item) != ED25519_SIGNATURE_BYTES for item in ballot.signatures):
        raise BadSignatureError("roster: a ballot is four signatures of 64 bytes")
    for number, payload in enumerate(draft.payloads):
        _check_one(key, signature_of(ballot, number), payload)


def _check_one(key: SSlibKey, signature: Signature, payload: bytes) -> None:
    try:
        key.verify_signature(signature, payload)
    except (UnverifiedSignatureError, VerificationError, ValueError) as error:
        raise BadSignatureError(f"roster: a signature by key {key.keyid[:12]} does not verify") from error


class Count(NamedTuple):
    """How far a draft is from being a roster: signatures that count, of those that it takes, by the old keys and by the
    new. A first version has no old ones."""

    old: int
    old_needed: int
    new: int
    new_needed: int

    @property
    def is_enough(self) -> bool:
        return self.old >= self.old_needed and self.new >= self.new_needed


def count_ballots(draft: Draft, ballots: Sequence[Ballot], before: Roster | None) -> Count:
    """``ballots`` were checked; one of a key that is on neither roster counts for nothing."""
    signers = {ballot.admin_key for ballot in ballots}
    new = admin_keys(draft.roster)
    old = [] if before is None else admin_keys(before)
    needed = [0 if not keys else byzantine_majority(len(keys)) for keys in (old, new)]
    return Count(sum(key in signers for key in old), needed[0], sum(key in signers for key in new), needed[1])

"""A consortium's roster as one file: the metadata of The Update Framework (TUF) and the two targets it vouches for.

| field | what |
|---|---|
| ``v`` | 2 |
| ``roots`` | 1.root.json to N.root.json: each version's keys and thresholds, signed by those of the one before, too |
| ``targets`` | N.targets.json: length and SHA-256 of ``ledger`` and ``members`` |
| ``snapshot``, ``timestamp`` | N.snapshot.json and timestamp.json: that these are the newest |
| ``ledger`` | all that it takes to verify what the organisations signed, but for: |
| ``witness_keys`` | the ML-DSA-44 key of each organisation, of which ``ledger`` has the SHA-256 |
| ``members`` | how to reach the organisations and seal for them |

A receipt's roster lacks what verifying the receipt takes not (``anchor.leaps``): ``members``, ``snapshot``,
``timestamp`` and the keys of witnesses that did not cosign are empty, and of ``roots`` it has 1, N and the few between
that lead from one to the other.

Canonical MessagePack of it, then BLAKE3 of that (32 bytes), so that any flipped byte shows. Nothing here checks a
signature: ``anchor.rootchain`` does. Format: docs/format.md, "Roster of a consortium".
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any, NamedTuple, cast

from anchor.organisation import Roster, with_policies
from anchor.rosterparts import (
    CONSORTIUM_VERSION,
    EPOCH_MAX,
    MEMBERS_MAX,
    check_version,
    parse_ledger,
    parse_members,
    with_witness_key,
)
from core.encoding import CHECK_BYTES, decode_checked, encode_checked, without_digest
from core.errors import CorruptError, MalformedError
from core.ids import derived_digest
from core.limits import ROSTER_MAX_BYTES, SECONDS_MAX
from core.ports import Address
from core.schema import Fields

# A change a week for twenty years; with four organisations the chain of so many takes 1.7 MB.
ROOTS_MAX = EPOCH_MAX
POOL_CONTEXT = "moorage 2026 pool of root metadata v1"
LEDGER_TARGET, MEMBERS_TARGET = "ledger", "members"


class RosterFile(NamedTuple):
    """The parts as bytes; some are empty in a receipt's roster. ``witness_keys`` are in the order of ``ledger``."""

    roots: tuple[bytes, ...]
    targets: bytes
    snapshot: bytes
    timestamp: bytes
    ledger: bytes
    witness_keys: tuple[bytes, ...]
    members: bytes

    @property
    def is_whole(self) -> bool:
        """Whether it is more than a receipt's."""
        return bool(self.members)

    @property
    def epoch(self) -> int:
        """The last root's version. Raises MalformedError."""
        return len(self.roots) if self.is_whole else root_version(self.roots[-1])


def is_roster_file(data: bytes) -> bool:
    """Whether these are the bytes of a consortium's roster, not of a pool's that one key signs."""
    return len(data) > CHECK_BYTES and without_digest(data) is not None


def encode_roster_file(file: RosterFile) -> bytes:
    return encode_checked(
        {
            "v": CONSORTIUM_VERSION,
            "roots": list(file.roots),
            "targets": file.targets,
            "snapshot": file.snapshot,
            "timestamp": file.timestamp,
            "ledger": file.ledger,
            "witness_keys": list(file.witness_keys),
            "members": file.members,
        }
    )


def parse_roster_file(data: bytes) -> RosterFile:
    """Raises MalformedError, NewerVersionError."""
    fields = Fields(decode_checked(data, max_bytes=ROSTER_MAX_BYTES, what="roster file"), what="roster file")
    check_version(fields)
    blobs = {
        key: fields.blob(key, max_bytes=ROSTER_MAX_BYTES)
        for key in ("targets", "snapshot", "timestamp", LEDGER_TARGET, MEMBERS_TARGET)
    }
    file = RosterFile(
        roots=fields.byte_strings("roots", max_items=ROOTS_MAX),
        witness_keys=fields.byte_strings("witness_keys", max_items=MEMBERS_MAX),
        **blobs,
    )
    fields.end()
    if not file.roots:
        raise MalformedError("roster file: it has no root metadata")
    left_out = not file.members, not file.snapshot, not file.timestamp
    if any(left_out) and not all(left_out):
        raise MalformedError("roster file: it is neither whole nor a receipt's")
    return file


def tuf_files(file: RosterFile) -> dict[str, bytes]:
    """The files of a TUF repository by path, with consistent snapshots: any client of TUF verifies them."""
    number = file.epoch
    metadata = {f"{version}.root.json": root for version, root in enumerate(file.roots, start=1)}
    metadata |= {f"{number}.targets.json": file.targets, f"{number}.snapshot.json": file.snapshot}
    metadata["timestamp.json"] = file.timestamp
    parts = {LEDGER_TARGET: file.ledger, MEMBERS_TARGET: file.members}
    targets = {f"targets/{sha256(data).hexdigest()}.{name}": data for name, data in parts.items() if data}
    return {f"metadata/{name}": data for name, data in metadata.items()} | targets


# --- the metadata, as far as it can be read without its library -----------------------------------


def _signed(data: bytes, what: str) -> dict[str, Any]:
    try:
        signed: Any = json.loads(data)["signed"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise MalformedError(f"roster: its {what} is not TUF metadata") from error
    if not isinstance(signed, dict):
        raise MalformedError(f"roster: its {what} is not TUF metadata")
    return cast("dict[str, Any]", signed)


def root_version(data: bytes) -> int:
    """What root metadata says its version is. Raises MalformedError."""
    version = _signed(data, "root metadata").get("version")
    # True is an int, too.
    if not isinstance(version, int) or isinstance(version, bool) or not 0 < version <= EPOCH_MAX:
        raise MalformedError(f"roster: {version!r} is no version of root metadata")
    return version


def canonical_json(signed: dict[str, Any]) -> bytes:
    """OLPC canonical JSON, which TUF signs, of metadata without control characters."""
    return json.dumps(signed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def pool_of_root(payload: bytes) -> bytes:
    """The 32 bytes that name a pool: of what is signed (canonical JSON) of its first root metadata."""
    return derived_digest(POOL_CONTEXT, payload)


def target_row(data: bytes) -> dict[str, Any]:
    """How TUF's targets metadata names a target."""
    return {"hashes": {"sha256": sha256(data).hexdigest()}, "length": len(data)}


def _expiry_s(signed: dict[str, Any]) -> int:
    # Imported here: only a home of a consortium needs it.
    from datetime import UTC, datetime

    try:
        moment = datetime.strptime(str(signed["expires"]), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        return min(max(1, int(moment.timestamp())), SECONDS_MAX)
    except (ValueError, KeyError, OverflowError) as error:
        raise MalformedError("roster: its metadata does not say when it expires") from error


def roster_of(file: RosterFile) -> Roster:
    """The roster in the file, if its targets are those that its metadata names. Raises MalformedError, CorruptError."""
    name, epoch, organisations = parse_ledger(file.ledger)
    if epoch != file.epoch:
        raise MalformedError(f"roster of epoch {epoch} with root metadata of version {file.epoch}")
    targets = _signed(file.targets, "targets metadata")
    named: Any = targets.get("targets")
    parts = {LEDGER_TARGET: file.ledger, MEMBERS_TARGET: file.members}
    for target, data in parts.items():
        if not isinstance(named, dict) or (data and cast("dict[str, Any]", named).get(target) != target_row(data)):
            raise CorruptError(f"roster: its part {target!r} is not the one that its metadata names")
    if len(file.witness_keys) != len(organisations):
        raise MalformedError("roster: it has not as many ML-DSA-44 keys as organisations")
    organisations = [with_witness_key(*pair) for pair in zip(organisations, file.witness_keys, strict=True)]
    seeds: tuple[Address, ...] = ()
    if file.members:
        if not all(item.member is not None and item.member.is_witness_known for item in organisations):
            raise MalformedError("roster: the key of a witness is missing")
        organisations, seeds = parse_members(file.members, epoch, organisations)
    root = _signed(file.roots[0], "first root metadata")
    return Roster(
        pool_name=name,
        epoch=epoch,
        pool_key=b"",
        organisations=with_policies(organisations),
        seeds=seeds,
        root=pool_of_root(canonical_json(root)),
        expires_s=_expiry_s(targets),
    )

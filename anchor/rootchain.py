"""The root chain of a consortium's roster: metadata of The Update Framework, made and verified with python-tuf.

Version N of all four roles (root, targets, snapshot, timestamp) is made at once, from nothing but the roster, so that
every organisation signs the same bytes without having them sent. All four have the same keys, one an organisation, and
the same threshold, floor(2n/3)+1. Root N+1 is signed by the thresholds of N and of N+1 (TUF specification 1.0.31,
section 5.3.4), the others by that of N+1.

Importing this takes a tenth of a second: who only uses a roster that it accepted before needs ``anchor.rosterfile``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import cast

from securesystemslib.signer import Signature
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Signed, Snapshot, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from anchor.draft import (
    Ballot,
    Draft,
    admin_keys,
    canonical,
    contents_of,
    rest_of,
    root_of_keys,
    signature_of,
    stamp,
)
from anchor.organisation import Roster
from anchor.rosterfile import LEDGER_TARGET, MEMBERS_TARGET, ROOTS_MAX, RosterFile, pool_of_root, roster_of
from anchor.rosterparts import witness_keys_of
from core.errors import BadSignatureError, MalformedError, RosterError
from core.identity import check_issuer

# Of one file of metadata: 64 organisations with old and new keys take 45,000.
METADATA_MAX_BYTES = 256 * 1024
_SIGNATURE = re.compile(r"[0-9a-f]{128}")


def assemble(draft: Draft, ballots: Sequence[Ballot], before: RosterFile | None) -> RosterFile:
    """The version's file, verified as by a stranger. Raises RosterError, BadSignatureError (too few signatures)."""
    old = set(admin_keys(roster_of(before))) if before is not None else set[bytes]()
    new = set(admin_keys(draft.roster))
    ordered = sorted({ballot.admin_key: ballot for ballot in ballots}.items())
    files: list[bytes] = []
    for number, signed in enumerate(draft.signed):
        # Only root is signed by those who leave.
        signers = new | old if number == 0 else new
        signatures = [signature_of(ballot, number) for key, ballot in ordered if key in signers]
        by_id = {item.keyid: item for item in sorted(signatures, key=lambda item: item.keyid)}
        files.append(_bytes_of(Metadata(signed, by_id)))
    roots = (*(before.roots if before is not None else ()), files[0])
    file = RosterFile(roots, files[1], files[2], files[3], draft.ledger, witness_keys_of(draft.roster), draft.members)
    verify_chain(file)
    return file


def _bytes_of(metadata: Metadata) -> bytes:
    return metadata.to_bytes(JSONSerializer(compact=True))


# --- verifying ---------------------------------------------------------------------------------


def _parsed(data: bytes, kind: type[Signed]) -> Metadata:
    """Raises MalformedError also for what is not as we write it: an equal meaning in other bytes."""
    if len(data) > METADATA_MAX_BYTES:
        raise MalformedError(f"roster: {len(data)} bytes of metadata, at most {METADATA_MAX_BYTES} allowed")
    try:
        metadata: Metadata = Metadata.from_bytes(data)
        # Without what python-tuf keeps of fields that it does not know: whoever passes a roster on could pad it.
        bare = {key: Signature(key, item.signature) for key, item in metadata.signatures.items()}
        again = _bytes_of(Metadata(metadata.signed, bare))
        canonical(metadata.signed)
    # What hostile JSON raises in python-tuf is documented as one error, but some of it comes from deeper down.
    except (RepositoryError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise MalformedError(f"roster: not metadata of TUF: {error}") from error
    if not isinstance(metadata.signed, kind):
        raise MalformedError(f"roster: {metadata.signed.type} metadata where {kind.type} should be")
    if again != data:
        raise MalformedError(f"roster: its {kind.type} metadata is not in canonical form")
    signers = list(metadata.signatures)
    plain = all(_SIGNATURE.fullmatch(item.signature) for item in metadata.signatures.values())
    if signers != sorted(signers) or not plain:
        raise MalformedError(f"roster: the signatures of its {kind.type} metadata are not in canonical form")
    return metadata


def _keys_of(root: Root) -> list[bytes]:
    return [bytes.fromhex(str(key.keyval.get("public", ""))) for key in root.keys.values()]


def _check_root_form(root: Root, version: int) -> None:
    """A root is nothing but its version, expiry and keys: no key twice, no threshold but ours, no role of its own."""
    try:
        keys = _keys_of(root)
    except ValueError as error:
        raise MalformedError("roster: a key of its root metadata is not hexadecimal") from error
    if not keys or len(set(keys)) != len(keys):
        raise RosterError(f"roster: root {version} has no keys, or one twice")
    if canonical(root_of_keys(version, root.expires, keys)) != canonical(root):
        raise RosterError(f"roster: root {version} has another version, other thresholds or roles than its keys make")


def _verify_root(new: Metadata, previous: Root | None) -> None:
    root = cast(Root, new.signed)
    payload = canonical(root)
    for signer in [root, *([previous] if previous is not None else [])]:
        try:
            signer.verify_delegate(Root.type, payload, new.signatures)
        except (RepositoryError, ValueError) as error:
            raise BadSignatureError(f"roster: root {root.version}: {error}") from error
    known = {**root.keys, **(previous.keys if previous is not None else {})}
    _check_signers(new, known, f"root {root.version}")


def _check_signers(metadata: Metadata, known: Mapping[str, object], what: str) -> None:
    strangers = [key for key in metadata.signatures if key not in known]
    if strangers:
        raise RosterError(f"roster: {what} is signed by a key that has no say: {strangers[0][:12]}")


def verify_chain(file: RosterFile, *, now_s: float | None = None) -> None:
    """Every root up to the last, each by its own threshold and the one before; then the rest by the last one's.

    A receipt's roster may leave roots out: "the one before" is then the one before in the file (``anchor.leaps``). With
    ``now_s`` one that has expired by then is refused. Root metadata before the last may have expired.

    Raises:
        RosterError: it contradicts itself, was signed by others, or has expired.
        BadSignatureError: a signature fails or too few are there.
        MalformedError, CorruptError
    """
    if file.epoch > ROOTS_MAX:
        raise MalformedError(f"roster: more than {ROOTS_MAX} versions")
    roster = roster_of(file)
    previous: Root | None = None
    for place, data in enumerate(file.roots, start=1):
        metadata = _parsed(data, Root)
        root = cast(Root, metadata.signed)
        if previous is None or file.is_whole:
            _check_root_form(root, place)
        elif root.version <= previous.version:
            raise RosterError(f"roster: root {root.version} comes after root {previous.version}")
        else:
            _check_root_form(root, root.version)
        _verify_root(metadata, previous)
        previous = root
    assert previous is not None
    _verify_rest(file, roster, previous)
    for item in roster.organisations:
        if item.issuer:
            check_issuer(item.issuer, item.name)
    if now_s is not None:
        check_current(roster, now_s)


def check_current(roster: Roster, now_s: float) -> None:
    """Raises RosterError when the roster has expired by then."""
    if roster.has_expired(now_s):
        raise RosterError(
            f"roster {roster.epoch} of {roster.pool_name!r} expired on {stamp(roster.expires_s):%Y-%m-%d}: its "
            "organisations have to sign a new version (`moorage consortium renew`)"
        )


def _verify_rest(file: RosterFile, roster: Roster, root: Root) -> None:
    # That it is the newest is not what a receipt claims.
    parts = ((Targets, file.targets), (Snapshot, file.snapshot), (Timestamp, file.timestamp))[
        : 3 if file.is_whole else 1
    ]
    metadata = [_parsed(data, kind) for kind, data in parts]
    targets = cast(Targets, metadata[0].signed)
    rows = {name: {"hashes": item.hashes, "length": item.length} for name, item in targets.targets.items()}
    if set(rows) != {LEDGER_TARGET, MEMBERS_TARGET}:
        raise RosterError("roster: its metadata names other targets than ledger and members")
    wanted = rest_of(roster.epoch, stamp(roster.expires_s), rows)
    for item, expected in zip(metadata, wanted, strict=False):
        kind = item.signed.type
        payload = canonical(item.signed)
        if payload != canonical(expected):
            raise RosterError(f"roster: its {kind} metadata is not that of version {roster.epoch}")
        try:
            root.verify_delegate(kind, payload, item.signatures)
        except (RepositoryError, ValueError) as error:
            raise BadSignatureError(f"roster: {kind} of version {roster.epoch}: {error}") from error
        _check_signers(item, root.keys, f"{kind} of version {roster.epoch}")
    if canonical(root_of_keys(roster.epoch, stamp(roster.expires_s), admin_keys(roster))) != canonical(root):
        raise RosterError(f"roster: the keys of root {roster.epoch} are not those of its organisations")


def _payloads(file: RosterFile) -> tuple[bytes, ...]:
    parts = ((Root, file.roots[-1]), (Targets, file.targets), (Snapshot, file.snapshot), (Timestamp, file.timestamp))
    return tuple(canonical(_parsed(data, kind).signed) for kind, data in parts)


def contents_of_file(file: RosterFile) -> bytes:
    """``Draft.contents`` of a published version. Raises MalformedError."""
    return contents_of(_payloads(file))


def check_successor(held: RosterFile, offered: RosterFile, *, now_s: float) -> bool:
    """Whether ``offered`` is to take the place of ``held``: a later version of the same chain. False: it is the same.

    Raises:
        RosterError: another pool's, an older one (a replay), another history of a version that we have, or expired.
        BadSignatureError, MalformedError, CorruptError
    """
    pools = [pool_of_root(canonical(_parsed(item.roots[0], Root).signed)) for item in (held, offered)]
    if pools[0] != pools[1]:
        raise RosterError(f"roster of another pool: {pools[1].hex()[:12]}, not {pools[0].hex()[:12]}")
    if offered.epoch < held.epoch:
        raise RosterError(f"roster {offered.epoch} is older than the known {held.epoch}: replayed, or out of date")
    if not offered.is_whole:
        raise RosterError("a receipt's roster does not say how to reach the members")
    mine, theirs = (canonical(_parsed(item.roots[held.epoch - 1], Root).signed) for item in (held, offered))
    if mine != theirs:
        raise RosterError(f"fork: two root metadata of version {held.epoch} were signed by this pool's organisations")
    if offered.epoch == held.epoch:
        verify_chain(offered)
        if contents_of_file(offered) != contents_of_file(held):
            raise RosterError(f"fork: two rosters of version {held.epoch} were signed by this pool's organisations")
        return False
    verify_chain(offered, now_s=now_s)
    return True

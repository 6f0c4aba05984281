"""Whom to believe about a log, and what a checked proof or log folder then says. Offline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from anchor.checkpoint import parse_checkpoint
from anchor.digest import Opened, check_digest, split_opened
from anchor.leaf import SignedLeaf, parse_leaf
from anchor.note import parse_note
from anchor.policy import CheckedCheckpoint, parse_policy
from anchor.proof import Proof, parse_proof
from anchor.roster import Organisation, Roster
from anchor.witness import origin_folder
from client.home import Home
from client.ledger import home_policy
from client.logs import OPERATOR_FOLDER, kept_policy
from core.errors import BadSignatureError, MalformedError, MoorageError, UsageError
from core.ports import Buffer, Disk


class Trust(NamedTuple):
    """A policy and, where it comes from a roster, whose it is. ``words`` say where it comes from."""

    policy: str
    words: str
    organisation: Organisation | None = None


class CheckedProof(NamedTuple):
    """What a proof file proves. ``signer`` is the organisation whose key signed the leaf, where that is known."""

    proof: Proof
    entry: bytes
    opened: Opened
    checked: CheckedCheckpoint
    leaf: SignedLeaf | None
    signer: str
    trust: Trust


def origins_of(policy: str) -> tuple[str, ...]:
    """The logs that a policy is about; none when it is not a policy."""
    try:
        return tuple(key.name for key in parse_policy(policy).logs)
    except MalformedError:
        return ()


def trust_in_roster(roster: Roster, origin: str) -> Trust | None:
    """The policy of the organisation whose log is called so."""
    for organisation in roster.organisations:
        if origin in origins_of(organisation.policy):
            words = f"the roster of pool {roster.pool_name}, epoch {roster.epoch}"
            return Trust(organisation.policy, words, organisation)
    return None


def trust_in_home(disk: Disk, home: Home, origin: str) -> Trust | None:
    """The same by a home's roster, or by its own keys for its own log, or by what it kept of one that ended.

    Blocks. Raises LedgerError, StoreReadOnlyError for the disk.
    """
    own = home_policy(home)
    if (found := trust_in_roster(home.roster, origin)) is not None:
        return found
    if origin in origins_of(own):
        return Trust(own, f"the keys in {home.folder}")
    folder = origin_folder(home.path(OPERATOR_FOLDER), origin)
    kept = kept_policy(disk, folder)
    return Trust(kept, f"the last policy of a log that ended, in {folder}") if origin in origins_of(kept) else None


def no_trust(origin: str) -> UsageError:
    """Nothing at hand says whose log this is."""
    return UsageError(
        f"nothing here says whom to believe about log {origin!r}: give --policy FILE or --roster FILE, or the --home "
        "of a member of its pool"
    )


def origin_of_proof(data: bytes) -> str:
    """The log that a proof file is about, before anything is believed. Raises MalformedError."""
    return parse_checkpoint(parse_note(parse_proof(data).checkpoint).text).origin


def check_proof(
    data: bytes, trust: Trust, *, file: Iterable[Buffer] | None = None, entry: bytes | None = None
) -> CheckedProof:
    """Believe a proof file, or raise.

    Args:
        file: its leaf must be about these bytes' digests.
        entry: what the proof is about, where the file does not carry it.

    Raises:
        MalformedError: not a proof, or without an entry.
        BadSignatureError: log, witnesses or the leaf's signer did not sign.
        CorruptError: the entry is not in the log, or is about another file.
    """
    proof = parse_proof(data)
    opened = Opened(entry, None) if entry is not None else split_opened(proof.extra or b"")
    if not opened.leaf:
        raise MalformedError("proof: it carries no entry: name the entry's file with --entry")
    checked = proof.check(opened.leaf, parse_policy(trust.policy))
    leaf = _leaf_of(opened.leaf)
    signer = "" if leaf is None or trust.organisation is None else _signer(leaf, trust.organisation)
    if file is not None:
        check_digest(opened, file)
    return CheckedProof(proof, opened.leaf, opened, checked, leaf, signer, trust)


def _leaf_of(entry: bytes) -> SignedLeaf | None:
    """None for an entry that is not ours: a log may hold anything."""
    try:
        return parse_leaf(entry)
    except MoorageError:
        return None


def _signer(leaf: SignedLeaf, organisation: Organisation) -> str:
    """The organisation's name where it signed; a peer's key is not on the roster. Raises BadSignatureError."""
    try:
        leaf.check(organisation.manifest_key)
    except BadSignatureError:
        if leaf.signature.name.startswith("moorage/organisation/"):
            raise
        return ""
    return organisation.name

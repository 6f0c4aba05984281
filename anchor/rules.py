"""What an entry of a log may say, given all before it: ``rules/v1``, a pure replay (docs/ledger/monitor.md, "Rules").

1. An entry is a leaf in its canonical form. One of a type that this release does not know has no effect.
2. Leaves about an object are signed by the manifest key of the organisation whose log it is; sweeps and relocations
   by a peer of it; digests by either. The signer's name says who.
3. The first leaf about an object is a manifest of version 1, without ``prev``, whose digest is the object's id.
4. Each later manifest, revoke or delete has the next version and, as ``prev``, the leaf hash of the one before.
5. Later leaves are the owner's: of the organisation that signed version 1. A revoke names an earlier leaf of the
   object.
6. After a delete nothing more is said about the object.
7. No entry claims a time later than the checkpoint that first covers it, but for ``AHEAD_MAX_S``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from anchor.leaf import ManifestLeaf, RelocateLeaf, SignedLeaf, SweepLeaf, organisation_key_name, parse_leaf
from anchor.leaf import peer_key_name as name_of_peer
from anchor.merkle import leaf_hash
from anchor.ownerleaves import DeleteLeaf, DigestLeaf, RevokeLeaf
from core.errors import BadSignatureError, MalformedError, MalformedIdError, NewerVersionError
from core.ids import ObjectId, PeerId

RULES = "rules/v1"
# As witnesses are believed: clocks of hospitals may differ by so much.
AHEAD_MAX_S = 300
_PEER_PREFIX = name_of_peer(PeerId(bytes(32))).removesuffix(bytes(32).hex())


class FaultKind(StrEnum):
    """Which rule an entry breaks."""

    MALFORMED = "malformed"
    UNKNOWN_TYPE = "unknown-type"
    SIGNATURE = "signature"
    UNKNOWN_SIGNER = "unknown-signer"
    VERSION = "version"
    OWNER = "owner"
    REVOKED = "revoked-nothing"
    DELETED = "deleted"
    FUTURE = "future"

    @property
    def is_alarming(self) -> bool:
        """False where this release, or what it was told of peers' keys, may merely know too little."""
        return self not in (FaultKind.UNKNOWN_TYPE, FaultKind.UNKNOWN_SIGNER)


class Fault(NamedTuple):
    """Why an entry must not be there. ``related`` is the place of an earlier entry that it does not go with.

    ``shown``: these two alone show it to anybody, whatever else is in the log. Where that is False, entries between
    them could have made it right, and only whoever reads the whole log knows that none did.
    """

    kind: FaultKind
    words: str
    related: int | None = None
    shown: bool = True


class ObjectState(NamedTuple):
    """What a log has said about one object. ``chain`` has the leaf hash of each version; ``place`` is of the last."""

    owner: str
    version: int
    place: int
    deleted: bool
    chain: tuple[bytes, ...]


class Signers(NamedTuple):
    """Who may sign in a log: organisations by their manifest keys (each with a name), and peers by theirs."""

    owners: Mapping[bytes, str]
    peers: Mapping[PeerId, bytes]


class Change(NamedTuple):
    """What an entry that obeys changes: the new state of ``object``."""

    object: ObjectId
    state: ObjectState


class Entry(NamedTuple):
    """Entry number ``place``, first covered by a checkpoint whose quorum says ``seen_s`` (0: it says no time)."""

    place: int
    data: bytes
    seen_s: int


def judge(objects: Mapping[ObjectId, ObjectState], entry: Entry, signers: Signers) -> Change | Fault | None:
    """Replay one entry: what it changes, the rule it breaks, or None when it changes nothing. Pure."""
    try:
        signed = parse_leaf(entry.data)
    except NewerVersionError as error:
        return Fault(FaultKind.UNKNOWN_TYPE, str(error))
    except MalformedError as error:
        return Fault(FaultKind.MALFORMED, str(error))
    leaf = signed.leaf
    if not isinstance(leaf, DigestLeaf) and entry.seen_s and leaf.time_s > entry.seen_s + AHEAD_MAX_S:
        ahead_s = leaf.time_s - entry.seen_s
        return Fault(FaultKind.FUTURE, f"it claims a time {ahead_s} s after the checkpoint that first covers it")
    if isinstance(leaf, RelocateLeaf | SweepLeaf):
        return _judge_peer(signed, signers)
    if isinstance(leaf, DigestLeaf) and signed.signature.name.startswith(_PEER_PREFIX):
        return _judge_peer(signed, signers)
    owner = _owner(signed, signers)
    if isinstance(owner, Fault) or isinstance(leaf, DigestLeaf):
        return owner if isinstance(owner, Fault) else None
    return _judge_object(objects.get(leaf.object), leaf, entry, owner)


def _owner(signed: SignedLeaf, signers: Signers) -> str | Fault:
    """The organisation whose key signed the leaf."""
    name = signed.signature.name
    if not signers.owners:
        return Fault(FaultKind.UNKNOWN_SIGNER, f"signed by {name}, and no roster is at hand that has that key")
    for key, organisation in signers.owners.items():
        if name == organisation_key_name(organisation):
            try:
                signed.check(key)
            except BadSignatureError:
                continue
            return organisation
    names = ", ".join(sorted(set(signers.owners.values())))
    return Fault(FaultKind.SIGNATURE, f"says that it is signed by {name}, and is not by any manifest key of {names}")


def _judge_peer(signed: SignedLeaf, signers: Signers) -> Fault | None:
    name = signed.signature.name
    try:
        peer = PeerId.parse(name.removeprefix(_PEER_PREFIX))
    except MalformedIdError:
        return Fault(FaultKind.SIGNATURE, f"signed by {name!r}, which is no peer")
    if isinstance(signed.leaf, SweepLeaf) and signed.leaf.peer != peer:
        return Fault(FaultKind.SIGNATURE, f"a sweep of peer {signed.leaf.peer.short}, signed by {peer.short}")
    key = signers.peers.get(peer)
    if key is None:
        return Fault(FaultKind.UNKNOWN_SIGNER, f"signed by peer {peer.short}, whose key is not at hand")
    try:
        signed.check(key)
    except BadSignatureError as error:
        return Fault(FaultKind.SIGNATURE, str(error))
    return None


def _judge_object(
    known: ObjectState | None, leaf: ManifestLeaf | RevokeLeaf | DeleteLeaf, entry: Entry, owner: str
) -> Change | Fault:
    """Rules 3 to 6."""
    if known is None:
        if not isinstance(leaf, ManifestLeaf) or leaf.version != 1 or leaf.previous is not None:
            words = f"{leaf.TYPE} of version {leaf.version}, before any manifest of the object"
            return Fault(FaultKind.VERSION, words, shown=leaf.version < 2)
        if leaf.manifest != leaf.object.raw:
            return Fault(FaultKind.VERSION, "a manifest of version 1 whose digest is not the object's id")
    else:
        if known.deleted:
            return Fault(FaultKind.DELETED, f"{leaf.TYPE} of an object that was deleted", known.place)
        if leaf.version != known.version + 1 or leaf.previous != known.chain[-1]:
            words = f"{leaf.TYPE} of version {leaf.version} does not follow version {known.version}"
            return Fault(FaultKind.VERSION, words, known.place, shown=leaf.version <= known.version + 1)
        if owner != known.owner:
            return Fault(FaultKind.OWNER, f"{leaf.TYPE} by {owner} of an object of {known.owner}", known.place)
        if isinstance(leaf, RevokeLeaf) and leaf.entry not in known.chain:
            words = "revokes what is no earlier entry of this object"
            return Fault(FaultKind.REVOKED, words, known.place, shown=known.version == 1)
    chain = (*(known.chain if known else ()), leaf_hash(entry.data))
    return Change(leaf.object, ObjectState(owner, leaf.version, entry.place, isinstance(leaf, DeleteLeaf), chain))


def state_by(entry: Entry, signers: Signers) -> Change | None:
    """What an entry alone says about its object, for evidence that carries it; None when it says nothing."""
    leaf = parse_leaf(entry.data).leaf
    if not isinstance(leaf, ManifestLeaf | RevokeLeaf | DeleteLeaf):
        return None
    owner = _owner(parse_leaf(entry.data), signers)
    if isinstance(owner, Fault):
        return None
    chain = (leaf_hash(entry.data),)
    return Change(leaf.object, ObjectState(owner, leaf.version, entry.place, isinstance(leaf, DeleteLeaf), chain))

"""What there is before a receipt: the log's own proof of a leaf that no quorum of witnesses has cosigned yet.

It is made of the same parts as a receipt, so that its bytes are packed alike, and is none: ``check_receipt`` refuses
it for want of the quorum. It proves that the log has taken the leaf. A log may still show others another history.
"""

from __future__ import annotations

from dataclasses import dataclass

from anchor.checkpoint import parse_checkpoint
from anchor.cosignature import verifier_of
from anchor.leaf import ManifestLeaf, parse_leaf
from anchor.leaps import for_receipt
from anchor.manifest import parse_manifest
from anchor.merkle import check_inclusion, leaf_hash
from anchor.note import NoteKey, parse_note, verify_note
from anchor.organisation import Member, Organisation, Roster, byzantine_majority, witnesses_of
from anchor.policy import Policy
from anchor.proof import Proof, parse_proof
from anchor.receipt import Receipt, parse_receipt
from anchor.roster import parse_roster
from anchor.rosterfile import encode_roster_file, parse_roster_file
from core.errors import BadSignatureError, CorruptError, MoorageError, ReceiptError
from core.ids import ObjectId, PoolId


@dataclass(frozen=True, slots=True)
class PendingStatement:
    """What is proved of an entry that is pending.

    The log ``origin`` has signed ``tree_size`` entries, of which this is ``index``; ``cosigners`` have signed so, too,
    and ``needed`` of its ``witnesses`` have to.
    """

    object: ObjectId
    leaf: ManifestLeaf
    origin: str
    index: int
    tree_size: int
    cosigners: tuple[str, ...]
    needed: int
    witnesses: int
    pool: PoolId
    pool_name: str
    epoch: int
    organisation: str


def make_pending(object_id: ObjectId, proof_file: bytes, roster_file: bytes) -> Receipt:
    """The parts of what is pending in a consortium. Raises MalformedError."""
    cosigners = {line.name for line in parse_note(parse_proof(proof_file).checkpoint).signatures}
    part = encode_roster_file(for_receipt(parse_roster_file(roster_file), cosigners))
    return Receipt(object_id, proof_file, "", part)


def index_in_log(receipt_file: bytes, policy: Policy) -> int | None:
    """Where the leaf is in the log of this policy. None when that has signed nothing of it: its log was another."""
    try:
        proof = parse_proof(parse_receipt(receipt_file).proof)
        verify_note(parse_note(proof.checkpoint), [verifier_of(key) for key in policy.logs])
    except MoorageError:
        return None
    return proof.index


def check_pending(
    parts: Receipt, *, manifest_file: bytes | None = None, pinned_pool: PoolId | None = None
) -> PendingStatement:
    """Verify that the log has signed the entry, and by whom it is cosigned. Offline.

    Raises:
        ReceiptError: the parts do not belong together, or are not of the pinned pool.
        BadSignatureError: a signature fails, or the log's is missing.
        CorruptError: ``manifest_file`` is not the one in the log.
        MalformedError, NewerVersionError: a part cannot be read.
    """
    roster = parse_roster(parts.roster)
    if pinned_pool is not None and roster.pool != pinned_pool:
        raise ReceiptError(f"pending: from pool {roster.pool.short} ({roster.pool_name}), not from {pinned_pool.short}")
    proof = parse_proof(parts.proof)
    organisation, leaf = _owner(roster, proof.extra or b"")
    if leaf.object != parts.object or leaf.manifest != parts.object.raw:
        raise ReceiptError("pending: its leaf is about another object")
    if manifest_file is not None:
        manifest = parse_manifest(manifest_file, expected=leaf.object)
        if (manifest.owner_key, manifest.pool) != (organisation.manifest_key, roster.pool):
            raise ReceiptError("pending: its manifest is of another owner or pool")
    members = [item.member for item in roster.organisations if item.member is not None]
    log = organisation.member
    assert log is not None, "an organisation of a consortium is a member"
    witnesses = witnesses_of(members, members.index(log))
    checkpoint = parse_checkpoint(parse_note(proof.checkpoint).text)
    signed = _signers(proof, log, witnesses)
    if checkpoint.origin != log.log_origin or log.log_vkey not in signed:
        raise BadSignatureError(f"pending: not signed by the log of {organisation.name!r}")
    try:
        check_inclusion(proof.index, checkpoint.size, leaf_hash(proof.extra or b""), proof.path, checkpoint.root)
    except CorruptError as error:
        raise ReceiptError(f"pending: {error}") from error
    return PendingStatement(
        object=parts.object,
        leaf=leaf,
        origin=checkpoint.origin,
        index=proof.index,
        tree_size=checkpoint.size,
        cosigners=tuple(sorted(item.witness_name for item in witnesses if signed.issuperset(item.witness_vkeys))),
        needed=byzantine_majority(len(witnesses)),
        witnesses=len(witnesses),
        pool=roster.pool,
        pool_name=roster.pool_name,
        epoch=roster.epoch,
        organisation=organisation.name,
    )


def _owner(roster: Roster, leaf_data: bytes) -> tuple[Organisation, ManifestLeaf]:
    """The organisation whose manifest key signed the leaf."""
    if not roster.is_consortium:
        raise ReceiptError("pending: its roster is no consortium's")
    signed = parse_leaf(leaf_data)
    if not isinstance(signed.leaf, ManifestLeaf):
        raise ReceiptError(f"pending: its leaf is of type {signed.leaf.TYPE!r}, not 'manifest'")
    for organisation in roster.organisations:
        try:
            signed.check(organisation.manifest_key)
        except BadSignatureError:
            continue
        return organisation, signed.leaf
    raise BadSignatureError("pending: its leaf is not signed by a manifest key of its roster")


def _signers(proof: Proof, log: Member, witnesses: list[Member]) -> set[str]:
    """Whose signatures the checkpoint has, as vkeys. Raises BadSignatureError when one that is known fails."""
    known = [vkey for item in witnesses if item.is_witness_known for vkey in item.witness_vkeys]
    verifiers = [verifier_of(NoteKey.parse(vkey)) for vkey in (log.log_vkey, *known)]
    return {item.key.vkey for item in verify_note(parse_note(proof.checkpoint), verifiers)}

"""A receipt: all that it takes to believe, offline and years later, that an object was anchored.

File: canonical MessagePack of ``{v, object, proof, policy, roster}``, then BLAKE3 of it (32 bytes), so that any
flipped byte shows. ``proof`` is a c2sp.org/tlog-proof file with the leaf inside, ``policy`` c2sp.org/tlog-policy text,
``roster`` the pool's roster file of that day. In a consortium the policy follows from the roster, of which a receipt
carries a part, and both are packed (versions 2 and 3). Format: docs/format.md, "Receipt".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from anchor.leaf import ManifestLeaf, parse_leaf
from anchor.leaps import for_receipt
from anchor.manifest import parse_manifest
from anchor.note import parse_note
from anchor.policy import CheckedCheckpoint, Policy, parse_policy
from anchor.proof import PROOF_MAX_BYTES, Proof, format_proof, parse_proof
from anchor.roster import POLICY_MAX_CHARACTERS, Organisation, Roster, parse_roster
from anchor.rosterfile import (
    ROOTS_MAX,
    RosterFile,
    encode_roster_file,
    is_roster_file,
    parse_roster_file,
)
from anchor.rosterparts import MEMBERS_MAX
from core.compression import pack_document, unpack_document
from core.encoding import Value, decode, encode, encode_checked, without_digest
from core.errors import BadSignatureError, CorruptError, MalformedError, NewerVersionError, ReceiptError, UsageError
from core.ids import DIGEST_BYTES, ObjectId, PoolId
from core.limits import RECEIPT_MAX_BYTES, ROSTER_MAX_BYTES
from core.schema import Fields

RECEIPT_VERSION = 1
# Of a consortium's receipts: with every root of its chain, and with some left out.
PACKED_VERSION = 2
LEAPING_VERSION = 3


@dataclass(frozen=True, slots=True)
class Receipt:
    """``proof`` is ``Anchored.proof_file()``, ``policy`` the owner's ``Organisation.policy``, ``roster`` its file.

    In a consortium ``policy`` is empty and ``roster`` is a part of the file (``make_receipt``).
    """

    object: ObjectId
    proof: bytes
    policy: str
    roster: bytes


@dataclass(frozen=True, slots=True)
class ReceiptStatement:
    """What a checked receipt proves.

    ``cosigners`` vouch that leaf ``index`` of the log ``origin`` is in the one history that they all saw; ``time_s`` is
    when enough of them had said so (seconds since 1970; the leaf's own time under a quorum of none).
    """

    object: ObjectId
    leaf: ManifestLeaf
    origin: str
    index: int
    tree_size: int
    cosigners: tuple[str, ...]
    time_s: int
    pool: PoolId
    pool_name: str
    epoch: int
    organisation: str


def encode_receipt(receipt: Receipt) -> bytes:
    """The receipt file. Raises UsageError when it would be larger than RECEIPT_MAX_BYTES."""
    if not is_roster_file(receipt.roster):
        value: dict[str, Value] = {
            "v": RECEIPT_VERSION,
            "object": receipt.object.raw,
            "proof": receipt.proof,
            "policy": receipt.policy,
            "roster": receipt.roster,
        }
    else:
        value = {"object": receipt.object.raw, **_packed(receipt)}
    data = encode_checked(value)
    if len(data) > RECEIPT_MAX_BYTES:
        raise UsageError(f"the receipt would take {len(data)} bytes, at most {RECEIPT_MAX_BYTES} are allowed")
    return data


def parse_receipt(data: bytes) -> Receipt:
    """From a receipt file; nothing is proved yet (``check_receipt``).

    Raises:
        CorruptError: a byte was changed or is missing.
        MalformedError, NewerVersionError
    """
    body = without_digest(data)
    if body is None:
        raise CorruptError("receipt: its bytes do not match the digest at its end")
    fields = Fields(decode(body, max_bytes=RECEIPT_MAX_BYTES), what="receipt")
    version = fields.integer("v", low=1, high=2**31)
    if version > LEAPING_VERSION:
        raise NewerVersionError(f"receipt of version {version}; this release knows {LEAPING_VERSION}: upgrade moorage")
    if version > RECEIPT_VERSION:
        return _unpacked(fields, version)
    receipt = Receipt(
        object=ObjectId(fields.exact("object", DIGEST_BYTES)),
        proof=fields.blob("proof", max_bytes=PROOF_MAX_BYTES),
        policy=fields.text("policy", max_characters=POLICY_MAX_CHARACTERS),
        roster=fields.blob("roster", max_bytes=ROSTER_MAX_BYTES),
    )
    fields.end()
    if is_roster_file(receipt.roster):
        raise MalformedError("receipt of version 1 with the roster of a consortium")
    return receipt


def _version_of(roster: RosterFile) -> int:
    return PACKED_VERSION if roster.epoch == len(roster.roots) else LEAPING_VERSION


def _packed(receipt: Receipt) -> dict[str, Value]:
    """Base64, hexadecimal digits and plain bytes each on their own: together they take an eighth more."""
    roster = parse_roster_file(receipt.roster)
    version = _version_of(roster)
    return {
        "v": version,
        "proof": pack_document(receipt.proof),
        "metadata": pack_document(encode([*roster.roots, roster.targets])),
        "ledger": roster.ledger if version == PACKED_VERSION else pack_document(roster.ledger),
        "witness_keys": list(roster.witness_keys),
    }


def _unpacked(fields: Fields, version: int) -> Receipt:
    object_id = ObjectId(fields.exact("object", DIGEST_BYTES))
    proof = unpack_document(fields.blob("proof", max_bytes=PROOF_MAX_BYTES), max_bytes=PROOF_MAX_BYTES)
    packed = fields.blob("metadata", max_bytes=ROSTER_MAX_BYTES)
    metadata = decode(unpack_document(packed, max_bytes=ROSTER_MAX_BYTES), max_bytes=ROSTER_MAX_BYTES)
    parts = Fields({"metadata": metadata}, what="receipt").byte_strings("metadata", max_items=ROOTS_MAX + 1)
    if len(parts) < 2:
        raise MalformedError("receipt: its roster has no root metadata")
    ledger = fields.blob("ledger", max_bytes=ROSTER_MAX_BYTES)
    roster = RosterFile(
        roots=parts[:-1],
        targets=parts[-1],
        snapshot=b"",
        timestamp=b"",
        ledger=ledger if version == PACKED_VERSION else unpack_document(ledger, max_bytes=ROSTER_MAX_BYTES),
        witness_keys=fields.byte_strings("witness_keys", max_items=MEMBERS_MAX),
        members=b"",
    )
    fields.end()
    if version != _version_of(roster):
        raise MalformedError(f"receipt of version {version} with the roots of another")
    return Receipt(object_id, proof, "", encode_roster_file(roster))


def make_receipt(object_id: ObjectId, proof_file: bytes, roster_file: bytes, organisation: Organisation) -> Receipt:
    """A receipt of what ``organisation`` anchored: its parts, without what verifying it takes not.

    In a consortium these are cosignatures beyond the quorum and most of the roster. Raises MalformedError.
    """
    if not is_roster_file(roster_file):
        return Receipt(object_id, proof_file, organisation.policy, roster_file)
    proof = parse_proof(proof_file)
    checkpoint = _without_surplus(proof.checkpoint, parse_policy(organisation.policy))
    cosigners = {line.name for line in parse_note(checkpoint).signatures}
    part = encode_roster_file(for_receipt(parse_roster_file(roster_file), cosigners))
    return Receipt(object_id, format_proof(replace(proof, checkpoint=checkpoint)), "", part)


def _without_surplus(checkpoint: bytes, policy: Policy) -> bytes:
    """The note without the witnesses that its quorum takes not, the last ones first."""
    note = parse_note(checkpoint)
    known = {(witness.key.name, witness.key.key_id): witness.key for witness in policy.witnesses}
    kept = list(note.signatures)
    for name in reversed(list(dict.fromkeys(line.name for line in note.signatures))):
        fewer = [line for line in kept if line.name != name or (name, line.key_id) not in known]
        keys = [known[line.name, line.key_id] for line in fewer if (line.name, line.key_id) in known]
        if policy.is_met(keys):
            kept = fewer
    return (note.text + "\n" + "".join(line.line for line in kept)).encode()


def _owner(roster: Roster, receipt: Receipt, leaf_data: bytes) -> tuple[Organisation, ManifestLeaf]:
    """The organisation whose policy the receipt carries and whose manifest key signed the leaf."""
    signed = parse_leaf(leaf_data)
    if not isinstance(signed.leaf, ManifestLeaf):
        raise ReceiptError(f"receipt: its leaf is of type {signed.leaf.TYPE!r}, not 'manifest'")
    if roster.is_consortium and receipt.policy:
        raise ReceiptError("receipt: a consortium's policy follows from its roster")
    candidates = [item for item in roster.organisations if roster.is_consortium or item.policy == receipt.policy]
    if not candidates:
        raise ReceiptError("receipt: its policy is not that of any organisation on its roster")
    for organisation in candidates:
        try:
            signed.check(organisation.manifest_key)
        except BadSignatureError:
            continue
        if not organisation.policy:
            raise ReceiptError(f"receipt: its roster lacks keys of witnesses of {organisation.name!r}")
        return organisation, signed.leaf
    names = ", ".join(repr(item.name) for item in candidates)
    raise BadSignatureError(f"receipt: its leaf is not signed by the manifest key of {names}")


def _check_proof(proof: Proof, leaf_data: bytes, policy: str) -> CheckedCheckpoint:
    try:
        return proof.check(leaf_data, parse_policy(policy))
    except CorruptError as error:
        raise ReceiptError(f"receipt: {error}") from error


def _check_manifest(manifest_file: bytes, leaf: ManifestLeaf, roster: Roster, organisation: Organisation) -> None:
    manifest = parse_manifest(manifest_file, expected=leaf.object)
    if manifest.owner_key != organisation.manifest_key:
        raise ReceiptError(f"receipt: the manifest's owner is not {organisation.name!r}")
    if manifest.scheme != leaf.scheme or manifest.pool != roster.pool:
        raise ReceiptError("receipt: leaf, roster and manifest differ in scheme or pool")


def check_receipt(
    receipt: Receipt,
    *,
    manifest_file: bytes | None = None,
    pinned_pool: PoolId | None = None,
    known_roster: Roster | None = None,
) -> ReceiptStatement:
    """Verify a receipt with nothing but itself.

    In order: the roster's signature (and that it is ``pinned_pool``'s, if given), the owner's policy on it, the log's
    signature and the witnesses' quorum, the leaf's place in the tree, its signature by the owner's manifest key, its
    object, and, if ``manifest_file`` is given, that manifest's digest, signature, owner and scheme. ``known_roster`` is
    the receipt's, for whoever made it from a roster that it accepted itself: to verify a consortium's takes 0.1 s.

    Raises:
        ReceiptError: the parts do not belong together, or are not of the pinned pool.
        BadSignatureError: a signature fails, or too few witnesses cosigned.
        CorruptError: ``manifest_file`` is not the anchored manifest.
        MalformedError, NewerVersionError: a part cannot be read.
    """
    roster = known_roster if known_roster is not None else parse_roster(receipt.roster)
    if pinned_pool is not None and roster.pool != pinned_pool:
        raise ReceiptError(f"receipt: from pool {roster.pool.short} ({roster.pool_name}), not from {pinned_pool.short}")
    proof = parse_proof(receipt.proof)
    if proof.extra is None:
        raise ReceiptError("receipt: its proof carries no leaf")
    organisation, leaf = _owner(roster, receipt, proof.extra)
    checked = _check_proof(proof, proof.extra, organisation.policy)
    time_s = checked.time_s or leaf.time_s
    if roster.has_expired(time_s):
        raise ReceiptError(f"receipt: its roster ({roster.epoch}) had expired when it was cosigned")
    if leaf.object != receipt.object or leaf.manifest != receipt.object.raw:
        raise ReceiptError("receipt: its leaf is about another object")
    if manifest_file is not None:
        _check_manifest(manifest_file, leaf, roster, organisation)
    return ReceiptStatement(
        object=receipt.object,
        leaf=leaf,
        origin=checked.checkpoint.origin,
        index=proof.index,
        tree_size=checked.checkpoint.size,
        cosigners=checked.cosigner_names,
        time_s=time_s,
        pool=roster.pool,
        pool_name=roster.pool_name,
        epoch=roster.epoch,
        organisation=organisation.name,
    )

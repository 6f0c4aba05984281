"""The proof bundle: one zip file that convinces a court without any network, peer or moorage (docs/ledger/monitor.md).

Its core is what a receipt document has; all else is drawn from it, so that other people's tools find each signed text,
signature and key as a file of its own. The zip is deterministic: stored, in one order, all of 1980.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import NamedTuple

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from anchor.cosignature import cosigned_message
from anchor.leaf import parse_leaf
from anchor.merkle import inclusion_steps, leaf_hash
from anchor.note import TYPE_ED25519_COSIGNATURE, Note, parse_note
from anchor.policy import parse_policy
from anchor.proof import parse_proof
from anchor.receipt import parse_receipt
from anchor.roster import parse_roster
from anchor.timestamp import REPLY_MAX_BYTES, Stamp, check_stamp, stamping_is_possible
from client.bundle_readme import ReadmeFacts, readme
from client.index import listing_commitment
from client.receipts import CheckedDocument, Papers, check_papers
from core.errors import CorruptError, MalformedError, ReceiptError
from core.ids import DIGEST_BYTES, PoolId
from core.limits import MANIFEST_MAX_BYTES, RECEIPT_MAX_BYTES
from core.listing import Entry, Kind

ZIP_MAGIC = b"PK\x03\x04"
README_FILE = "README.txt"
STAMP_FILE = "checkpoint.tsr"
CERTIFICATES_FILE = "tsa.pem"
MEMBERS_MAX = 1024
_LISTING_MAX_BYTES = 2**31
_CERTIFICATES_MAX_BYTES = 256 * 1024
# What is not derived from anything else in the bundle, with the most bytes that it can have.
_CORE = {
    "object.receipt": RECEIPT_MAX_BYTES,
    "object.manifest": MANIFEST_MAX_BYTES,
    "listing": _LISTING_MAX_BYTES,
    "salt": DIGEST_BYTES,
}
_OPTIONAL = {STAMP_FILE: REPLY_MAX_BYTES, CERTIFICATES_FILE: _CERTIFICATES_MAX_BYTES}
_DATE = (1980, 1, 1, 0, 0, 0)


class TimeStamp(NamedTuple):
    """An authority's answer, and certificates (PEM) that lead to one that the court believes; may be empty."""

    reply: bytes
    certificates: bytes


class CheckedBundle(NamedTuple):
    """What a bundle proves. ``stamp`` is None where there is none, or no library to read it (``stamp_unread``)."""

    document: CheckedDocument
    stamp: Stamp | None
    stamp_unread: bool


def checkpoint_of(papers: Papers) -> bytes:
    """The cosigned checkpoint under which the object is anchored: what an authority stamps."""
    return parse_proof(parse_receipt(papers.receipt).proof).checkpoint


def make_bundle(papers: Papers, stamp: TimeStamp | None = None) -> bytes:
    """The zip file's bytes: the same for the same papers. Raises as ``check_papers``."""
    document = check_papers(papers, pinned_pool=None)
    members = _core(papers) | _derived(papers, document)
    if stamp is not None:
        members[STAMP_FILE] = stamp.reply
        if stamp.certificates:
            members[CERTIFICATES_FILE] = stamp.certificates
    members = {README_FILE: _readme(papers, document, stamp), **members}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def _core(papers: Papers) -> dict[str, bytes]:
    contents = (papers.receipt, papers.manifest, papers.listing, papers.salt)
    return dict(zip(_CORE, contents, strict=True))


def _derived(papers: Papers, document: CheckedDocument) -> dict[str, bytes]:
    """What follows from the papers, by the names that the README's commands use."""
    receipt = parse_receipt(papers.receipt)
    proof = parse_proof(receipt.proof)
    leaf = proof.extra or b""
    owner = next(
        item for item in parse_roster(receipt.roster).organisations if item.name == document.statement.organisation
    )
    members = {
        "leaf": leaf,
        "leaf.tlog-proof": receipt.proof,
        "checkpoint": proof.checkpoint,
        "policy": owner.policy.encode(),
        "roster": receipt.roster,
        "files.b3": b"".join(map(_b3sum_line, document.entries or ())),
    }
    signed = parse_leaf(leaf)
    members |= _signed("owner", owner.manifest_key, signed.text.encode(), signed.signature.blob)
    return members | _signed_checkpoint(owner.policy, parse_note(proof.checkpoint))


def _signed(name: str, key: bytes, text: bytes, signature: bytes) -> dict[str, bytes]:
    """An Ed25519 signature as three files, as ``openssl pkeyutl`` wants them."""
    pem = Ed25519PublicKey.from_public_bytes(key).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return {f"openssl/{name}.pem": pem, f"openssl/{name}.text": text, f"openssl/{name}.sig": signature}


def _signed_checkpoint(policy_text: str, note: Note) -> dict[str, bytes]:
    """The log's signature and each Ed25519 cosignature by a witness of the policy, in the order of their lines."""
    policy = parse_policy(policy_text)
    logs = {(key.name, key.key_id): key.public for key in policy.logs}
    witnesses = {
        (item.key.name, item.key.key_id): item.key.public
        for item in policy.witnesses
        if item.key.signature_type == TYPE_ED25519_COSIGNATURE
    }
    members: dict[str, bytes] = {}
    number = 0
    for signature in note.signatures:
        who = (signature.name, signature.key_id)
        if who in logs:
            members |= _signed("log", logs[who], note.text.encode(), signature.blob)
        elif who in witnesses:
            number += 1
            time_s = int.from_bytes(signature.blob[:8], "big")
            message = cosigned_message(note.text, time_s)
            members |= _signed(f"witness-{number}", witnesses[who], message, signature.blob[8:])
    return members


def _b3sum_line(entry: Entry) -> bytes:
    """As ``b3sum`` writes and checks it: a name with a backslash or a line break is escaped."""
    if entry.kind is not Kind.FILE:
        return b""
    raw = entry.path.raw
    mark = b"\\" if b"\\" in raw or b"\n" in raw else b""
    return mark + entry.digest.hex().encode() + b"  " + raw.replace(b"\\", b"\\\\").replace(b"\n", b"\\n") + b"\n"


def _readme(papers: Papers, document: CheckedDocument, stamp: TimeStamp | None) -> bytes:
    statement = document.statement
    receipt = parse_receipt(papers.receipt)
    proof = parse_proof(receipt.proof)
    leaf = proof.extra or b""
    derived = _derived(papers, document)
    names = [name.removesuffix(".pem") for name in derived if name.endswith(".pem")]
    return readme(
        ReadmeFacts(
            statement=statement,
            signed=tuple(name.removeprefix("openssl/") for name in names),
            steps=inclusion_steps(statement.index, statement.tree_size, proof.path),
            leaf_hash=leaf_hash(leaf),
            listing=listing_commitment(papers.salt, papers.listing),
            stamped=stamp is not None,
            certificates=stamp is not None and bool(stamp.certificates),
        )
    ).encode()


# --- reading one ------------------------------------------------------------------------------


def check_bundle(data: bytes, *, pinned_pool: PoolId | None, certificates: bytes = b"") -> CheckedBundle:
    """Verify a bundle, all of it but its README, with nothing else at hand.

    Args:
        certificates: PEM of time stamping authorities to believe; by default those in the bundle, which says less.

    Raises:
        MalformedError: not a bundle.
        ReceiptError, BadSignatureError, CorruptError: it does not prove what it claims.
    """
    members = _members(data)
    core = [members[name] for name in _CORE]
    papers = Papers(parse_receipt(core[0]).object, *core)
    document = check_papers(papers, pinned_pool=pinned_pool)
    derived = _derived(papers, document)
    rest = set(members) - set(_CORE) - set(_OPTIONAL) - {README_FILE}
    for name in sorted(rest | set(derived)):
        if members.get(name) != derived.get(name):
            raise ReceiptError(f"bundle: {name} is not what follows from its receipt")
    if STAMP_FILE not in members:
        return CheckedBundle(document, None, stamp_unread=False)
    if not stamping_is_possible():
        return CheckedBundle(document, None, stamp_unread=True)
    pem = certificates or members.get(CERTIFICATES_FILE, b"")
    stamp = check_stamp(members[STAMP_FILE], derived["checkpoint"], pem)
    return CheckedBundle(document, stamp._replace(believed=bool(certificates)), stamp_unread=False)


def _members(data: bytes) -> Mapping[str, bytes]:
    """The files of the zip, within bounds. Raises MalformedError, CorruptError."""
    limits = _CORE | _OPTIONAL | {"files.b3": _LISTING_MAX_BYTES}
    members: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if len(infos) > MEMBERS_MAX:
                raise MalformedError(f"bundle: {len(infos)} files, at most {MEMBERS_MAX} allowed")
            for info in infos:
                limit = limits.get(info.filename, RECEIPT_MAX_BYTES)
                if info.compress_type != zipfile.ZIP_STORED or info.file_size > len(data):
                    raise MalformedError(f"bundle: {info.filename!r} is compressed, as no bundle is")
                if info.filename in members or info.file_size > limit:
                    raise MalformedError(f"bundle: {info.filename!r} occurs twice or is too large")
                with archive.open(info) as file:
                    members[info.filename] = file.read(info.file_size)
    except zipfile.BadZipFile as error:
        raise CorruptError(f"bundle: {error}") from error
    except (NotImplementedError, RuntimeError, EOFError, OSError, ValueError, UnicodeDecodeError) as error:
        raise MalformedError(f"bundle: not a zip file that can be read: {error}") from error
    missing = sorted(set(_CORE) - set(members))
    if missing:
        raise MalformedError(f"bundle: {', '.join(missing)} is missing")
    return members

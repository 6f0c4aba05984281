"""Receipts: they convince alone, and nothing about them can be changed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from functools import cache

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from anchor.leaf import RelocateLeaf, manifest_leaf, organisation_key_name, sign_leaf
from anchor.log import Log
from anchor.manifest import Extent, Manifest, object_id, sign_manifest
from anchor.note import Ed25519Signer
from anchor.policy import make_policy
from anchor.proof import format_proof, parse_proof
from anchor.receipt import Receipt, ReceiptStatement, check_receipt, encode_receipt, parse_receipt
from anchor.roster import Organisation, sign_roster
from core.encoding import Value, encode
from core.errors import (
    BadSignatureError,
    CorruptError,
    MalformedError,
    MoorageError,
    NewerVersionError,
    ReceiptError,
    UsageError,
)
from core.identity import public_bytes
from core.ids import ObjectId, PeerId, PoolId, ShardRoot
from core.ports import Address
from erasure.scheme import Scheme
from tests.anchor.ledgers import BOTH_KEYS, HYBRID, LOG, ORIGIN, create, hybrid_witness
from tests.sim.disk import SimDisk

POOL_KEY = Ed25519PrivateKey.from_private_bytes(b"P" * 32)
POOL = PoolId.of_key(public_bytes(POOL_KEY))
OWNER_KEY = Ed25519PrivateKey.from_private_bytes(b"O" * 32)
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"X" * 32)
SCHEME = Scheme(2, 3)
ANCHORED_S = 1_790_000_100


def manifest_file(key: Ed25519PrivateKey = OWNER_KEY, pool: PoolId = POOL, created_s: int = 1_790_000_000) -> bytes:
    roots = tuple(ShardRoot(bytes([number]) * 32) for number in range(3))
    return sign_manifest(
        key,
        Manifest(
            pool=pool,
            epoch=1,
            owner_key=public_bytes(key),
            created_s=created_s,
            scheme=SCHEME,
            degraded=False,
            groups=(tuple(PeerId(bytes([number]) * 32) for number in range(3)),),
            extents=(Extent(1, 100, 0, roots),),
            index=(Extent(1, 50, 0, roots),),
            index_lengths=(50,),
            index_codecs=b"\0",
            index_bytes=20,
            listing=bytes(32),
            slots=(),
        ),
    )


def roster(
    policy: str = BOTH_KEYS, owner: Ed25519PrivateKey = OWNER_KEY, pool_key: Ed25519PrivateKey = POOL_KEY
) -> bytes:
    organisations = [
        Organisation(
            "Clinic B",
            b"issuer",
            public_bytes(OTHER_KEY),
            b"sealing",
            make_policy(Ed25519Signer("b", OTHER_KEY).key.vkey, []),
        ),
        Organisation("Hospital A", b"issuer", public_bytes(owner), b"sealing", policy),
    ]
    return sign_roster(pool_key, pool_name="test", epoch=7, organisations=organisations, seeds=[Address("host", 1)])


def leaf_of(data: bytes, key: Ed25519PrivateKey = OWNER_KEY, scheme: Scheme = SCHEME) -> bytes:
    return manifest_leaf(
        key, organisation="Hospital A", object_id=object_id(data), size_bytes=100, scheme=scheme, time_s=1_790_000_000
    )


@dataclass(frozen=True)
class Scene:
    log: Log
    manifest: bytes
    receipt: Receipt


@cache
def scene() -> Scene:
    log = create(SimDisk(), [hybrid_witness()], BOTH_KEYS)
    log.append([leaf_of(manifest_file(created_s=number)) for number in range(5)], ANCHORED_S)
    data = manifest_file()
    (anchored,) = log.append([leaf_of(data)], ANCHORED_S)
    return Scene(log, data, Receipt(object_id(data), anchored.proof_file(), BOTH_KEYS, roster()))


def receipt_for(leaf: bytes, object_: ObjectId | None = None, roster_file: bytes | None = None) -> Receipt:
    (anchored,) = scene().log.append([leaf], ANCHORED_S)
    return Receipt(object_ or scene().receipt.object, anchored.proof_file(), BOTH_KEYS, roster_file or roster())


def check(receipt: Receipt) -> ReceiptStatement:
    return check_receipt(receipt, manifest_file=scene().manifest, pinned_pool=POOL)


def test_a_receipt_states_where_when_and_by_whom_it_was_anchored() -> None:
    statement = check(parse_receipt(encode_receipt(scene().receipt)))
    assert statement.object == object_id(scene().manifest)
    assert (statement.origin, statement.index, statement.tree_size) == (ORIGIN, 5, 6)
    assert statement.cosigners == (HYBRID[0].key.name,)
    assert (statement.time_s, statement.leaf.time_s) == (ANCHORED_S, 1_790_000_000)
    assert (statement.organisation, statement.pool, statement.pool_name, statement.epoch) == (
        "Hospital A",
        POOL,
        "test",
        7,
    )
    assert statement == check_receipt(scene().receipt), "it needs neither manifest nor pin"
    assert len(encode_receipt(scene().receipt)) < 16_384


def test_every_flipped_and_every_missing_byte_of_the_file_shows() -> None:
    data = encode_receipt(scene().receipt)
    for at in range(len(data)):
        with pytest.raises(CorruptError):
            parse_receipt(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
    for at in range(0, len(data), 7):
        with pytest.raises(CorruptError):
            parse_receipt(data[:at])


def test_a_changed_byte_of_its_parts_changes_nothing_of_what_it_states() -> None:
    """A forger can compute the digest at the end, but no signature. Base64 has unused bits: some changes are none."""
    receipt = scene().receipt
    statement = check(receipt)
    proofs = [replace(receipt, proof=changed) for changed in changes(receipt.proof, 9)]
    rosters = [replace(receipt, roster=changed) for changed in changes(receipt.roster, 9)]
    accepted = 0
    for forged in proofs + rosters:
        with contextlib.suppress(MoorageError):
            assert check(forged) == statement
            accepted += 1
    assert accepted <= 5


def changes(data: bytes, step: int) -> list[bytes]:
    return [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(0, len(data), step)]


def test_a_roster_of_another_pool_is_refused_when_ours_is_pinned() -> None:
    forged = replace(scene().receipt, roster=roster(pool_key=OTHER_KEY))
    assert check_receipt(forged).pool != POOL
    with pytest.raises(ReceiptError, match="from pool"):
        check(forged)
    with pytest.raises(ReceiptError, match="differ in scheme or pool"):
        check_receipt(forged, manifest_file=scene().manifest)


def test_a_policy_that_is_not_on_the_roster_is_refused() -> None:
    weaker = make_policy(LOG.vkey, [])
    with pytest.raises(ReceiptError, match="not that of any organisation"):
        check(replace(scene().receipt, policy=weaker))
    assert check(replace(scene().receipt, policy=weaker, roster=roster(weaker))).cosigners == ()


def test_a_checkpoint_below_the_quorum_is_refused() -> None:
    receipt = scene().receipt
    proof = parse_proof(receipt.proof)
    cut = proof.checkpoint[: proof.checkpoint.rindex("— ".encode())]
    with pytest.raises(BadSignatureError, match="quorum"):
        check(replace(receipt, proof=format_proof(replace(proof, checkpoint=cut))))


def test_a_proof_of_another_place_or_without_its_leaf_is_refused() -> None:
    receipt = scene().receipt
    proof = parse_proof(receipt.proof)
    for wrong in (replace(proof, index=4), replace(proof, path=()), replace(proof, extra=None)):
        with pytest.raises(ReceiptError):
            check(replace(receipt, proof=format_proof(wrong)))


def test_a_leaf_about_something_else_is_refused() -> None:
    other = manifest_file(created_s=3)
    with pytest.raises(ReceiptError, match="another object"):
        check(receipt_for(leaf_of(other)))
    peer, root = PeerId(bytes(32)), ShardRoot(bytes(32))
    relocation = RelocateLeaf(scene().receipt.object, 0, 0, root, peer, peer, 1)
    with pytest.raises(ReceiptError, match="'relocate'"):
        check(receipt_for(sign_leaf(OWNER_KEY, organisation_key_name("Hospital A"), relocation)))


def test_a_leaf_that_the_owner_did_not_sign_is_refused() -> None:
    with pytest.raises(BadSignatureError, match="not signed by the manifest key of 'Hospital A'"):
        check(receipt_for(leaf_of(scene().manifest, OTHER_KEY)))


def test_another_manifest_is_refused() -> None:
    with pytest.raises(CorruptError):
        check_receipt(scene().receipt, manifest_file=scene().manifest + b"x")
    with pytest.raises(CorruptError):
        check_receipt(scene().receipt, manifest_file=manifest_file(created_s=3))


def test_a_manifest_of_another_owner_or_scheme_is_refused() -> None:
    foreign = manifest_file(OTHER_KEY)
    with pytest.raises(ReceiptError, match="owner"):
        check_receipt(receipt_for(leaf_of(foreign), object_id(foreign)), manifest_file=foreign)
    with pytest.raises(ReceiptError, match="scheme"):
        check(receipt_for(leaf_of(scene().manifest, scheme=Scheme(4, 6))))


def test_organisations_that_share_a_log_are_told_apart_by_their_keys() -> None:
    shared = [
        Organisation("First", b"issuer", public_bytes(OTHER_KEY), b"sealing", BOTH_KEYS),
        Organisation("Second", b"issuer", public_bytes(OWNER_KEY), b"sealing", BOTH_KEYS),
    ]
    data = sign_roster(POOL_KEY, pool_name="test", epoch=1, organisations=shared, seeds=[])
    assert check(replace(scene().receipt, roster=data)).organisation == "Second"


def with_digest(body: bytes) -> bytes:
    return body + blake3(body).digest()


def test_malformed_newer_and_huge_receipts_are_refused() -> None:
    fields: dict[str, Value] = {"v": 1, "object": bytes(32), "proof": b"", "policy": "", "roster": b""}
    parse_receipt(with_digest(encode(fields)))
    wrongs: list[dict[str, Value]] = [
        {**fields, "more": 1},
        {**fields, "object": b""},
        {**fields, "policy": b""},
        {"v": 1},
    ]
    for wrong in wrongs:
        with pytest.raises(MalformedError):
            parse_receipt(with_digest(encode(wrong)))
    with pytest.raises(NewerVersionError):
        parse_receipt(with_digest(encode({"v": 4, "news": True})))
    with pytest.raises(MalformedError):
        parse_receipt(with_digest(b"x" * 1_000_000))
    with pytest.raises(UsageError):
        encode_receipt(Receipt(ObjectId(bytes(32)), b"x" * 800_000, "", b""))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_receipt_or_refused(data: bytes) -> None:
    for candidate in (data, with_digest(data)):
        with contextlib.suppress(CorruptError, MalformedError):
            parse_receipt(candidate)


@given(st.binary(max_size=60), st.text(max_size=60), st.binary(max_size=60))
def test_receipts_are_written_and_read_alike_and_never_convince_by_chance(
    proof: bytes, policy: str, roster_file: bytes
) -> None:
    receipt = Receipt(ObjectId(bytes(32)), proof, policy, roster_file)
    assert parse_receipt(encode_receipt(receipt)) == receipt
    with pytest.raises((MalformedError, BadSignatureError, ReceiptError)):
        check_receipt(receipt)
    with pytest.raises((MalformedError, BadSignatureError, ReceiptError)):
        check_receipt(replace(receipt, roster=roster()))

"""Receipts of a consortium: small, complete, and worth nothing without the quorum of its day."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha256

import pytest

from anchor.leaf import manifest_leaf
from anchor.log import Log
from anchor.note import Ed25519Signer
from anchor.proof import Proof, format_proof, parse_proof
from anchor.receipt import Receipt, ReceiptStatement, check_receipt, encode_receipt, make_receipt, parse_receipt
from anchor.roster import Roster, parse_roster
from anchor.rosterfile import RosterFile, encode_roster_file, for_receipt, parse_roster_file
from anchor.witness import LocalWitness
from core.errors import BadSignatureError, CorruptError, MoorageError, ReceiptError
from core.identity import key_from_seed
from core.ids import ObjectId, PoolId
from erasure.scheme import Scheme
from tests.anchor.consortium import FOUR, NOW_S, YEAR_S, Hospital, version
from tests.sim.disk import SimDisk

OBJECT = ObjectId(bytes(range(32)))


@cache
def grown() -> RosterFile:
    """A consortium as they come about: founded by one, joined by one after the other."""
    file = version(None, FOUR[:1], FOUR[:1])
    for count in (2, 3, 4):
        file = version(file, FOUR[:count], FOUR[:count][:3] if count == 4 else FOUR[:count])
    return file


@dataclass(frozen=True)
class Ledger:
    """Hospital a's log; all four hospitals witness it."""

    roster_file: bytes
    roster: Roster
    proof: bytes


def anchored(file: RosterFile, witnesses: list[Hospital], now_s: int = NOW_S) -> Ledger:
    data = encode_roster_file(file)
    roster = parse_roster(data)
    owner = FOUR[0]
    key = key_from_seed(owner.log_seed)
    logs = {owner.origin: [Ed25519Signer(owner.origin, key).key]}
    panel = [LocalWitness.create(SimDisk(), "/witness", item.cosigners(), logs) for item in witnesses]
    policy = roster.organisations[0].policy
    log = Log.create(SimDisk(), "/log", key=key, policy=policy, witnesses=panel, now_s=now_s)
    leaf = manifest_leaf(
        owner.manifest_key, organisation="a", object_id=OBJECT, size_bytes=9, scheme=Scheme.parse("4+2"), time_s=now_s
    )
    (entry,) = log.append([leaf], now_s)
    return Ledger(data, roster, entry.proof_file())


@cache
def ledger() -> Ledger:
    return anchored(grown(), FOUR)


def receipt() -> Receipt:
    return make_receipt(OBJECT, ledger().proof, ledger().roster_file, ledger().roster.organisations[0])


def check(data: bytes, pool: PoolId | None = None) -> ReceiptStatement:
    return check_receipt(parse_receipt(data), pinned_pool=pool or ledger().roster.pool)


def test_a_receipt_of_four_hospitals_with_hybrid_keys_stays_below_16_kib() -> None:
    data = encode_receipt(receipt())
    statement = check(data)
    assert (statement.organisation, statement.epoch, statement.origin) == ("a", 4, "consortium.example/a/1")
    assert len(statement.cosigners) == 3
    # In a log of 131,072 entries the way to the root has 17 hashes.
    proof = parse_proof(receipt().proof)
    path = tuple(sha256(bytes([number])).digest() for number in range(17))
    longer = format_proof(Proof(1, path, proof.checkpoint, proof.extra))
    longest = encode_receipt(Receipt(OBJECT, longer, "", receipt().roster))
    print(f"receipt: {len(data)} bytes, {len(longest)} in a log of 131,072 entries")
    assert len(longest) < 16 * 1024


def test_a_receipt_needs_nothing_but_itself_and_the_pin() -> None:
    data = encode_receipt(receipt())
    with pytest.raises(ReceiptError, match="pool"):
        check(data, PoolId(bytes(32)))
    for at in range(0, len(data), 211):
        wrong = bytearray(data)
        wrong[at] ^= 4
        with pytest.raises(CorruptError):
            check(bytes(wrong))


def test_two_of_four_witnesses_are_no_quorum() -> None:
    whole = receipt()
    note = parse_proof(whole.proof)
    short = b"\n".join(line for line in note.checkpoint.split(b"\n") if b"example/c/1/witness" not in line)
    fewer = Receipt(OBJECT, format_proof(Proof(note.index, note.path, short, note.extra)), "", whole.roster)
    with pytest.raises(BadSignatureError, match="quorum"):
        check(encode_receipt(fewer))


def test_a_smaller_roster_makes_no_smaller_quorum() -> None:
    """A receipt that leaves out the keys of witnesses that did not sign needs as many signatures as ever."""
    file = parse_roster_file(ledger().roster_file)
    names = [f"consortium.example/{name}/1/witness" for name in "ab"]
    with pytest.raises(MoorageError, match="lacks keys"):
        check(encode_receipt(Receipt(OBJECT, receipt().proof, "", encode_roster_file(for_receipt(file, names)))))


def test_what_is_cosigned_after_the_roster_expired_is_no_receipt() -> None:
    late = anchored(grown(), FOUR, NOW_S + YEAR_S + 1)
    made = make_receipt(OBJECT, late.proof, late.roster_file, late.roster.organisations[0])
    with pytest.raises(ReceiptError, match="expired"):
        check(encode_receipt(made))


def test_a_receipt_outlives_the_membership_of_those_who_signed_it() -> None:
    gone = version(grown(), FOUR[1:], FOUR[1:])
    assert parse_roster(encode_roster_file(gone)).pool == ledger().roster.pool
    assert check(encode_receipt(receipt()), parse_roster(encode_roster_file(gone)).pool).organisation == "a"


def test_a_policy_may_not_be_brought_along() -> None:
    whole = receipt()
    brought = Receipt(OBJECT, whole.proof, ledger().roster.organisations[0].policy, whole.roster)
    with pytest.raises(ReceiptError, match="follows"):
        check_receipt(brought)


def test_the_chain_in_a_receipt_is_verified() -> None:
    file = parse_roster_file(receipt().roster)
    cut = file._replace(roots=(*file.roots[:3], file.roots[2]))
    with pytest.raises(MoorageError):
        check(encode_receipt(Receipt(OBJECT, receipt().proof, "", encode_roster_file(cut))))

"""Receipts of a consortium: small, complete, and worth nothing without the quorum of its day."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from anchor.leaps import for_receipt
from anchor.proof import Proof, format_proof, parse_proof
from anchor.receipt import Receipt, ReceiptStatement, check_receipt, encode_receipt, make_receipt, parse_receipt
from anchor.roster import parse_roster
from anchor.rosterfile import encode_roster_file, parse_roster_file
from core.compression import pack_document
from core.encoding import Value, decode_checked, encode_checked
from core.errors import BadSignatureError, CorruptError, MalformedError, MoorageError, ReceiptError
from core.ids import PoolId
from core.limits import RECEIPT_MAX_BYTES
from tests.anchor.consortium import FOUR, NOW_S, YEAR_S, founded, version
from tests.anchor.consortium_receipts import OBJECT, Ledger, aged, anchored, grown, in_a_long_log, panel_of


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
    longest = in_a_long_log(receipt())
    print(f"receipt: {len(data)} bytes, {len(longest)} in a log of 131,072 entries")
    assert len(longest) < 16 * 1024


def test_a_receipt_stays_below_16_kib_after_a_hundred_versions() -> None:
    made = anchored(aged(100), panel_of(aged(100)))
    late = make_receipt(OBJECT, made.proof, made.roster_file, made.roster.organisations[0])
    assert check(encode_receipt(late)).epoch == 100
    longest = in_a_long_log(late)
    roots = parse_roster_file(late.roster).roots
    print(f"receipt at version 100: {len(roots)} roots, {len(longest)} bytes in a log of 131,072 entries")
    assert len(longest) < 16 * 1024


def fields_of(data: bytes) -> dict[str, Value]:
    value = decode_checked(data, max_bytes=RECEIPT_MAX_BYTES, what="receipt")
    assert isinstance(value, dict)
    return value


def test_a_receipt_with_every_root_is_read_as_ever() -> None:
    """As it was written before versions could be left out: version 2, with all the signatures that there are."""
    file = parse_roster_file(ledger().roster_file)
    part = parse_roster_file(receipt().roster)
    whole = encode_roster_file(part._replace(roots=file.roots, targets=file.targets))
    data = encode_receipt(replace(receipt(), roster=whole))
    assert fields_of(data)["v"] == 2
    assert fields_of(encode_receipt(receipt()))["v"] == 3
    assert encode_receipt(parse_receipt(data)) == data
    assert check(data) == check(encode_receipt(receipt()))


@pytest.mark.parametrize("version", [2, 3])
def test_the_version_of_a_receipt_says_whether_roots_are_left_out(version: int) -> None:
    made = receipt()
    if version == 3:
        made = replace(made, roster=encode_roster_file(for_receipt(founded(), [])))
    value = fields_of(encode_receipt(made))
    ledger_file = parse_roster_file(made.roster).ledger
    value["ledger"] = ledger_file if version == 2 else pack_document(ledger_file)
    with pytest.raises(MalformedError, match="roots of another"):
        parse_receipt(encode_checked({**value, "v": version}))


def test_a_consortiums_receipt_is_written_in_one_way() -> None:
    """Neither its part of the roster nor the whole of it under the first version, which packs nothing."""
    for roster_file in (receipt().roster, ledger().roster_file):
        fields: dict[str, Value] = {"v": 1, "object": OBJECT.raw, "proof": receipt().proof, "policy": ""}
        with pytest.raises(MalformedError, match="version 1 with the roster of a consortium"):
            parse_receipt(encode_checked(fields | {"roster": roster_file}))


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
    cut = file._replace(roots=(file.roots[0], parse_roster_file(ledger().roster_file).roots[2]))
    with pytest.raises(MoorageError):
        check(encode_receipt(Receipt(OBJECT, receipt().proof, "", encode_roster_file(cut))))

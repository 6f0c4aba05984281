"""The witness: requests of others with the status each must get, and every way a log can contradict itself."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from anchor.checkpoint import Checkpoint
from anchor.cosignature import Ed25519Cosigner, MLDSA44Cosigner, verifier_of
from anchor.files import read_file, replace_file, replace_file_durably
from anchor.merkle import EMPTY_ROOT, HashAt, consistency_proof, leaf_hash, node_hash, subtree_root
from anchor.note import Ed25519Signer, NoteKey, Signature, format_note, parse_note, parse_signature_line, verify_note
from anchor.witness import (
    AddCheckpoint,
    LocalWitness,
    format_add_checkpoint,
    origin_folder,
    parse_add_checkpoint,
)
from core.errors import LedgerError, WitnessRefusedError
from tests.anchor.ledgers import LOG, LOG_KEY, NOW_S, ORIGIN, flip
from tests.anchor.vectors import load_json
from tests.sim.disk import SimDisk
from tests.sim.drive import SimDrive

ED25519 = Ed25519Cosigner("w.example/1", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
MLDSA44 = MLDSA44Cosigner("w.example/1", MLDSA44PrivateKey.from_seed_bytes(b"m" * 32))
SIGNER = Ed25519Signer(ORIGIN, LOG_KEY)


def tree(count: int, salt: bytes = b"") -> HashAt:
    hashes = [leaf_hash(salt + bytes([number])) for number in range(count)]

    def hash_at(level: int, index: int) -> bytes:
        if level == 0:
            return hashes[index]
        return node_hash(hash_at(level - 1, 2 * index), hash_at(level - 1, 2 * index + 1))

    return hash_at


def checkpoint(size: int, salt: bytes = b"") -> bytes:
    text = Checkpoint(ORIGIN, size, subtree_root(tree(size, salt), 0, size)).text
    return format_note(text, [SIGNER.sign(text)])


def proof(old: int, new: int, salt: bytes = b"") -> tuple[bytes, ...]:
    return consistency_proof(tree(new, salt), old, new)


def new_witness(disk: SimDisk | None = None, key: NoteKey = LOG, origin: str = ORIGIN) -> LocalWitness:
    return LocalWitness.create(disk or SimDisk(), "/witness", [ED25519, MLDSA44], {origin: [key]})


def status(witness: LocalWitness, old: int, steps: Sequence[bytes], data: bytes) -> int:
    """The HTTP status of the answer."""
    try:
        witness.add_checkpoint(old, steps, data, now_s=NOW_S)
    except WitnessRefusedError as error:
        return error.status
    return 200


def status_of_request(witness: LocalWitness, body: bytes) -> int:
    try:
        request = parse_add_checkpoint(body)
    except WitnessRefusedError as error:
        return error.status
    return status(witness, request.old_size, request.proof, request.checkpoint)


def test_litewitness_requests_get_their_status() -> None:
    """Nine in turn; the third, of an unknown log, gets 404 as tlog-witness says where litewitness answered 403."""
    vectors: list[dict[str, Any]] = load_json("witness/litewitness.json")
    origin = "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562"
    key = NoteKey(origin, 1, bytes.fromhex("ffdc2d4d98e4124d3feaf788c0c2f9abfd796083d1f0495437f302ec79cf100f"))
    witness = new_witness(None, key, origin)
    found = [status_of_request(witness, vector["request"].encode()) for vector in vectors]
    expected = [vector["status"] for vector in vectors]
    assert len(expected) == 9
    expected[2] = 404
    assert found == expected


def test_the_go_checksum_database_is_cosigned() -> None:
    """Its key has another name than its origin."""
    (vector,) = load_json("witness/sumdb.json")
    key = NoteKey.parse("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8")
    witness = new_witness(None, key, "go.sum database tree")
    assert status_of_request(witness, vector["request"].encode()) == vector["status"] == 200


def test_growth_with_a_proof_is_cosigned_with_every_key() -> None:
    witness = new_witness()
    for old, new in ((0, 1), (1, 3), (3, 5), (5, 5)):
        data = checkpoint(new)
        lines = witness.add_checkpoint(old, proof(old, new), data, now_s=NOW_S).splitlines()
        note = parse_note(data)
        signatures = [parse_signature_line(line) for line in lines]
        assert [signature.name for signature in signatures] == ["w.example/1"] * 2
        for key, signature in zip((ED25519.key, MLDSA44.key), signatures, strict=True):
            assert verifier_of(key).check(note.text, signature.blob) == NOW_S


def test_what_it_serves_to_monitors_carries_the_logs_signature_and_its_own() -> None:
    disk = SimDisk()
    stranger = Signature("stranger", b"abcd", b"signature")
    witness = new_witness(disk)
    witness.add_checkpoint(0, (), checkpoint(4) + stranger.line.encode(), now_s=NOW_S)
    with disk.open(f"{origin_folder('/witness', ORIGIN)}/checkpoint", "read") as file:
        note = parse_note(file.read_at(0, file.size()))
    assert len(verify_note(note, [verifier_of(key) for key in (LOG, ED25519.key, MLDSA44.key)])) == 3
    assert stranger not in note.signatures
    assert witness.latest(ORIGIN) == Checkpoint(ORIGIN, 4, subtree_root(tree(4), 0, 4))


def test_each_wrong_request_gets_the_protocols_status() -> None:
    witness = new_witness()
    assert status(witness, 0, (), checkpoint(3)) == 200
    wrong = (bytes(32),)
    cases = {
        "not a note": (400, 3, (), b"garbage"),
        "not a checkpoint": (400, 3, (), format_note("text\n", [SIGNER.sign("text\n")])),
        "extension lines": (
            400,
            3,
            (),
            b"log\n3\n" + base64.b64encode(bytes(32)) + b"\nmore\n\n\xe2\x80\x94 a AAAAAAA=\n",
        ),
        "old size above the new": (400, 4, (), checkpoint(3)),
        "unknown log": (404, 0, (), checkpoint(3).replace(ORIGIN.encode(), b"other")),
        "no known signature": (403, 3, (), checkpoint(3).replace("— moorage".encode(), "— else".encode())),
        "bad signature": (403, 3, (), checkpoint(3).replace(b"\n3\n", b"\n4\n")),
        "old size behind": (409, 1, proof(1, 5), checkpoint(5)),
        "old size zero": (409, 0, (), checkpoint(5)),
        "old size ahead": (409, 4, proof(4, 5), checkpoint(5)),
        "no proof": (422, 3, (), checkpoint(5)),
        "wrong proof": (422, 3, wrong * len(proof(3, 5)), checkpoint(5)),
        "proof too long": (422, 3, proof(3, 5) + wrong, checkpoint(5)),
        "other history, larger": (422, 3, proof(3, 5, b"x"), checkpoint(5, b"x")),
        "other history, as large": (422, 3, (), checkpoint(3, b"x")),
        "proof at equal size": (422, 3, wrong, checkpoint(3)),
    }
    found = {name: status(witness, old, steps, data) for name, (_, old, steps, data) in cases.items()}
    assert found == {name: expected for name, (expected, *_) in cases.items()}
    assert status(witness, 3, proof(3, 5), checkpoint(5)) == 200


def test_a_conflict_tells_the_size_it_has_seen() -> None:
    witness = new_witness()
    with pytest.raises(WitnessRefusedError) as none:
        witness.add_checkpoint(2, proof(2, 3), checkpoint(3), now_s=NOW_S)
    assert (none.value.status, none.value.witness_size) == (409, 0)
    witness.add_checkpoint(0, (), checkpoint(7), now_s=NOW_S)
    with pytest.raises(WitnessRefusedError) as seven:
        witness.add_checkpoint(2, proof(2, 3), checkpoint(3), now_s=NOW_S)
    assert seven.value.witness_size == 7


def test_from_size_zero_no_proof_is_needed_and_none_is_accepted() -> None:
    """The profile at size 0: every tree extends the empty one, whose root is SHA-256 of nothing."""
    empty = Checkpoint(ORIGIN, 0, bytes(32)).text
    witness = new_witness()
    assert status(witness, 0, (), format_note(empty, [SIGNER.sign(empty)])) == 422
    assert status(witness, 0, (bytes(32),), checkpoint(4)) == 422
    good = Checkpoint(ORIGIN, 0, EMPTY_ROOT).text
    assert status(witness, 0, (), format_note(good, [SIGNER.sign(good)])) == 200
    assert status(witness, 0, (), format_note(empty, [SIGNER.sign(empty)])) == 422
    assert status(witness, 0, (bytes(32),), checkpoint(4)) == 422
    assert status(witness, 0, (), checkpoint(4)) == 200


def test_a_forged_line_under_its_own_name_does_not_poison_what_it_remembers() -> None:
    witness = new_witness()
    forged = checkpoint(3) + Signature("w.example/1", ED25519.key.key_id, b"x" * 72).line.encode()
    assert status(witness, 0, (), forged) == 200
    assert status(witness, 3, proof(3, 4), checkpoint(4)) == 200


def test_the_first_contradiction_is_kept_as_evidence() -> None:
    disk = SimDisk()
    witness = new_witness(disk)
    witness.add_checkpoint(0, (), checkpoint(3), now_s=NOW_S)
    for salt in (b"x", b"y"):
        assert status(witness, 3, (), checkpoint(3, salt)) == 422
    with disk.open(f"{origin_folder('/witness', ORIGIN)}/refused", "read") as file:
        assert file.read_at(0, file.size()) == checkpoint(3, b"x")


def test_no_power_cut_takes_what_was_shown_as_remembered() -> None:
    drive = SimDrive(1)
    disk = SimDisk(drive)
    witness = new_witness(disk)
    witness.add_checkpoint(0, (), checkpoint(3), now_s=NOW_S)
    folder = origin_folder("/witness", ORIGIN)
    # As one leaves it that is killed after the rename.
    replace_file(disk, f"{folder}/checkpoint", checkpoint(4))
    shown = witness.remembered(folder.rpartition("/")[2])
    assert shown == checkpoint(4)
    drive.cut_power()
    assert read_file(SimDisk(drive), f"{folder}/checkpoint") == shown


def test_a_true_checkpoint_with_a_wrong_proof_is_no_evidence_and_makes_room_for_none() -> None:
    """Any member can send one."""
    disk = SimDisk()
    witness = new_witness(disk)
    witness.add_checkpoint(0, (), checkpoint(3), now_s=NOW_S)
    folder = origin_folder("/witness", ORIGIN)
    assert status(witness, 3, (bytes(32),), checkpoint(4)) == 422
    assert disk.stat(f"{folder}/refused") is None
    # As a witness kept it that was not so careful.
    replace_file_durably(disk, f"{folder}/refused", checkpoint(4))
    assert status(witness, 3, (), checkpoint(3, b"x")) == 422
    assert status(witness, 3, proof(3, 4), checkpoint(4)) == 200
    assert status(witness, 4, (), checkpoint(4, b"y")) == 422
    assert read_file(disk, f"{folder}/refused") == checkpoint(3, b"x")
    assert (read_file(disk, f"{folder}/refused-against") or b"").startswith(checkpoint(3))


def test_a_witness_that_lost_its_folder_does_not_start_again() -> None:
    with pytest.raises(LedgerError, match="no witness"):
        LocalWitness.open(SimDisk(), "/witness", [ED25519], {ORIGIN: [LOG]})


def test_a_damaged_memory_stops_it() -> None:
    disk = SimDisk()
    witness = new_witness(disk)
    witness.add_checkpoint(0, (), checkpoint(3), now_s=NOW_S)
    flip(disk, f"{origin_folder('/witness', ORIGIN)}/checkpoint", len(ORIGIN) + 1)
    with pytest.raises(LedgerError, match="damaged"):
        witness.add_checkpoint(3, proof(3, 4), checkpoint(4), now_s=NOW_S)


def test_logs_do_not_disturb_each_other() -> None:
    other = Ed25519Signer("other.example/log", Ed25519PrivateKey.from_private_bytes(b"o" * 32))
    witness = LocalWitness.create(SimDisk(), "/w", [ED25519], {ORIGIN: [LOG], "other.example/log": [other.key]})
    text = Checkpoint("other.example/log", 9, bytes(32)).text
    assert status(witness, 0, (), checkpoint(3)) == 200
    assert status(witness, 0, (), format_note(text, [other.sign(text)])) == 200
    assert status(witness, 3, proof(3, 4), checkpoint(4)) == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n",
        b"old 00\n\nx",
        b"old -1\n\nx",
        b"new 0\n\nx",
        b"old 1\nAAAA\n\nx",
        b"old 1\n" + b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n" * 64 + b"\nx",
        b"old 1\n\xff\n\nx",
    ],
)
def test_malformed_requests_get_400(body: bytes) -> None:
    with pytest.raises(WitnessRefusedError) as refused:
        parse_add_checkpoint(body)
    assert refused.value.status == 400


@given(st.integers(0, 2**63 - 1), st.lists(st.binary(min_size=32, max_size=32), max_size=63), st.binary(max_size=50))
def test_requests_are_written_and_read_alike(old: int, steps: list[bytes], data: bytes) -> None:
    request = AddCheckpoint(old, tuple(steps), data)
    assert parse_add_checkpoint(format_add_checkpoint(request)) == request


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(body: bytes) -> None:
    for candidate in (body, b"old 1\n" + body):
        with contextlib.suppress(WitnessRefusedError):
            parse_add_checkpoint(candidate)

"""Policies and proofs: the grammar, the arithmetic of quorums, and every way a proof can fail."""

from __future__ import annotations

import base64
import contextlib
import itertools

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from anchor.checkpoint import Checkpoint
from anchor.cosignature import Cosigner, Ed25519Cosigner, MLDSA44Cosigner
from anchor.merkle import leaf_hash, node_hash
from anchor.note import Ed25519Signer, NoteKey, Signer, format_note
from anchor.policy import byzantine_quorum, format_policy, make_policy, parse_policy
from anchor.proof import Proof, format_proof, parse_proof
from core.errors import BadSignatureError, CorruptError, MalformedError
from tests.anchor.vectors import load_json

ORIGIN = "log.example/1"
LOG = Ed25519Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"L" * 32))
COSIGNERS = [Ed25519Cosigner(f"w.example/{n}", Ed25519PrivateKey.from_private_bytes(bytes([n] * 32))) for n in range(4)]
HYBRID = MLDSA44Cosigner("w.example/0", MLDSA44PrivateKey.from_seed_bytes(b"q" * 32))
LEFT, RIGHT = b"left", b"right"
CHECKPOINT = Checkpoint(ORIGIN, 2, node_hash(leaf_hash(LEFT), leaf_hash(RIGHT)))


def cosigned(*cosigners: Cosigner, time_s: int = 1000, signer: Signer = LOG) -> bytes:
    text = CHECKPOINT.text
    lines = [cosigner.sign(text, time_s=time_s + number) for number, cosigner in enumerate(cosigners)]
    return format_note(text, [signer.sign(text, time_s=time_s), *lines])


def vkeys(*cosigners: Cosigner) -> list[str]:
    return [cosigner.key.vkey for cosigner in cosigners]


W1, W2, W3, W4 = vkeys(*COSIGNERS)
NESTED = f"""
log {LOG.key.vkey}
witness X1 {W1}
\twitness  X2\t{W2} https://w.example/ \t
 # a comment
witness Y1 {W3}
witness Y2 {W4}
group X 2 X1 X2
group Y any Y1 Y2
group X-and-Y all X Y
quorum X-and-Y
"""


def test_nested_groups_are_evaluated_as_written() -> None:
    policy = parse_policy(NESTED)
    met = {
        chosen
        for count in range(5)
        for chosen in itertools.combinations(range(4), count)
        if policy.is_met(COSIGNERS[number].key for number in chosen)
    }
    assert met == {(0, 1, 2), (0, 1, 3), (0, 1, 2, 3)}


def test_a_policy_is_written_and_read_alike() -> None:
    policy = parse_policy(NESTED)
    assert parse_policy(format_policy(policy)) == policy


def test_keys_of_others_make_a_policy() -> None:
    key = next(key for key in load_json("formats/keys.json")["policy_witness_keys"] if key.startswith("remora"))
    assert parse_policy(f"witness w {key} https://example.com/remora\nquorum w\n").witnesses[0].key.vkey == key


MALFORMED = {
    "empty": "",
    "no quorum": f"witness w {W1}\n",
    "two quorums": "quorum none\nquorum none\n",
    "unknown quorum": "quorum w\n",
    "quorum before its witness": f"quorum w\nwitness w {W1}\n",
    "name twice": f"witness w {W1}\nwitness w {W2}\nquorum w\n",
    "key twice": f"witness w {W1}\nwitness v {W1}\nquorum w\n",
    "key twice under another name and type": (
        f"witness w {W1}\nwitness v {NoteKey('other', 4, COSIGNERS[0].key.public).vkey}\nquorum w\n"
    ),
    "log twice": f"log {LOG.key.vkey}\nlog {LOG.key.vkey}\nquorum none\n",
    "witness with a log's kind of key": f"witness w {LOG.key.vkey}\nquorum w\n",
    "keyword as witness": f"witness all {W1}\nquorum none\n",
    "none as group": f"witness w {W1}\ngroup none 1 w\nquorum none\n",
    "none as member": f"witness w {W1}\ngroup g any none w\nquorum g\n",
    "member unknown": "group g any w\nquorum g\n",
    "member of two groups": f"witness w {W1}\ngroup g any w\ngroup h any w\nquorum g\n",
    "member twice": f"witness w {W1}\ngroup g any w w\nquorum g\n",
    "group of itself": "group g any g\nquorum g\n",
    "no members": "group g all\nquorum g\n",
    "threshold 0": f"witness w {W1}\ngroup g 0 w\nquorum g\n",
    "threshold negative": f"witness w {W1}\ngroup g -1 w\nquorum g\n",
    "threshold with a leading zero": f"witness w {W1}\ngroup g 01 w\nquorum g\n",
    "threshold too high": f"witness w {W1}\ngroup g 2 w\nquorum g\n",
    "comment at a line's end": f"witness w {W1} https://w.example/ # mine\nquorum w\n",
    "unknown word": "mirror m\nquorum none\n",
    "log without a key": "log\nquorum none\n",
    "not a key": "log key\nquorum none\n",
    "carriage returns": "quorum none\r\n",
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_policies_are_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_policy(text)


@pytest.mark.parametrize(("n", "q"), [(1, 1), (2, 2), (3, 3), (4, 3), (7, 5), (10, 7), (13, 9)])
def test_two_quorums_share_an_honest_witness(n: int, q: int) -> None:
    assert byzantine_quorum(n) == q
    liars = (n - 1) // 3
    assert 2 * q - n > liars


def test_the_policy_we_make_counts_a_witness_only_with_all_its_keys() -> None:
    policy = parse_policy(make_policy(LOG.key.vkey, vkeys(COSIGNERS[0], HYBRID)))
    assert policy.check_checkpoint(cosigned(COSIGNERS[0], HYBRID)).cosigner_names == ("w.example/0",)
    for lone in (COSIGNERS[0], HYBRID):
        with pytest.raises(BadSignatureError, match="quorum"):
            policy.check_checkpoint(cosigned(lone))


def test_three_of_four_witnesses_are_enough_and_the_third_ones_time_counts() -> None:
    policy = parse_policy(make_policy(LOG.key.vkey, vkeys(*COSIGNERS)))
    checked = policy.check_checkpoint(cosigned(*COSIGNERS, time_s=500))
    assert (checked.time_s, checked.checkpoint, checked.log) == (502, CHECKPOINT, LOG.key)
    assert len(checked.cosigners) == 4
    with pytest.raises(BadSignatureError):
        policy.check_checkpoint(cosigned(*COSIGNERS[:2]))


def test_a_policy_without_witnesses_needs_the_logs_signature_alone() -> None:
    policy = parse_policy(make_policy(LOG.key.vkey, []))
    assert policy.check_checkpoint(cosigned()).time_s == 0


def test_a_checkpoint_that_another_log_signed_is_refused() -> None:
    other = Ed25519Signer("log.example/2", Ed25519PrivateKey.from_private_bytes(b"O" * 32))
    policy = parse_policy(f"log {LOG.key.vkey}\nlog {other.key.vkey}\nquorum none\n")
    with pytest.raises(BadSignatureError, match="not signed by a log"):
        policy.check_checkpoint(cosigned(signer=other))
    with pytest.raises(BadSignatureError):
        parse_policy(f"log {other.key.vkey}\nquorum none\n").check_checkpoint(cosigned())


def test_a_proof_convinces_and_carries_its_entry() -> None:
    policy = parse_policy(make_policy(LOG.key.vkey, vkeys(COSIGNERS[0])))
    proof = Proof(1, (leaf_hash(LEFT),), cosigned(COSIGNERS[0]), RIGHT)
    data = format_proof(proof)
    assert data.startswith(b"c2sp.org/tlog-proof@v1\nextra cmlnaHQ=\nindex 1\n")
    assert parse_proof(data) == proof
    assert parse_proof(data).check(RIGHT, policy).checkpoint == CHECKPOINT
    for wrong in (
        Proof(0, proof.path, proof.checkpoint),
        Proof(1, (), proof.checkpoint),
        Proof(1, proof.path * 2, proof.checkpoint),
    ):
        with pytest.raises(CorruptError):
            wrong.check(RIGHT, policy)
    with pytest.raises(CorruptError):
        proof.check(LEFT, policy)
    with pytest.raises(BadSignatureError):
        Proof(1, proof.path, cosigned(COSIGNERS[1])).check(RIGHT, policy)


HEAD = b"c2sp.org/tlog-proof@v1\n"
MALFORMED_PROOFS = {
    "other header": b"wrong-header\nindex 0\n\ncheckpoint\n",
    "extra not base64": HEAD + b"extra !!notbase64!!\nindex 0\n\ncheckpoint\n",
    "no index": HEAD + b"\n\ncheckpoint\n",
    "index not a number": HEAD + b"index notanumber\n\ncheckpoint\n",
    "index negative": HEAD + b"index -5\n\ncheckpoint\n",
    "index with a leading zero": HEAD + b"index 05\n\ncheckpoint\n",
    "hash not base64": HEAD + b"index 0\n!!notbase64!!\n\ncheckpoint\n",
    "hash of 64 bytes": HEAD + b"index 0\n" + base64.b64encode(bytes(64)) + b"\n\ncheckpoint\n",
    "too many hashes": HEAD + b"index 0\n" + (base64.b64encode(bytes(32)) + b"\n") * 64 + b"\ncheckpoint\n",
    "no checkpoint": HEAD + b"index 0\n",
    "carriage returns": b"c2sp.org/tlog-proof@v1\r\nindex 0\r\n\n\ncheckpoint\n",
    "not ASCII": "c2sp.org/tlog-proof@v1\nextra é\nindex 0\n\n".encode(),
    "huge": HEAD + b"index 0\n" + b"a" * 800_000,
}


@pytest.mark.parametrize("data", MALFORMED_PROOFS.values(), ids=MALFORMED_PROOFS.keys())
def test_malformed_proofs_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_proof(data)


@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=63),
    st.binary(max_size=100),
    st.none() | st.binary(max_size=100),
)
def test_proofs_are_written_and_read_alike(index: int, path: list[bytes], note: bytes, extra: bytes | None) -> None:
    proof = Proof(index, tuple(path), note, extra)
    assert parse_proof(format_proof(proof)) == proof


@given(st.binary(max_size=200))
def test_any_bytes_are_a_proof_or_malformed(data: bytes) -> None:
    for candidate in (data, HEAD + data):
        with contextlib.suppress(MalformedError):
            parse_proof(candidate)


@given(st.text(alphabet=f"loggroupquorumwitness \t\nany12#{W1[:20]}", max_size=120))
def test_any_text_is_a_policy_or_malformed(text: str) -> None:
    with contextlib.suppress(MalformedError):
        policy = parse_policy(text)
        assert parse_policy(format_policy(policy)) == policy

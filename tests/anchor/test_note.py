"""Signed notes and cosignatures, against the specifications' own examples."""

from __future__ import annotations

import base64
import contextlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from anchor.checkpoint import Checkpoint, parse_checkpoint
from anchor.cosignature import (
    Cosigner,
    Ed25519Cosigner,
    MLDSA44Cosigner,
    mldsa44_available,
    verifier_of,
)
from anchor.note import (
    Ed25519Signer,
    NoteKey,
    Signature,
    decode_base64,
    decode_hash,
    format_note,
    parse_note,
    verify_note,
)
from core.errors import BadSignatureError, MalformedError
from tests.anchor.vectors import load_json

EXAMPLE_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
CHECKPOINT = Checkpoint("log.example/1", 42, bytes(range(32)))
ED25519 = Ed25519PrivateKey.from_private_bytes(b"e" * 32)
MLDSA44 = MLDSA44PrivateKey.from_seed_bytes(b"m" * 32)


def cosigners() -> tuple[Cosigner, Cosigner]:
    return Ed25519Cosigner("w.example/1", ED25519), MLDSA44Cosigner("w.example/1", MLDSA44)


def open_note(data: bytes, *vkeys: str) -> str:
    note = parse_note(data)
    verify_note(note, [verifier_of(NoteKey.parse(vkey)) for vkey in vkeys])
    return note.text


def test_the_specifications_example_note_verifies() -> None:
    assert open_note(EXAMPLE, EXAMPLE_VKEY) == "This is an example message.\n"


def test_a_note_of_ours_verifies_and_its_text_may_hold_blank_lines() -> None:
    signer = Ed25519Signer("a.example/log", ED25519)
    text = "first\n\nsecond\n"
    assert open_note(format_note(text, [signer.sign(text)]), signer.key.vkey) == text


def test_unknown_signatures_are_ignored_even_under_a_known_name_or_id() -> None:
    known = NoteKey.parse(EXAMPLE_VKEY)
    strangers = [Signature(known.name, b"\0\0\0\1", b"x" * 64), Signature("other", known.key_id, b"x" * 64)]
    data = EXAMPLE + "".join(stranger.line for stranger in strangers).encode()
    assert open_note(data, EXAMPLE_VKEY)


def test_one_bad_line_by_a_known_key_spoils_the_note() -> None:
    known = NoteKey.parse(EXAMPLE_VKEY)
    with pytest.raises(BadSignatureError):
        open_note(EXAMPLE + Signature(known.name, known.key_id, b"x" * 64).line.encode(), EXAMPLE_VKEY)


def test_a_note_that_no_known_key_signed_is_refused() -> None:
    with pytest.raises(BadSignatureError, match="no signature by a known key"):
        open_note(EXAMPLE, Ed25519Signer("a.example/log", ED25519).key.vkey)


@pytest.mark.parametrize("position", range(len("This is an example message.\n")))
def test_every_character_of_the_text_is_covered(position: int) -> None:
    data = bytearray(EXAMPLE)
    data[position] ^= 1
    with pytest.raises((BadSignatureError, MalformedError)):
        open_note(bytes(data), EXAMPLE_VKEY)


MALFORMED_NOTES = {
    "empty": b"",
    "no signatures": b"text\n\n",
    "no blank line": "text\n— a AAAAAAA=\n".encode(),
    "no newline at the end": EXAMPLE[:-1],
    "hyphen for dash": EXAMPLE.replace("—".encode(), b"-"),
    "control character": b"\x01" + EXAMPLE,
    "carriage return": EXAMPLE.replace(b".\n", b".\r\n"),
    "not UTF-8": b"\xff" + EXAMPLE,
    "surrogate": b"\xed\xa0\x80" + EXAMPLE,
    "two spaces": EXAMPLE.replace(b"foo Uw", b"foo  Uw"),
    "plus in the name": EXAMPLE.replace(b"/foo", b"/f+o"),
    "no-break space in the name": EXAMPLE.replace(b"/foo", "/f\u00a0o".encode()),
    "no name": EXAMPLE.replace(b"example.com/foo", b""),
    "only a key id": "text\n\n— a AAAAAA==\n".encode(),
    "bad padding": "text\n\n— a AAAAAAA\n".encode(),
    "excess padding": "text\n\n— a AAAAAAA==\n".encode(),
    "foreign alphabet": "text\n\n— a AAAAAA_-\n".encode(),
    "name too long": ("text\n\n— " + "a" * 256 + " AAAAAAA=\n").encode(),
    "too many": b"text\n\n" + "— a AAAAAAA=\n".encode() * 129,
    "too long": b"a" * 600_000,
}


@pytest.mark.parametrize("data", MALFORMED_NOTES.values(), ids=MALFORMED_NOTES.keys())
def test_malformed_notes_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_note(data)


def test_sixteen_large_signatures_are_accepted() -> None:
    signatures = [Signature(f"w{number}", b"abcd", b"x" * 5000) for number in range(16)]
    assert parse_note(format_note("text\n", signatures)).signatures == tuple(signatures)


def test_unused_bits_of_base64_are_forgiven_in_signatures_only() -> None:
    assert decode_base64("YR==") == decode_base64("YQ==") == b"a"
    exact = base64.b64encode(bytes(32)).decode()
    assert decode_hash(exact) == bytes(32)
    loose = exact[:-2] + "B="
    assert decode_base64(loose) == bytes(32)
    for wrong in (loose, "AAAA", "", "é"):
        with pytest.raises(MalformedError):
            decode_hash(wrong)


VKEYS: list[str] = load_json("formats/keys.json")["note_verifier_keys"]


@pytest.mark.parametrize("vkey", VKEYS[:2], ids=["0x01", "0x04"])
def test_keys_of_others_are_read_and_written_alike(vkey: str) -> None:
    key = NoteKey.parse(vkey)
    assert key.vkey == vkey
    assert verifier_of(key).key == key


def test_a_key_whose_stated_id_is_not_its_own_is_refused() -> None:
    """The ML-DSA vector is such a key: its Go parser does not compare the id, the specification fixes it."""
    with pytest.raises(MalformedError, match="does not belong"):
        NoteKey.parse(VKEYS[2])
    key = NoteKey.parse(VKEYS[2].replace("5893dc2c", "31236897"))
    assert verifier_of(key).key == key


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "bananas.sigstore.dev+12344556",
        "rekor.sigstore.dev+12345678+THIS_IS_NOT_BASE64!",
        "rekor.sigstore.dev+12345678+AwEB",
        "rekor.sigstore.dev+NOT_A_NUMBER+AwEB",
        EXAMPLE_VKEY.replace("530d903a", "00000000"),
        EXAMPLE_VKEY.replace("530d903a", "530D903A"),
        EXAMPLE_VKEY + "=",
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
    ],
)
def test_malformed_verifier_keys_are_refused(vkey: str) -> None:
    with pytest.raises(MalformedError):
        NoteKey.parse(vkey)


def test_a_key_of_unknown_type_or_wrong_length_has_no_verifier() -> None:
    for key in (NoteKey("a", 2, bytes(32)), NoteKey("a", 1, bytes(31)), NoteKey("a", 4, b""), NoteKey("a", 6, b"x")):
        with pytest.raises(MalformedError):
            verifier_of(NoteKey.parse(key.vkey))


def test_one_public_key_has_another_id_for_each_signature_type() -> None:
    ids = {NoteKey("a.example", kind, bytes(32)).key_id for kind in (1, 4, 6)}
    assert len(ids) == 3


@pytest.mark.parametrize("cosigner", cosigners(), ids=["ed25519", "mldsa44"])
def test_a_cosignature_states_its_time_and_covers_the_checkpoint(cosigner: Cosigner) -> None:
    verifier = verifier_of(NoteKey.parse(cosigner.key.vkey))
    signature = cosigner.sign(CHECKPOINT.text, time_s=1_790_000_000)
    assert verifier.check(CHECKPOINT.text, signature.blob) == 1_790_000_000
    others = (
        Checkpoint("log.example/2", CHECKPOINT.size, CHECKPOINT.root),
        Checkpoint(CHECKPOINT.origin, 43, CHECKPOINT.root),
        Checkpoint(CHECKPOINT.origin, CHECKPOINT.size, bytes(32)),
    )
    for other in others:
        with pytest.raises(BadSignatureError):
            verifier.check(other.text, signature.blob)


@pytest.mark.parametrize("cosigner", cosigners(), ids=["ed25519", "mldsa44"])
def test_a_cosignature_with_a_changed_or_missing_time_is_refused(cosigner: Cosigner) -> None:
    verifier = verifier_of(cosigner.key)
    blob = cosigner.sign(CHECKPOINT.text, time_s=7).blob
    for wrong in (b"", blob[:8], (8).to_bytes(8, "big") + blob[8:], bytes(8) + blob[8:], b"\xff" + blob[1:], blob[8:]):
        with pytest.raises(BadSignatureError):
            verifier.check(CHECKPOINT.text, wrong)


def test_an_mldsa_cosignature_covers_the_cosigners_name_and_only_plain_checkpoints() -> None:
    cosigner = MLDSA44Cosigner("w.example/1", MLDSA44)
    impostor = NoteKey("w.example/2", 6, cosigner.key.public)
    with pytest.raises(BadSignatureError):
        verifier_of(impostor).check(CHECKPOINT.text, cosigner.sign(CHECKPOINT.text, time_s=1).blob)
    with pytest.raises(MalformedError):
        cosigner.sign(CHECKPOINT.text + "extension\n", time_s=1)


def test_a_cosignature_of_others_splits_into_time_and_signature() -> None:
    vector = load_json("formats/keys.json")["cosignature"]
    raw = base64.b64decode(vector["blob"])
    assert int.from_bytes(raw[4:12], "big") == vector["time_s"]
    assert len(raw) == 4 + 8 + 64


def test_mldsa44_is_there() -> None:
    assert mldsa44_available()


def test_a_checkpoint_is_written_and_read_alike() -> None:
    assert parse_checkpoint(CHECKPOINT.text) == CHECKPOINT


ROOT = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        f"log\n1\n{ROOT}",
        f"\n1\n{ROOT}\n",
        f"log\n01\n{ROOT}\n",
        f"log\n-1\n{ROOT}\n",
        f"log\n+1\n{ROOT}\n",
        f"log\n１\n{ROOT}\n",
        f"log\n9223372036854775808\n{ROOT}\n",
        f"log\n1\n{ROOT[:-4]}\n",
        f"log\n1\n{ROOT}\nextension\n",
        f"log\n1\n{ROOT}\n\n",
        f"{'l' * 256}\n1\n{ROOT}\n",
    ],
)
def test_malformed_checkpoints_are_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_checkpoint(text)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_note_or_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        parse_note(data)


@given(st.text(max_size=40), st.text(alphabet="—- +ab\n\u00a0AQ==é", max_size=40))
def test_what_parses_as_a_note_is_written_alike_up_to_unused_bits(text: str, tail: str) -> None:
    with contextlib.suppress(MalformedError):
        note = parse_note((text + "\n\n" + tail).encode("utf-8", "surrogatepass"))
        again = parse_note(format_note(note.text, note.signatures))
        assert again == note


@given(st.text(max_size=100))
def test_any_text_is_a_checkpoint_or_malformed(text: str) -> None:
    with contextlib.suppress(MalformedError):
        assert parse_checkpoint(text).text == text


@given(st.text(max_size=100))
def test_any_text_is_a_verifier_key_or_malformed(text: str) -> None:
    with contextlib.suppress(MalformedError):
        assert NoteKey.parse(text).vkey == text

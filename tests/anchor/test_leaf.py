"""Leaves: one value, one text."""

from __future__ import annotations

import contextlib

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from anchor.leaf import (
    Leaf,
    ManifestLeaf,
    RelocateLeaf,
    SweepLeaf,
    format_leaf,
    manifest_leaf,
    organisation_key_name,
    parse_leaf,
    peer_key_name,
    sign_leaf,
)
from anchor.note import Ed25519Signer, format_note
from anchor.ownerleaves import DeleteLeaf, DigestLeaf, RevokeLeaf
from core.errors import BadSignatureError, MalformedError, NewerVersionError
from core.identity import public_bytes
from core.ids import ObjectId, PeerId, ShardRoot
from erasure.scheme import Scheme

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OBJECT = ObjectId(blake3(b"manifest").digest())
PEER, OTHER = PeerId(b"p" * 32), PeerId(b"o" * 32)
MANIFEST = ManifestLeaf(OBJECT, OBJECT.raw, 524_288_000, Scheme(4, 6), 1_790_000_000)
LEAVES: list[Leaf] = [
    MANIFEST,
    ManifestLeaf(OBJECT, OBJECT.raw, 0, Scheme(10, 16), 0, 2, b"v" * 32),
    RelocateLeaf(OBJECT, 3, 5, ShardRoot(b"r" * 32), PEER, OTHER, 1_790_000_000),
    SweepLeaf(PEER, 1_789_000_000, 1000, 16_000_000_000, 2, 1, 1_790_000_000),
    DigestLeaf(b"s" * 32, b"b" * 32),
    RevokeLeaf(OBJECT, b"e" * 32, 2, b"v" * 32, 1_790_000_000),
    DeleteLeaf(OBJECT, 3, b"v" * 32, 1_790_000_000),
]


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.TYPE)
def test_leaves_are_written_and_read_alike(leaf: Leaf) -> None:
    data = sign_leaf(KEY, peer_key_name(PEER), leaf)
    signed = parse_leaf(data)
    assert signed.leaf == leaf
    signed.check(public_bytes(KEY))
    assert data == sign_leaf(KEY, peer_key_name(PEER), leaf), "made again it is the same leaf"
    assert len(data) < 700


def test_a_manifests_leaf_reads_as_documented() -> None:
    data = manifest_leaf(
        KEY,
        organisation="Hospital A",
        object_id=OBJECT,
        size_bytes=524_288_000,
        scheme=Scheme(4, 6),
        time_s=1_790_000_000,
    )
    assert data.decode().startswith(
        f"moorage/leaf/v1\ntype manifest\nobject {OBJECT}\nmanifest blake3 {OBJECT}\nbytes 524288000\nscheme 4+2\n"
        "version 1\ntime 1790000000\n\n— moorage/organisation/Hospital%20A "
    )
    assert parse_leaf(data).leaf == MANIFEST


@pytest.mark.parametrize(
    ("organisation", "name"),
    [
        ("Hospital A", "Hospital%20A"),
        ("北京协和医院", "北京协和医院"),
        ("A+B%", "A%2BB%25"),
        ("tab\tand\nline", "tab%09and%0Aline"),
        ("no\u00a0break", "no%A0break"),
    ],
)
def test_any_organisation_has_a_name_that_notes_allow(organisation: str, name: str) -> None:
    assert organisation_key_name(organisation) == f"moorage/organisation/{name}"
    sign_leaf(KEY, organisation_key_name(organisation), MANIFEST)


def test_a_leaf_by_another_key_or_changed_is_refused() -> None:
    data = sign_leaf(KEY, peer_key_name(PEER), MANIFEST)
    with pytest.raises(BadSignatureError):
        parse_leaf(data).check(b"x" * 32)
    with pytest.raises(BadSignatureError):
        parse_leaf(data.replace(b"bytes 5", b"bytes 6")).check(public_bytes(KEY))


def test_every_flipped_byte_of_a_leaf_is_noticed() -> None:
    data = sign_leaf(KEY, peer_key_name(PEER), MANIFEST)
    for at in range(len(data)):
        for bit in (1, 32, 128):
            changed = data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]
            with pytest.raises((BadSignatureError, MalformedError)):
                parse_leaf(changed).check(public_bytes(KEY))


def signed_text(text: str, times: int = 1) -> bytes:
    return format_note(text, [Ed25519Signer("a", KEY).sign(text)] * times)


TEXT = format_leaf(MANIFEST)
MALFORMED = {
    "other text": signed_text("hello\n"),
    "no type": signed_text("moorage/leaf/v1\n"),
    "field missing": signed_text(TEXT.replace("bytes 524288000\n", "")),
    "field twice": signed_text(TEXT.replace("version 1\n", "version 1\nversion 1\n")),
    "fields swapped": signed_text(TEXT.replace("scheme 4+2\nversion 1\n", "version 1\nscheme 4+2\n")),
    "extra line": signed_text(TEXT + "more 1\n"),
    "blank line": signed_text(TEXT + "\nmore\n"),
    "scheme not canonical": signed_text(TEXT.replace("4+2", "04+2")),
    "scheme impossible": signed_text(TEXT.replace("4+2", "0+2")),
    "upper-case digits": signed_text(TEXT.replace(f"object {OBJECT}", f"object {str(OBJECT).upper()}")),
    "negative": signed_text(TEXT.replace("bytes 5", "bytes -5")),
    "two signatures": signed_text(TEXT, 2),
    "no note": TEXT.encode(),
    "too long": b"x" * 65_536,
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_leaves_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedError) as refused:
        parse_leaf(data)
    assert not isinstance(refused.value, NewerVersionError)


def test_a_newer_version_or_an_unknown_type_asks_for_an_upgrade() -> None:
    for text in (TEXT.replace("v1", "v2"), TEXT.replace("type manifest", "type seal")):
        with pytest.raises(NewerVersionError, match="upgrade"):
            parse_leaf(signed_text(text))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_leaf_or_malformed(data: bytes) -> None:
    for candidate in (data, b"moorage/leaf/v1\ntype " + data):
        with contextlib.suppress(MalformedError):
            parse_leaf(candidate)


@given(
    st.integers(0, 2**63 - 1),
    st.integers(1, 2**31),
    st.none() | st.binary(min_size=32, max_size=32),
    st.integers(1, 200),
    st.integers(1, 50),
)
def test_any_manifest_leaf_is_written_and_read_alike(
    number: int, version: int, previous: bytes | None, needed: int, spare: int
) -> None:
    leaf = ManifestLeaf(OBJECT, OBJECT.raw, number, Scheme(needed, needed + spare), number, version, previous)
    assert parse_leaf(sign_leaf(KEY, "a", leaf)).leaf == leaf

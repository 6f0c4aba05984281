"""Keys and sealed chunks: the relations that the format promises, and nothing opens that should not."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from core.compression import COMPRESSOR
from core.errors import BadSignatureError, CorruptError, MalformedError
from core.identity import key_from_seed, public_bytes
from core.limits import TAG_BYTES
from core.sealing import (
    SEALING_PUBLIC_BYTES,
    SEALING_SEED_BYTES,
    ChunkSealer,
    content_id,
    convergent_key,
    sealing_key_id,
    sealing_public_key,
    unwrap_key,
    wrap_key,
)
from core.signing import check_signature, sign

SECRET = b"s" * 32
KEY = b"k" * 32
SEED = bytes(range(SEALING_SEED_BYTES))
VECTOR = json.loads((Path(__file__).parent.parent / "vectors" / "sealing.json").read_text())


def test_the_extent_key_is_bound_to_secret_content_and_compressor() -> None:
    digest = blake3(b"plain").digest()
    key = convergent_key(SECRET, digest)
    assert key == blake3(b"extent" + digest + COMPRESSOR.encode(), key=SECRET).digest()
    assert key == convergent_key(SECRET, digest)
    others = [
        convergent_key(b"t" * 32, digest),
        convergent_key(SECRET, blake3(b"plaim").digest()),
        content_id(SECRET, digest),
    ]
    assert all(one != other for one, other in combinations([key, *others], 2))


@given(st.integers(0, 2**32), st.integers(0, 255), st.binary(max_size=100))
def test_a_sealed_chunk_opens_under_its_key_number_and_codec(chunk: int, codec: int, packed: bytes) -> None:
    sealed = ChunkSealer(KEY).seal(chunk, codec, packed)
    assert len(sealed) == len(packed) + TAG_BYTES
    assert ChunkSealer(KEY).open(chunk, codec, sealed) == packed
    assert sealed == AESGCM(KEY).encrypt(chunk.to_bytes(12, "big"), packed, bytes([codec]))


@pytest.mark.parametrize(
    ("key", "chunk", "codec"),
    [(b"j" * 32, 7, 1), (KEY, 8, 1), (KEY, 0, 1), (KEY, 7, 0), (KEY, 7, 2)],
    ids=["key", "number", "first number", "codec stored", "codec planes"],
)
def test_nothing_opens_under_another(key: bytes, chunk: int, codec: int) -> None:
    sealed = ChunkSealer(KEY).seal(7, 1, b"pixels")
    with pytest.raises(CorruptError, match=f"chunk {chunk}"):
        ChunkSealer(key).open(chunk, codec, sealed)


@given(st.binary(max_size=60))
def test_bytes_that_were_never_sealed_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptError):
        ChunkSealer(KEY).open(0, 0, data)


@given(st.data())
def test_any_changed_or_missing_byte_is_noticed(data: st.DataObject) -> None:
    sealed = ChunkSealer(KEY).seal(0, 0, b"a chunk of pixels")
    at = data.draw(st.integers(0, len(sealed) - 1))
    flipped = sealed[:at] + bytes([sealed[at] ^ data.draw(st.integers(1, 255))]) + sealed[at + 1 :]
    for wrong in (flipped, sealed[:at], sealed + b"\0"):
        with pytest.raises(CorruptError):
            ChunkSealer(KEY).open(0, 0, wrong)


def test_a_wrapped_key_opens_for_its_holder_only() -> None:
    public = sealing_public_key(SEED)
    assert len(public) == SEALING_PUBLIC_BYTES
    slot = wrap_key(public, KEY)
    assert len(slot) == 1168
    assert unwrap_key(SEED, slot) == KEY
    assert wrap_key(public, KEY) != slot
    for other in (bytes(SEALING_SEED_BYTES), SEED[:-1] + b"\0", b"\xff" + SEED[1:]):
        with pytest.raises(CorruptError):
            unwrap_key(other, slot)
    assert sealing_key_id(public) != sealing_key_id(sealing_public_key(bytes(SEALING_SEED_BYTES)))


def test_a_slot_of_last_year_still_opens() -> None:
    assert unwrap_key(bytes.fromhex(VECTOR["seed"]), bytes.fromhex(VECTOR["slot"])) == bytes.fromhex(VECTOR["key"])
    assert sealing_key_id(sealing_public_key(bytes.fromhex(VECTOR["seed"]))).hex() == VECTOR["key_id"]


@settings(max_examples=30)
@given(st.binary(max_size=40) | st.binary(min_size=1160, max_size=1176))
def test_a_slot_of_any_bytes_is_refused(slot: bytes) -> None:
    with pytest.raises(CorruptError):
        unwrap_key(SEED, slot)


@settings(max_examples=30)
@given(st.integers(0, 1167), st.integers(1, 255))
def test_a_slot_with_a_changed_byte_is_refused(at: int, change: int) -> None:
    slot = bytearray.fromhex(VECTOR["slot"])
    slot[at] ^= change
    with pytest.raises(CorruptError):
        unwrap_key(bytes.fromhex(VECTOR["seed"]), bytes(slot))


@settings(max_examples=30)
@given(st.binary(max_size=40) | st.binary(min_size=SEALING_PUBLIC_BYTES, max_size=SEALING_PUBLIC_BYTES))
def test_a_roster_s_sealing_key_of_any_bytes_wraps_or_is_malformed(public: bytes) -> None:
    try:
        wrap_key(public, KEY)
    except MalformedError:
        return


def test_an_x25519_key_that_gives_no_secret_is_malformed() -> None:
    public = sealing_public_key(SEED)
    with pytest.raises(MalformedError):
        wrap_key(public[:-32] + bytes(32), KEY)


def test_a_signature_is_of_one_key_one_domain_and_one_message() -> None:
    key = key_from_seed(b"q" * 32)
    public = public_bytes(key)
    signature = sign(key, "domain", b"data")
    check_signature(public, signature, "domain", b"data")
    wrong = [
        (public_bytes(key_from_seed(b"r" * 32)), signature, "domain", b"data"),
        (public, signature, "domai", b"n\0data"),
        (public, signature, "domain\0data", b""),
        (public, signature, "domain", b"datA"),
        (public, signature[:-1], "domain", b"data"),
        (public, b"", "domain", b"data"),
        (public[:-1], signature, "domain", b"data"),
        (b"\xff" * 32, signature, "domain", b"data"),
    ]
    for arguments in wrong:
        with pytest.raises(BadSignatureError):
            check_signature(*arguments)

"""Any file's salted digests: opened by their salt, silent without it."""

from __future__ import annotations

import contextlib
from hashlib import sha256

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from anchor.compact import Edge
from anchor.digest import Opened, check_digest, digest_salt, pack_opened, plain_digest, salted_digest, split_opened
from anchor.leaf import manifest_leaf, peer_key_name, sign_leaf
from anchor.merkle import leaf_hash, node_hash, subtree_root
from core.errors import CorruptError, MalformedError
from core.ids import ObjectId, PeerId
from erasure.scheme import Scheme

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
REPORT = [b"Patient: A. ", b"Finding: none."]
WHOLE = b"".join(REPORT)
SALT = digest_salt(b"s" * 32, plain_digest(REPORT))
LEAF = sign_leaf(KEY, peer_key_name(PeerId(bytes(32))), salted_digest(SALT, REPORT))


def test_a_digest_is_what_anybodys_tools_compute_from_salt_and_file() -> None:
    leaf = salted_digest(SALT, REPORT)
    assert leaf.sha256 == sha256(SALT + WHOLE).digest()
    assert leaf.blake3 == blake3(WHOLE, key=SALT).digest()
    assert check_digest(Opened(LEAF, SALT), [WHOLE]) == leaf


def test_the_salt_is_one_homes_and_one_files() -> None:
    assert digest_salt(b"s" * 32, plain_digest([WHOLE])) == SALT
    assert digest_salt(b"t" * 32, plain_digest(REPORT)) != SALT
    assert digest_salt(b"s" * 32, plain_digest([WHOLE, b"!"])) != SALT
    assert sha256(WHOLE).hexdigest().encode() not in LEAF
    assert blake3(WHOLE).hexdigest().encode() not in LEAF


def test_another_file_another_salt_or_another_leaf_is_refused() -> None:
    with pytest.raises(CorruptError):
        check_digest(Opened(LEAF, SALT), [WHOLE + b"!"])
    with pytest.raises(CorruptError):
        check_digest(Opened(LEAF, bytes(32)), REPORT)
    with pytest.raises(MalformedError, match="no salt"):
        check_digest(Opened(LEAF, None), REPORT)
    manifest = manifest_leaf(
        KEY, organisation="A", object_id=ObjectId(bytes(32)), size_bytes=1, scheme=Scheme(4, 6), time_s=1
    )
    with pytest.raises(MalformedError, match="'manifest'"):
        check_digest(Opened(manifest, SALT), REPORT)


def test_what_opens_a_leaf_travels_behind_it() -> None:
    packed = pack_opened(LEAF, SALT)
    assert packed.startswith(LEAF)
    assert split_opened(packed) == (LEAF, SALT)
    assert split_opened(LEAF) == (LEAF, None)
    for wrong in (packed.replace(SALT.hex().encode(), b"z" * 64), packed.replace(SALT.hex().encode(), b"A" * 64)):
        with pytest.raises(MalformedError):
            split_opened(wrong)


@given(st.binary(max_size=200))
def test_any_bytes_are_opened_or_refused(data: bytes) -> None:
    for candidate in (data, data + b"\nsalt " + data.hex().encode() + b"\n"):
        with contextlib.suppress(MalformedError):
            leaf, salt = split_opened(candidate)
            assert candidate == (leaf if salt is None else pack_opened(leaf, salt))


@given(st.integers(0, 70), st.integers(0, 70))
def test_the_edge_of_a_tree_has_its_root_at_every_size(first: int, more: int) -> None:
    hashes = [leaf_hash(b"%d" % number) for number in range(first + more)]

    def hash_at(level: int, index: int) -> bytes:
        if level == 0:
            return hashes[index]
        return node_hash(hash_at(level - 1, 2 * index), hash_at(level - 1, 2 * index + 1))

    edge = Edge().grown(hashes[:first])
    assert edge.root == subtree_root(hash_at, 0, first)
    assert edge.grown(hashes[first:]).root == subtree_root(hash_at, 0, first + more)
    assert edge.is_possible

"""The ledger's tree against 196 public proofs and the definition of RFC 6962."""

from __future__ import annotations

import base64
import gc
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor import merkle
from core.errors import CorruptError
from tests.anchor.vectors import load_json

INCLUSION: list[dict[str, Any]] = load_json("merkle/inclusion.json")
CONSISTENCY: list[dict[str, Any]] = load_json("merkle/consistency.json")


def raw(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def proof(vector: dict[str, Any]) -> list[bytes]:
    return [raw(item) for item in vector["proof"] or []]


def test_all_196_vectors_are_here() -> None:
    assert (len(INCLUSION), len(CONSISTENCY)) == (98, 98)


@pytest.mark.parametrize("vector", INCLUSION, ids=lambda vector: vector["file"])
def test_inclusion_is_judged_as_the_vector_says(vector: dict[str, Any]) -> None:
    """All 98, the one with hashes of no bytes too: a leaf hash and a path consist of 32-byte hashes."""
    refused = False
    try:
        merkle.check_inclusion(
            vector["leafIdx"], vector["treeSize"], raw(vector["leafHash"]), proof(vector), raw(vector["root"])
        )
    except CorruptError:
        refused = True
    assert refused == vector["wantErr"]


@pytest.mark.parametrize("vector", CONSISTENCY, ids=lambda vector: vector["file"])
def test_consistency_is_judged_as_the_vector_says(vector: dict[str, Any]) -> None:
    """All 98, the three from size 0 too: such a proof is refused here, as it would say nothing.

    A witness accepts a first checkpoint without one (test_witness.py), as tlog-witness demands.
    """
    refused = False
    try:
        merkle.check_consistency(
            vector["size1"], vector["size2"], raw(vector["root1"]), raw(vector["root2"]), proof(vector)
        )
    except CorruptError:
        refused = True
    assert refused == vector["wantErr"]


def reference_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return merkle.leaf_hash(leaves[0])
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return merkle.node_hash(reference_root(leaves[:k]), reference_root(leaves[k:]))


def oracle(leaves: list[bytes]) -> merkle.HashAt:
    return lambda level, index: reference_root(leaves[index << level : (index + 1) << level])


def leaves_of(size: int) -> list[bytes]:
    return [number.to_bytes(2, "big") for number in range(size)]


RFC_6962_INPUTS = [
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
]  # fmt: skip
RFC_6962_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("size", range(9))
def test_roots_of_the_classic_trees(size: int) -> None:
    leaves = [bytes.fromhex(item) for item in RFC_6962_INPUTS[:size]]
    assert merkle.subtree_root(oracle(leaves), 0, size).hex() == RFC_6962_ROOTS[size]
    assert reference_root(leaves).hex() == RFC_6962_ROOTS[size]


@pytest.mark.parametrize("size", range(1, 34))
def test_every_proof_of_small_trees_checks_and_no_other_leaf_does(size: int) -> None:
    leaves = leaves_of(size)
    hash_at = oracle(leaves)
    root = reference_root(leaves)
    for index, leaf in enumerate(leaves):
        path = merkle.inclusion_path(hash_at, index, size)
        merkle.check_inclusion(index, size, merkle.leaf_hash(leaf), path, root)
        with pytest.raises(CorruptError):
            merkle.check_inclusion(index, size, merkle.leaf_hash(b"other"), path, root)
    for old in range(1, size + 1):
        old_root = reference_root(leaves[:old])
        steps = merkle.consistency_proof(hash_at, old, size)
        merkle.check_consistency(old, size, old_root, root, steps)
        with pytest.raises(CorruptError):
            merkle.check_consistency(old, size, bytes(32), root, steps)
    assert merkle.consistency_proof(hash_at, 0, size) == ()


@given(st.integers(1, 300), st.data())
def test_a_flipped_bit_in_a_path_is_refused(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaves = leaves_of(size)
    path = list(merkle.inclusion_path(oracle(leaves), index, size))
    root = reference_root(leaves)
    merkle.check_inclusion(index, size, merkle.leaf_hash(leaves[index]), path, root)
    if path:
        at = data.draw(st.integers(0, len(path) - 1))
        path[at] = bytes([path[at][0] ^ 1]) + path[at][1:]
        with pytest.raises(CorruptError):
            merkle.check_inclusion(index, size, merkle.leaf_hash(leaves[index]), path, root)


@given(st.integers(1, 200), st.data())
def test_many_paths_at_once_are_those_of_one_at_a_time(size: int, data: st.DataObject) -> None:
    leaves = leaves_of(size)
    hash_at, root = oracle(leaves), reference_root(leaves)
    indices = data.draw(st.sets(st.integers(0, size - 1)))
    paths = merkle.inclusion_paths(hash_at, size, root, {index: merkle.leaf_hash(leaves[index]) for index in indices})
    assert paths == {index: merkle.inclusion_path(hash_at, index, size) for index in indices}


@given(st.integers(1, 60), st.data())
def test_of_many_paths_none_is_given_when_one_does_not_lead_to_the_root(size: int, data: st.DataObject) -> None:
    leaves = leaves_of(size)
    root = reference_root(leaves)
    indices = data.draw(st.sets(st.integers(0, size - 1), min_size=1))
    hashes = {index: merkle.leaf_hash(leaves[index]) for index in indices}
    wrong = data.draw(st.sampled_from(sorted(indices)))
    with pytest.raises(CorruptError):
        merkle.inclusion_paths(oracle(leaves), size, root, hashes | {wrong: merkle.leaf_hash(b"other")})
    with pytest.raises(CorruptError):
        merkle.inclusion_paths(oracle(leaves), size, bytes(32), hashes)


@given(st.integers(2, 60), st.data())
def test_of_many_paths_none_is_given_when_a_hash_of_the_tree_is_damaged(size: int, data: st.DataObject) -> None:
    """What ``check_inclusion`` would refuse in one of the paths is refused in all."""
    leaves = leaves_of(size)
    hash_at, root = oracle(leaves), reference_root(leaves)
    indices = data.draw(st.sets(st.integers(0, size - 1), min_size=1))
    levels = range((size - 1).bit_length())
    damaged = data.draw(st.sampled_from([(level, index) for level in levels for index in range(size >> level)]))

    def damaged_at(level: int, index: int) -> bytes:
        found = hash_at(level, index)
        return bytes([found[0] ^ 1]) + found[1:] if (level, index) == damaged else found

    def one_by_one() -> bool:
        for index in indices:
            path = merkle.inclusion_path(damaged_at, index, size)
            try:
                merkle.check_inclusion(index, size, merkle.leaf_hash(leaves[index]), path, root)
            except CorruptError:
                return False
        return True

    expected = one_by_one()
    try:
        merkle.inclusion_paths(damaged_at, size, root, {index: merkle.leaf_hash(leaves[index]) for index in indices})
    except CorruptError:
        assert not expected
    else:
        assert expected


def test_paths_of_many_leaves_leave_nothing_for_the_collector() -> None:
    """A cycle for each group would hold its tree until a collection, which stops an operator for 0.1 s."""
    leaves = leaves_of(64)
    hashes = {index: merkle.leaf_hash(leaf) for index, leaf in enumerate(leaves)}
    gc.collect()
    merkle.inclusion_paths(oracle(leaves), 64, reference_root(leaves), hashes)
    assert gc.collect() == 0

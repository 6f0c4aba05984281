"""The shard's tree: its shape, its paths, and that nothing but the right share passes."""

from __future__ import annotations

import random
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import CorruptError
from core.ids import ShardRoot
from erasure import merkle
from erasure.merkle import (
    ShareChecker,
    check_share,
    leaf_digest,
    merkle_path,
    merkle_paths,
    root_of_leaves,
    shard_root,
    tree_top,
)
from erasure.scheme import Scheme

FOUR_TWO = Scheme(4, 6)


def some_shares(count: int) -> list[bytes]:
    return [random.Random(at).randbytes(20 + at) for at in range(count)]


def defined_top(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return merkle._node(defined_top(leaves[:split]) + defined_top(leaves[split:]))


@pytest.mark.parametrize("count", [*range(1, 34), 63, 64, 65, 127, 128, 129, 255, 256])
def test_tree_has_the_shape_of_rfc_6962(count: int) -> None:
    leaves = [leaf_digest(share) for share in some_shares(count)]
    assert tree_top(leaves) == defined_top(leaves)


@pytest.mark.parametrize("count", [*range(1, 18), 31, 33, 255, 256])
def test_every_path_leads_to_the_root_and_only_from_its_own_place(count: int) -> None:
    shares = some_shares(count)
    leaves = [leaf_digest(share) for share in shares]
    root = root_of_leaves(FOUR_TWO, 2, leaves)
    paths = merkle_paths(leaves, 0, count)
    for at, (share, path) in enumerate(zip(shares, paths, strict=True)):
        check_share(root, FOUR_TWO, 2, count, at, share, path)
        assert len(path) <= 8 * 32
        if count > 1:
            with pytest.raises(CorruptError):
                check_share(root, FOUR_TWO, 2, count, (at + 1) % count, share, path)


def test_some_paths_are_those_of_all() -> None:
    leaves = [leaf_digest(share) for share in some_shares(21)]
    every = merkle_paths(leaves, 0, 21)
    assert merkle_paths(leaves, 5, 9) == every[5:14]
    assert merkle_path(leaves, 20) == every[20]
    assert merkle_paths(leaves, 21, 0) == ()


@given(st.integers(1, 40), st.data())
@settings(max_examples=60, deadline=None)
def test_a_changed_share_or_path_is_corrupt(count: int, data: st.DataObject) -> None:
    shares = some_shares(count)
    leaves = [leaf_digest(share) for share in shares]
    root = root_of_leaves(FOUR_TWO, 0, leaves)
    at = data.draw(st.integers(0, count - 1))
    path = merkle_path(leaves, at)
    place = data.draw(st.integers(0, len(shares[at]) + len(path) - 1))
    changed = bytearray(shares[at] + path)
    changed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CorruptError, match=root.short):
        check_share(root, FOUR_TWO, 0, count, at, changed[: len(shares[at])], bytes(changed[len(shares[at]) :]))


@given(st.integers(1, 40), st.data())
@settings(max_examples=100, deadline=None)
def test_a_checker_takes_right_shares_in_any_order_and_no_wrong_one_whatever_it_has_seen(
    count: int, data: st.DataObject
) -> None:
    shares = some_shares(count)
    leaves = [leaf_digest(share) for share in shares]
    paths = merkle_paths(leaves, 0, count)
    checker = ShareChecker(root_of_leaves(FOUR_TWO, 0, leaves), FOUR_TWO, 0, count)
    for at in data.draw(st.lists(st.integers(0, count - 1), max_size=12)):
        other = data.draw(st.integers(0, count - 1))
        if other != at:
            with pytest.raises(CorruptError):
                checker.check(at, shares[other], paths[other])
            with pytest.raises(CorruptError):
                checker.check(at, shares[other], paths[at])
        changed = bytearray(shares[at])
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
        with pytest.raises(CorruptError):
            checker.check(at, changed, paths[at])
        checker.check(at, shares[at], paths[at])


def test_a_checker_learns_nothing_from_what_it_refused() -> None:
    shares = some_shares(8)
    leaves = [leaf_digest(share) for share in shares]
    paths = merkle_paths(leaves, 0, 8)
    forged = [leaf_digest(b"other"), *leaves[1:]]
    checker = ShareChecker(root_of_leaves(FOUR_TWO, 0, leaves), FOUR_TWO, 0, 8)
    with pytest.raises(CorruptError):
        checker.check(1, shares[1], merkle_paths(forged, 1, 1)[0])
    with pytest.raises(CorruptError):
        checker.check(0, b"other", paths[0])
    checker.check(1, shares[1], paths[1])
    with pytest.raises(CorruptError):
        checker.check(0, b"other", paths[0])


def test_neighbours_cost_a_node_each(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = some_shares(256)
    leaves = [leaf_digest(share) for share in shares]
    paths = merkle_paths(leaves, 32, 32)
    checker = ShareChecker(root_of_leaves(FOUR_TWO, 0, leaves), FOUR_TWO, 0, 256)
    nodes = Mock(wraps=merkle._node)
    monkeypatch.setattr(merkle, "_node", nodes)
    for at, path in enumerate(paths):
        checker.check(32 + at, shares[32 + at], path)
    assert nodes.call_count == 31 + 3


@given(st.binary(max_size=300))
def test_no_foreign_path_passes(path: bytes) -> None:
    leaves = [leaf_digest(share) for share in some_shares(11)]
    root = root_of_leaves(FOUR_TWO, 0, leaves)
    right = merkle_path(leaves, 4)
    for wrong in (path, right + path, right[:-1], right[:-32]):
        if wrong != right:
            with pytest.raises(CorruptError):
                check_share(root, FOUR_TWO, 0, 11, 4, some_shares(11)[4], wrong)


def test_root_binds_scheme_index_and_chunks() -> None:
    top = leaf_digest(b"share")
    roots = {
        shard_root(scheme, index, chunks, top)
        for scheme in (Scheme(4, 6), Scheme(4, 7), Scheme(5, 7), Scheme(6, 7))
        for index in (0, 1, 5)
        for chunks in (1, 2, 256)
    }
    assert len(roots) == 4 * 3 * 3


def test_leaf_node_and_root_never_stand_for_one_another() -> None:
    left, right = leaf_digest(b"a"), leaf_digest(b"b")
    assert tree_top([left, right]) != leaf_digest(left + right)
    assert tree_top([left]) == left
    # A share that spells an inner node's input is not that node.
    root = root_of_leaves(FOUR_TWO, 0, [left, right])
    with pytest.raises(CorruptError):
        check_share(root, FOUR_TWO, 0, 1, 0, left + right, b"")


def test_wrong_name_is_corrupt() -> None:
    with pytest.raises(CorruptError):
        check_share(ShardRoot(bytes(32)), FOUR_TWO, 0, 1, 0, b"share", b"")


def test_shares_may_be_any_buffer() -> None:
    assert leaf_digest(b"abc") == leaf_digest(bytearray(b"abc")) == leaf_digest(memoryview(b"xabcx")[1:4])

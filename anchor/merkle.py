"""The ledger's Merkle tree: RFC 6962, section 2.1 (SHA-256), and its proofs.

Builders work on a *hash oracle*: ``hash_at(level, index)`` is the hash of the complete subtree over leaves
``index * 2**level`` to ``(index + 1) * 2**level``. Nothing here knows of tiles or files.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple, TypeAlias

from core.errors import CorruptError

HASH_BYTES = 32
# A log has fewer than 2**63 leaves, hence no path is longer.
PROOF_MAX_HASHES = 63
EMPTY_ROOT = sha256(b"").digest()

HashAt: TypeAlias = Callable[[int, int], bytes]


def leaf_hash(leaf: bytes) -> bytes:
    return sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def _peaks(first: int, end: int) -> list[tuple[int, int]]:
    """(level, index) of the complete subtrees that cover leaves ``first`` to ``end``, left to right.

    ``first`` must begin a subtree as RFC 6962 splits the tree, so sizes only fall from left to right.
    """
    found: list[tuple[int, int]] = []
    while first < end:
        level = (end - first).bit_length() - 1
        found.append((level, first >> level))
        first += 1 << level
    return found


def subtree_root(hash_at: HashAt, first: int, end: int) -> bytes:
    """MTH(D[first:end]) of RFC 6962, for a range that the tree's own splits produce."""
    if first == end:
        return EMPTY_ROOT
    length = end - first
    if length & (length - 1) == 0:
        # Most siblings in a path are one complete subtree.
        return hash_at(length.bit_length() - 1, first >> length.bit_length() - 1)
    peaks = _peaks(first, end)
    root = hash_at(*peaks[-1])
    for peak in reversed(peaks[:-1]):
        root = node_hash(hash_at(*peak), root)
    return root


def _split(first: int, end: int) -> int:
    """Where RFC 6962 splits a range: after the largest power of two smaller than its length."""
    return first + (1 << (end - first - 1).bit_length() - 1)


def inclusion_path(hash_at: HashAt, index: int, size: int) -> tuple[bytes, ...]:
    """The siblings from leaf ``index`` up to the root of the tree of ``size`` leaves (RFC 6962, section 2.1.1)."""
    assert 0 <= index < size, "the leaf is not in the tree"
    siblings: list[tuple[int, int]] = []
    first, end = 0, size
    while end - first > 1:
        middle = _split(first, end)
        if index < middle:
            siblings.append((middle, end))
            end = middle
        else:
            siblings.append((first, middle))
            first = middle
    return tuple(subtree_root(hash_at, *sibling) for sibling in reversed(siblings))


class _Climb(NamedTuple):
    """The way of several leaves to a root. ``order``: their indices, ascending. ``paths`` is what is found."""

    hash_at: HashAt
    leaves: Mapping[int, bytes]
    order: Sequence[int]
    paths: dict[int, tuple[bytes, ...]]

    def lead(self, first: int, end: int, low: int, high: int, above: tuple[bytes, ...]) -> bytes:
        """The hash that ``order[low:high]``, all of them of ``first`` to ``end``, lead to there."""
        if end - first == 1:
            self.paths[first] = above
            return self.leaves[first]
        middle = _split(first, end)
        cut = bisect_left(self.order, middle, low, high)
        if cut == high:
            right = subtree_root(self.hash_at, middle, end)
            return node_hash(self.lead(first, middle, low, high, (right, *above)), right)
        left = subtree_root(self.hash_at, first, middle)
        if cut == low:
            return node_hash(left, self.lead(middle, end, low, high, (left, *above)))
        right = subtree_root(self.hash_at, middle, end)
        if self.lead(first, middle, low, cut, (right, *above)) != left:
            raise CorruptError(f"proof: leaves {first} to {middle} do not lead to the hash above them")
        if self.lead(middle, end, cut, high, (left, *above)) != right:
            raise CorruptError(f"proof: leaves {middle} to {end} do not lead to the hash above them")
        return node_hash(left, right)


def inclusion_paths(
    hash_at: HashAt, size: int, root: bytes, leaves: Mapping[int, bytes]
) -> dict[int, tuple[bytes, ...]]:
    """``inclusion_path`` of each of ``leaves`` (leaf *hashes* by index), checked as ``check_inclusion`` does.

    What paths share is made once and checked once: a node above some of the leaves is what these lead to, and the very
    sibling of the others. Raises CorruptError unless every leaf leads to ``root``.
    """
    order = sorted(leaves)
    if not order:
        return {}
    assert 0 <= order[0] <= order[-1] < size, "the leaves are in the tree"
    paths: dict[int, tuple[bytes, ...]] = {}
    if _Climb(hash_at, leaves, order, paths).lead(0, size, 0, len(order), ()) != root:
        raise CorruptError(f"proof: {len(order)} leaves do not lead to the root of the tree of {size}")
    return paths


def consistency_proof(hash_at: HashAt, old_size: int, new_size: int) -> tuple[bytes, ...]:
    """That the tree of ``old_size`` leaves is a prefix of that of ``new_size`` (RFC 6962, section 2.1.2).

    Empty when the sizes are equal or the old tree is.
    """
    assert 0 <= old_size <= new_size, "a log does not shrink"
    if old_size in (0, new_size):
        return ()
    parts: list[tuple[int, int]] = []
    first, end = 0, new_size
    while old_size != end:
        middle = _split(first, end)
        if old_size <= middle:
            parts.append((middle, end))
            end = middle
        else:
            parts.append((first, middle))
            first = middle
    if first:
        # The old tree is not a complete subtree on the left edge, whose hash the verifier would know.
        parts.append((first, end))
    return tuple(subtree_root(hash_at, *part) for part in reversed(parts))


def _climb(index: int, last: int, proof: Sequence[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each hash of a proof and whether it stands on the left (RFC 9162, sections 2.1.3.2 and 2.1.4.2)."""
    for sibling in proof:
        if last == 0:
            raise CorruptError("proof: longer than the tree is high")
        if index & 1 or index == last:
            yield sibling, True
            while index and not index & 1:
                index >>= 1
                last >>= 1
        else:
            yield sibling, False
        index >>= 1
        last >>= 1
    if last:
        raise CorruptError("proof: shorter than the tree is high")


def inclusion_steps(index: int, size: int, proof: Sequence[bytes]) -> tuple[tuple[bytes, bool], ...]:
    """Each sibling on the way from leaf ``index`` to the root, and whether it is the left one. Raises CorruptError."""
    return tuple(_climb(index, size - 1, proof))


def check_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Raises CorruptError unless ``leaf`` (a leaf *hash*) stands at ``index`` in the tree of ``size`` and ``root``."""
    if not 0 <= index < size:
        raise CorruptError(f"proof: leaf {index} is not in a tree of {size}")
    if any(len(item) != HASH_BYTES for item in (leaf, *proof)):
        raise CorruptError(f"proof: a hash is not {HASH_BYTES} bytes")
    found = leaf
    for sibling, on_the_left in _climb(index, size - 1, proof):
        found = node_hash(sibling, found) if on_the_left else node_hash(found, sibling)
    if found != root:
        raise CorruptError(f"proof: leaf {index} does not lead to the root of the tree of {size}")


def check_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Raises CorruptError unless the old tree is a prefix of the new one.

    An old tree of size 0 is refused: every tree extends it, so a proof would say nothing. Whoever accepts such
    a first step (a witness) says so itself.
    """
    if not 0 < old_size <= new_size:
        raise CorruptError(f"proof: no consistency from size {old_size} to {new_size}")
    if any(len(item) != HASH_BYTES for item in proof):
        raise CorruptError(f"proof: a hash is not {HASH_BYTES} bytes")
    if old_size == new_size:
        if proof or old_root != new_root:
            raise CorruptError(f"proof: two roots at size {old_size}")
        return
    if not proof:
        raise CorruptError("proof: empty")
    # Where the old tree is one complete subtree its own root starts the climb and the proof omits it.
    start, *rest = (old_root, *proof) if old_size & (old_size - 1) == 0 else proof
    index, last = old_size - 1, new_size - 1
    while index & 1:
        index >>= 1
        last >>= 1
    old = new = start
    for sibling, on_the_left in _climb(index, last, rest):
        if on_the_left:
            old = node_hash(sibling, old)
            new = node_hash(sibling, new)
        else:
            new = node_hash(new, sibling)
    if old != old_root or new != new_root:
        raise CorruptError(f"proof: the tree of {old_size} is not a prefix of the tree of {new_size}")

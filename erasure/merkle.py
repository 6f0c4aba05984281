"""The Merkle tree of a shard: its leaves are digests of shares, its root is the shard's name.

All digests are keyed BLAKE3 (BLAKE3 paper, section 2.3) under three keys of their own, so that a leaf, an inner node
and a root can never stand for one another:

- leaf: the share's bytes. A share of another length is another leaf.
- node: left digest, right digest.
- root: version, needed, total, share index, chunk count, top of the tree (``_ROOT_HEAD``, 12 bytes, then 32).

The tree's shape is that of RFC 6962, section 2.1: with n leaves, the left part has the largest power of two below n.
Level by level this is: pair neighbours, and let an odd one out rise unchanged.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple, Self

from blake3 import blake3

from core.errors import CorruptError
from core.ids import DIGEST_BYTES, ShardRoot, derived_digest
from core.limits import EXTENT_CHUNKS
from core.ports import Buffer
from erasure.scheme import Scheme

SHARD_VERSION = 1

_LEAF_KEY: Final = derived_digest("moorage 2026 share leaf v1", b"")
_NODE_KEY: Final = derived_digest("moorage 2026 share node v1", b"")
_ROOT_KEY: Final = derived_digest("moorage 2026 shard root v1", b"")
# Never updated, only copied: that is a quarter faster for two digests than setting the key each time.
_NODE_HASHER: Final = blake3(key=_NODE_KEY)
_ROOT_HEAD: Final = struct.Struct(">HHHHI")


def leaf_digest(share: Buffer) -> bytes:
    """The 32-byte leaf of one share."""
    return blake3(share, key=_LEAF_KEY).digest()


def _node(pair: bytes) -> bytes:
    return _NODE_HASHER.copy().update(pair).digest()


class ShareTree(NamedTuple):
    """The whole tree over 1 to 256 leaves: 16 KiB at most, a quarter of a millisecond to compute, cheap to ask."""

    levels: tuple[tuple[bytes, ...], ...]
    """Leaves first, top last."""

    @classmethod
    def over(cls, leaves: Sequence[bytes]) -> Self:
        assert 1 <= len(leaves) <= EXTENT_CHUNKS, len(leaves)
        levels = [tuple(leaves)]
        while len(level := levels[-1]) > 1:
            above = [_node(level[at] + level[at + 1]) for at in range(0, len(level) - 1, 2)]
            if len(level) % 2:
                above.append(level[-1])
            levels.append(tuple(above))
        return cls(tuple(levels))

    @property
    def leaves(self) -> tuple[bytes, ...]:
        return self.levels[0]

    @property
    def top(self) -> bytes:
        return self.levels[-1][0]

    def path(self, leaf: int) -> bytes:
        """The sibling digests from leaf to top, 32 bytes each, at most 8."""
        assert 0 <= leaf < len(self.leaves), leaf
        path: list[bytes] = []
        at = leaf
        for level in self.levels:
            # An odd one out, and the top, have no sibling.
            if at ^ 1 < len(level):
                path.append(level[at ^ 1])
            at >>= 1
        return b"".join(path)


def tree_top(leaves: Sequence[bytes]) -> bytes:
    """The digest at the top of the tree over 1 to 256 leaves; a single leaf is its own top."""
    return ShareTree.over(leaves).top


def merkle_paths(leaves: Sequence[bytes], first: int, count: int) -> tuple[bytes, ...]:
    """The paths of ``count`` leaves from ``first`` on, the tree being computed once (see ``ShareTree.path``)."""
    tree = ShareTree.over(leaves)
    return tuple(tree.path(leaf) for leaf in range(first, first + count))


def merkle_path(leaves: Sequence[bytes], chunk: int) -> bytes:
    """The path of one leaf (see ``ShareTree.path``)."""
    return ShareTree.over(leaves).path(chunk)


def shard_root(scheme: Scheme, index: int, chunks: int, top: bytes) -> ShardRoot:
    """The name of the shard of share ``index`` of ``chunks`` chunks whose tree has this top."""
    assert 0 <= index < scheme.total, (index, scheme)
    assert 1 <= chunks <= EXTENT_CHUNKS, chunks
    assert len(top) == DIGEST_BYTES, len(top)
    head = _ROOT_HEAD.pack(SHARD_VERSION, scheme.needed, scheme.total, index, chunks)
    return ShardRoot(blake3(head + top, key=_ROOT_KEY).digest())


def root_of_leaves(scheme: Scheme, index: int, leaves: Sequence[bytes]) -> ShardRoot:
    """The name of the shard of share ``index`` that has these leaves, one per chunk."""
    return shard_root(scheme, index, len(leaves), tree_top(leaves))


class ShareChecker:
    """Checks shares of one shard; what one path has proved of the tree, the shares beside it need not prove again.

    Of neighbours, each costs its leaf and about one node instead of eight. Not shared between threads.

    Args: the manifest's.
    """

    def __init__(self, root: ShardRoot, scheme: Scheme, index: int, chunks: int) -> None:
        self._root = root
        self._scheme = scheme
        self._index = index
        self._chunks = chunks
        # Digests that belong to the shard of this name, by level, 0 for the leaves, and place in it.
        self._proved: dict[tuple[int, int], bytes] = {}

    def check(self, chunk: int, share: Buffer, path: bytes) -> None:
        """Raises CorruptError unless ``share`` is the shard's share of ``chunk``.

        ``share`` and ``path`` are a holder's. Of the path no more is looked at than the proof needs.
        """
        assert 0 <= chunk < self._chunks, (chunk, self._chunks)
        if not self._prove(leaf_digest(share), path, chunk):
            raise CorruptError(f"shard {self._root.short}: share of chunk {chunk} does not match the shard's name")

    def _prove(self, digest: bytes, path: bytes, chunk: int) -> bool:
        """Whether ``path`` leads from the leaf to what is proved already, or to the shard's name."""
        claimed: dict[tuple[int, int], bytes] = {}
        level, at, width, used = 0, chunk, self._chunks, 0
        while (proved := self._proved.get((level, at))) is None:
            claimed[level, at] = digest
            if width == 1:
                if used != len(path) or shard_root(self._scheme, self._index, self._chunks, digest) != self._root:
                    return False
                proved = digest
                break
            if at ^ 1 < width:
                sibling = path[used : used + DIGEST_BYTES]
                if len(sibling) != DIGEST_BYTES:
                    return False
                used += DIGEST_BYTES
                claimed[level, at ^ 1] = sibling
                digest = _node(sibling + digest if at & 1 else digest + sibling)
            level, at, width = level + 1, at >> 1, (width + 1) >> 1
        if digest != proved:
            return False
        self._proved |= claimed
        return True


def check_share(
    root: ShardRoot, scheme: Scheme, index: int, chunks: int, chunk: int, share: Buffer, path: bytes
) -> None:
    """Raises CorruptError unless ``share`` is share ``index`` of chunk ``chunk`` in the shard of this name.

    ``root``, ``scheme``, ``index`` and ``chunks`` are the manifest's; ``share`` and ``path`` are a holder's.
    """
    ShareChecker(root, scheme, index, chunks).check(chunk, share, path)

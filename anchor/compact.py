"""A tree by its right edge only: enough to grow it, leaf by leaf, and to know its root at any size on the way.

Whoever keeps it has seen every leaf, so no proof is needed that a later root extends an earlier one (RFC 6962, 2.1).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from anchor.merkle import EMPTY_ROOT, node_hash


class Edge(NamedTuple):
    """``peaks`` are the hashes of the complete subtrees of ``size`` leaves, the largest first."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def grown(self, leaves: Iterable[bytes]) -> Edge:
        """The edge after the leaves of these *hashes*."""
        size, peaks = self.size, list(self.peaks)
        for leaf in leaves:
            peak, rest = leaf, size
            while rest & 1:
                peak = node_hash(peaks.pop(), peak)
                rest >>= 1
            peaks.append(peak)
            size += 1
        return Edge(size, tuple(peaks))

    @property
    def root(self) -> bytes:
        """32 bytes, as a checkpoint of this size states them."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root

    @property
    def is_possible(self) -> bool:
        """Whether there are as many peaks as such a tree has."""
        return len(self.peaks) == self.size.bit_count()

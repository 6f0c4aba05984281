"""Which leaves a log has, in memory: for a log operator, who is asked thousands of times a second.

8 bytes a leaf in sorted runs of a power of two of leaves, as a log-structured merge tree keeps them (O'Neil et al.,
1996), and the newest whole. A run says only that a leaf may be there: ``anchor.leafindex`` says whether it is.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from anchor.merkle import HASH_BYTES
from anchor.tiles import TILE_WIDTH, TileTree, tile_width

# Leaves in the shortest and the longest run. The newest, up to two of the shortest, are found at once, with their
# index: leaves that are submitted twice mostly are so within seconds. To merge two of the longest takes 0.1 s, once in
# a million leaves.
RUN_MIN = 1 << 14
RUN_MAX = 1 << 20
_PREFIX_BYTES = 8
_WORDS_PER_HASH = HASH_BYTES // _PREFIX_BYTES


class KnownLeaves:
    """Leaf hashes by prefix. Not for two threads at a time."""

    def __init__(self) -> None:
        self._runs: list[array[int]] = []
        self._newest: dict[bytes, int] = {}

    @classmethod
    def of(cls, tree: TileTree, size: int) -> KnownLeaves:
        """Of all leaves of a log: reads every tile of its lowest level. Raises CorruptError, OSError."""
        known = cls()
        whole = size // RUN_MIN * RUN_MIN
        for first in range(0, whole, RUN_MIN):
            words = array("Q")
            for index in range(first // TILE_WIDTH, (first + RUN_MIN) // TILE_WIDTH):
                words.frombytes(tree.tile(0, index))
            known._add_run(words[::_WORDS_PER_HASH])
        for index in range(whole // TILE_WIDTH, -(-size // TILE_WIDTH)):
            tile = tree.tile(0, index)
            width = tile_width(0, index, size)
            known.add(index * TILE_WIDTH, [tile[at * HASH_BYTES : (at + 1) * HASH_BYTES] for at in range(width)])
        return known

    def add(self, first: int, hashes: Sequence[bytes]) -> None:
        """Leaves from index ``first`` on."""
        self._newest.update(zip(hashes, range(first, first + len(hashes)), strict=True))
        while len(self._newest) >= 2 * RUN_MIN:
            oldest = list(islice(self._newest, RUN_MIN))
            for item in oldest:
                del self._newest[item]
            self._add_run(array("Q", (_prefix(item) for item in oldest)))

    def look(self, hashes: Iterable[bytes]) -> tuple[dict[bytes, int], list[bytes]]:
        """The index of each that is among the newest, and those that may be among the older ones."""
        found: dict[bytes, int] = {}
        perhaps: list[bytes] = []
        for item in hashes:
            index = self._newest.get(item)
            if index is not None:
                found[item] = index
            elif self._runs and self._is_in_a_run(_prefix(item)):
                perhaps.append(item)
        return found, perhaps

    def _is_in_a_run(self, prefix: int) -> bool:
        return any((at := bisect_left(run, prefix)) < len(run) and run[at] == prefix for run in self._runs)

    def _add_run(self, prefixes: array[int]) -> None:
        run = array("Q", sorted(prefixes))
        while self._runs and len(self._runs[-1]) == len(run) < RUN_MAX:
            # Two runs in order are merged in linear time by Python's sort.
            run = array("Q", sorted(_chain(self._runs.pop(), run)))
        self._runs.append(run)


def _chain(*runs: array[int]) -> Iterator[int]:
    for run in runs:
        yield from run


def _prefix(item: bytes) -> int:
    # In the machine's own order, as ``array`` reads tiles.
    return int.from_bytes(item[:_PREFIX_BYTES], sys.byteorder)

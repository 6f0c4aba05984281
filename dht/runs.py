"""Which shards of an object, as runs: one peer mostly holds the same share of consecutive extents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from core.encoding import Value
from core.errors import MalformedError
from core.limits import TOTAL_SHARES_MAX

# 64 runs of at most 7 bytes fit beside the longest certificate in common use (about 500 bytes).
RUNS_MAX = 64
# Bounds what one hostile record can make a reader expand; 8192 extents are 512 GiB.
SHARDS_MAX = 8192
EXTENTS_MAX = 2**16


@dataclass(frozen=True, slots=True, order=True)
class ShardRun:
    """Share ``share`` of ``extents`` consecutive extents, counted from ``first_extent``."""

    share: int
    first_extent: int
    extents: int


def runs_of(shards: Iterable[tuple[int, int]]) -> list[ShardRun]:
    """The runs of these (extent, share) pairs, ascending; as many as SHARDS_MAX and RUNS_MAX allow."""
    runs: list[ShardRun] = []
    for share, extent in sorted({(share, extent) for extent, share in shards})[:SHARDS_MAX]:
        last = runs[-1] if runs else None
        if last is not None and last.share == share and last.first_extent + last.extents == extent:
            runs[-1] = ShardRun(share, last.first_extent, last.extents + 1)
        else:
            runs.append(ShardRun(share, extent, 1))
    return runs[:RUNS_MAX]


def shards_of(runs: Iterable[ShardRun]) -> tuple[tuple[int, int], ...]:
    """All (extent, share) pairs, ascending."""
    spans = ((run.share, range(run.first_extent, run.first_extent + run.extents)) for run in runs)
    return tuple(sorted((extent, share) for share, extents in spans for extent in extents))


def parse_run(value: Value) -> ShardRun:
    """From ``[share, first extent, extents]``. Raises MalformedError."""
    # MessagePack's booleans are ints to Python: compare types, not instances.
    if isinstance(value, list) and len(value) == 3 and all(type(number) is int for number in value):
        share, first, extents = (number for number in value if isinstance(number, int))
        if 0 <= share < TOTAL_SHARES_MAX and 0 <= first < EXTENTS_MAX and 0 < extents <= EXTENTS_MAX - first:
            return ShardRun(share, first, extents)
    raise MalformedError("provider record: a run is not [share, first extent, extents]")

"""Small shards to store, made from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import accumulate

from core.ids import ShardRoot
from daemon.store import ShardStore
from daemon.uploads import UploadPlan
from erasure.scheme import Scheme
from erasure.shardfile import ShardHasher, shard_file_bytes

SCHEME = Scheme(4, 6)


class FixedClock:
    def __init__(self, time_s: float = 1_800_000_000.0) -> None:
        self.time_s = time_s

    def now(self) -> float:
        return self.time_s


@dataclass(frozen=True)
class Sample:
    plan: UploadPlan
    shares: tuple[bytes, ...]
    root: ShardRoot

    @property
    def lengths(self) -> tuple[int, ...]:
        return tuple(len(share) for share in self.shares)

    @property
    def data(self) -> bytes:
        return b"".join(self.shares)

    @property
    def file_bytes(self) -> int:
        return shard_file_bytes(len(self.shares), len(self.data))

    def offset(self, chunk: int) -> int:
        """Where the chunk's share begins in the shard file."""
        return 64 + ([0, *accumulate(self.lengths)])[chunk]


def sample(seed: int = 0, *, chunks: int = 3, share_bytes: int = 700, index: int = 2) -> Sample:
    chance = random.Random(seed)
    shares = (*(chance.randbytes(share_bytes) for _ in range(chunks - 1)), chance.randbytes(share_bytes // 2 + 1))
    hasher = ShardHasher(SCHEME, index)
    for share in shares:
        hasher.add(share)
    return Sample(UploadPlan(SCHEME, index, chunks, sum(map(len, shares))), shares, hasher.root())


def store_sample(store: ShardStore, item: Sample) -> int:
    upload = store.begin(item.plan)
    upload.write(item.lengths[:1], item.shares[0])
    upload.write(item.lengths[1:], b"".join(item.shares[1:]))
    return upload.commit(item.root)

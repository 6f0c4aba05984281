"""What should be counted, by arithmetic alone: the formulas of docs/scale.md. Pure; tests compare them with counts."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, log

from anchor.leafindex import BLOCK_MIN, blocks_of
from anchor.merkle import HASH_BYTES
from anchor.tiles import TILE_BYTES

K = 20
"""``DhtConfig.k``."""


def shards_per_peer(objects: float, peers: int, *, shards_per_object: int) -> float:
    """A peer's share of all shards, where peers have equal room."""
    return objects * shards_per_object / peers


def contacts(peers: int, *, k: int = K) -> float:
    """Contacts in a peer's table: up to k of each range of ids, the ranges being a half of the pool, a quarter, ..."""
    total, part = 0.0, (peers - 1) / 2
    while part >= 1 / 2 and total < peers - 1:
        total += min(float(k), part)
        part /= 2
    return min(total + part, peers - 1.0)


def lookup_questions(peers: int, *, k: int = K) -> float:
    """Questions of one search for the k closest: those k, and the way to them.

    An answer of k contacts out of a range of n peers leads to a range of n / k.
    """
    if peers <= k:
        return float(peers)
    return k + log(peers / k) / log(k)


def cover_lookups(peers: int, *, k: int = K) -> float:
    """Searches of a crawl (``dht.lookup.Cover``): nodes of a tree over the ids, inner ones having k peers or more.

    A subtree of depth d has a binomial number of peers. Inner nodes have two children each.
    """
    inner, depth = 0.0, 0
    while depth < 64:
        here = 2.0**depth
        p = 1.0 / here
        # The chance that a subtree has k or more, from the Poisson limit where the pool is large.
        mean = (peers - 1 if depth else peers) * p
        fewer = sum(_binomial(peers, p, count) for count in range(k))
        if mean < 1e-3 or here * (1 - fewer) < 1e-6:
            break
        inner += here * (1 - fewer)
        depth += 1
    return 1 + 2 * inner


def _binomial(n: int, p: float, count: int) -> float:
    if p >= 1:
        return 1.0 if count == n else 0.0
    if count > n:
        return 0.0
    return comb(n, count) * p**count * (1 - p) ** (n - count)


def crawl_questions(peers: int, *, k: int = K) -> float:
    """Questions of a command that must know every peer (``Dht.all_peers``)."""
    if peers < k:
        return min(float(peers), 4.0)
    return 1 + cover_lookups(peers, k=k) * lookup_questions(peers, k=k)


def look_questions(holders: int, chunks_of_shards: Sequence[int], *, samples: int) -> int:
    """Questions of one look at a whole object: two papers, and up to ``samples`` shares of each shard, of every other
    holder. Neither the pool nor the number of objects is in it.

    Args:
        chunks_of_shards: for each extent, the index's too, how many chunks it has.
    """
    return (holders - 1) * (2 + sum(min(samples, chunks) for chunks in chunks_of_shards))


def leaf_bytes(leaves: int) -> int:
    """Bytes of hashes that the first append of a process reads of its log: the leaves of no block, and a tile for the
    root of each block (``anchor.leafindex``)."""
    return leaves % BLOCK_MIN * HASH_BYTES + len(blocks_of(leaves)) * TILE_BYTES


def roll_calls_until_asked(peers: int, *, asked: int) -> float:
    """Roll calls until a given peer is asked for the first time, on average: an hour each by default."""
    return max(1.0, (peers - 1) / asked)

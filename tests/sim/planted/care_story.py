"""Sweeps over real stores: one peer's copies are damaged, or a peer is away for a while, and another peer sweeps.

Promises: a fault is found, once, and mended; nothing is moved because of a peer that is briefly silent; ``verify`` in
full never says full when a shard or a paper is not whole.
"""

from __future__ import annotations

import random
from contextlib import suppress

import trio

from client.care import CareReport, parse_report
from client.health import Health
from client.verify import examine
from core.limits import CHUNK_BYTES
from tests.daemon.care_pool import CarePool, Put
from tests.sim.chance import derive
from tests.sim.determinism import run_seeded

SIZES = (CHUNK_BYTES + 500,)


def _damage(pool: CarePool, put: Put, chance: random.Random) -> str:
    """Something at one holder is damaged or gone; whose it is."""
    share = chance.randrange(len(put.manifest.groups[0]))
    peer = put.holder(0, share)
    path = pool.path(peer, put.root(0, share))
    match chance.choice(["flip", "flip", "flip", "remove", "manifest", "receipt"]):
        case "flip":
            pool.flip(path, chance.randrange(len(pool.read(path))))
        case "remove":
            pool.disk.unlink(path)
        case word:
            paper = pool.by_id[peer].home.path(f"{word}s", str(put.object))
            pool.flip(paper, chance.randrange(len(pool.read(paper))))
    return pool.by_id[peer].name


async def _care(seed: int) -> None:
    chance = derive(seed, "care")
    pool = CarePool(peers=8, sites=4)
    put = pool.put(SIZES, seed=seed)
    holders = sorted(pool.by_id[peer].name for peer in put.manifest.holders())
    silent = chance.random() < 0.3
    victim = chance.choice(holders) if silent else _damage(pool, put, chance)
    if silent:
        pool.peers[victim].state = "down"
    view = pool.view()
    seen = await examine(
        view, view, pool.ports.threads, pool.ports.chance, put.object, put.manifest, full=True
    )  # fmt: skip
    assert seen.health is not Health.FULL, "verify says full, and something is not whole"
    sweeper = chance.choice([name for name in holders if not silent or name != victim])
    async with pool.caring(*(name for name in pool.peers if name == sweeper)):
        report = _report(await pool.job(sweeper, full=True, grace=True))
        faults = [(f.kind, f.holder, f.extent, f.share, f.chunk) for f in report.findings]
        assert faults, "nothing was found"
        assert len(set(faults)) == len(faults), "a fault was found twice"
        if silent:
            assert pool.sent_bytes == 0, "shards were moved because a peer was briefly silent"
            assert not report.repairs, "something was repaired because a peer was briefly silent"
            pool.peers[victim].state = "up"
            await _replace_a_lost_peer(pool, put, chance, holders, sweeper)
        else:
            assert pool.everything_is_whole(put), "a fault was not mended"


async def _replace_a_lost_peer(
    pool: CarePool, put: Put, chance: random.Random, holders: list[str], sweeper: str
) -> None:
    """Two holders are gone for good: each lost shard gets a home of its own, within the rule."""
    gone = chance.sample([name for name in holders if name != sweeper], 2)
    for name in gone:
        pool.peers[name].state = "down"
    await pool.job(sweeper, "repair", full=True, grace=False)
    homes: list[str] = []
    for share in range(6):
        for name, item in sorted(pool.peers.items()):
            with suppress(Exception):
                if name not in gone and item.store.scan(put.root(0, share)).whole:
                    homes.append(name)
    assert len(set(homes)) == len(homes), "one peer has two shares of an extent"
    assert len(homes) == 6, f"{len(homes)} of 6 shares have a home"
    announced = {record.peer for record in pool.provided.values()}
    assert announced <= {pool.peers[name].peer for name in homes}


def _report(job: object) -> CareReport:
    return parse_report(bytes(job.body))  # type: ignore[attr-defined]


async def _in_time(seed: int) -> None:
    with trio.fail_after(86_400):
        await _care(seed)


def care(seed: int) -> None:
    run_seeded(seed, _in_time, seed, guarded=False)

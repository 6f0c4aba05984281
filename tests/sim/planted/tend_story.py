"""What care remembers, throws away, removes and believes: four short stories over real stores.

Promises: what a look was about to find is found soon after a power cut amid it, and a look that ended is not made again
because of one; what was acknowledged is never trash; the last whole copy of a shard stays; a repair works although a
source lies.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import trio

from core.ids import PeerId, ShardRoot
from core.limits import CHUNK_BYTES
from core.ports import Identity
from daemon.desk import Desk
from daemon.settings import Settings, SweepSettings
from daemon.shelf import UNCOMMITTED_MAX_S
from erasure.codec import share_bytes
from erasure.scheme import Scheme
from erasure.shardfile import HEAD_BYTES
from tests.daemon.care_pool import CarePool, Put
from tests.sim.chance import derive
from tests.sim.determinism import run_seeded
from wire.messages import Message, Read, Shares

SCHEME = Scheme(2, 4)
CHUNKS = 3
DAY_S = 86_400.0
# A schedule begins with what is due, and wakes again after ten minutes at most.
SOON_S = 900.0
# A look at the object of these stories takes about so many requests, and its repair a few more.
REQUESTS_MAX = 12


class Requests(list[tuple[str, str]]):
    """Those that one look makes; calls ``at_last`` with the last of ``number``."""

    def __init__(self, number: int, at_last: Callable[[], None]) -> None:
        super().__init__()
        self._number = number
        self._at_last = at_last

    def append(self, item: tuple[str, str]) -> None:
        if item[1] == "ping":
            return
        super().append(item)
        if len(self) == self._number:
            self._at_last()


def _pool(*, chunks: int, seed: int) -> tuple[CarePool, Put, random.Random]:
    settings = Settings(sweep=SweepSettings(period_days=1.0, samples=1))
    pool = CarePool(peers=5, sites=5, seed=seed, settings=settings)
    put = pool.put((chunks * CHUNK_BYTES - 100,), seed=seed, scheme=SCHEME)
    return pool, put, derive(seed, "tend")


def _damage(pool: CarePool, put: Put, share: int, chunk: int, chance: random.Random) -> None:
    """A bit of one chunk's share rots, durably."""
    at = HEAD_BYTES + chunk * share_bytes(CHUNK_BYTES, SCHEME.needed) + chance.randrange(1000)
    pool.drive.flip_bit(pool.path(put.holder(0, share), put.root(0, share)), at)


# --- what is remembered -------------------------------------------------------------------------


async def _turn(seed: int) -> None:
    """The power goes amid a scheduled look at an object with a damaged shard, and once more after a whole look."""
    pool, put, chance = _pool(chunks=1, seed=seed)
    share = chance.randrange(SCHEME.total)
    name = pool.by_id[put.holder(0, share)].name
    _damage(pool, put, share, 0, chance)
    with trio.CancelScope() as life:
        pool.requests = Requests(chance.randint(1, REQUESTS_MAX), life.cancel)
        async with pool.caring(name):
            await trio.sleep(DAY_S + SOON_S)
    pool.cut_power()
    async with pool.caring(name):
        await trio.sleep(SOON_S)
        assert pool.is_whole(put), "a look was cut short, and its object waits for the next period"
    pool.cut_power()
    pool.requests = Requests(0, lambda: None)
    async with pool.caring(name):
        await trio.sleep(SOON_S)
    assert not pool.requests, "an object was looked at again because of a power cut"


def turn(seed: int) -> None:
    run_seeded(seed, _turn, seed, guarded=False)


# --- what is thrown away ------------------------------------------------------------------------


async def _papers(seed: int) -> None:
    """A day after its put one holder has no receipt: either it has lost it, or the put is only now being finished."""
    pool, old, chance = _pool(chunks=1, seed=seed)
    slow = pool.put((5000,), seed=seed + 1, with_receipt=False, scheme=SCHEME)
    pool.clock.skew_s = UNCOMMITTED_MAX_S + 60.0
    peer = chance.choice(sorted(set(old.manifest.holders()) & set(slow.manifest.holders())))
    sweeper = pool.by_id[peer]
    pool.lose_papers(peer, old, "receipts")
    away = chance.choice(sorted(set(pool.by_id) - {peer}))
    pool.by_id[away].state = chance.choice(["up", "down"])

    def finish() -> None:
        for holder in slow.manifest.holders():
            pool.by_id[holder].store.documents.put("receipt", slow.object, slow.receipt_file)

    async with pool.caring(sweeper.name):
        await pool.job(sweeper.name, objects=[old.object])
        assert old.object in sweeper.store.documents.names("manifest"), "what was acknowledged was taken for trash"
        assert old.object in sweeper.store.documents.names("receipt"), "a receipt that is lost was not restored"
        pool.requests = Requests(chance.randint(1, REQUESTS_MAX), finish)
        await pool.job(sweeper.name, objects=[slow.object])
        if sweeper.store.documents.names("receipt").count(slow.object):
            kept = slow.object in sweeper.store.documents.names("manifest")
            assert kept, "a put that was finished meanwhile was taken for trash"


def papers(seed: int) -> None:
    run_seeded(seed, _papers, seed, guarded=False)


# --- what is removed ----------------------------------------------------------------------------


async def _duplicate(seed: int) -> None:
    """A guest has a whole copy of a shard; the first holder is back, with a copy of which one chunk is rotten."""
    pool, put, chance = _pool(chunks=CHUNKS, seed=seed)
    share = chance.randrange(SCHEME.total)
    first, root = put.holder(0, share), put.root(0, share)
    guest = next(item for peer, item in pool.by_id.items() if peer not in put.manifest.holders())
    pool.write(pool.path(guest.peer, root), pool.read(pool.path(first, root)))
    guest.store.documents.put("manifest", put.object, put.manifest_file)
    guest.store.documents.put("receipt", put.object, put.receipt_file)
    _damage(pool, put, share, chance.randrange(CHUNKS), chance)
    async with pool.caring(guest.name):
        await pool.job(guest.name, full=False)
    whole = [peer for peer in (first, guest.peer) if _has_whole(pool, peer, root)]
    assert whole, "the last whole copy of a shard was removed"


def _has_whole(pool: CarePool, peer: PeerId, root: ShardRoot) -> bool:
    store = pool.by_id[peer].store
    return store.have([root]) == [True] and store.scan(root).whole


def duplicate(seed: int) -> None:
    run_seeded(seed, _duplicate, seed, guarded=False)


# --- what is believed ---------------------------------------------------------------------------


class LyingDesk:
    """Sends a wrong byte in one chunk's share of one shard, and is honest else."""

    def __init__(self, honest: Desk, root: ShardRoot, chunk: int) -> None:
        self._honest = honest
        self._root = root
        self._chunk = chunk

    async def answer(self, remote: Identity, message: Message) -> Message:
        answer = await self._honest.answer(remote, message)
        if not isinstance(message, Read) or not isinstance(answer, Shares) or message.root != self._root:
            return answer
        number = self._chunk - message.first
        if not 0 <= number < len(answer.lengths):
            return answer
        body = bytearray(answer.body)
        body[sum(answer.lengths[:number])] ^= 1
        return Shares(answer.lengths, answer.paths, bytes(body))


async def _rebuild(seed: int) -> None:
    """One holder has lost its shard and makes it anew; one of the others lies about one chunk."""
    pool, put, chance = _pool(chunks=CHUNKS, seed=seed)
    lost, lied = chance.sample(range(SCHEME.total), 2)
    pool.drive.remove(pool.path(put.holder(0, lost), put.root(0, lost)))
    liar = pool.by_id[put.holder(0, lied)]
    desk = LyingDesk(liar.desk, put.root(0, lied), chance.randrange(CHUNKS))
    liar.desk = desk  # type: ignore[assignment]  # answers as a desk does
    name = pool.by_id[put.holder(0, lost)].name
    async with pool.caring(name):
        await pool.job(name, full=False)
    assert pool.is_whole(put), "a lost shard was not made anew although enough holders are honest"


def rebuild(seed: int) -> None:
    run_seeded(seed, _rebuild, seed, guarded=False)

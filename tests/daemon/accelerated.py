"""Years of failures in minutes: production care on peers whose disks fail far too often, and what is lost counted.

Everything that decides is the daemon's own: schedule, roll call, silence and grace, scrub, challenges, decision,
placement, rebuild, store. Below it lie a simulated disk and virtual time; between peers there is no network, for
nothing that limits durability happens there. One object lives at a time, so that each loss is independent of the last:
when fewer than ``needed`` of its shares are on any disk it is counted, and a new object begins on empty disks.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar, TypeVarTuple, Unpack

import trio
import trio.testing

from core.ids import ShardRoot
from core.ports import Disk
from daemon.settings import RepairSettings, Settings, SweepSettings
from daemon.store import ShardStore
from erasure.scheme import Scheme
from tests.daemon.care_pool import CarePeer, CarePool, Put
from tests.sim.chance import derive

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

HOUR_S = 3600.0
YEAR_S = 365.25 * 24 * HOUR_S
OBJECT_BYTES = 200
LOST_WITH_THE_DISK = ("shards", "manifests", "receipts", "incoming", "quarantine", "state")


@dataclass(frozen=True, slots=True)
class Trial:
    """What fails how often, and what is done about it. Rates are per year, per peer or per site.

    Attributes:
        wipes: a disk is swapped for an empty one and its peer stays: nobody knows before the next look.
        leaves: a peer falls silent, and is back with an empty disk after ``away_s``.
        site_wipes: all disks at one site are swapped at once.
    """

    scheme: Scheme
    peers: int
    sites: int
    period_s: float
    wipes: float = 0.0
    leaves: float = 0.0
    site_wipes: float = 0.0
    away_s: float = 0.0
    grace_s: float = 24 * HOUR_S


@dataclass(slots=True)
class Tally:
    """What became of the objects. ``object_s`` is virtual time."""

    object_s: float = 0.0
    failures: int = 0
    losses: int = 0
    ages_s: list[float] = field(default_factory=list[float])
    """At which age each lost object was lost."""


def files_below(disk: Disk, folder: str) -> Iterator[str]:
    for name in disk.list_folder(folder):
        path = posixpath.join(folder, name)
        found = disk.stat(path)
        assert found is not None
        if found.is_folder:
            yield from files_below(disk, path)
        else:
            yield path


class Inline:
    """``core.ports.Threads`` that cost no time at all."""

    async def cpu(self, job: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        await trio.lowlevel.checkpoint()
        return job(*args)

    async def disk(self, job: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        await trio.lowlevel.checkpoint()
        return job(*args)


class Accelerated:
    def __init__(self, trial: Trial, seed: int) -> None:
        self._trial = trial
        sweep = SweepSettings(period_days=trial.period_s / 86_400, pace_mib_s=0.0, samples=1)
        repair = RepairSettings(grace_hours=trial.grace_s / HOUR_S, bandwidth_mib_s=0.0)
        self._pool = CarePool(
            peers=trial.peers, sites=trial.sites, seed=seed, settings=Settings(sweep=sweep, repair=repair)
        )
        self._pool.ports = self._pool.ports._replace(threads=Inline())
        self._chance = derive(seed, "failures")
        self._scopes: dict[str, trio.CancelScope] = {}
        self._back_at_s: dict[str, float] = {}
        self._objects = 0

    async def run(self, *, losses: int, object_years: float) -> Tally:
        """Until so many objects are lost, or so many object-years have passed."""
        tally = Tally()
        async with trio.open_nursery() as nursery:
            while tally.losses < losses and tally.object_s < object_years * YEAR_S:
                left_s = object_years * YEAR_S - tally.object_s
                tally.ages_s += await self._live_one(nursery, tally, left_s)
            nursery.cancel_scope.cancel()
        return tally

    async def _live_one(self, nursery: trio.Nursery, tally: Tally, left_s: float) -> list[float]:
        """One object from its birth on empty disks to its loss or the end: its age when it was lost."""
        for peer in self._pool.peers.values():
            peer.state = "up"
            self._empty(peer)
        self._back_at_s.clear()
        put = self._pool.put((OBJECT_BYTES,), seed=self._objects, scheme=self._trial.scheme)
        self._objects += 1
        for peer in self._pool.peers.values():
            self._boot(nursery, peer)
        born_s = trio.current_time()
        while trio.current_time() - born_s < left_s:
            await self._next_failure(nursery, tally)
            if not self._is_readable(put):
                tally.losses += 1
                tally.object_s += trio.current_time() - born_s
                return [trio.current_time() - born_s]
        tally.object_s += trio.current_time() - born_s
        return []

    # --- failures -----------------------------------------------------------------------------

    async def _next_failure(self, nursery: trio.Nursery, tally: Tally) -> None:
        trial = self._trial
        names = sorted(self._pool.peers)
        rates = (trial.wipes * trial.peers, trial.leaves * trial.peers, trial.site_wipes * trial.sites)
        wait_s = self._chance.expovariate(sum(rates)) * YEAR_S
        await self._welcome_back(nursery, trio.current_time() + wait_s)
        tally.failures += 1
        kind = self._chance.choices(("wipe", "leave", "site"), rates)[0]
        if kind == "site":
            sites = sorted({peer.home.identity.site for peer in self._pool.peers.values()})
            site = self._chance.choice(sites)
            for peer in self._pool.peers.values():
                if peer.home.identity.site == site:
                    self._swap(nursery, peer)
            return
        peer = self._pool.peers[self._chance.choice(names)]
        if kind == "wipe":
            self._swap(nursery, peer)
        elif peer.state == "up":
            self._stop(peer)
            peer.state = "down"
            self._empty(peer)
            self._back_at_s[peer.name] = trio.current_time() + trial.away_s

    async def _welcome_back(self, nursery: trio.Nursery, until_s: float) -> None:
        """Wait; boxes that were replaced meanwhile start with their empty disks."""
        while self._back_at_s and min(self._back_at_s.values()) <= until_s:
            at_s, name = min((at_s, name) for name, at_s in self._back_at_s.items())
            await trio.sleep_until(at_s)
            del self._back_at_s[name]
            self._pool.peers[name].state = "up"
            self._boot(nursery, self._pool.peers[name])
        await trio.sleep_until(until_s)

    def _swap(self, nursery: trio.Nursery, peer: CarePeer) -> None:
        """An empty disk in place of the old one; nothing to do for a peer that is away."""
        if peer.state == "up":
            self._empty(peer)
            self._boot(nursery, peer)

    def _stop(self, peer: CarePeer) -> None:
        scope = self._scopes.pop(peer.name, None)
        if scope is not None:
            scope.cancel()

    def _empty(self, peer: CarePeer) -> None:
        self._stop(peer)
        disk = self._pool.disk
        for folder in LOST_WITH_THE_DISK:
            path = peer.home.path(folder)
            if disk.stat(path) is not None:
                for file in list(files_below(disk, path)):
                    disk.unlink(file)
        peer.store = ShardStore(disk, peer.home.folder, quota_bytes=None, reserve_bytes=0, clock=self._pool.clock)
        peer.store.start()

    def _boot(self, nursery: trio.Nursery, peer: CarePeer) -> None:
        self._pool.restart(peer.name)
        self._scopes[peer.name] = trio.CancelScope()
        nursery.start_soon(self._run, peer, self._scopes[peer.name])

    async def _run(self, peer: CarePeer, scope: trio.CancelScope) -> None:
        with scope:
            await peer.care.start()
            await peer.care.run()

    # --- what is left ---------------------------------------------------------------------------

    def _is_readable(self, put: Put) -> bool:
        return all(
            sum(self._is_anywhere(root) for root in extent.roots) >= self._trial.scheme.needed
            for extent in put.manifest.all_extents()
        )

    def _is_anywhere(self, root: ShardRoot) -> bool:
        return any(
            self._pool.disk.stat(self._pool.path(peer.peer, root)) is not None for peer in self._pool.peers.values()
        )


def simulate(trial: Trial, *, seed: int, losses: int, object_years: float) -> Tally:
    """One run from a seed, in virtual time."""

    async def main() -> Tally:
        return await Accelerated(trial, seed).run(losses=losses, object_years=object_years)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

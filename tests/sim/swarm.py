"""One universe from one seed: a pool, its users, a schedule of faults, healing, judgement."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import time
from collections import Counter, deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

import daemon.diskwatch
import daemon.node
from client.home import load_home
from client.provision import NewHome
from core import errors
from core.errors import MoorageError, leaves_of
from core.ids import ShardRoot
from core.ports import Address, Ports
from daemon.node import Node, open_node
from daemon.settings import NetworkSettings, Settings
from dht.config import DhtConfig
from tests.sim.afflict import USUAL_NET_S, Nemesis
from tests.sim.bounds import check_bounds
from tests.sim.chance import derive
from tests.sim.determinism import run_seeded
from tests.sim.drive import DiskFaults
from tests.sim.fabric import NetFaults
from tests.sim.liars import make_liar
from tests.sim.nemesis import Fault, make_schedule
from tests.sim.oracle import Evidence, judge, shard_of
from tests.sim.patches import replaced
from tests.sim.pool import SimPool
from tests.sim.profiles import Profile
from tests.sim.pulse import Pulse
from tests.sim.truth import Truth, ViolationError
from tests.sim.work import Work, outcomes
from tests.sim.world import World

# As a service manager does with a daemon that ended.
RESTART_S = 30.0
EVENTS_SHOWN = 60
# What a background task may end by: errors of the world. Any other is a bug.
_EXPECTED = frozenset(
    {name for name in dir(errors) if name.endswith("Error")} | {"OSError", "FileNotFoundError", "PermissionError"}
)


@dataclass(slots=True)
class Verdict:
    """``failure``: empty when all promises held. ``digest``: of every step, event and stored byte."""

    seed: int
    profile: str
    failure: str = ""
    digest: str = ""
    faults: int = 0
    applied: Counter[str] = field(default_factory=Counter[str])
    skipped: Counter[str] = field(default_factory=Counter[str])
    commands: Counter[str] = field(default_factory=Counter[str])
    checks: Counter[str] = field(default_factory=Counter[str])
    objects: int = 0
    rebuilt: int = 0
    needless: int = 0
    sim_s: float = 0.0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    events: list[str] = field(default_factory=list[str])


def peer_names(profile: Profile) -> list[str]:
    return [f"peer-{number}" for number in range(1, profile.peers + 1)]


class Swarm:
    def __init__(
        self, seed: int, profile: Profile, schedule: Sequence[Fault], *, events_max: int | None = EVENTS_SHOWN
    ) -> None:
        self.seed = seed
        self.profile = profile
        self.schedule = schedule
        self.verdict = Verdict(seed, profile.name, faults=len(schedule))
        self.nodes: dict[str, Node] = {}
        self._bug_lines: list[str] = []
        self._last: deque[str] = deque(maxlen=events_max)
        self._log = hashlib.blake2b(digest_size=16)
        self.pulse = Pulse()
        self._writes = 0
        self._truth: Truth | None = None
        self._nemesis: Nemesis | None = None

    # --- the pool -----------------------------------------------------------------------------------

    async def _peer(self, ports: Ports, home: NewHome, address: Address) -> None:
        """A daemon under a service manager: it is started again when it ends by the world's fault."""
        settings = self.profile.settings
        settings = Settings(
            NetworkSettings(listen=address), settings.store, settings.sweep, settings.repair, settings.log, settings.dht
        )
        while True:
            try:
                loaded = load_home(ports.disk, home.folder, ports.clock)
                async with open_node(ports, loaded, settings, functools.partial(self._line, home.name)) as node:
                    make_liar(node, lambda: self.nemesis.lies.get(home.name, ""))
                    self.nodes[home.name] = node
                    try:
                        await trio.sleep_forever()
                    finally:
                        # Whoever looks at it later looks at a machine that may be down.
                        del self.nodes[home.name]
            except (MoorageError, OSError, BaseExceptionGroup) as error:
                words = outcomes(error)
                if "" in words:
                    raise
                self._note(f"{home.name} does not start: {words[0]}")
            await trio.sleep(RESTART_S)

    def _line(self, name: str, line: str) -> None:
        """A line of a daemon's log."""
        for event in ("event=task-failed", "event=session-failed"):
            if event in line:
                self._note(f"{name} {line}")
                words = line.partition('"')[2].replace(":", " ").split()
                if not any(word in _EXPECTED for word in words[:2]):
                    self._bug_lines.append(f"{name} {line}")

    def _note(self, text: str) -> None:
        line = f"{trio.current_time():.6f} {text}"
        self._log.update(line.encode() + b"\n")
        self._last.append(line)

    def _count_write(self, name: str, kind: str, path: str) -> None:
        root = shard_of(path) if kind == "rename" else None
        if (
            root is None
            or self._truth is None
            or not any(
                place.root == root for acked in self._truth.objects.values() for place in self._truth.places(acked)
            )
        ):
            return
        self._writes += 1
        needless = self._is_had_elsewhere(self._truth, name, root)
        self._note(f"{name} wrote {root.short}{' needlessly' if needless else ''}")
        self.verdict.needless += needless

    def _check_bounds(self) -> None:
        for name, node in self.nodes.items():
            if self._truth_there().node(name).is_up:
                check_bounds(name, node)
                self.verdict.checks["looks at limits"] += 1

    def _is_had_elsewhere(self, truth: Truth, name: str, root: ShardRoot) -> bool:
        """Whether somebody has the shard whole who is honest and not silent for longer than its grace."""
        grace_s = self.profile.repair.grace_s
        return any(
            truth.node(other).down_s() < grace_s
            for other in truth.holders(root)
            if other != name and other not in truth.untrusted
        )

    @property
    def nemesis(self) -> Nemesis:
        assert self._nemesis is not None
        return self._nemesis

    # --- the story ----------------------------------------------------------------------------------

    async def main(self) -> None:
        trio.lowlevel.add_instrument(self.pulse)
        with self.pulse.scope:
            await self._story()
        self.pulse.check()

    async def _story(self) -> None:
        profile, chance = self.profile, derive(self.seed, "swarm/world")
        ordered = chance.random() < 0.5
        lost_p = chance.choice((0.0, 0.3, 0.9))
        work = Work(profile, lambda: self._truth_there(), self._note)
        net = NetFaults(latency_s=USUAL_NET_S)
        disk = functools.partial(DiskFaults, names_ordered=ordered, file_lost_p=lost_p)
        async with World(self.seed, net=net, disk=disk).running() as world:
            pool = SimPool(
                world,
                peers=profile.peers,
                sites=profile.sites,
                peer_program=self._peer,
                client_program=work.program,
            )
            truth = self._truth = Truth(pool)
            self._nemesis = Nemesis(world, truth, self._note)
            for name, node in pool.peers.items():
                node.drive.on_step = functools.partial(self._count_write, name)
            world.nursery.start_soon(self.pulse.watch, self._check_bounds)
            await pool.start()
            pool.client_node.start()
            await self.nemesis.run(self.schedule)
            await trio.sleep_until(max(trio.current_time(), profile.span_s))
            work.working = False
            self.verdict.commands = work.counts
            await self._heal(pool)
            evidence = Evidence(
                pool, truth, profile, self.nodes, self._bug_lines, lambda: self._writes, self._note, self.verdict.checks
            )
            rebuilt = self._writes
            await judge(evidence)
            self.verdict.rebuilt = rebuilt
            self._note("judged")
            for name, node in world.nodes.items():
                self._log.update(f"{name} {node.drive.fingerprint()}\n".encode())
            self.verdict.sim_s = trio.current_time()

    def _truth_there(self) -> Truth:
        assert self._truth is not None
        return self._truth

    async def _heal(self, pool: SimPool) -> None:
        """The last fault: all power goes at once. Then everything passes, and nobody uses the pool any more."""
        self._note("heal")
        for node in pool.world.nodes.values():
            if node.is_up:
                node.crash()
        await trio.sleep(RESTART_S)
        self.nemesis.heal()
        await trio.sleep(60.0)
        pool.client_node.kill()

    def run(self) -> Verdict:
        verdict = self.verdict
        began, cpu_began = time.perf_counter(), time.process_time()
        try:
            with _settings(self.profile):
                _, steps = run_seeded(self.seed, self.main)
            self._log.update(steps.encode())
        except (Exception, BaseExceptionGroup) as error:  # every kind of failure is a verdict
            verdict.failure = _reason(error)
        verdict.wall_s = time.perf_counter() - began
        verdict.cpu_s = time.process_time() - cpu_began
        verdict.digest = self._log.hexdigest()
        verdict.events = list(self._last)
        if self._truth is not None:
            verdict.objects = len(self._truth.objects)
        if self._nemesis is not None:
            verdict.applied, verdict.skipped = self._nemesis.applied, self._nemesis.skipped
        return verdict


@contextlib.contextmanager
def _settings(profile: Profile) -> Generator[None, None, None]:
    """What a profile changes and no operator can."""

    def config(**given: Any) -> DhtConfig:
        return DhtConfig(**{**given, **profile.upkeep})

    with (
        replaced(daemon.node, "DhtConfig", config),
        replaced(daemon.diskwatch, "PROBE_AFTER_S", profile.probe_s),
    ):
        yield


def _reason(error: BaseException) -> str:
    """The broken promise among all that fell with it, else the first error."""
    found = _roots(error)
    for leaf in found:
        if isinstance(leaf, ViolationError):
            return str(leaf)
    where = found[0].__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = "" if where is None else f" in {where.tb_frame.f_code.co_qualname}, line {where.tb_lineno}"
    cause = found[0].__cause__
    return f"{type(found[0]).__name__}: {found[0]}{place}{f' because {cause!r}' if cause else ''}"


def _with_causes(error: BaseException) -> list[BaseException]:
    """The error; before it, if the world says by it that a node ended by a bug, which one: that is what counts."""
    cause = error.__cause__
    if isinstance(error, AssertionError) and cause is not None and not isinstance(error, ViolationError):
        return [*_roots(cause), error]
    return [error]


def _roots(error: BaseException) -> list[BaseException]:
    return [root for leaf in leaves_of(error) for root in _with_causes(leaf)]


def run_seed(
    seed: int, profile: Profile, schedule: Sequence[Fault] | None = None, *, events_max: int | None = EVENTS_SHOWN
) -> Verdict:
    """The universe of a seed, or the same with another schedule. ``events_max``: how many are kept; None: all."""
    if schedule is None:
        schedule = make_schedule(seed, profile, peer_names(profile))
    return Swarm(seed, profile, schedule, events_max=events_max).run()

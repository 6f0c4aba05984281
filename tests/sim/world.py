"""Nodes on simulated drives and a simulated network, that start, crash and start again."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Self

import trio

from core.ports import Ports
from tests.sim.chance import SimChance, derive
from tests.sim.clock import SimClock
from tests.sim.disk import SimDisk
from tests.sim.drive import DiskFaults, SimDrive
from tests.sim.fabric import NetFaults, SimFabric
from tests.sim.life import Life, NodeDead
from tests.sim.net import Fabric, SimNet
from tests.sim.people import Person
from tests.sim.threads import SimThreads

Program = Callable[[Ports], Awaitable[None]]
Issuers = Callable[[], Mapping[str, bytes]]


class SimNode:
    """A machine: its drive and its clock's error outlive its crashes, all else is of one life."""

    def __init__(self, world: World, name: str, person: Person, program: Program | None, issuers: Issuers) -> None:
        self.name = name
        self.person = person
        self.clock = SimClock()
        self.drive = SimDrive(world.seed, name, world.disk_faults())
        self.drive.on_crash = self.crash
        self.boots = 0
        self._world = world
        self._program = program
        self._issuers = issuers
        self._scope = trio.CancelScope()
        self.life = Life()
        self.life.end()
        self._ended_s = 0.0
        self.threads = SimThreads(self.life)

    @property
    def is_up(self) -> bool:
        return not self.life.dead

    def down_s(self) -> float:
        """For how long it has been down without a break; 0 when it is up."""
        return 0.0 if self.is_up else trio.current_time() - self._ended_s

    def start(self) -> Ports:
        """A new life: its ports, and its program begins."""
        assert not self.is_up, f"{self.name} is up already"
        world = self._world
        self.boots += 1
        self.life = Life()
        world.fabric.host_up(self.name)
        fate = f"{self.name}/{self.boots}"
        self.threads = SimThreads(self.life, derive(world.seed, f"{fate}/threads"))
        ports = Ports(
            disk=SimDisk(self.drive, self.life),
            net=SimNet(world.fabric, self.name, self.person.identity, self._issuers, clock=self.clock, life=self.life),
            threads=self.threads,
            clock=self.clock,
            chance=SimChance(world.seed, fate),
        )
        if self._program is not None:
            self._scope = trio.CancelScope()
            world.nursery.start_soon(self._live, self.life, self._scope, self._program, ports, name=fate)
        return ports

    def _end(self) -> None:
        if self.is_up:
            self._ended_s = trio.current_time()
        self.life.end()

    def crash(self) -> None:
        """The power is cut: un-synced bytes are at risk, and nobody is told."""
        self._end()
        self.drive.cut_power()
        self._world.fabric.host_down(self.name)
        self._scope.cancel()

    def kill(self) -> None:
        """The program dies (kill -9) and its system lives: what it wrote stays, its connections are reset."""
        self._end()
        self._world.fabric.process_down(self.name)
        self._scope.cancel()

    async def _live(self, life: Life, scope: trio.CancelScope, program: Program, ports: Ports) -> None:
        try:
            with scope:
                await _until_dead(program, ports)
        except Exception as error:  # a program that fails is a finding for the test, not the end of the world
            if not life.dead:
                self._world.panics.append((self.name, error))
        if not life.dead:
            self.kill()


class World:
    """Nodes, and the network between them.

    Attributes:
        panics: (node, exception) of programs that ended by an exception, except through a crash.
    """

    def __init__(
        self, seed: int = 0, *, net: NetFaults | None = None, disk: Callable[[], DiskFaults] = DiskFaults
    ) -> None:
        self.seed = seed
        self.disk_faults = disk
        self.fabric: Fabric = SimFabric(seed, net)
        self.nodes: dict[str, SimNode] = {}
        self.panics: list[tuple[str, Exception]] = []
        self._nursery: trio.Nursery | None = None

    @property
    def nursery(self) -> trio.Nursery:
        assert self._nursery is not None, "not running"
        return self._nursery

    def add(self, name: str, person: Person, issuers: Issuers, program: Program | None = None) -> SimNode:
        """A node that is down; without a program its ports serve the test itself."""
        assert name not in self.nodes, name
        node = self.nodes[name] = SimNode(self, name, person, program, issuers)
        return node

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[Self, None]:
        """Nodes run inside. At the end everything is cancelled and ``check`` is called."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            yield self
            nursery.cancel_scope.cancel()
        self.check()

    def check(self) -> None:
        """Raises AssertionError when a program or a connection's handler ended by a bug."""
        found = [*self.panics, *self.fabric.bugs]
        if found:
            raise AssertionError(f"ended by a bug: {', '.join(name for name, _ in found)}") from found[0][1]


async def _until_dead(program: Program, ports: Ports) -> None:
    try:
        await program(ports)
    except NodeDead:
        return
    except BaseExceptionGroup as group:
        _, rest = group.split(NodeDead)
        if rest is not None:
            raise rest from None

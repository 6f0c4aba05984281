"""What lies between simulated nodes: cables that are slow, cut, or lead to a node that is down or hangs."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import trio

from core.errors import SettingsError
from core.ports import Address
from tests.sim.chance import derive

Listener = TypeVar("Listener")

FIRST_PORT = 40_000


@dataclass(slots=True)
class NetFaults:
    """What goes wrong, by probability (``_p``) of each send. May be changed at any time."""

    latency_s: tuple[float, float] = (0.0, 0.0)
    bytes_per_s: float = math.inf
    reset_p: float = 0.0
    corrupt_p: float = 0.0
    """A byte changes on the way. TLS lies below the port and breaks the connection, as the port's users see it."""
    stall_p: float = 0.0
    stall_s: tuple[float, float] = (1.0, 30.0)
    part_p: float = 0.3
    """A receive gives only part of what is at hand."""
    give_up_s: float = 60.0
    """A sender whose bytes do not get away for so long has a broken connection (TCP_USER_TIMEOUT)."""


@dataclass(slots=True)
class Segment:
    arrives_s: float
    data: memoryview


@dataclass(eq=False, slots=True)
class Pipe:
    """One direction of a connection."""

    source: str
    target: str
    segments: deque[Segment] = field(default_factory=deque[Segment])
    queued_bytes: int = 0
    busy_until_s: float = 0.0
    last_arrival_s: float = 0.0
    ended_s: float = math.inf
    """When the end of the stream reaches the target."""
    deaf: bool = False
    """The target closed its end."""
    changed: trio.Event = field(default_factory=trio.Event)

    def wake(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


@dataclass(eq=False, slots=True)
class Link:
    """A connection as the network sees it. ``broken`` says why it is."""

    pipes: tuple[Pipe, Pipe]
    broken: str = ""

    def cut(self, why: str) -> None:
        """What is on the way is lost; what has arrived can still be read."""
        if self.broken:
            return
        self.broken = why
        now_s = trio.current_time()
        for pipe in self.pipes:
            while pipe.segments and pipe.segments[-1].arrives_s > now_s:
                pipe.queued_bytes -= len(pipe.segments.pop().data)
            pipe.wake()

    @property
    def hosts(self) -> tuple[str, str]:
        return self.pipes[0].source, self.pipes[0].target


class SimFabric(Generic[Listener]):
    """The network of a world: who listens where, and what the cables do.

    Attributes:
        lag_s: by host, how much later than others' its bytes arrive, and those to it.
        late_s: by host, how much later it answers; also in a handshake.
        bugs: (host, exception) of every handler that ended with an error that is not a MoorageError.
    """

    def __init__(self, seed: int = 0, faults: NetFaults | None = None) -> None:
        self.faults = faults or NetFaults()
        self.chance = derive(seed, "net")
        self.bugs: list[tuple[str, Exception]] = []
        self.links: dict[Link, None] = {}
        self.listeners: dict[Address, Listener] = {}
        self._owners: dict[Address, str] = {}
        self._next_port = FIRST_PORT
        self._cuts: dict[tuple[str, str], None] = {}
        self._down: dict[str, None] = {}
        self._paused: dict[str, trio.Event] = {}
        self.lag_s: dict[str, float] = {}
        self.late_s: dict[str, float] = {}

    # --- what the world does to it ------------------------------------------------------------

    def partition(self, source: str, target: str, *, both_ways: bool = True) -> None:
        """Nothing gets through, and nobody is told."""
        self._cuts[source, target] = None
        if both_ways:
            self._cuts[target, source] = None

    def heal(self) -> None:
        """All partitions end; what was sent in between arrives."""
        self._cuts.clear()
        self._wake_all()

    def pause(self, host: str) -> None:
        """Its kernel lives, its program hangs: connections are taken up to a point, nothing is answered."""
        self._paused.setdefault(host, trio.Event())

    def resume(self, host: str) -> None:
        if (event := self._paused.pop(host, None)) is not None:
            event.set()
            self._wake_all()

    def process_down(self, host: str) -> None:
        """Its program died and its kernel lives: all its connections break, and the others are told."""
        self.resume(host)
        self._close_listeners(host)
        for link in self.links_of(host):
            if not self.is_silent(*link.hosts):
                link.cut("connection reset")

    def host_down(self, host: str) -> None:
        """Its power is gone: the others hear nothing more, not even an end."""
        self.resume(host)
        self._down[host] = None
        self._close_listeners(host)

    def host_up(self, host: str) -> None:
        """Its new kernel knows none of its old connections, and says so."""
        self._down.pop(host, None)
        for link in self.links_of(host):
            link.cut("connection reset")
            self.links.pop(link, None)

    # --- what SimNet is made of ---------------------------------------------------------------

    def links_of(self, host: str) -> list[Link]:
        return [link for link in self.links if host in link.hosts]

    def is_silent(self, source: str, target: str) -> bool:
        return (source, target) in self._cuts or source in self._down or target in self._down

    def hears(self, host: str, address: Address) -> bool:
        """Whether a handshake of ``host`` with whoever is (or was) at ``address`` gets any answer at all."""
        owner = self._owners.get(address)
        if owner is None:
            return True
        return not (self.is_silent(host, owner) or self.is_silent(owner, host) or owner in self._paused)

    def late_at_s(self, address: Address) -> float:
        """How much later than others whoever is at ``address`` answers."""
        return self.late_s.get(self._owners.get(address, ""), 0.0)

    async def wait_awake(self, host: str) -> None:
        while (event := self._paused.get(host)) is not None:
            await event.wait()

    def bind(self, host: str, address: Address, listener: Listener) -> Address:
        """Raises SettingsError when the address is taken."""
        if address.port == 0:
            address = Address(address.host, self._next_port)
            self._next_port += 1
        if address in self.listeners:
            raise SettingsError(f"cannot listen on {address}: Address already in use")
        self.listeners[address] = listener
        self._owners[address] = host
        return address

    def unbind(self, address: Address, listener: Listener) -> None:
        if self.listeners.get(address) is listener:
            del self.listeners[address]

    def latency_s(self) -> float:
        return self.chance.uniform(*self.faults.latency_s)

    def put(self, pipe: Pipe, data: memoryview) -> None:
        faults, now_s = self.faults, trio.current_time()
        pipe.busy_until_s = max(pipe.busy_until_s, now_s) + len(data) / faults.bytes_per_s
        lag_s = self.lag_s.get(pipe.source, 0.0) + self.lag_s.get(pipe.target, 0.0)
        arrives_s = pipe.busy_until_s + self.latency_s() + lag_s + self.late_s.get(pipe.source, 0.0)
        if faults.stall_p and self.chance.random() < faults.stall_p:
            arrives_s += self.chance.uniform(*faults.stall_s)
        pipe.last_arrival_s = max(pipe.last_arrival_s, arrives_s)
        pipe.segments.append(Segment(pipe.last_arrival_s, data))
        pipe.queued_bytes += len(data)
        pipe.wake()

    def take(self, pipe: Pipe, max_bytes: int) -> bytes:
        """What has arrived, or a part of it."""
        if self.is_silent(pipe.source, pipe.target):
            return b""
        now_s = trio.current_time()
        at_hand = 0
        for segment in _until(pipe.segments, now_s):
            at_hand += len(segment.data)
            if at_hand >= max_bytes:
                break
        wanted = min(at_hand, max_bytes)
        if wanted > 1 and self.chance.random() < self.faults.part_p:
            wanted = self.chance.randint(1, wanted)
        parts: list[memoryview] = []
        while wanted:
            segment = pipe.segments[0]
            parts.append(segment.data[:wanted])
            segment.data = segment.data[wanted:]
            if not segment.data:
                pipe.segments.popleft()
            wanted -= len(parts[-1])
            pipe.queued_bytes -= len(parts[-1])
        if parts:
            pipe.wake()
        return b"".join(parts)

    def _close_listeners(self, host: str) -> None:
        for address in [address for address, owner in self._owners.items() if owner == host]:
            self.listeners.pop(address, None)

    def _wake_all(self) -> None:
        for link in self.links:
            for pipe in link.pipes:
                pipe.wake()


def _until(segments: deque[Segment], now_s: float) -> Iterator[Segment]:
    for segment in segments:
        if segment.arrives_s > now_s:
            return
        yield segment

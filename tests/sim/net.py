"""``core.ports.Net`` on a simulated network.

TLS lies below the port, so there is none; certificates are checked on both sides as TLS would.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping

import trio

from core.errors import MoorageError, PeerRefusedError, PeerUnavailableError
from core.identity import read_certificate
from core.limits import CONNECT_DEADLINE_S, KIB
from core.ports import FRAMES, Address, ApplicationProtocol, Buffer, Clock, Connection, Identity
from tests.sim.clock import SimClock
from tests.sim.fabric import Link, Pipe, SimFabric
from tests.sim.life import Life

# What the kernels of both ends take before a sender has to wait.
WINDOW_BYTES = 1024 * KIB
SEGMENT_BYTES = 64 * KIB
BACKLOG_CONNECTIONS = 64
# How often a kernel knocks again.
KNOCK_S = 1.0
# One-way trips of a TCP and a TLS 1.3 handshake and the welcome.
HANDSHAKE_TRIPS = 5
# Two of them are answers of the other side that TLS and the welcome wait for.
HANDSHAKE_ANSWERS = 2

Fabric = SimFabric["SimListener"]


class SimListener:
    def __init__(self, net: SimNet) -> None:
        self.net = net
        self.arrivals, self.backlog = trio.open_memory_channel[SimConnection](BACKLOG_CONNECTIONS)


class SimConnection:
    """``core.ports.Connection``."""

    def __init__(
        self, net: SimNet, link: Link, out: Pipe, into: Pipe, remote: Identity, protocol: ApplicationProtocol
    ) -> None:
        self._protocol = protocol
        self._net = net
        self._link = link
        self._out = out
        self._in = into
        self._remote = remote
        self._sending = False
        self._receiving = False
        self._closed = False
        self._sent_bytes = 0
        self._come_bytes = 0
        self._moved_bytes = 0

    @property
    def remote(self) -> Identity:
        return self._remote

    @property
    def protocol(self) -> ApplicationProtocol:
        return self._protocol

    @property
    def moved_bytes(self) -> int:
        """Their kernel takes what arrives; that it has reaches us only where the cable is whole both ways."""
        pipe, now_s = self._out, trio.current_time()
        fabric = self._net.fabric
        if not fabric.is_silent(pipe.source, pipe.target) and not fabric.is_silent(pipe.target, pipe.source):
            on_the_way = sum(len(segment.data) for segment in pipe.segments if segment.arrives_s > now_s)
            self._moved_bytes = max(self._moved_bytes, self._come_bytes + self._sent_bytes - on_the_way)
        return self._moved_bytes

    async def send_all(self, *parts: Buffer) -> None:
        await trio.lowlevel.checkpoint()
        assert not self._sending, "two tasks send on one connection"
        self._check_sendable()
        fabric = self._net.fabric
        if fabric.faults.reset_p and fabric.chance.random() < fabric.faults.reset_p:
            self._link.cut("connection reset")
        if fabric.faults.corrupt_p and fabric.chance.random() < fabric.faults.corrupt_p:
            self._link.cut("a TLS record is damaged")
        whole = memoryview(b"".join(parts))
        self._sending = True
        try:
            for start in range(0, len(whole), SEGMENT_BYTES):
                await self._wait_for_room()
                segment = whole[start : start + SEGMENT_BYTES]
                fabric.put(self._out, segment)
                self._sent_bytes += len(segment)
        except trio.Cancelled:
            self._link.cut("broken by a send that was cancelled")
            raise
        finally:
            self._sending = False

    async def receive_some(self, max_bytes: int) -> bytes:
        assert max_bytes > 0, max_bytes
        await trio.lowlevel.checkpoint()
        assert not self._receiving, "two tasks receive from one connection"
        self._receiving = True
        try:
            while True:
                await self._net.wait_awake()
                self._check_open()
                data = self._net.fabric.take(self._in, max_bytes)
                self._come_bytes += len(data)
                if data or self._at_end():
                    return data
                self._check_whole()
                with trio.move_on_at(self._next_arrival_s()):
                    await self._in.changed.wait()
        finally:
            self._receiving = False

    async def receive_into(self, target: memoryview, *, expected_bytes: int = 1) -> int:
        del expected_bytes
        data = await self.receive_some(len(target))
        target[: len(data)] = data
        return len(data)

    async def aclose(self) -> None:
        self._net.life.check()
        if not self._closed:
            self._closed = True
            self._in.deaf = True
            if not self._link.broken:
                self._out.ended_s = max(self._out.last_arrival_s, trio.current_time() + self._net.fabric.latency_s())
            for pipe in self._link.pipes:
                pipe.wake()
            if self._out.deaf or self._link.broken:
                self._net.fabric.links.pop(self._link, None)
        await trio.lowlevel.checkpoint()

    def cut(self, why: str) -> None:
        """Break it, as the network would."""
        self._link.cut(why)

    async def _wait_for_room(self) -> None:
        deadline_s = trio.current_time() + self._net.fabric.faults.give_up_s
        while True:
            await self._net.wait_awake()
            self._check_sendable()
            if self._out.queued_bytes < WINDOW_BYTES:
                return
            if trio.current_time() >= deadline_s:
                self._link.cut("connection timed out")
            with trio.move_on_at(deadline_s):
                await self._out.changed.wait()

    def _at_end(self) -> bool:
        pipe = self._in
        return (
            not pipe.segments
            and pipe.ended_s <= trio.current_time()
            and not self._net.fabric.is_silent(pipe.source, pipe.target)
        )

    def _next_arrival_s(self) -> float:
        pipe = self._in
        if self._net.fabric.is_silent(pipe.source, pipe.target):
            return math.inf
        return pipe.segments[0].arrives_s if pipe.segments else pipe.ended_s

    def _check_open(self) -> None:
        self._net.life.check()
        if self._closed:
            raise PeerUnavailableError(f"{self._remote.name}: this connection was closed here")

    def _check_whole(self) -> None:
        if self._link.broken:
            raise PeerUnavailableError(f"{self._remote.name}: {self._link.broken}")

    def _check_sendable(self) -> None:
        self._check_open()
        self._check_whole()
        if self._out.deaf:
            raise PeerUnavailableError(f"{self._remote.name}: broken pipe")


class SimNet:
    """``core.ports.Net`` of one life of one node.

    Args:
        host: the node's name on the fabric, by which it is partitioned, paused and brought down. It may listen on
            any address.
        identity: who it is; its certificate is checked by the others.
        issuers: the roster's certificates; without them everybody is believed.
    """

    def __init__(
        self,
        fabric: Fabric,
        host: str,
        identity: Identity,
        issuers: Callable[[], Mapping[str, bytes]] | None = None,
        *,
        clock: Clock | None = None,
        life: Life | None = None,
    ) -> None:
        self.fabric = fabric
        self.host = host
        self.identity = identity
        self.life = life or Life()
        self._issuers = issuers
        self._clock = clock or SimClock()

    async def connect(self, address: Address, protocol: ApplicationProtocol = FRAMES) -> SimConnection:
        deadline_s = trio.current_time() + CONNECT_DEADLINE_S
        fabric = self.fabric
        await self.wait_awake()
        await trio.sleep(
            sum(fabric.latency_s() for _ in range(HANDSHAKE_TRIPS)) + HANDSHAKE_ANSWERS * fabric.late_at_s(address)
        )
        while not fabric.hears(self.host, address):
            patience_s = deadline_s - trio.current_time()
            if patience_s <= 0:
                raise PeerUnavailableError(f"{address}: nobody answers within {CONNECT_DEADLINE_S:g} s")
            await trio.sleep(min(KNOCK_S, patience_s))
        self.life.check()
        listener = fabric.listeners.get(address)
        if listener is None:
            raise PeerUnavailableError(f"{address}: Connection refused")
        self.believe(listener.net.identity, f"{address}: its certificate is refused")
        listener.net.believe(self.identity, f"{address} refuses our certificate")
        return self._join(address, listener, protocol)

    def _join(self, address: Address, listener: SimListener, protocol: ApplicationProtocol) -> SimConnection:
        far = listener.net
        there, back = Pipe(self.host, far.host), Pipe(far.host, self.host)
        link = Link((there, back))
        try:
            listener.arrivals.send_nowait(SimConnection(far, link, back, there, self.identity, protocol))
        except trio.WouldBlock:
            raise PeerUnavailableError(f"{address}: too many connections wait there") from None
        self.fabric.links[link] = None
        return SimConnection(self, link, there, back, far.identity, protocol)

    async def serve(
        self,
        address: Address,
        handler: Callable[[Connection], Awaitable[None]],
        *,
        task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        self.life.check()
        listener = SimListener(self)
        bound = self.fabric.bind(self.host, address, listener)
        try:
            async with trio.open_nursery() as nursery:
                task_status.started(bound)
                while True:
                    connection = await listener.backlog.receive()
                    nursery.start_soon(self._handle, connection, handler)
        finally:
            self.fabric.unbind(bound, listener)
            while listener.backlog.statistics().current_buffer_used:
                listener.backlog.receive_nowait().cut("connection reset")

    async def _handle(self, connection: SimConnection, handler: Callable[[Connection], Awaitable[None]]) -> None:
        try:
            await handler(connection)
        except MoorageError:
            pass
        except Exception as bug:  # the port's promise: it ends this connection only; the world will ask for it
            self.fabric.bugs.append((self.host, bug))
        finally:
            await connection.aclose()

    def believe(self, identity: Identity, refusal: str) -> None:
        """Raises PeerRefusedError, as this node would."""
        if self._issuers is None:
            return
        try:
            read_certificate(identity.certificate, self._issuers(), now=self._clock.now())
        except PeerRefusedError as error:
            raise PeerRefusedError(f"{refusal}: {error}") from error

    async def wait_awake(self) -> None:
        self.life.check()
        await self.fabric.wait_awake(self.host)
        self.life.check()

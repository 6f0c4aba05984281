"""The five doors to the world: disk, network, threads, clock and chance.

Nothing else in moorage touches them. Each has a real implementation (``host``) and a simulated one
(``tests.sim``), held to the same conformance tests, so that whole pools run inside a simulator.

Disk methods are plain functions: a sequence that must not be torn by a cancellation (write, sync, rename,
sync the folder) is one function, run as one job by ``Threads.disk``. Timeouts use trio's clock, never ``Clock``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias, TypeVar, TypeVarTuple, Unpack

from core.ids import PeerId

if TYPE_CHECKING:
    # Named in signatures only: what needs no network must not wait for its library to load.
    import random

    import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Buffer: TypeAlias = bytes | bytearray | memoryview


class FileStat(NamedTuple):
    """What ``Disk.stat`` knows of a path."""

    size_bytes: int
    is_folder: bool
    modified_ns: int


class DiskFile(Protocol):
    """An open file. All offsets and lengths are bytes. Methods raise OSError."""

    def read_at(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``, fewer only at the file's end."""
        ...

    def write_at(self, offset: int, data: Buffer) -> None:
        """Write all of ``data``, or raise."""
        ...

    def size(self) -> int: ...

    def sync(self) -> None:
        """Return only when everything written so far survives a power cut."""
        ...

    def close(self) -> None: ...


class Disk(Protocol):
    """A file system. Paths are absolute texts (surrogate-escaped). Methods raise OSError as the system does."""

    def open(self, path: str, mode: Literal["read", "create", "update"]) -> AbstractContextManager[DiskFile]:
        """``create`` fails when the file exists; ``update`` makes it when it does not and keeps its bytes."""
        ...

    def stat(self, path: str) -> FileStat | None:
        """None when nothing is there. Does not follow links."""
        ...

    def list_folder(self, path: str) -> list[str]:
        """Names in ascending order; empty when the folder does not exist."""
        ...

    def make_folders(self, path: str) -> None:
        """Make the folder and its parents, durably."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Atomic; replaces ``target``. Durable only after ``sync_folder`` of both folders."""
        ...

    def unlink(self, path: str) -> None: ...

    def uncache(self, path: str) -> None:
        """The system need not keep in memory what it has of a synced file. Changes nothing else, and never raises."""
        ...

    def sync_folder(self, path: str) -> None: ...

    def free_bytes(self, path: str) -> int: ...

    def file_system(self, path: str) -> str:
        """The kind of file system that a folder is on, as the system calls it ("ext4", "nfs4"); empty: unknown."""
        ...

    def lock(self, path: str, *, wait: bool) -> AbstractContextManager[bool]:
        """An exclusive lock between processes, held inside the context; False when not got (``wait=False``)."""
        ...


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where a peer listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is at the other end, as its certificate says and its organisation vouches."""

    peer: PeerId
    organisation: str
    site: str
    name: str
    role: Literal["peer", "client", "guest"]
    certificate: bytes
    """DER of the certificate, so that others can check it too."""


ApplicationProtocol: TypeAlias = Literal["moorage/1", "http/1.1"]
"""What is spoken inside TLS, as both sides named it (RFC 7301): our frames, or HTTP for the ledger."""

FRAMES: ApplicationProtocol = "moorage/1"
HTTP: ApplicationProtocol = "http/1.1"


class Connection(Protocol):
    """An authenticated, encrypted byte stream. One task sends, one receives, at a time each.

    Methods raise PeerUnavailableError when the stream is broken. A cancelled send leaves the stream broken.
    """

    @property
    def remote(self) -> Identity: ...

    @property
    def protocol(self) -> ApplicationProtocol: ...

    @property
    def moved_bytes(self) -> int:
        """Bytes that have come, and bytes sent that the other side's system has taken; never falls.

        It grows while a line is thin but not dead, also amid a call. That a system takes bytes says nothing of the
        program above it.
        """
        ...

    async def send_all(self, *parts: Buffer) -> None:
        """All parts, one after the other."""
        ...

    async def receive_some(self, max_bytes: int) -> bytes:
        """1 to ``max_bytes`` bytes, or none at the end of the stream."""
        ...

    async def receive_into(self, target: memoryview, *, expected_bytes: int = 1) -> int:
        """1 to ``len(target)`` bytes into ``target``; how many, 0 at the end of the stream.

        May wait for up to ``expected_bytes`` of them, but not for long. When it is cancelled, the stream may be broken.
        """
        ...

    async def aclose(self) -> None: ...


class Net(Protocol):
    """Connections to and from peers of this pool. TLS lives below this port."""

    async def connect(self, address: Address, protocol: ApplicationProtocol = FRAMES) -> Connection:
        """Raises PeerUnavailableError (nobody there, too slow) or PeerRefusedError (not of this pool).

        A listener that does not let us in says so in its own way when ``protocol`` is FRAMES; otherwise its connection
        just ends.
        """
        ...

    async def serve(
        self,
        address: Address,
        handler: Callable[[Connection], Awaitable[None]],
        *,
        task_status: trio.TaskStatus[Address] = ...,
    ) -> None:
        """Accept until cancelled; ``task_status.started`` gets the address really bound (port 0 picks one).

        Each connection runs in a task of its own after its handshake; whatever the handler raises as
        Exception ends that connection only.
        """
        ...


class Threads(Protocol):
    """Blocking work off the event loop. A job that began is always finished, also when its caller is cancelled."""

    async def cpu(self, job: Callable[[Unpack[Ts]], T], *args: *Ts) -> T: ...

    async def disk(self, job: Callable[[Unpack[Ts]], T], *args: *Ts) -> T: ...


class Clock(Protocol):
    """Wall-clock time, for stamps and expiry; it may jump."""

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        ...


class Chance(Protocol):
    def token(self, size_bytes: int) -> bytes:
        """Unpredictable bytes: keys, nonces, names."""
        ...

    def stream(self, name: str) -> random.Random:
        """A generator for choices that need no secrecy (jitter, sampling), one per purpose."""
        ...


class Ports(NamedTuple):
    """Everything a daemon or a client needs from the world."""

    disk: Disk
    net: Net
    threads: Threads
    clock: Clock
    chance: Chance

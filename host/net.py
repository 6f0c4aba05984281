"""The network: mutual TLS over TCP, each side known by its certificate before a handler sees a byte."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, cast

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.errors import MoorageError, PeerRefusedError, PeerUnavailableError, SettingsError
from core.identity import read_certificate
from core.limits import CONNECT_DEADLINE_S, HANDSHAKE_DEADLINE_S
from core.ports import FRAMES, HTTP, Address, ApplicationProtocol, Buffer, Clock, Connection, Identity
from host.pump import RECEIVE_BYTES, TlsPump
from host.tls import Contexts

_log = logging.getLogger(__name__)

# Strangers whose handshake is not done: each costs a socket and about 100 KiB. An honest one takes milliseconds.
HANDSHAKES_MAX = 64
# The accepting side's first byte. In TLS 1.3 the connecting side cannot know earlier whether it was accepted.
WELCOME = b"\x01"
NOT_WELCOME = b"\x00"
# Too many open files: wait for some to be closed instead of spinning.
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_NO_ROOM_PAUSE_S = 0.1


class NetLimits(NamedTuple):
    """Patience in seconds, and how many strangers may stand at the door at once."""

    connect_deadline_s: float = CONNECT_DEADLINE_S
    handshake_deadline_s: float = HANDSHAKE_DEADLINE_S
    handshakes_max: int = HANDSHAKES_MAX


class TlsConnection:
    """A ``core.ports.Connection``."""

    __slots__ = ("_protocol", "_pump", "_remote")

    def __init__(self, pump: TlsPump, remote: Identity, protocol: ApplicationProtocol) -> None:
        self._pump = pump
        self._remote = remote
        self._protocol: ApplicationProtocol = protocol

    @property
    def protocol(self) -> ApplicationProtocol:
        return self._protocol

    @property
    def remote(self) -> Identity:
        return self._remote

    @property
    def moved_bytes(self) -> int:
        return self._pump.counted.moved_bytes

    async def send_all(self, *parts: Buffer) -> None:
        await self._pump.send_all(*parts)

    async def receive_some(self, max_bytes: int) -> bytes:
        return await self._pump.receive_some(max_bytes)

    async def receive_into(self, target: memoryview, *, expected_bytes: int = 1) -> int:
        return await self._pump.receive_into(target, expected_bytes)

    async def aclose(self) -> None:
        await self._pump.aclose()


class TlsNet:
    """A ``core.ports.Net``.

    Args:
        certificate: ours, DER, issued by one of ``issuers``.
        key: the certificate's.
        issuers: DER of each organisation's certificate, by its name: the roster's. It and the certificate are asked
            for anew at each connection, so that a new roster or a renewed certificate holds at once.
    """

    def __init__(
        self,
        certificate: Callable[[], bytes],
        key: Ed25519PrivateKey,
        issuers: Callable[[], Mapping[str, bytes]],
        clock: Clock,
        *,
        limits: NetLimits | None = None,
    ) -> None:
        self._certificate = certificate
        self._key = key
        self._issuers = issuers
        self._clock = clock
        self._limits = limits or NetLimits()
        self._known = dict(issuers())
        self._shown = certificate()
        self._contexts = Contexts(self._shown, key, self._known.values())
        self._scratch = memoryview(bytearray(RECEIVE_BYTES))
        self._workers = trio.CapacityLimiter(os.cpu_count() or 1)

    async def connect(self, address: Address, protocol: ApplicationProtocol = FRAMES) -> TlsConnection:
        pump = self._pump(await self._dial(address), str(address), calling=protocol)
        patience_s = self._limits.handshake_deadline_s
        try:
            with trio.fail_after(patience_s):
                remote = await self._identify(pump, str(address), protocol)
                # HTTP has no room for a welcome: whoever is not let in learns it at the first answer.
                answer = await pump.receive_some(1) if protocol == FRAMES else WELCOME
        except BaseException as error:  # a cancellation too must not leave the socket open
            await pump.aclose()
            if isinstance(error, trio.TooSlowError):
                raise PeerUnavailableError(f"{address}: no handshake within {patience_s:g} s") from None
            raise
        if answer == WELCOME:
            return TlsConnection(pump, remote, protocol)
        await pump.aclose()
        if answer:
            raise PeerRefusedError(f"{address} refuses our certificate: its log says why")
        raise PeerUnavailableError(f"{address}: hung up before it let us in")

    async def serve(
        self,
        address: Address,
        handler: Callable[[Connection], Awaitable[None]],
        *,
        task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept until cancelled. Raises SettingsError when ``address`` cannot be bound."""
        listener = await _listen(address)
        door: list[trio.CancelScope] = []
        async with listener, trio.open_nursery() as nursery:
            host, port = listener.socket.getsockname()[:2]
            task_status.started(Address(host, port))
            while True:
                stream = await _accept(listener)
                if len(door) >= self._limits.handshakes_max:
                    # The oldest is the likeliest to mean no good. To wait for it would let it keep others out.
                    door.pop(0).cancel()
                scope = trio.CancelScope()
                door.append(scope)
                nursery.start_soon(self._serve_one, stream, door, scope, handler)

    async def _serve_one(
        self,
        stream: trio.SocketStream,
        door: list[trio.CancelScope],
        scope: trio.CancelScope,
        handler: Callable[[Connection], Awaitable[None]],
    ) -> None:
        where = _peer_name(stream)
        connection: TlsConnection | None = None
        try:
            with scope:
                connection = await self._welcome(_taken(stream), where)
        except Exception:
            # Nor may a stranger's certificate that trips over a bug of ours or of a library's.
            _log.exception("%s: not let in because of a bug", where)
        finally:
            if scope in door:
                door.remove(scope)
        if connection is None:
            return
        try:
            await handler(connection)
        except MoorageError as error:
            _log.info("%s: connection ended: %s", where, error)
        except Exception:
            # A message that trips over a bug of ours must not end the other connections of this daemon.
            _log.exception("%s: connection ended by a bug", where)
        finally:
            await connection.aclose()

    async def _welcome(self, connection: socket.socket, where: str) -> TlsConnection | None:
        """None for a stranger, who was told why as far as TLS allows."""
        pump = self._pump(connection, where)
        protocol: ApplicationProtocol = FRAMES
        try:
            with trio.fail_after(self._limits.handshake_deadline_s):
                try:
                    remote = await self._identify(pump, where, FRAMES, HTTP)
                except PeerRefusedError:
                    with contextlib.suppress(MoorageError):
                        if pump.protocol != HTTP:
                            await pump.send_all(NOT_WELCOME)
                    raise
                if pump.protocol == HTTP:
                    protocol = HTTP
                else:
                    await pump.send_all(WELCOME)
        except MoorageError as error:
            _log.info("not let in: %s", error)
        except trio.TooSlowError:
            _log.info("not let in: %s: no handshake within %g s", where, self._limits.handshake_deadline_s)
        except BaseException:  # a cancellation too must not leave the socket open
            await pump.aclose()
            raise
        else:
            return TlsConnection(pump, remote, protocol)
        await pump.aclose()
        return None

    async def _identify(self, pump: TlsPump, where: str, *protocols: ApplicationProtocol) -> Identity:
        await pump.handshake()
        if pump.protocol not in protocols:
            raise PeerRefusedError(f"{where}: speaks TLS, but not {' nor '.join(protocols)}")
        try:
            identity, _ = read_certificate(pump.certificate, self._known, now=self._clock.now())
        except PeerRefusedError as error:
            raise PeerRefusedError(f"{where}: {error}") from error
        return identity

    def _pump(self, connection: socket.socket, where: str, *, calling: ApplicationProtocol | None = None) -> TlsPump:
        """To speak ``calling``, or what the one who called us wants to."""
        known, shown = dict(self._issuers()), self._certificate()
        if (known, shown) != (self._known, self._shown):
            self._contexts = Contexts(shown, self._key, known.values())
            self._known, self._shown = known, shown
        return TlsPump(
            connection,
            self._context(calling),
            server_side=calling is None,
            where=where,
            scratch=self._scratch,
            workers=self._workers,
        )

    def _context(self, calling: ApplicationProtocol | None) -> ssl.SSLContext:
        if calling is None:
            return self._contexts.accepting
        return self._contexts.connecting if calling == FRAMES else self._contexts.browsing

    async def _dial(self, address: Address) -> socket.socket:
        patience_s = self._limits.connect_deadline_s
        try:
            with trio.fail_after(patience_s):
                return _taken(await trio.open_tcp_stream(address.host, address.port))
        except trio.TooSlowError:
            raise PeerUnavailableError(f"{address}: nobody answers within {patience_s:g} s") from None
        except (OSError, ValueError) as error:
            # ValueError: a name from outside that cannot be one (RFC 3490).
            raise PeerUnavailableError(f"{address}: {_words(error)}") from error


def _taken(stream: trio.SocketStream) -> socket.socket:
    """The stream's socket, no longer trio's."""
    return socket.socket(fileno=stream.socket.detach())


def _words(error: OSError | ValueError) -> str:
    """What the system said; trio groups the errors of the several addresses of one name."""
    group = cast("ExceptionGroup[Exception] | None", error.__cause__)
    if isinstance(group, ExceptionGroup):
        return ", ".join(_words(cause) for cause in group.exceptions if isinstance(cause, OSError))
    match error:
        case OSError(errno=int(number)) if number > 0:
            return os.strerror(number)
        case OSError():
            # getaddrinfo's, whose numbers are negative.
            return error.strerror or str(error)
        case _:
            return "not a name or address of a host"


def _peer_name(stream: trio.SocketStream) -> str:
    try:
        host, port = stream.socket.getpeername()[:2]
    except OSError:
        return "a peer that left"
    return str(Address(host, port))


async def _listen(address: Address) -> trio.SocketListener:
    try:
        first, *others = await trio.open_tcp_listeners(address.port, host=address.host)
    except (OSError, ValueError) as error:
        raise SettingsError(f"cannot listen on {address}: {_words(error)}") from error
    # A name with several addresses, and port 0, would mean a port for each.
    for other in others:
        await other.aclose()
    return first


async def _accept(listener: trio.SocketListener) -> trio.SocketStream:
    while True:
        try:
            return await listener.accept()
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            _log.error("no room for another connection: %s", error)
            await trio.sleep(_NO_ROOM_PAUSE_S)

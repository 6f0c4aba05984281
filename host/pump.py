"""TLS over a socket by memory buffers: one system call and one step of the scheduler per 256 KiB, not per record.

``trio.SSLStream`` reads one 16 KiB record per step, which costs two and a half times as much for bulk data.
"""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import cast

import trio

from core.errors import MoorageError, PeerUnavailableError
from core.limits import KIB
from core.ports import Buffer
from host.counted import CountedSocket
from host.tls import explain

# The size with the best throughput of 16 KiB to 1 MiB: what is received is decrypted while still in the cache.
RECEIVE_BYTES = 256 * KIB
SEND_BYTES = 256 * KIB
RECORD_BYTES = 16 * KIB  # RFC 8446, section 5.1.
# How long bytes that have come wait for those that are expected behind them: less than anyone's patience.
GATHER_S = 0.25
# The task wakes up for so many bytes. To wake up, whatever for, costs as much as to decrypt 256 KiB.
GATHER_BYTES = 1024 * KIB
# So much is encrypted and sent in a worker thread: to go there and back costs as much as to encrypt 64 KiB.
THREADED_BYTES = 256 * KIB
# A goodbye that the other side does not read in this time is not worth waiting for.
GOODBYE_DEADLINE_S = 1.0


class TlsPump:
    """An encrypted stream over a connected stream socket, which it owns from now on.

    One task sends and one receives at a time. Errors are MoorageErrors in words and final: later calls raise again.

    Args:
        connection: a connected stream socket.
        where: the other side's address, for texts.
        scratch: RECEIVE_BYTES that pumps of one event loop may share; never used across a wait.
        workers: bounds the threads that pumps of one event loop use at the same time.
    """

    def __init__(
        self,
        connection: socket.socket,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        where: str,
        scratch: memoryview,
        workers: trio.CapacityLimiter,
    ) -> None:
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            # Fails on a socket whose other side is gone already, which the first call will tell.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._socket = connection
        self.counted = CountedSocket(connection)
        self._where = where
        self._scratch = scratch
        self._workers = workers
        # Set when a worker has sent: until then ``_tls``, ``_outgoing``, ``_unsent`` and the socket are its own.
        self._worker_done: trio.Event | None = None
        # What is encrypted and the socket had no room for.
        self._unsent = memoryview(b"")
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        self._sending = trio.Lock()
        self._server_side = server_side
        self._receiving = False
        self._wakes_at = 1
        self._waited = False
        self._ended = False
        self._failure: MoorageError | None = None

    async def handshake(self) -> None:
        """Returns when both sides know each other (RFC 8446: a client does not know yet whether it was accepted)."""
        try:
            while True:
                try:
                    self._tls.do_handshake()
                except ssl.SSLWantReadError:
                    await self._flush()
                    await self._fill()
                    continue
                break
            await self._flush()
        except OSError as error:
            # The alert that says why is still to be sent.
            with contextlib.suppress(OSError):
                await self._flush()
            raise self._fail(explain(self._where, error)) from error

    @property
    def certificate(self) -> bytes:
        """The other side's certificate (DER), after the handshake."""
        certificate = self._tls.getpeercert(binary_form=True)
        assert certificate is not None, "no handshake yet"
        return certificate

    @property
    def protocol(self) -> str | None:
        """The application protocol that both sides named (RFC 7301)."""
        return self._tls.selected_alpn_protocol()

    async def send_all(self, *parts: Buffer) -> None:
        """Cancelled or failed once it began, the stream is broken: the other side has part of a record."""
        async with self._sending:
            self._check()
            try:
                for part in parts:
                    rest = memoryview(part).cast("B")
                    while rest:
                        self._check()
                        rest = rest[await self._encrypt(rest) :]
                        if self._outgoing.pending >= SEND_BYTES or self._unsent:
                            await self._flush()
                await self._flush()
            except OSError as error:
                raise self._fail(explain(self._where, error)) from error
            except BaseException:  # a cancellation above all: what was sent ends in the middle of a record
                self._fail(PeerUnavailableError(f"{self._where}: broken by a send that was cancelled"))
                raise

    async def _encrypt(self, data: memoryview) -> int:
        """How many bytes of ``data`` were encrypted, and perhaps sent. Raises OSError."""
        if len(data) < THREADED_BYTES:
            return self._tls.write(data)
        self._worker_done = trio.Event()
        try:
            return await trio.to_thread.run_sync(self._push, data, limiter=self._workers)
        finally:
            self._worker_done.set()
            self._worker_done = None

    def _push(self, data: memoryview) -> int:
        """Encrypt and send until the socket takes no more; how many bytes of ``data``. Runs in a worker thread."""
        for start in range(0, len(data), SEND_BYTES):
            self._tls.write(data[start : start + SEND_BYTES])
            if not self._send_ready():
                return min(start + SEND_BYTES, len(data))
        return len(data)

    async def _worker(self) -> None:
        """Wait until no worker thread uses the connection: OpenSSL lets one at a time."""
        while self._worker_done is not None:
            await self._worker_done.wait()

    async def receive_some(self, max_bytes: int) -> bytes:
        """All that is at hand, at most ``max_bytes`` or RECEIVE_BYTES; waits only when nothing is. b"" at the end."""
        assert max_bytes > 0, max_bytes
        target = memoryview(bytearray(min(max_bytes, RECEIVE_BYTES)))
        return bytes(target[: await self.receive_into(target, 1)])

    async def receive_into(self, target: memoryview, expected_bytes: int) -> int:
        """1 to ``len(target)`` bytes into ``target``; how many, 0 at the end.

        Waits until ``expected_bytes`` of them are there, GATHER_S at most for each GATHER_BYTES, and longer only
        while nothing is. Cancelled when something was, the stream is broken.
        """
        assert not self._receiving, "two tasks receive from one connection"
        self._receiving = True
        self._waited = False
        have = 0
        goal = min(expected_bytes, len(target))
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            while True:
                await self._worker()
                have += self._decrypt_into(target[have:])
                if have >= goal or self._ended:
                    break
                if not have:
                    self._check()
                # Up to one record may lie in OpenSSL already, incomplete: those bytes will not come again.
                if self._failure or not await self._gather(max(1, goal - have - RECORD_BYTES), patient=not have):
                    break
            if not self._waited:
                # Nothing was waited for, so the other tasks are due.
                await trio.lowlevel.cancel_shielded_checkpoint()
            return have
        except OSError as error:
            raise self._fail(explain(self._where, error)) from error
        except BaseException:  # a cancellation above all: what was decrypted is lost
            if have:
                self._fail(PeerUnavailableError(f"{self._where}: broken by a receive that was cancelled"))
            raise
        finally:
            self._receiving = False

    async def aclose(self) -> None:
        """Never raises but when cancelled; waits at most GOODBYE_DEADLINE_S. Calls under way fail."""
        if self._socket.fileno() < 0:
            await trio.lowlevel.checkpoint()
            return
        whole = self._failure is None and not self._sending.locked()
        self._fail(PeerUnavailableError(f"{self._where}: this connection was closed here"))
        try:
            with trio.move_on_after(GOODBYE_DEADLINE_S), contextlib.suppress(OSError, MoorageError):
                if whole:
                    await self._say_goodbye()
                if self._server_side:
                    await self._linger()
        finally:
            # A worker's socket number must not become another file's under its hands; it is done in milliseconds.
            with trio.CancelScope(shield=True):
                await self._worker()
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    async def _say_goodbye(self) -> None:
        async with self._sending:
            # Our close_notify: without it this were a cut. Theirs is not awaited, which OpenSSL reports as an error.
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            await self._flush()

    async def _linger(self) -> None:
        # Closing with input unread resets the connection, and the other side may lose our last words.
        self._socket.shutdown(socket.SHUT_WR)
        while await self._fill():
            self._incoming.read()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _fail(self, failure: MoorageError) -> MoorageError:
        """The first failure is the one that counts."""
        if self._failure is None:
            self._failure = failure
        return self._failure

    def _decrypt_into(self, target: memoryview) -> int:
        """How many bytes there were for ``target``. Sets ``_ended`` and ``_failure`` when there will be no more."""
        # One record at most comes at a time. With a buffer it returns their number, unlike its type stub says.
        read = cast(Callable[[int, memoryview], int], self._tls.read)
        have = 0
        try:
            while have < len(target) and not self._ended:
                count = read(RECORD_BYTES, target[have : have + RECORD_BYTES])
                self._ended = not count
                have += count
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._ended = True
        except ssl.SSLError as error:
            self._fail(explain(self._where, error))  # What came before it is good and goes first.
        return have

    async def _gather(self, wanted_bytes: int, *, patient: bool) -> bool:
        """Hand bytes to TLS, best when ``wanted_bytes`` have come. False when, not ``patient``, none came in time."""
        while self._pull() is None:
            self._wake_at(wanted_bytes)
            self._waited = True
            with trio.move_on_after(math.inf if patient and wanted_bytes == 1 else GATHER_S) as hurry:
                await self._wait(trio.lowlevel.wait_readable)
            if hurry.cancelled_caught:
                if not patient:
                    return False
                wanted_bytes = 1
        return True

    def _wake_at(self, wanted_bytes: int) -> None:
        """Let the system wake us when so many bytes are there (socket(7)), or the stream has ended."""
        wanted_bytes = max(1, min(wanted_bytes, GATHER_BYTES))
        if wanted_bytes != self._wakes_at:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted_bytes)
            self._wakes_at = wanted_bytes

    async def _fill(self) -> int:
        """Wait for bytes from the socket and hand them to TLS; 0 at their end. Raises OSError, MoorageError."""
        while (count := self._pull()) is None:
            self._wake_at(1)
            await self._wait(trio.lowlevel.wait_readable)
        return count

    def _pull(self) -> int | None:
        """Hand to TLS what the socket has; how much, 0 at its end, None when nothing is there yet. Raises OSError."""
        try:
            count = self.counted.receive_into(self._scratch)
        except (BlockingIOError, InterruptedError):
            return None
        if count:
            self._incoming.write(self._scratch[:count])
        else:
            self._incoming.write_eof()
        return count

    async def _flush(self) -> None:
        """Send what TLS has ready. Raises OSError, MoorageError. The caller holds ``_sending`` or is alone."""
        while not self._send_ready():
            await self._wait(trio.lowlevel.wait_writable)

    def _send_ready(self) -> bool:
        """Send what TLS has ready; False when the socket takes no more for now. Raises OSError."""
        while self._unsent or self._outgoing.pending:
            self._unsent = self._unsent or memoryview(self._outgoing.read())
            try:
                self._unsent = self._unsent[self.counted.send(self._unsent) :]
            except (BlockingIOError, InterruptedError):
                return False
        return True

    async def _wait(self, ready: Callable[[socket.socket], Awaitable[None]]) -> None:
        try:
            await ready(self._socket)
        except trio.ClosedResourceError:
            self._check()
            raise

"""What only real sockets and real TLS can show; the rest is in tests/conformance/test_net.py."""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest
import trio
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from trio.testing import MockClock

from core.errors import PeerRefusedError, PeerUnavailableError, SettingsError
from core.identity import certificate_pem, private_pem
from core.limits import KIB, MIB
from core.ports import FRAMES, Address, Connection
from host.clock import RealClock
from host.net import NetLimits, TlsNet, _accept
from host.ports import real_ports
from host.pump import RECEIVE_BYTES, RECORD_BYTES, TlsPump
from host.tls import Contexts, explain
from tests.sim.people import Person, make_organisation

NOW = time.time()
HOSPITAL = make_organisation(now=NOW)
LISTENER = HOSPITAL.admit("listener", now=NOW)
CALLER = HOSPITAL.admit("caller", now=NOW)
ANY_PORT = Address("127.0.0.1", 0)
SOON = NetLimits(connect_deadline_s=5, handshake_deadline_s=0.3)


def net(person: Person = CALLER, limits: NetLimits | None = None) -> TlsNet:
    return TlsNet(lambda: person.certificate, person.key, lambda: HOSPITAL.issuers, RealClock(), limits=limits)


async def echo(connection: Connection) -> None:
    while data := await connection.receive_some(RECEIVE_BYTES):
        await connection.send_all(data)


async def still_serves(address: Address) -> None:
    connection = await net().connect(address)
    await connection.send_all(b"hello")
    assert await connection.receive_some(5) == b"hello"
    await connection.aclose()


@asynccontextmanager
async def tcp(address: Address) -> AsyncGenerator[trio.SocketStream, None]:
    async with await trio.open_tcp_stream(address.host, address.port) as stream:
        yield stream


async def read_to_end(stream: trio.abc.ReceiveStream) -> bytes:
    received = b""
    with suppress(trio.BrokenResourceError):
        async for data in stream:
            received += data
    return received


async def test_an_ended_certificate_is_refused_with_what_to_do_and_a_renewed_one_holds_at_once() -> None:
    """Without a restart of the one that renewed."""
    ended = HOSPITAL.admit("caller", now=NOW - 200, valid_s=100)
    shown = [ended.certificate]
    caller = TlsNet(lambda: shown[0], ended.key, lambda: HOSPITAL.issuers, RealClock())
    async with trio.open_nursery() as nursery:
        address = await nursery.start(net(LISTENER).serve, ANY_PORT, echo)
        with pytest.raises(PeerRefusedError, match="`moorage certificate renew`"):
            await caller.connect(address)
        shown[0] = CALLER.certificate
        connection = await caller.connect(address)
        await connection.aclose()
        nursery.cancel_scope.cancel()


# --- hostile and broken callers -------------------------------------------------------------


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes(5000),
        b"\x16\x03\x01\xff\xff" + bytes(70_000),
        b"\x15\x03\x03\0\2\2\x28",
    ],
    ids=["http", "zeros", "length bomb", "alert"],
)
async def test_garbage_ends_its_connection_only(nursery: trio.Nursery, garbage: bytes) -> None:
    address = await nursery.start(net(LISTENER).serve, ANY_PORT, echo)
    async with tcp(address) as stream:
        with trio.fail_after(10):
            with suppress(trio.BrokenResourceError):
                await stream.send_all(garbage)
            await read_to_end(stream)
    await still_serves(address)


async def test_who_connects_and_leaves_harms_nothing(nursery: trio.Nursery) -> None:
    address = await nursery.start(net(LISTENER).serve, ANY_PORT, echo)
    for _ in range(5):
        with socket.create_connection((address.host, address.port)) as stranger:
            # Reset instead of a polite end.
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await still_serves(address)


async def test_a_silent_caller_is_dropped_at_the_deadline_and_blocks_nobody(nursery: trio.Nursery) -> None:
    address = await nursery.start(net(LISTENER, SOON).serve, ANY_PORT, echo)
    async with tcp(address) as silent, tcp(address) as half:
        await half.send_all(b"\x16\x03\x01\x02")
        await still_serves(address)
        with trio.fail_after(10):
            assert await read_to_end(silent) == b""
            await read_to_end(half)


async def test_strangers_at_the_door_are_bounded_and_the_oldest_makes_room(nursery: trio.Nursery) -> None:
    patient = NetLimits(handshake_deadline_s=60, handshakes_max=3)
    address = await nursery.start(net(LISTENER, patient).serve, ANY_PORT, echo)
    strangers = [await trio.open_tcp_stream(address.host, address.port) for _ in range(6)]
    with trio.fail_after(10):
        for dropped in strangers[:3]:
            await read_to_end(dropped)
        await still_serves(address)
    for stranger in strangers:
        await stranger.aclose()


async def test_a_listener_that_never_shakes_hands_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        with pytest.raises(PeerUnavailableError, match=rf"{port}: no handshake within 0\.3 s"):
            await net(limits=SOON).connect(Address("127.0.0.1", port))


async def test_a_listener_that_is_no_tls_is_unavailable(nursery: trio.Nursery) -> None:
    async def talk(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(b"220 mail.example ESMTP\r\n")
            await read_to_end(stream)

    listeners = await nursery.start(trio.serve_tcp, talk, 0)
    port = listeners[0].socket.getsockname()[1]
    with pytest.raises(PeerUnavailableError, match="TLS failed: wrong version number"):
        await net().connect(Address("127.0.0.1", port))


async def test_a_cancelled_connect_leaves_no_socket_open(nursery: trio.Nursery) -> None:
    ended = trio.Event()

    async def wait(stream: trio.SocketStream) -> None:
        await read_to_end(stream)
        ended.set()

    listeners = await nursery.start(trio.serve_tcp, wait, 0)
    port = listeners[0].socket.getsockname()[1]
    with trio.move_on_after(0.1) as scope:
        await net().connect(Address("127.0.0.1", port))
    assert scope.cancelled_caught
    with trio.fail_after(10):
        await ended.wait()


# --- certificates ---------------------------------------------------------------------------


def stranger_context(person: Person | None, folder: Path) -> ssl.SSLContext:
    """A client made by others: standard library, no checks of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if person is not None:
        (folder / "pem").write_bytes(certificate_pem(person.certificate) + private_pem(person.key))
        context.load_cert_chain(folder / "pem")
    return context


async def refused(address: Address, context: ssl.SSLContext) -> str:
    """The reason that the listener gives to a foreign client."""
    async with tcp(address) as stream:
        tls = trio.SSLStream(stream, context, https_compatible=True)
        with pytest.raises(trio.BrokenResourceError) as caught:
            await tls.receive_some()
        assert isinstance(caught.value.__cause__, ssl.SSLError)
        return str(caught.value.__cause__.reason)


async def test_a_caller_without_a_certificate_is_refused(nursery: trio.Nursery, tmp_path: Path) -> None:
    address = await nursery.start(net(LISTENER).serve, ANY_PORT, echo)
    assert await refused(address, stranger_context(None, tmp_path)) == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    await still_serves(address)


async def test_older_tls_is_refused(nursery: trio.Nursery, tmp_path: Path) -> None:
    address = await nursery.start(net(LISTENER).serve, ANY_PORT, echo)
    context = stranger_context(CALLER, tmp_path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await refused(address, context) == "TLSV1_ALERT_PROTOCOL_VERSION"


async def test_another_protocol_over_tls_is_refused(nursery: trio.Nursery, tmp_path: Path) -> None:
    address = await nursery.start(net(LISTENER).serve, ANY_PORT, echo)
    async with tcp(address) as stream:
        tls = trio.SSLStream(stream, stranger_context(CALLER, tmp_path), https_compatible=True)
        assert await tls.receive_some() == b"\0"


def printer() -> Person:
    """Issued by the hospital, for what is neither peer nor client."""
    model = x509.load_der_x509_certificate(CALLER.certificate)
    attributes = [
        x509.NameAttribute(part.oid, "printer" if part.oid == NameOID.ORGANIZATIONAL_UNIT_NAME else part.value)
        for part in model.subject
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(attributes))
        .issuer_name(model.issuer)
        .public_key(CALLER.key.public_key())
        .serial_number(1)
        .not_valid_before(model.not_valid_before_utc)
        .not_valid_after(model.not_valid_after_utc)
        .sign(HOSPITAL.key, None)
    )
    return Person(replace(CALLER.identity, certificate=certificate.public_bytes(Encoding.DER)), CALLER.key)


async def test_a_role_that_no_peer_has_is_refused_on_either_side(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    address = await nursery.start(net(LISTENER).serve, ANY_PORT, echo)
    with pytest.raises(PeerRefusedError, match="refuses our certificate: its log says why"):
        await net(printer()).connect(address)
    await still_serves(address)
    assert "not let in: 127.0.0.1:" in caplog.text
    assert "unknown role 'printer'" in caplog.text
    address = await nursery.start(net(printer()).serve, ANY_PORT, echo)
    with pytest.raises(PeerRefusedError, match=f"{address.port}: certificate: unknown role 'printer'"):
        await net().connect(address)


async def test_a_certificate_of_tomorrow_is_refused_with_a_hint_at_the_clock(nursery: trio.Nursery) -> None:
    tomorrow = HOSPITAL.admit("early", now=NOW + 86_400)
    address = await nursery.start(net(LISTENER).serve, ANY_PORT, echo)
    with pytest.raises(PeerRefusedError, match=r"refuses our certificate: .*is the clock right on both sides"):
        await net(tomorrow).connect(address)
    address = await nursery.start(net(tomorrow).serve, ANY_PORT, echo)
    with pytest.raises(PeerRefusedError, match=r"its certificate is refused: .*is the clock right on both sides"):
        await net().connect(address)


async def test_without_any_issuer_everybody_is_refused(nursery: trio.Nursery) -> None:
    address = await nursery.start(net(LISTENER).serve, ANY_PORT, echo)
    alone = TlsNet(lambda: CALLER.certificate, CALLER.key, dict, RealClock())
    with pytest.raises(PeerRefusedError):
        await alone.connect(address)


def test_the_key_is_not_left_behind_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    contexts = Contexts(CALLER.certificate, CALLER.key, HOSPITAL.issuers.values())
    for context in (contexts.accepting, contexts.connecting, contexts.browsing):
        assert context.verify_mode is ssl.CERT_REQUIRED
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), PeerUnavailableError, "reset by peer"),
        (OSError("odd"), PeerUnavailableError, "odd"),
        (ssl.SSLEOFError(8, "EOF"), PeerUnavailableError, "the connection was cut"),
    ],
)
def test_errors_of_a_stream_are_put_in_words(error: OSError, kind: type[Exception], text: str) -> None:
    made = explain("somewhere:1", error)
    assert isinstance(made, kind)
    assert str(made).startswith("somewhere:1")
    assert text in str(made)


# --- the stream -----------------------------------------------------------------------------


@dataclass
class Pair:
    near: TlsPump
    far: TlsPump
    far_socket: socket.socket


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Unlike those of ``socketpair``, these know SO_RCVLOWAT."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        return near, listener.accept()[0]


@asynccontextmanager
async def pair_of(near_socket: socket.socket, far_socket: socket.socket) -> AsyncGenerator[Pair]:
    contexts = Contexts(CALLER.certificate, CALLER.key, HOSPITAL.issuers.values())
    scratch = memoryview(bytearray(RECEIVE_BYTES))
    near = TlsPump(
        near_socket,
        contexts.connecting,
        server_side=False,
        where="far",
        scratch=scratch,
        workers=trio.CapacityLimiter(2),
    )
    far = TlsPump(
        far_socket, contexts.accepting, server_side=True, where="near", scratch=scratch, workers=trio.CapacityLimiter(2)
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(far.handshake)
        await near.handshake()
    assert near.protocol == far.protocol == FRAMES
    yield Pair(near, far, far_socket)
    await near.aclose()
    await far.aclose()


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with pair_of(*socket.socketpair()) as made:
        yield made


async def test_a_stream_cut_off_is_no_end_of_the_stream(pair: Pair) -> None:
    await pair.far.send_all(b"and then")
    pair.far_socket.shutdown(socket.SHUT_RDWR)
    assert await pair.near.receive_some(100) == b"and then"
    for _ in range(2):
        with pytest.raises(PeerUnavailableError, match="far: the connection was cut"):
            await pair.near.receive_some(100)


async def test_bytes_changed_on_the_way_break_the_stream_after_the_good_ones(pair: Pair) -> None:
    await pair.far.send_all(b"good")
    pair.far_socket.send(b"\x17\x03\x03\x00\x20" + bytes(32))
    await pair.far.send_all(b"never seen")
    assert await pair.near.receive_some(100) == b"good"
    with pytest.raises(PeerUnavailableError, match="TLS failed: decryption failed or bad record mac"):
        await pair.near.receive_some(100)
    with pytest.raises(PeerUnavailableError, match="bad record mac"):
        await pair.near.send_all(b"x")


async def test_a_receive_gives_all_that_is_at_hand(pair: Pair) -> None:
    await pair.far.send_all(bytes(100_000))
    assert len(await pair.near.receive_some(RECEIVE_BYTES)) == 100_000


async def test_a_receive_waits_for_what_is_expected_and_is_woken_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("host.pump.GATHER_S", 30)
    waits: list[None] = []
    wait_readable = trio.lowlevel.wait_readable

    async def counted(sock: socket.socket) -> None:
        waits.append(None)
        await wait_readable(sock)

    monkeypatch.setattr("trio.lowlevel.wait_readable", counted)
    room = memoryview(bytearray(2 * RECEIVE_BYTES))

    async with pair_of(*tcp_pair()) as pair, trio.open_nursery() as nursery:
        waits.clear()

        async def trickle() -> None:
            for at in range(0, len(room), 4096):
                await pair.far.send_all(bytes([at // 4096]) * 4096)

        nursery.start_soon(trickle)
        assert await pair.near.receive_into(room, len(room)) == len(room)
    assert bytes(room) == b"".join(bytes([at]) * 4096 for at in range(len(room) // 4096))
    assert len(waits) < 20


class CutSocket(socket.socket):
    """Once, when told, it has no more than so many bytes for its reader, and then nothing yet."""

    cut_after_bytes = 0
    dry = False

    def recv_into(self, buffer: memoryview, nbytes: int = 0, flags: int = 0) -> int:  # type: ignore[override]
        if self.dry:
            self.dry = False
            raise BlockingIOError
        count = self.cut_after_bytes or len(buffer)
        self.dry, self.cut_after_bytes = bool(self.cut_after_bytes), 0
        return super().recv_into(buffer[:count], nbytes, flags)


async def test_what_is_left_of_a_record_that_came_in_part_is_not_waited_for_in_vain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("host.pump.GATHER_S", 30)
    near_socket, far_socket = tcp_pair()
    cut = CutSocket(fileno=near_socket.detach())
    room = memoryview(bytearray(4 * RECORD_BYTES))
    async with pair_of(cut, far_socket) as pair:
        await pair.far.send_all(bytes(len(room)))
        cut.cut_after_bytes = RECORD_BYTES * 3 // 2
        with trio.fail_after(5):
            assert await pair.near.receive_into(room, len(room)) == len(room)


async def test_much_goes_both_ways_at_once() -> None:
    there, back = bytearray(os.urandom(6 * MIB)), bytearray(os.urandom(6 * MIB))

    async def receive(pump: TlsPump, wanted: bytearray) -> None:
        got = memoryview(bytearray(len(wanted)))
        have = 0
        while have < len(got):
            have += await pump.receive_into(got[have:], min(MIB, len(got) - have))
        assert got == wanted

    async with pair_of(*tcp_pair()) as pair, trio.open_nursery() as nursery:
        nursery.start_soon(receive, pair.far, there)
        nursery.start_soon(receive, pair.near, back)
        nursery.start_soon(pair.near.send_all, b"", there)
        nursery.start_soon(pair.far.send_all, back[: 5 * MIB + 1], back[5 * MIB + 1 :])


async def test_a_close_ends_a_large_send_to_one_who_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("host.pump.GOODBYE_DEADLINE_S", 0.05)
    async with pair_of(*tcp_pair()) as pair, trio.open_nursery() as nursery:

        async def send() -> None:
            with pytest.raises(PeerUnavailableError, match="closed here"):
                await pair.near.send_all(bytes(64 * MIB))

        nursery.start_soon(send)
        await trio.sleep(0.05)
        await pair.near.aclose()


async def test_a_cancelled_receive_that_had_begun_breaks_the_stream(pair: Pair) -> None:
    await pair.far.send_all(b"begun")
    room = memoryview(bytearray(100))
    with trio.move_on_after(0.05) as scope:
        await pair.near.receive_into(room, 100)
    assert scope.cancelled_caught
    with pytest.raises(PeerUnavailableError, match="broken by a receive that was cancelled"):
        await pair.near.receive_into(room, 1)


async def test_a_cancelled_receive_that_had_nothing_breaks_nothing(pair: Pair) -> None:
    room = memoryview(bytearray(100))
    with trio.move_on_after(0.05):
        await pair.near.receive_into(room, 1)
    await pair.far.send_all(b"later")
    assert await pair.near.receive_into(room, 1) == 5


async def test_what_came_before_an_end_is_handed_out_before_it(pair: Pair) -> None:
    room = memoryview(bytearray(100))
    await pair.far.send_all(b"last")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.far.aclose)
        assert await pair.near.receive_into(room, 100) == 4
        assert await pair.near.receive_into(room, 100) == 0
        await pair.near.aclose()


async def test_an_empty_send_is_no_end(pair: Pair) -> None:
    await pair.far.send_all(b"")
    await pair.far.send_all(b"x")
    assert await pair.near.receive_some(100) == b"x"


async def test_after_the_others_end_one_can_still_say_something(pair: Pair) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.far.aclose)
        assert await pair.near.receive_some(1) == b""
        await pair.near.send_all(b"too late, but no error")
        await pair.near.aclose()


async def test_closing_does_not_wait_long_for_who_does_not_read(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("host.pump.GOODBYE_DEADLINE_S", 0.05)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send_until_broken, pair.far)
        await trio.testing.wait_all_tasks_blocked(0.01)
        with trio.fail_after(5):
            await pair.far.aclose()


async def _send_until_broken(pump: TlsPump) -> None:
    with pytest.raises(PeerUnavailableError, match="closed here"):
        await pump.send_all(bytes(16 * 1024 * 1024))


async def test_a_cancelled_close_closes_at_once(pair: Pair) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await pair.far.aclose()
    assert pair.far_socket.fileno() == -1


async def test_last_words_arrive_though_the_other_side_is_still_sending(nursery: trio.Nursery) -> None:
    async def refuse(connection: Connection) -> None:
        await connection.receive_some(1)
        await connection.send_all(b"no")

    address = await nursery.start(net(LISTENER).serve, ANY_PORT, refuse)
    connection = await net().connect(address)
    heard = b""

    async def flood() -> None:
        with suppress(PeerUnavailableError):
            while True:
                await connection.send_all(bytes(1024 * 1024))

    async with trio.open_nursery() as inner:
        inner.start_soon(flood)
        while data := await connection.receive_some(100):
            heard += data
        inner.cancel_scope.cancel()
    assert heard == b"no"
    await connection.aclose()


# --- addresses and system limits ------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "text"),
    [("a" * 64, "not a name"), ("..", "not a name"), ("\udcff", "not a name"), ("nobody.invalid", "known|failure")],
)
async def test_a_host_that_cannot_be_is_unavailable(host: str, text: str) -> None:
    with pytest.raises(PeerUnavailableError, match=text):
        await net().connect(Address(host, 1))


async def test_an_address_that_cannot_be_bound_is_named() -> None:
    with pytest.raises(SettingsError, match=r"cannot listen on 192\.0\.2\.1:0: Cannot assign"):
        await net().serve(Address("192.0.2.1", 0), echo)


async def test_a_name_of_several_addresses_means_one_port(nursery: trio.Nursery) -> None:
    address = await nursery.start(net(LISTENER).serve, Address("localhost", 0), echo)
    await still_serves(address)


async def test_when_files_run_out_accepting_pauses_and_goes_on(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    near, far = socket.socketpair()
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(near))

    class Listener:
        tries = 0

        async def accept(self) -> trio.SocketStream:
            self.tries += 1
            if self.tries < 4:
                raise OSError(errno.EMFILE, "Too many open files")
            return stream

    with far:
        assert await _accept(cast("trio.SocketListener", Listener())) is stream
        await stream.aclose()
    assert trio.current_time() == pytest.approx(0.3)
    assert caplog.text.count("no room for another connection") == 3


async def test_where_nobody_answers_a_peer_is_unavailable_after_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as others:
        for _ in range(4):
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        limits = NetLimits(connect_deadline_s=0.2)
        with pytest.raises(PeerUnavailableError, match=r"nobody answers within 0\.2 s"):
            await net(limits=limits).connect(Address(*full.getsockname()))


async def test_a_listener_that_hangs_up_before_the_welcome_is_unavailable(nursery: trio.Nursery) -> None:
    contexts = Contexts(LISTENER.certificate, LISTENER.key, HOSPITAL.issuers.values())

    async def shake_hands_only(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, contexts.accepting, server_side=True)
        await tls.do_handshake()
        await tls.aclose()

    listeners = await nursery.start(trio.serve_tcp, shake_hands_only, 0)
    port = listeners[0].socket.getsockname()[1]
    with pytest.raises(PeerUnavailableError, match="hung up before it let us in"):
        await net().connect(Address("127.0.0.1", port))


async def test_a_pool_of_ports_works_together(nursery: trio.Nursery, tmp_path: Path) -> None:
    ports = real_ports(lambda: LISTENER.certificate, LISTENER.key, lambda: HOSPITAL.issuers)
    await ports.threads.disk(ports.disk.make_folders, str(tmp_path / ports.chance.token(4).hex()))
    assert ports.clock.now() > NOW
    await still_serves(await nursery.start(ports.net.serve, ANY_PORT, echo))


# --- what has moved ---------------------------------------------------------------------------


async def test_what_the_other_system_has_not_taken_has_not_moved() -> None:
    """By it a thin line is told from a dead one: the program over there reads nothing."""
    near_socket, far_socket = tcp_pair()
    far_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
    sent = 16 * MIB
    async with pair_of(near_socket, far_socket) as pair, trio.open_nursery() as nursery:
        nursery.start_soon(pair.near.send_all, bytes(sent))
        moved = -1
        with trio.fail_after(10):
            while moved < pair.near.counted.moved_bytes:
                moved = pair.near.counted.moved_bytes
                await trio.sleep(0.3)
        assert 0 < moved < sent / 2
        room = memoryview(bytearray(MIB))
        got = 0
        while got < sent:
            got += await pair.far.receive_into(room, 1)
        with trio.fail_after(10):
            while pair.near.counted.moved_bytes < sent:  # noqa: ASYNC110 (the system tells nobody)
                await trio.sleep(0.01)
        assert pair.far.counted.moved_bytes >= sent
    assert pair.near.counted.moved_bytes >= sent


async def test_bytes_of_a_record_that_is_not_whole_have_moved(pair: Pair) -> None:
    before = pair.near.counted.moved_bytes
    pair.far_socket.send(b"\x17\x03\x03\x40\x00" + bytes(5000))
    with trio.move_on_after(0.2):
        await pair.near.receive_some(100)
    assert pair.near.counted.moved_bytes == before + 5005

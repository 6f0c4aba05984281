"""HTTP on the peers' port: what members may ask, what each wrong request gets, and what nobody can make us hold."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from anchor.checkpoint import Checkpoint
from anchor.merkle import EMPTY_ROOT
from anchor.note import Ed25519Signer, format_note
from anchor.witness import AddCheckpoint, LocalWitness, format_add_checkpoint, origin_folder
from anchor.writer import LogWriter
from client.web import WebClient
from client.witness import WebWitness
from core.errors import LedgerError, MalformedError, PeerUnavailableError, WitnessRefusedError
from core.identity import Role
from core.ports import HTTP, Address, Connection, Net
from daemon.ledgerweb import LedgerWeb, is_large
from daemon.web import WebLimits, WebServer
from daemon.witnessdesk import WitnessDesk
from host.clock import RealClock
from host.net import TlsNet
from tests.anchor.ledgers import ALONE, COSIGNERS, LOG, LOG_KEY, ORIGIN, leaves
from tests.ledger.consortium import NowClock
from tests.sim.disk import SimDisk
from tests.sim.fabric import SimFabric
from tests.sim.net import Fabric, SimNet
from tests.sim.people import Person, make_organisation
from tests.sim.threads import SimThreads
from wire.web import WEB_BODY_MAX_BYTES, WebAnswer, WebPlace, WebRequest, parse_url

HASH = origin_folder("", ORIGIN).strip("/")
SIGNER = Ed25519Signer(ORIGIN, LOG_KEY)
Asker = Callable[[bytes], Awaitable[bytes]]


def real_net(person: Person, issuers: Mapping[str, bytes]) -> TlsNet:
    return TlsNet(lambda: person.certificate, person.key, lambda: issuers, RealClock())


def nets(kind: str, role: Role) -> tuple[Net, Net]:
    """Of one who listens, and one who asks."""
    now = RealClock().now()
    hospital = make_organisation("Hospital", now=now)
    people = [hospital.admit("listener", now=now), hospital.admit("asker", now=now, role=role)]
    if kind == "real":
        one, other = (real_net(who, hospital.issuers) for who in people)
        return one, other
    fabric: Fabric = SimFabric(1)
    return SimNet(fabric, "listener", people[0].identity), SimNet(fabric, "asker", people[1].identity)


def ledger_web() -> LedgerWeb:
    disk = SimDisk()
    LogWriter.create(disk, "/log", key=LOG_KEY, policy=ALONE)
    writer = LogWriter.open(disk, "/log", key=LOG_KEY, policy=ALONE)
    writer.add(leaves(0, 300))
    writer.settle()
    writer.publish(writer.latest.note)
    web = LedgerWeb(disk, "/log", SimThreads())
    local = LocalWitness.create(disk, "/witness", [COSIGNERS[0]], {ORIGIN: [LOG]})
    web.witness = WitnessDesk(local, SimThreads(), NowClock())
    web.witness.use_logs({ORIGIN: [LOG]})
    return web


@contextlib.asynccontextmanager
async def listening(
    kind: str,
    web: Callable[[WebRequest], Awaitable[WebAnswer]],
    limits: WebLimits | None = None,
    *,
    role: Role = "peer",
) -> AsyncGenerator[tuple[Net, Address]]:
    listener, asker = nets(kind, role)
    server = WebServer(web, limits, is_large=is_large)

    async def serve(connection: Connection) -> None:
        assert connection.protocol == HTTP
        with contextlib.suppress(PeerUnavailableError):
            await server.serve_connection(connection)

    async with trio.open_nursery() as nursery:
        address = await nursery.start(listener.serve, Address("127.0.0.1", 0), serve)
        yield asker, address
        nursery.cancel_scope.cancel()


async def said(net: Net, address: Address, request: bytes) -> bytes:
    """All that is answered to these bytes until the connection ends."""
    connection = await net.connect(address, HTTP)
    answer = b""
    try:
        await connection.send_all(request)
        with trio.move_on_after(5):
            while data := await connection.receive_some(100_000):
                answer += data
    except PeerUnavailableError:
        pass
    finally:
        await connection.aclose()
    return answer


async def ok(request: WebRequest) -> WebAnswer:
    return WebAnswer(200, f"{request.method} {request.target} {len(request.body)} {request.asker.name}".encode())


@pytest.mark.parametrize("kind", ["real", "simulated"])
async def test_the_log_is_served_as_tiles(kind: str) -> None:
    async with listening(kind, ledger_web().answer) as (net, address):
        client = WebClient(net, WebPlace(address, f"/log/{HASH}"))
        found = {}
        for path in (
            "/checkpoint",
            "/tile/0/000",
            "/tile/0/001.p/44",
            "/tile/1/000.p/1",
            "/tile/entries/000",
            "/tile/entries/001.p/44",
        ):
            found[path] = await client.get(path, max_bytes=10**6)
            assert found[path].status == 200, path
        assert found["/checkpoint"].headers["content-type"] == "text/plain; charset=utf-8"
        assert found["/checkpoint"].headers["cache-control"] == "no-store"
        assert found["/checkpoint"].body.startswith(f"{ORIGIN}\n300\n".encode())
        assert len(found["/tile/0/000"].body) == 8192
        assert found["/tile/0/000"].headers["content-type"] == "application/octet-stream"
        assert "immutable" in found["/tile/0/000"].headers["cache-control"]
        for path in (
            "/tile/0/001",
            "/tile/0/000.p/256",
            "/tile/0/000.p/0",
            "/tile/0/0",
            "/tile/64/000",
            "/stage",
            "/lock",
            "/leaves/0-1",
            "/../../../etc/passwd",
            "/tile/0/../../stage",
            "/tile/%30/000",
            "/tile//000",
            "",
        ):
            assert (await client.get(path, max_bytes=10**6)).status == 404, path
        await client.aclose()


def add(old: int, note: bytes) -> bytes:
    return format_add_checkpoint(AddCheckpoint(old, (), note))


def note_of(size: int, root: bytes = EMPTY_ROOT, *, origin: str = ORIGIN, signer: Ed25519Signer = SIGNER) -> bytes:
    text = Checkpoint(origin, size, root).text
    return format_note(text, [signer.sign(text)])


@pytest.mark.parametrize("kind", ["real", "simulated"])
async def test_each_wrong_request_gets_the_status_of_tlog_witness(kind: str) -> None:
    async with listening(kind, ledger_web().answer) as (net, address):
        client = WebClient(net, WebPlace(address, "/witness"))

        async def status(body: bytes, path: str = "/add-checkpoint") -> int:
            return (await client.post(path, body, max_bytes=10**6)).status

        good = note_of(3, bytes(32))
        assert await status(b"nonsense") == 400
        assert await status(add(4, good)) == 400
        assert await status(add(0, note_of(3, origin="else"))) == 404
        assert await status(add(0, good.replace(b"\n3\n", b"\n4\n"))) == 403
        assert await status(add(0, good), "/add-nothing") == 405
        conflict = await client.post("/add-checkpoint", add(2, good), max_bytes=100)
        assert (conflict.status, conflict.body, conflict.headers["content-type"]) == (409, b"0\n", "text/x.tlog.size")
        assert (await client.get(f"/{HASH}/checkpoint", max_bytes=10**6)).status == 404
        assert await status(add(0, good)) == 200
        assert await status(add(3, note_of(3, bytes([1]) * 32))) == 422
        assert await status(add(3, note_of(5, bytes(32)))) == 422
        assert (await client.get("/add-checkpoint", max_bytes=10**6)).status == 405
        kept = await client.get(f"/{HASH}/checkpoint", max_bytes=10**6)
        assert kept.body.startswith(good.rstrip(b"\n").rpartition(b"\n")[0])
        await client.aclose()


async def test_only_peers_have_checkpoints_cosigned() -> None:
    async with listening("simulated", ledger_web().answer, role="client") as (net, address):
        client = WebClient(net, WebPlace(address, ""))
        assert (await client.post("/witness/add-checkpoint", add(0, note_of(0)), max_bytes=10**6)).status == 403
        assert (await client.get(f"/log/{HASH}/checkpoint", max_bytes=10**6)).status == 200
        await client.aclose()


async def test_slow_takers_of_tiles_keep_nobody_from_the_witness(autojump_clock: trio.testing.MockClock) -> None:
    asked: list[str] = []

    async def slow_for_tiles(request: WebRequest) -> WebAnswer:
        asked.append(request.target)
        if "/tile/" in request.target:
            await trio.sleep_forever()
        return await ok(request)

    async with listening("simulated", slow_for_tiles) as (net, address), trio.open_nursery() as nursery:
        for _ in range(20):
            client = WebClient(net, WebPlace(address, f"/log/{HASH}"))
            nursery.start_soon(functools.partial(client.get, "/tile/0/000", max_bytes=100, deadline_s=1000))
        await trio.sleep(10)
        assert len(asked) == 3, "the rest leaves room for other organisations"
        client = WebClient(net, WebPlace(address, ""))
        for path in ("/witness/add-checkpoint", f"/witness/{HASH}/checkpoint", f"/log/{HASH}/checkpoint"):
            assert (await client.get(path, max_bytes=1000, deadline_s=2)).status == 200
        await client.aclose()
        nursery.cancel_scope.cancel()


async def test_a_witness_that_may_not_sign_answers_503_and_serves_the_log_on() -> None:
    web = ledger_web()
    assert web.witness is not None
    web.witness.failure = LedgerError("it forgot")
    async with listening("simulated", web.answer) as (net, address):
        witness = WebWitness(net, f"https://{address}/witness")
        for _ in range(2):
            with pytest.raises(PeerUnavailableError, match="503"):
                await witness.add_checkpoint(AddCheckpoint(0, (), note_of(0)))
            web.witness = None
        client = WebClient(net, WebPlace(address, f"/log/{HASH}"))
        assert (await client.get("/checkpoint", max_bytes=10**6)).status == 200
        for each in (witness, client):
            await each.aclose()


async def test_a_refusal_comes_back_as_it_was_meant() -> None:
    async with listening("simulated", ledger_web().answer) as (net, address):
        witness = WebWitness(net, f"https://{address}/witness")
        with pytest.raises(WitnessRefusedError) as refused:
            await witness.add_checkpoint(AddCheckpoint(2, (bytes(32),), note_of(3, bytes(32))))
        assert (refused.value.status, refused.value.witness_size) == (409, 0)
        assert await witness.latest(ORIGIN) is None
        lines = await witness.add_checkpoint(AddCheckpoint(0, (), note_of(0)))
        assert COSIGNERS[0].key.name in lines
        assert (await witness.latest(ORIGIN) or b"").startswith(ORIGIN.encode())
        await witness.aclose()


@pytest.mark.parametrize("kind", ["real", "simulated"])
@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: " + b"b" * 40_000 + b"\r\n\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n" + bytes(WEB_BODY_MAX_BYTES + 1), b"413"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"\x00\x00\x00\x10\x00\x00\x00\x00frames?", b"400"),
    ],
)
async def test_what_is_too_large_or_makes_no_sense_ends_the_connection(
    kind: str, request_bytes: bytes, status: bytes
) -> None:
    async with listening(kind, ok) as (net, address):
        answer = await said(net, address, request_bytes)
        assert answer.startswith(b"HTTP/1.1 " + status) or (status == b"413" and not answer)
        assert b"200" not in answer[:20]


async def test_a_request_that_dribbles_in_is_not_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    async with listening("simulated", ok) as (net, address):
        connection = await net.connect(address, HTTP)
        began = trio.current_time()
        with contextlib.suppress(PeerUnavailableError):
            while trio.current_time() < began + 60:
                await connection.send_all(b"G")
                await trio.sleep(1)
        assert trio.current_time() - began < 15
        await connection.aclose()


async def test_an_idle_connection_is_closed_and_the_next_request_opens_another(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with listening("simulated", ok) as (net, address):
        client = WebClient(net, WebPlace(address, ""))
        for _ in range(3):
            assert (await client.get("/x", max_bytes=100)).status == 200
            await trio.sleep(200)
        await client.aclose()


async def test_a_connection_serves_a_bounded_number_of_requests() -> None:
    async with listening("simulated", ok, WebLimits(requests=3)) as (net, address):
        answer = await said(net, address, b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" * 5)
        assert answer.count(b"HTTP/1.1 200") == 3
        client = WebClient(net, WebPlace(address, ""))
        for _ in range(8):
            assert (await client.get("/a", max_bytes=100)).status == 200
        await client.aclose()


async def test_an_answer_that_is_too_long_or_never_comes_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async def bad(request: WebRequest) -> WebAnswer:
        if request.target == "/slow":
            await trio.sleep(1000)
        return WebAnswer(200, bytes(5000))

    async with listening("simulated", bad) as (net, address):
        client = WebClient(net, WebPlace(address, ""))
        with pytest.raises(PeerUnavailableError, match="longer than"):
            await client.get("/long", max_bytes=4999)
        with pytest.raises(PeerUnavailableError, match="no answer within"):
            await client.get("/slow", max_bytes=5000)
        assert (await client.get("/fine", max_bytes=5000)).status == 200
        await client.aclose()


async def test_head_and_expect_are_understood() -> None:
    async with listening("simulated", ok) as (net, address):
        answer = await said(net, address, b"HEAD /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"\r\n\r\n")
        answer = await said(
            net,
            address,
            b"POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        )
        assert b"HTTP/1.1 200" in answer
        assert b"asker" in answer


@pytest.mark.parametrize(
    "url",
    ["http://a/b", "https://", "https:///x", "https://a:0/x", "https://a:99999/", "https://u@a/", "https://a/?q",
     "https://a/#f", "https://a b/", "ftp://a/", "https://" + "a" * 600, "https://ä/", "", "https://a:b/"],
)  # fmt: skip
def test_urls_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(MalformedError):
        parse_url(url)


def test_urls_are_taken_apart() -> None:
    assert parse_url("https://ledger.example:7443/witness/") == WebPlace(Address("ledger.example", 7443), "/witness")
    assert parse_url("https://[::1]:7/log/x").address == Address("::1", 7)
    assert parse_url("https://a").address.port == 443


@given(st.text(max_size=60) | st.text(max_size=60).map(lambda text: f"https://{text}"))
def test_any_text_is_a_url_or_refused(text: str) -> None:
    with contextlib.suppress(MalformedError):
        place = parse_url(text)
        assert 0 < place.address.port < 65536
        assert place.address.host


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda data: b"POST / HTTP/1.1\r\nHost: x\r\n" + data))
def test_any_bytes_are_answered_or_end_the_connection(data: bytes) -> None:
    async def play() -> None:
        async with listening("simulated", ok, WebLimits(idle_s=2, request_deadline_s=2)) as (net, address):
            await said(net, address, data)

    trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))

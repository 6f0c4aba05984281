"""Over a thin line one frame takes longer than a hung peer is waited for: slow is waited for, hung is not."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from client.session import Session
from core.errors import PeerUnavailableError
from core.limits import DISK_DEADLINE_S, KIB, LINE_BYTES_PER_S_MIN, MIB, REQUEST_DEADLINE_S, SILENCE_MAX_S
from core.ports import Address, Connection
from tests.daemon.wires import hello
from tests.sim.determinism import run_seeded
from tests.sim.fabric import NetFaults
from tests.sim.net import WINDOW_BYTES, Fabric, SimNet
from tests.sim.people import make_organisation
from tests.sim.pool import SimPool
from tests.sim.test_put_crash_get import SCHEME, restore
from tests.sim.trees import MemorySource
from tests.sim.world import World
from wire.frames import FrameParser, frame_prefix
from wire.messages import Blob, Done, GetStatus, Message, UploadData, message_head, parse_message

HOSPITAL = make_organisation()
HERE = Address("holder", 1)
THIN_BYTES_PER_S = 30_000
FRAME = bytes(2 * MIB)
LENGTHS = (64 * KIB,) * 32
FRAME_S = len(FRAME) / THIN_BYTES_PER_S


async def say(connection: Connection, number: int, message: Message) -> None:
    body = message.body_of()
    await connection.send_all(frame_prefix(message_head(number, message), len(body)), body)


async def answer_all(connection: Connection) -> None:
    """Greet, acknowledge what comes, and give a large blob to whoever asks for the status."""
    parser = FrameParser()
    greeted = False
    while data := await connection.receive_some(1 << 20):
        for frame in parser.feed(data):
            number, message = parse_message(frame)
            if not greeted:
                greeted = True
                await say(connection, 0, hello())
            else:
                await say(connection, number, Blob(FRAME) if isinstance(message, GetStatus) else Done())


@asynccontextmanager
async def thin_line(bytes_per_s: float = THIN_BYTES_PER_S) -> AsyncGenerator[tuple[Session, Fabric]]:
    fabric = Fabric(1, NetFaults(part_p=0, bytes_per_s=bytes_per_s))
    issuers = HOSPITAL.issuers

    def member(name: str) -> SimNet:
        return SimNet(fabric, name, HOSPITAL.admit(name).identity, lambda: issuers)

    async with trio.open_nursery() as nursery:
        await nursery.start(member("holder").serve, HERE, answer_all)
        session = Session(await member("caller").connect(HERE), hello())
        await nursery.start(session.serve)
        yield session, fabric
        nursery.cancel_scope.cancel()


async def test_a_holder_behind_a_thin_line_gets_its_frames_and_is_no_hung_one(autojump_clock: MockClock) -> None:
    async with thin_line() as (session, _):
        window = [await session.post(UploadData(1, LENGTHS, FRAME)) for _ in range(3)]
        for pending in window:
            assert await pending.answer(deadline_s=DISK_DEADLINE_S) == Done()
        assert trio.current_time() >= 3 * FRAME_S > DISK_DEADLINE_S
        assert session.usable


async def test_a_large_answer_over_a_thin_line_is_waited_for(autojump_clock: MockClock) -> None:
    async with thin_line() as (session, _):
        assert await session.request(GetStatus()) == Blob(FRAME)
        assert trio.current_time() >= FRAME_S > REQUEST_DEADLINE_S


async def test_a_holder_that_hangs_behind_a_thin_line_is_given_up_when_its_system_takes_no_more(
    autojump_clock: MockClock,
) -> None:
    async with thin_line() as (session, fabric):
        fabric.pause("holder")
        with pytest.raises(PeerUnavailableError, match="silent"):
            await session.request(UploadData(1, LENGTHS, FRAME), deadline_s=DISK_DEADLINE_S)
        assert session.hung
        assert trio.current_time() <= WINDOW_BYTES / THIN_BYTES_PER_S + SILENCE_MAX_S + 1.0


async def test_a_holder_that_hangs_with_nothing_on_its_way_is_given_up_as_before(autojump_clock: MockClock) -> None:
    """Its system takes pings and small requests all the while."""
    async with thin_line() as (session, fabric):
        fabric.pause("holder")
        began = trio.current_time()
        while session.usable and trio.current_time() < began + 60:
            with trio.move_on_after(0.5):
                with pytest.raises(PeerUnavailableError):
                    await session.request(GetStatus())
        assert session.hung
        assert trio.current_time() - began <= SILENCE_MAX_S + 0.5


async def test_a_line_that_is_cut_in_the_middle_of_a_frame_is_given_up_as_soon(autojump_clock: MockClock) -> None:
    async with thin_line() as (session, fabric), trio.open_nursery() as nursery:

        async def cut() -> None:
            await trio.sleep(10.0)
            fabric.partition("caller", "holder")

        nursery.start_soon(cut)
        with pytest.raises(PeerUnavailableError, match="silent"):
            await session.request(UploadData(1, LENGTHS, FRAME), deadline_s=DISK_DEADLINE_S)
        assert 10.0 < trio.current_time() <= 10.0 + SILENCE_MAX_S + 1.0


async def test_a_line_thinner_than_the_thinnest_ends_in_time(autojump_clock: MockClock) -> None:
    """Each frame has its time, however alive the line looks."""
    async with thin_line(LINE_BYTES_PER_S_MIN / 2) as (session, fabric):
        fabric.faults.latency_s = (0.1, 0.1)
        with pytest.raises(PeerUnavailableError):
            await session.request(UploadData(1, LENGTHS, FRAME))
        assert trio.current_time() <= REQUEST_DEADLINE_S + len(FRAME) / LINE_BYTES_PER_S_MIN


async def test_a_request_that_is_never_answered_has_its_deadline_although_others_move_much(
    autojump_clock: MockClock,
) -> None:
    """A busy line that is quick is no thin one."""
    fabric = Fabric(1, NetFaults(part_p=0))

    async def answer_all_but_the_first(connection: Connection) -> None:
        parser = FrameParser()
        while data := await connection.receive_some(1 << 22):
            for frame in parser.feed(data):
                number, _ = parse_message(frame)
                if number == 0:
                    await say(connection, 0, hello())
                elif number > 1:
                    await say(connection, number, Done())

    net = SimNet(fabric, "caller", HOSPITAL.admit("caller").identity)
    holder = SimNet(fabric, "holder", HOSPITAL.admit("holder").identity)
    async with trio.open_nursery() as nursery:
        await nursery.start(holder.serve, HERE, answer_all_but_the_first)
        session = Session(await net.connect(HERE), hello())
        await nursery.start(session.serve)
        unanswered = await session.post(GetStatus())

        async def keep_busy() -> None:
            while True:
                await session.request(UploadData(1, (64 * KIB,) * 4, bytes(256 * KIB)))
                await trio.sleep(0.05)

        nursery.start_soon(keep_busy)
        with pytest.raises(PeerUnavailableError, match="took longer than 30 s"):
            await unanswered.answer()
        assert trio.current_time() <= REQUEST_DEADLINE_S + 5.0
        nursery.cancel_scope.cancel()


async def put_and_get_over_thin_lines(seed: int) -> None:
    """8 MiB that do not compress: whole frames for every holder, all lines at 30 kB/s."""
    from client.progress import Silent
    from client.put import put
    from tests.sim.chance import derive

    files = {"study/1": derive(seed, "files").randbytes(8 * MIB)}
    async with World(seed, net=NetFaults(latency_s=(0.02, 0.05))).running() as world:
        pool = SimPool(world, peers=6, sites=3)
        await pool.start()
        world.fabric.faults.bytes_per_s = THIN_BYTES_PER_S
        async with pool.client() as client:
            source = MemorySource(files)
            result = await put(client, source, name="study", scheme=SCHEME, allow_degraded=False, progress=Silent())
            assert not client.peers.refusal()
        assert len(result.holders) == SCHEME.total
        assert await restore(pool, result.object) == files


def test_a_pool_behind_thin_lines_stores_and_gives_back() -> None:
    run_seeded(1, put_and_get_over_thin_lines, 1)

"""One connection, many requests: each gets its own answer or an error, and no peer can hold us up for long."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from client.session import SEND_DEADLINE_S, Session
from core.errors import (
    CorruptError,
    MalformedError,
    MoorageError,
    PeerRefusedError,
    PeerUnavailableError,
    ProtocolError,
)
from core.ids import PoolId, ShardRoot
from core.limits import HANDSHAKE_DEADLINE_S, REQUEST_DEADLINE_S, REQUESTS_IN_FLIGHT_MAX
from tests.daemon.wires import MemoryConnection, RawClient, hello, identity
from wire.frames import frame_prefix
from wire.messages import (
    MESSAGE_ID_MAX,
    PROTOCOL_VERSION,
    Blob,
    Done,
    Failure,
    GetStatus,
    Held,
    Hello,
    Ping,
    Prove,
    UploadData,
    message_head,
)

# A hung peer delays a command by at most this.
PATIENCE_S = 5.0
CALLER, PEER = identity("client"), identity("peer-3", role="peer")


@asynccontextmanager
async def connected(*, greeting: Hello | None = None) -> AsyncGenerator[tuple[Session, RawClient]]:
    """A session that was greeted, and the other end of its wire, which holds everything that nobody reads."""
    ours, theirs = trio.testing.memory_stream_pair()
    session = Session(MemoryConnection(ours, PEER), hello())
    far = RawClient(MemoryConnection(theirs, CALLER))
    async with trio.open_nursery() as nursery:
        await far.say(greeting or hello(), 0)
        await nursery.start(session.serve)
        assert (await far.hear())[1] == hello()
        yield session, far
        nursery.cancel_scope.cancel()


async def outcome(ask: Awaitable[object]) -> object:
    try:
        return await ask
    except MoorageError as error:
        return error


async def gather(*asks: Callable[[], Awaitable[object]]) -> list[object]:
    """All at once; answers and errors in the order of the questions."""
    results: list[object] = [None] * len(asks)

    async def run(number: int) -> None:
        results[number] = await outcome(asks[number]())

    async with trio.open_nursery() as nursery:
        for number in range(len(asks)):
            nursery.start_soon(run, number)
            # In order of the questions.
            await trio.testing.wait_all_tasks_blocked()
    return results


async def hear_all(far: RawClient) -> None:
    """Until the end of the stream, which raises."""
    while True:
        await far.hear()


# --- answers ----------------------------------------------------------------------------------


async def test_answers_find_their_questions_in_any_order(autojump_clock: MockClock) -> None:
    async with connected() as (session, far), trio.open_nursery() as nursery:

        async def answer_backwards() -> None:
            heard = [await far.hear() for _ in range(40)]
            for number, message in reversed(heard):
                assert isinstance(message, UploadData)
                await far.say(Blob(b"%d" % message.upload), number)

        nursery.start_soon(answer_backwards)
        asks = [lambda upload=upload: session.request(UploadData(upload, (), b"")) for upload in range(40)]
        assert await gather(*asks) == [Blob(b"%d" % upload) for upload in range(40)]


async def test_what_the_peer_says_instead_is_raised_as_its_own_class(autojump_clock: MockClock) -> None:
    async with connected() as (session, far), trio.open_nursery() as nursery:

        async def refuse() -> None:
            number, _ = await far.hear()
            await far.say(Failure("corrupt", "chunk 3"), number)

        nursery.start_soon(refuse)
        with pytest.raises(CorruptError, match="chunk 3"):
            await session.request(GetStatus())
        assert session.usable


async def test_requests_beyond_the_limit_wait_for_their_turn(autojump_clock: MockClock) -> None:
    async with connected() as (session, far), trio.open_nursery() as nursery:
        most = 0

        async def answer() -> None:
            nonlocal most
            held: list[int] = []
            for _ in range(200):
                with trio.move_on_after(0.5):
                    held.append((await far.hear())[0])
                    most = max(most, len(held))
                    continue
                while held:
                    await far.say(Done(), held.pop(0))

        nursery.start_soon(answer)
        results = await gather(*[lambda: session.request(GetStatus()) for _ in range(150)])
        assert results == [Done()] * 150
        # One slot is left for the ping.
        assert most == REQUESTS_IN_FLIGHT_MAX - 1
        nursery.cancel_scope.cancel()


async def test_numbers_begin_again_after_the_last(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected() as (session, far), trio.open_nursery() as nursery:
        monkeypatch.setattr(session, "_next_id", MESSAGE_ID_MAX - 1)
        numbers: list[int] = []

        async def answer() -> None:
            while True:
                number, _ = await far.hear()
                numbers.append(number)
                await far.say(Done(), number)

        nursery.start_soon(answer)
        for _ in range(4):
            assert await session.request(GetStatus()) == Done()
        assert numbers == [MESSAGE_ID_MAX - 1, MESSAGE_ID_MAX, 1, 2]
        nursery.cancel_scope.cancel()


async def test_a_number_whose_answer_is_still_owed_is_not_given_twice(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected() as (session, far):
        first = await session.post(GetStatus())
        number, _ = await far.hear()
        monkeypatch.setattr(session, "_next_id", number)
        second = await session.post(GetStatus())
        other, _ = await far.hear()
        assert other != number
        await far.say(Blob(b"first"), number)
        await far.say(Blob(b"second"), other)
        assert (await first.answer(), await second.answer()) == (Blob(b"first"), Blob(b"second"))


async def test_late_doubled_and_uncalled_for_answers_are_ignored(autojump_clock: MockClock) -> None:
    async with connected() as (session, far):
        with trio.move_on_after(0.5):
            await session.request(GetStatus())
        late, _ = await far.hear()
        pending = await session.post(GetStatus())
        number, _ = await far.hear()
        for answered, message in ((late, Blob(b"late")), (4711, Blob(b"for nobody")), (0, Done())):
            await far.say(message, answered)
        await far.say(Blob(b"right"), number)
        assert await pending.answer() == Blob(b"right")
        await far.say(Blob(b"again"), number)
        assert session.usable


# --- giving up --------------------------------------------------------------------------------


async def test_a_cancelled_request_leaves_no_slot_taken(autojump_clock: MockClock) -> None:
    async with connected() as (session, far), trio.open_nursery() as nursery:
        for _ in range(3 * REQUESTS_IN_FLIGHT_MAX):
            with trio.move_on_after(0.001):
                await session.request(GetStatus())

        async def answer() -> None:
            while True:
                number, message = await far.hear()
                if message == Prove(ShardRoot(bytes(32))):
                    await far.say(Held((True,)), number)

        nursery.start_soon(answer)
        question = Prove(ShardRoot(bytes(32)))
        results = await gather(*[lambda: session.request(question) for _ in range(REQUESTS_IN_FLIGHT_MAX)])
        assert results == [Held((True,))] * REQUESTS_IN_FLIGHT_MAX
        nursery.cancel_scope.cancel()


async def test_requests_cancelled_while_they_wait_for_a_slot_or_the_wire_leave_nothing(
    autojump_clock: MockClock,
) -> None:
    """The other side reads nothing, over a wire that holds nothing."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    session, far = Session(MemoryConnection(ours, PEER), hello()), RawClient(MemoryConnection(theirs, CALLER))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.serve)
        assert (await far.hear())[1] == hello()
        await far.say(hello(), 0)
        with trio.move_on_after(0.5):
            await gather(*[lambda: session.request(GetStatus()) for _ in range(100)])
        assert session.usable

        async def answer() -> None:
            while True:
                number, _ = await far.hear()
                await far.say(Done(), number)

        nursery.start_soon(answer)
        results = await gather(*[lambda: session.request(GetStatus()) for _ in range(100)])
        assert results == [Done()] * 100
        nursery.cancel_scope.cancel()


async def test_a_request_has_a_deadline_of_its_own_and_the_session_goes_on(autojump_clock: MockClock) -> None:
    async with connected() as (session, far), trio.open_nursery() as nursery:

        async def answer_pings() -> None:
            while True:
                number, message = await far.hear()
                if isinstance(message, Ping):
                    await far.say(Done(), number)

        nursery.start_soon(answer_pings)
        began = trio.current_time()
        with pytest.raises(PeerUnavailableError, match="peer-3 took longer than 30 s for get-status"):
            await session.request(GetStatus())
        assert trio.current_time() - began == pytest.approx(REQUEST_DEADLINE_S)
        with pytest.raises(PeerUnavailableError, match="7 s"):
            await session.request(GetStatus(), deadline_s=7.0)
        assert session.usable
        nursery.cancel_scope.cancel()


# --- hung, slow and idle peers ----------------------------------------------------------------


async def test_a_hung_peer_is_given_up_soon_although_pings_go_out(autojump_clock: MockClock) -> None:
    async with connected() as (session, _):
        began = trio.current_time()
        results = await gather(*[lambda: session.request(GetStatus()) for _ in range(3)])
        assert trio.current_time() - began <= PATIENCE_S
        assert all(isinstance(result, PeerUnavailableError) for result in results)
        assert "silent" in str(results[0])
        assert session.hung
        assert not session.usable
        with pytest.raises(PeerUnavailableError):
            await session.request(GetStatus())


class WatchedConnection(MemoryConnection):
    """Counts how often somebody looks what has moved, and loses its patience."""

    looks = 0

    @property
    def moved_bytes(self) -> int:
        self.looks += 1
        assert self.looks <= 50, "a silent peer is looked at again and again in no time"
        return super().moved_bytes


async def hang_after_an_answer(answer_after_s: float) -> None:
    """Of two requests one is answered, and the peer is given up for the other."""
    ours, theirs = trio.testing.memory_stream_pair()
    session, far = Session(WatchedConnection(ours, PEER), hello()), RawClient(MemoryConnection(theirs, CALLER))

    async def answer_once() -> None:
        await far.hear()
        number, _ = await far.hear()
        await trio.sleep(answer_after_s)
        await far.say(Done(), number)

    async with trio.open_nursery() as nursery:
        await far.say(hello(), 0)
        await nursery.start(session.serve)
        nursery.start_soon(answer_once)
        answered, given_up = await gather(*[lambda: session.request(GetStatus()) for _ in range(2)])
        assert isinstance(answered, Done)
        assert isinstance(given_up, PeerUnavailableError)
        assert session.hung


async def test_a_hung_peer_is_looked_at_now_and_then_whatever_the_clock_rounds(autojump_clock: MockClock) -> None:
    """What is left until a silence is long enough may be less than the clock can tell apart."""
    chance = random.Random(5)
    for _ in range(40):
        await trio.sleep(chance.random())
        await hang_after_an_answer(chance.random())


async def test_a_peer_that_takes_no_bytes_either_is_given_up_as_soon(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    session, far = Session(MemoryConnection(ours, PEER), hello()), RawClient(MemoryConnection(theirs, CALLER))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.serve)
        await far.hear()
        await far.say(hello(), 0)
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        body = UploadData(1, (), bytes(1 << 20))
        results = await gather(*[lambda: session.request(body) for _ in range(100)])
        assert trio.current_time() - began <= PATIENCE_S
        assert all(isinstance(result, PeerUnavailableError) for result in results)
        assert session.hung
        nursery.cancel_scope.cancel()


async def test_a_peer_that_hangs_amid_a_stream_of_requests_is_given_up_too(autojump_clock: MockClock) -> None:
    """New requests all the time, some given up by their askers, must not reset its patience."""
    async with connected() as (session, far), trio.open_nursery() as nursery:

        async def answer_for_a_while() -> None:
            for _ in range(5):
                number, _ = await far.hear()
                await far.say(Done(), number)

        nursery.start_soon(answer_for_a_while)
        hung_at = math.nan
        while session.usable and trio.current_time() < 60:
            with trio.move_on_after(0.4) as scope:
                await outcome(session.request(GetStatus()))
            if scope.cancelled_caught and math.isnan(hung_at):
                hung_at = trio.current_time() - 0.4
        assert session.hung
        assert trio.current_time() - hung_at <= PATIENCE_S


async def test_a_peer_that_is_slow_but_alive_is_waited_for(autojump_clock: MockClock) -> None:
    async with connected() as (session, far), trio.open_nursery() as nursery:

        async def work_long() -> None:
            number, _ = await far.hear()
            with trio.move_on_after(25.0):
                while True:
                    ping, message = await far.hear()
                    assert isinstance(message, Ping)
                    await far.say(Done(), ping)
            await far.say(Blob(b"at last"), number)

        nursery.start_soon(work_long)
        assert await session.request(GetStatus()) == Blob(b"at last")
        assert trio.current_time() >= 25.0


async def test_bytes_of_a_large_answer_are_signs_of_life(autojump_clock: MockClock) -> None:
    """Over a thin line a frame takes longer than a silent peer's patience."""
    async with connected() as (session, far), trio.open_nursery() as nursery:

        async def trickle() -> None:
            number, _ = await far.hear()
            body = bytes(100_000)
            data = frame_prefix(message_head(number, Blob(body)), len(body)) + body
            for at in range(0, len(data), 10_000):
                await trio.sleep(2.0)
                await far.connection.send_all(data[at : at + 10_000])

        nursery.start_soon(trickle)
        assert await session.request(GetStatus()) == Blob(bytes(100_000))


async def test_an_idle_session_says_nothing_and_lives(autojump_clock: MockClock) -> None:
    async with connected() as (session, far):
        with trio.move_on_after(3600):
            pytest.fail(f"said {await far.hear()}")
        assert session.usable
        pending = await session.post(GetStatus())
        number, _ = await far.hear()
        await far.say(Done(), number)
        assert await pending.answer() == Done()


async def test_a_pause_between_requests_is_not_silence(autojump_clock: MockClock) -> None:
    async with connected() as (session, far):
        for _ in range(3):
            pending = await session.post(GetStatus())
            number, _ = await far.hear()
            await trio.sleep(0.9)
            await far.say(Done(), number)
            assert await pending.answer() == Done()
            await trio.sleep(20.0)
        assert not session.hung


# --- garbage and ends -------------------------------------------------------------------------


GARBAGE = {
    "a length over the limit": (b"\xff" * 8, MalformedError),
    "no length": (bytes(8), MalformedError),
    "no MessagePack": (b"\0\0\0\2\0\0\0\0\xc1\xc1", MalformedError),
    "not canonical": (b"\0\0\0\2\0\0\0\0\xcc\x01", MalformedError),
    "no message": (frame_prefix({"id": 1, "kind": "nonsense"}, 0), MalformedError),
    "no number": (frame_prefix({"kind": "done"}, 0), MalformedError),
    "a body where none belongs": (frame_prefix({"id": 1, "kind": "done"}, 1) + b"x", MalformedError),
    "http": (b"HTTP/1.1 400 Bad Request\r\n\r\n", MalformedError),
}


@pytest.mark.parametrize("kind", GARBAGE)
async def test_garbage_ends_the_session_for_every_waiter(autojump_clock: MockClock, kind: str) -> None:
    garbage, error = GARBAGE[kind]
    async with connected() as (session, far), trio.open_nursery() as nursery:

        async def spoil() -> None:
            await far.hear()
            await trio.sleep(0.5)
            await far.connection.send_all(garbage)

        nursery.start_soon(spoil)
        results = await gather(*[lambda: session.request(GetStatus()) for _ in range(70)])
        assert {type(result) for result in results} == {error}
        assert trio.current_time() < 1.0
        assert not session.usable
        assert not session.hung
        with pytest.raises(PeerUnavailableError):
            await hear_all(far)


async def test_an_end_of_the_connection_reaches_every_waiter(autojump_clock: MockClock) -> None:
    async with connected() as (session, far), trio.open_nursery() as nursery:

        async def leave() -> None:
            await far.hear()
            await far.connection.aclose()

        nursery.start_soon(leave)
        results = await gather(*[lambda: session.request(GetStatus()) for _ in range(70)])
        assert {type(result) for result in results} == {PeerUnavailableError}
        assert not session.hung


async def test_an_answer_that_is_complete_before_the_end_counts(autojump_clock: MockClock) -> None:
    async with connected() as (session, far):
        pending = await session.post(GetStatus())
        number, _ = await far.hear()
        await far.say(Blob(b"last words"), number)
        await far.connection.aclose()
        await trio.sleep(1.0)
        assert not session.usable
        assert await pending.answer() == Blob(b"last words")


async def test_a_session_that_is_cancelled_tells_its_waiters(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as outer, connected() as (session, _):
        failures: list[object] = []

        async def wait() -> None:
            failures.append(await outcome(session.request(GetStatus())))

        outer.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
    assert isinstance(failures[0], PeerUnavailableError)


# --- the greeting -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("greeting", "error", "words"),
    [
        (hello(pool=PoolId(b"\x44" * 32)), PeerRefusedError, "another pool"),
        (hello(version=PROTOCOL_VERSION + 1), PeerRefusedError, "speaks protocol 2"),
        (Failure("peer-refused", "not on our roster"), PeerRefusedError, "not on our roster"),
        (Failure("busy", "too many connections"), MoorageError, "too many"),
        (Done(), ProtocolError, "did not greet"),
    ],
    ids=["pool", "version", "refused", "busy", "no greeting"],
)
async def test_whoever_does_not_fit_is_left_before_anything_is_asked(
    autojump_clock: MockClock, greeting: Hello | Failure | Done, error: type[MoorageError], words: str
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    session, far = Session(MemoryConnection(ours, PEER), hello()), RawClient(MemoryConnection(theirs, CALLER))
    async with trio.open_nursery() as nursery:
        await far.say(greeting, 0)
        await nursery.start(session.serve)
        assert isinstance(session.failure, error)
        assert words in str(session.failure)
        with pytest.raises(error):
            await session.request(GetStatus())
        assert (await far.hear())[1] == hello()
        assert await far.is_closed()


@pytest.mark.parametrize("how", ["silence", "end", "garbage", "half a greeting"])
async def test_a_greeting_that_does_not_come_is_not_waited_for(autojump_clock: MockClock, how: str) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    session, far = Session(MemoryConnection(ours, PEER), hello()), MemoryConnection(theirs, CALLER)
    async with trio.open_nursery() as nursery:
        match how:
            case "end":
                await far.aclose()
            case "garbage":
                await far.send_all(b"SSH-2.0-OpenSSH_9.2\r\n")
            case "half a greeting":
                await far.send_all(frame_prefix(message_head(0, hello()), 0)[:-1])
            case _:
                pass
        await nursery.start(session.serve)
        assert isinstance(session.failure, PeerUnavailableError | MalformedError)
        assert trio.current_time() <= HANDSHAKE_DEADLINE_S


async def test_bytes_that_come_with_the_greeting_are_not_lost(autojump_clock: MockClock) -> None:
    """The network may deliver the greeting and what follows in one piece."""
    ours, theirs = trio.testing.memory_stream_pair()
    session, far = Session(MemoryConnection(ours, PEER), hello()), RawClient(MemoryConnection(theirs, CALLER))
    async with trio.open_nursery() as nursery:
        uncalled = frame_prefix(message_head(9, Done()), 0)
        answer = frame_prefix(message_head(1, Blob(b"abc")), 3) + b"abc"
        greeting = frame_prefix(message_head(0, hello()), 0)
        await far.connection.send_all(greeting + uncalled + answer[:-2])
        await nursery.start(session.serve)
        pending = await session.post(GetStatus())
        await far.connection.send_all(answer[-2:])
        assert await pending.answer() == Blob(b"abc")
        nursery.cancel_scope.cancel()


async def test_a_peer_that_talks_but_takes_nothing_is_given_up_with_all_who_wait_for_it(
    autojump_clock: MockClock,
) -> None:
    """As one does whose disk hangs, or who means no good. More wait than its window and our queue hold."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    session = Session(MemoryConnection(ours, PEER), hello())
    far = RawClient(MemoryConnection(theirs, CALLER))

    async def talk() -> None:
        with suppress(MoorageError, trio.BrokenResourceError):
            while True:
                await far.say(Done(), 0)
                await trio.sleep(1.0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(far.hear)
        nursery.start_soon(far.say, hello(), 0)
        await nursery.start(session.serve)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(talk)
        began = trio.current_time()
        answers = await gather(
            *(lambda number=number: session.post(UploadData(number, (1,), b"x")) for number in range(1, 21))
        )
        assert isinstance(answers[-1], PeerUnavailableError)
        assert trio.current_time() - began <= SEND_DEADLINE_S + 1.0
        assert session.hung
        nursery.cancel_scope.cancel()

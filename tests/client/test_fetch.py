"""Fetching shares: systematic first, around what is slow, silent or wrong, and never a byte that was not checked."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock

from anchor.manifest import Extent
from client.fetch import HEDGE_MAX_S, RUN_DEADLINE_S, ShareFetcher, ShareRun, Source, SourceBoard
from core.errors import (
    CorruptError,
    MoorageError,
    NoSuchShardError,
    NotEnoughSharesError,
    PeerUnavailableError,
)
from core.findings import FindingKind
from core.ids import ObjectId, PeerId
from core.limits import LINE_BYTES_PER_S_MIN, REQUEST_DEADLINE_S, SEALED_CHUNK_MAX_BYTES
from erasure.codec import encode_chunk, join_shares, share_bytes
from erasure.merkle import leaf_digest, merkle_path, root_of_leaves
from erasure.scheme import Scheme
from tests.sim.threads import SimThreads
from wire.messages import Message, Read, Shares

SCHEME = Scheme(4, 6)
CHUNKS = [bytes([number]) * (100 + number) for number in range(5)]
OBJECT = ObjectId(b"o" * 32)


def peer(number: int) -> PeerId:
    return PeerId(bytes([number + 1]) * 32)


SHARES = [[bytes(share) for share in encode_chunk(chunk, SCHEME)] for chunk in CHUNKS]
LEAVES = [[leaf_digest(shares[index]) for shares in SHARES] for index in range(SCHEME.total)]
EXTENT = Extent(
    chunks=len(CHUNKS),
    sealed_bytes=sum(map(len, CHUNKS)),
    group=0,
    roots=tuple(root_of_leaves(SCHEME, index, LEAVES[index]) for index in range(SCHEME.total)),
)
FIRST = [Source(index, peer(index)) for index in range(SCHEME.total)]


def answer_to(question: Read, *, at_most: int = 16) -> Shares:
    index = EXTENT.roots.index(question.root)
    chunks = range(question.first, question.first + min(question.count, at_most))
    shares = [SHARES[chunk][index] for chunk in chunks]
    paths = tuple(merkle_path(LEAVES[index], chunk) for chunk in chunks)
    return Shares(tuple(map(len, shares)), paths, b"".join(shares))


async def honest(question: Read) -> Message:
    await trio.sleep(0.01)
    return answer_to(question)


Behaviour = Callable[[Read], Awaitable[Message]]


def after(seconds: float, then: Behaviour = honest) -> Behaviour:
    async def behave(question: Read) -> Message:
        await trio.sleep(seconds)
        return await then(question)

    return behave


def failing(error: MoorageError) -> Behaviour:
    async def behave(question: Read) -> Message:
        await trio.sleep(0.01)
        raise error

    return behave


async def lying(question: Read) -> Message:
    """A share of the right length with one wrong byte."""
    good = answer_to(question)
    return Shares(good.lengths, good.paths, bytes([good.body[0] ^ 1]) + bytes(good.body[1:]))


async def stingy(question: Read) -> Message:
    return answer_to(question, at_most=1)


async def generous(question: Read) -> Message:
    return answer_to(Read(question.root, 0, len(CHUNKS)))


@dataclass
class Holders:
    """``client.asker.Asker``; each holder behaves as it is told, honestly by default."""

    behaviours: dict[PeerId, Behaviour] = field(default_factory=dict[PeerId, Behaviour])
    asked: list[PeerId] = field(default_factory=list[PeerId])
    running: int = 0
    most: int = 0

    async def request(self, peer: PeerId, message: Message, /, *, deadline_s: float = REQUEST_DEADLINE_S) -> Message:
        assert isinstance(message, Read)
        self.asked.append(peer)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await self.behaviours.get(peer, honest)(message)
        finally:
            self.running -= 1

    async def session(self, peer: PeerId, /) -> object:
        raise AssertionError("reading needs no conversation")

    def avoid(self, peer: PeerId, failure: MoorageError, /) -> None: ...


async def fetch(
    holders: Holders,
    *,
    sources: list[Source] | None = None,
    board: SourceBoard | None = None,
    first: int = 0,
    count: int = len(CHUNKS),
) -> dict[int, ShareRun]:
    """Fetch, and hold what comes to the promise: verified, distinct, enough, and nobody still busy."""
    fetcher = ShareFetcher(holders, SimThreads(), OBJECT, SCHEME, board or SourceBoard())  # type: ignore[arg-type]  # no session
    try:
        runs = dict(await fetcher.fetch(3, EXTENT, FIRST if sources is None else sources, first, count))
    finally:
        assert holders.running == 0
    assert len(runs) == SCHEME.needed
    for offset in range(count):
        shares = {index: run.shares[offset] for index, run in runs.items()}
        assert join_shares(shares, len(CHUNKS[first + offset]), SCHEME) == CHUNKS[first + offset]
    return runs


async def test_systematic_shares_come_first_and_nobody_else_is_asked(autojump_clock: MockClock) -> None:
    holders = Holders()
    assert sorted(await fetch(holders)) == [0, 1, 2, 3]
    assert sorted(holders.asked) == [peer(number) for number in range(4)]
    assert holders.most == SCHEME.needed


async def test_part_of_an_extent_is_read_alone(autojump_clock: MockClock) -> None:
    await fetch(Holders(), first=2, count=1)
    await fetch(Holders(), first=4, count=1)
    await fetch(Holders(), first=1, count=3)


async def test_a_slow_holder_is_hedged_and_not_waited_for(autojump_clock: MockClock) -> None:
    holders = Holders({peer(1): after(60.0)})
    began = trio.current_time()
    assert sorted(await fetch(holders)) == [0, 2, 3, 4]
    assert trio.current_time() - began <= HEDGE_MAX_S + 0.1


async def test_a_holder_known_to_be_slow_is_asked_last(autojump_clock: MockClock) -> None:
    holders, board = Holders({peer(1): after(0.9)}), SourceBoard()
    await fetch(holders, board=board)
    holders.asked.clear()
    began = trio.current_time()
    assert sorted(await fetch(holders, board=board)) == [0, 2, 3, 4]
    assert peer(1) not in holders.asked
    assert trio.current_time() - began < 0.1


async def test_a_hung_holder_costs_a_long_read_its_patience_once(autojump_clock: MockClock) -> None:
    holders, board = Holders({peer(1): after(math.inf)}), SourceBoard()
    began = trio.current_time()
    for _ in range(50):
        await fetch(holders, board=board)
    assert trio.current_time() - began < HEDGE_MAX_S + 50 * 0.02


async def test_a_holder_that_was_asked_too_late_is_not_taken_for_quick(autojump_clock: MockClock) -> None:
    """The last-minute hedge is cancelled at once; its few milliseconds are no measurement."""
    board = SourceBoard()
    usual = {peer(number): after(0.2) for number in range(6)}
    await fetch(Holders(usual), board=board)
    await fetch(Holders(usual | {peer(3): after(0.605)}), board=board)
    assert [source.index for source in board.order(EXTENT, FIRST, SCHEME)][:3] == [0, 1, 2]


async def test_two_slow_holders_cost_patience_twice_at_most(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    assert sorted(await fetch(Holders({peer(0): after(60.0), peer(3): after(60.0)}))) == [1, 2, 4, 5]
    assert trio.current_time() - began <= 2 * HEDGE_MAX_S + 0.1


async def test_when_all_are_slow_the_fastest_win_and_none_is_lost(autojump_clock: MockClock) -> None:
    holders = Holders({peer(number): after(5.0 + number) for number in range(6)})
    assert len(await fetch(holders)) == 4


async def test_without_hedging_a_slow_holder_is_waited_for(autojump_clock: MockClock) -> None:
    holders = Holders({peer(1): after(20.0)})
    assert sorted(await fetch(holders, board=SourceBoard(hedge=False))) == [0, 1, 2, 3]
    assert len(holders.asked) == 4


async def test_without_hedging_a_holder_that_drags_out_a_run_is_given_up_at_one_deadline(
    autojump_clock: MockClock,
) -> None:
    """One share an answer, each just in time."""
    dragging = after(REQUEST_DEADLINE_S - 1.0, stingy)
    holders, board = Holders({peer(1): dragging}), SourceBoard(hedge=False)
    assert sorted(await fetch(holders, board=board)) == [0, 2, 3, 4]
    run_bytes = len(CHUNKS) * share_bytes(SEALED_CHUNK_MAX_BYTES, SCHEME.needed)
    assert trio.current_time() <= RUN_DEADLINE_S + run_bytes / LINE_BYTES_PER_S_MIN + 1.0
    holders.asked.clear()
    await fetch(holders, board=board)
    assert peer(1) not in holders.asked


async def test_whoever_greeted_late_or_not_yet_is_asked_last(autojump_clock: MockClock) -> None:
    greetings: dict[PeerId, float | None] = {peer(0): None, peer(1): 0.3}
    board = SourceBoard(greeting_s=lambda who: greetings.get(who, 0.001))
    holders = Holders()
    assert sorted(await fetch(holders, board=board)) == [2, 3, 4, 5]
    assert not greetings.keys() & set(holders.asked)


async def test_a_near_source_is_asked_first_even_for_a_parity_share(autojump_clock: MockClock) -> None:
    assert sorted(await fetch(Holders(), board=SourceBoard(near=peer(5)))) == [0, 1, 2, 5]


@pytest.mark.parametrize("bad", [(0,), (2, 3), (0, 5), (4, 5)])
async def test_a_corrupt_share_is_never_used_and_reported_once(autojump_clock: MockClock, bad: tuple[int, ...]) -> None:
    holders, board = Holders({peer(number): lying for number in bad}), SourceBoard()
    for _ in range(3):
        runs = await fetch(holders, board=board)
        assert not set(bad) & set(runs)
    seen = [number for number in bad if peer(number) in holders.asked]
    assert sorted(finding.share for finding in board.findings if finding.share is not None) == seen
    for finding in board.findings:
        assert finding.kind is FindingKind.CORRUPT
        assert (finding.object, finding.extent) == (OBJECT, 3)
        assert finding.share is not None
        assert finding.holder == peer(finding.share)
        assert finding.root == EXTENT.roots[finding.share]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NoSuchShardError("not here"), FindingKind.MISSING),
        (CorruptError("the disk could not read it"), FindingKind.CORRUPT),
        (PeerUnavailableError("gone"), None),
        (MoorageError("what"), None),
    ],
)
async def test_what_a_holder_says_instead_is_a_finding_or_silence(
    autojump_clock: MockClock, error: MoorageError, kind: FindingKind | None
) -> None:
    board = SourceBoard()
    assert sorted(await fetch(Holders({peer(1): failing(error)}), board=board)) == [0, 2, 3, 4]
    assert [finding.kind for finding in board.findings] == ([] if kind is None else [kind])


async def test_a_silent_holder_is_tried_again_last_and_a_bad_one_never(autojump_clock: MockClock) -> None:
    holders, board = Holders({peer(0): failing(PeerUnavailableError("gone")), peer(1): lying}), SourceBoard()
    await fetch(holders, board=board)
    order = board.order(EXTENT, FIRST, SCHEME)
    assert [source.index for source in order] == [2, 3, 4, 5, 0]
    holders.behaviours = {peer(5): failing(PeerUnavailableError("gone"))}
    assert sorted(await fetch(holders, board=board)) == [0, 2, 3, 4]


@pytest.mark.parametrize("odd", [stingy, generous])
async def test_a_holder_may_answer_with_fewer_shares_but_not_with_more(
    autojump_clock: MockClock, odd: Behaviour
) -> None:
    runs = await fetch(Holders({peer(0): odd}), first=1, count=3)
    assert (0 in runs) == (odd is stingy)


async def test_fewer_than_needed_is_said_with_numbers(autojump_clock: MockClock) -> None:
    gone = {peer(number): failing(PeerUnavailableError("gone")) for number in (0, 2)}
    with pytest.raises(NotEnoughSharesError, match="extent 3, chunk 1: 3 good shares found, 4 needed"):
        await fetch(Holders({**gone, peer(5): lying}), first=1, count=1)
    with pytest.raises(NotEnoughSharesError, match="0 good shares"):
        await fetch(Holders(), sources=[])


async def test_a_reader_that_gives_up_leaves_nothing_running(autojump_clock: MockClock) -> None:
    holders = Holders({peer(number): after(60.0) for number in range(6)})
    with trio.move_on_after(3.0) as scope:
        await fetch(holders)
    assert scope.cancelled_caught
    assert holders.running == 0


async def test_two_copies_of_one_share_do_not_count_twice(autojump_clock: MockClock) -> None:
    """A share that was rebuilt elsewhere while its first holder was away lies on two peers."""
    copies = [Source(0, peer(10)), Source(0, peer(11)), Source(1, peer(12))]
    runs = await fetch(Holders(), sources=[*FIRST[:4], *copies])
    assert sorted(runs) == [0, 1, 2, 3]


async def test_a_copy_stands_in_when_the_first_holder_is_gone(autojump_clock: MockClock) -> None:
    gone = {peer(number): failing(PeerUnavailableError("gone")) for number in (0, 4, 5)}
    runs = await fetch(Holders(gone), sources=[*FIRST, Source(0, peer(10))])
    assert runs[0].source == Source(0, peer(10))


async def test_a_copy_stands_in_when_the_first_holder_is_slow(autojump_clock: MockClock) -> None:
    slow = {peer(number): after(100.0) for number in (0, 4, 5)}
    began = trio.current_time()
    runs = await fetch(Holders(slow), sources=[*FIRST, Source(0, peer(10))])
    assert runs[0].source == Source(0, peer(10))
    assert trio.current_time() - began <= 4 * HEDGE_MAX_S

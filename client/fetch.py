"""Read shares from any holders that have them: the likely fastest first, others when those are slow or wrong.

Every share is checked against the anchored root before anything is done with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import trio

from anchor.manifest import Extent
from client.asker import Asker
from core.errors import CorruptError, MoorageError, NotEnoughSharesError, PeerUnavailableError, ProtocolError
from core.findings import Finding, FindingKind
from core.ids import ObjectId, PeerId
from core.limits import LINE_BYTES_PER_S_MIN, REQUEST_DEADLINE_S, SEALED_CHUNK_MAX_BYTES
from core.ports import Threads
from erasure.codec import share_bytes
from erasure.merkle import ShareChecker
from erasure.scheme import Scheme
from wire.messages import Read, Shares

# Before a second holder is asked beside a slow one: three times what its fellows take, within these bounds.
HEDGE_FACTOR = 3.0
HEDGE_MIN_S = 0.15
HEDGE_MAX_S = 1.0
# A peer this many times slower than the fastest is asked last.
SLOW_FACTOR = 8.0
SLOW_MIN_S = 0.1
# A run of shares that takes longer comes from a holder that is of no use now, however it divides the run into answers:
# one answer's patience, and a second for each 16 KiB of it.
RUN_DEADLINE_S = REQUEST_DEADLINE_S
# How much the newest measurement counts.
SMOOTHING = 0.3


@dataclass(frozen=True, slots=True)
class Source:
    """One place where one share index of an extent can be read."""

    index: int
    peer: PeerId


class ShareRun(NamedTuple):
    """Verified shares of consecutive chunks from one holder."""

    source: Source
    shares: tuple[memoryview, ...]


class SourceBoard:
    """What one flow learned about holders: how fast they answer, and which shards are of no use.

    ``near``: a peer that costs no network, always asked first. Without ``hedge`` a slow holder is waited for and only a
    failed one replaced: no share is moved in vain. ``greeting_s`` tells how long a peer took for a first word, or None
    when there is no connection to it yet.
    """

    def __init__(
        self,
        *,
        near: PeerId | None = None,
        hedge: bool = True,
        greeting_s: Callable[[PeerId], float | None] = lambda _: 0.0,
    ) -> None:
        self._near = near
        self._hedge = hedge
        self._greeting_s = greeting_s
        self._latency_s: dict[PeerId, float] = {}
        self._useless: set[tuple[bytes, PeerId]] = set()
        self._down: set[PeerId] = set()
        self.findings: list[Finding] = []

    def order(self, extent: Extent, sources: Sequence[Source], scheme: Scheme) -> list[Source]:
        """Usable sources, best first: quick systematic, quick parity, slow, not met yet, then those that seem down."""
        fastest = min(self._latency_s.values(), default=0.0)
        slow_s = max(SLOW_MIN_S, SLOW_FACTOR * fastest)

        def rank(source: Source) -> tuple[bool, bool, bool, bool, bool, int]:
            greeting_s = self._greeting_s(source.peer)
            return (
                source.peer != self._near,
                source.peer in self._down,
                greeting_s is None,
                self._latency_s.get(source.peer, greeting_s or 0.0) > slow_s,
                source.index >= scheme.needed,
                source.index,
            )

        usable = [source for source in sources if (extent.roots[source.index].raw, source.peer) not in self._useless]
        return sorted(usable, key=rank)

    def patience_s(self) -> float:
        """How long to wait for the holders that were asked before one more is."""
        if not self._hedge:
            return math.inf
        known = sorted(self._latency_s.values())
        typical = known[len(known) // 2] if known else HEDGE_MAX_S
        return min(HEDGE_MAX_S, max(HEDGE_MIN_S, HEDGE_FACTOR * typical))

    def took(self, peer: PeerId, seconds: float) -> None:
        before = self._latency_s.get(peer, seconds)
        self._latency_s[peer] = before + SMOOTHING * (seconds - before)
        self._down.discard(peer)

    def gave_up(self, peer: PeerId, seconds: float) -> None:
        """``peer`` had not answered after ``seconds`` when others had: no quicker than that, if that says anything."""
        if seconds >= HEDGE_MIN_S:
            self._latency_s[peer] = max(self._latency_s.get(peer, 0.0), seconds)

    def down(self, peer: PeerId) -> None:
        self._down.add(peer)

    def useless(self, extent: Extent, source: Source) -> None:
        self._useless.add((extent.roots[source.index].raw, source.peer))


def verify_run(extent: Extent, scheme: Scheme, index: int, first: int, answer: Shares) -> tuple[memoryview, ...]:
    """The shares of an answer, each checked against the root. Raises CorruptError naming the chunk."""
    checker = ShareChecker(extent.roots[index], scheme, index, extent.chunks)
    shares: list[memoryview] = []
    view = memoryview(answer.body)
    at = 0
    for offset, (length, path) in enumerate(zip(answer.lengths, answer.paths, strict=True)):
        share = view[at : at + length]
        checker.check(first + offset, share, path)
        shares.append(share)
        at += length
    return tuple(shares)


def _most_useful(queue: Sequence[Source], good: Mapping[int, ShareRun], asked: Sequence[Source]) -> Source | None:
    """The first source of an index that nobody was asked for; else of one that is not here yet."""
    missing = [source for source in queue if source.index not in good]
    under_way = {source.index for source in asked}
    return next((source for source in missing if source.index not in under_way), missing[0] if missing else None)


class ShareFetcher:
    """Fetches runs of shares of one object's extents."""

    def __init__(self, peers: Asker, threads: Threads, object_id: ObjectId, scheme: Scheme, board: SourceBoard) -> None:
        self._peers = peers
        self._threads = threads
        self._object = object_id
        self._scheme = scheme
        self.board = board

    async def fetch(
        self, number: int, extent: Extent, sources: Sequence[Source], first: int, count: int
    ) -> Mapping[int, ShareRun]:
        """``needed`` verified runs of chunks ``first`` to ``first + count - 1`` of extent ``number``, by share index.

        Asks ``needed`` sources at once and one more whenever one fails or is slow. Raises NotEnoughSharesError.
        """
        queue = self.board.order(extent, sources, self._scheme)
        inbox_send, inbox = trio.open_memory_channel[tuple[Source, ShareRun | None]](max(1, len(queue)))
        good: dict[int, ShareRun] = {}
        asked: list[Source] = []

        async with trio.open_nursery() as nursery:

            def ask_next() -> bool:
                source = _most_useful(queue, good, asked)
                if source is not None:
                    queue.remove(source)
                    asked.append(source)
                    nursery.start_soon(self._ask, number, extent, source, first, count, inbox_send)
                return source is not None

            while len(good) < self._scheme.needed:
                while len(good.keys() | {source.index for source in asked}) < self._scheme.needed and ask_next():
                    pass
                if not asked:
                    break
                with trio.move_on_after(self.board.patience_s() if queue else math.inf) as patience:
                    source, run = await inbox.receive()
                    asked.remove(source)
                    if run is not None:
                        good[source.index] = run
                if patience.cancelled_caught:
                    ask_next()
            nursery.cancel_scope.cancel()
        if len(good) < self._scheme.needed:
            raise NotEnoughSharesError(
                f"object {self._object.short}, extent {number}, chunk {first}: {len(good)} good shares found, "
                f"{self._scheme.needed} needed"
            )
        return good

    async def _ask(
        self,
        number: int,
        extent: Extent,
        source: Source,
        first: int,
        count: int,
        inbox: trio.MemorySendChannel[tuple[Source, ShareRun | None]],
    ) -> None:
        started = trio.current_time()
        try:
            shares = await self._read_run(extent, source, first, count)
            self.board.took(source.peer, trio.current_time() - started)
            await inbox.send((source, ShareRun(source, tuple(shares))))
        except trio.Cancelled:
            self.board.gave_up(source.peer, trio.current_time() - started)
            raise
        except CorruptError as error:
            self.board.useless(extent, source)
            self._report(FindingKind.CORRUPT, number, extent, source, str(error))
            await inbox.send((source, None))
        except MoorageError as error:
            if error.code == "no-such-shard":
                self.board.useless(extent, source)
                self._report(FindingKind.MISSING, number, extent, source, str(error))
            else:
                self.board.down(source.peer)
            await inbox.send((source, None))

    async def _read_run(self, extent: Extent, source: Source, first: int, count: int) -> list[memoryview]:
        """All ``count`` shares, in as many answers as the holder likes, but all before one deadline."""
        run_bytes = count * share_bytes(SEALED_CHUNK_MAX_BYTES, self._scheme.needed)
        deadline_s = RUN_DEADLINE_S + run_bytes / LINE_BYTES_PER_S_MIN
        shares: list[memoryview] = []
        with trio.move_on_after(deadline_s):
            while len(shares) < count:
                at = first + len(shares)
                shares += await self._read(extent, source, at, count - len(shares))
            return shares
        raise PeerUnavailableError(f"peer {source.peer.short} took longer than {deadline_s:.0f} s for {count} shares")

    async def _read(self, extent: Extent, source: Source, first: int, count: int) -> tuple[memoryview, ...]:
        answer = await self._peers.request(source.peer, Read(extent.roots[source.index], first, count))
        if not isinstance(answer, Shares) or len(answer.lengths) > count:
            raise ProtocolError(f"peer {source.peer.short} answered a read with something else")
        return await self._threads.cpu(verify_run, extent, self._scheme, source.index, first, answer)

    def _report(self, kind: FindingKind, number: int, extent: Extent, source: Source, detail: str) -> None:
        finding = Finding(
            kind=kind,
            object=self._object,
            holder=source.peer,
            extent=number,
            share=source.index,
            root=extent.roots[source.index],
            detail=detail,
        )
        self.board.findings.append(finding)

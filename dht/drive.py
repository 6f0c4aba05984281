"""Runs a search: asks, waits, and decides whom to wait for no longer."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

import trio

from core.ids import PeerId
from dht.config import DhtConfig
from dht.lookup import Search
from dht.records import PeerRecord, Record


class Answer(NamedTuple):
    """What a peer answered, as far as it can be believed."""

    records: tuple[Record, ...]
    """Of the key that was asked for."""
    closest: tuple[PeerRecord, ...]


@dataclass(slots=True)
class _Pending:
    """A question on its way: when it counts as slow, and whether its peer was a suspect from the start."""

    slow_at_s: float
    suspect: bool


class Drive:
    """One search on its way."""

    def __init__(
        self,
        search: Search,
        ask: Callable[[PeerRecord], Awaitable[Answer | None]],
        is_suspect: Callable[[PeerId], bool],
        config: DhtConfig,
    ) -> None:
        self._search = search
        self._ask = ask
        self._is_suspect = is_suspect
        self._config = config
        self._pending: dict[PeerId, _Pending] = {}
        self._news = trio.Event()
        self._end_s = math.inf

    async def run(self, enough: Callable[[], bool]) -> None:
        async with trio.open_nursery() as nursery:
            while not enough():
                self._mark_slow()
                while chosen := self._search.next():
                    for record in chosen:
                        self._start(nursery, record)
                if self._over():
                    break
                self._news = trio.Event()
                with trio.move_on_at(min(self._next_slow_s(), self._end_s)):
                    await self._news.wait()
            nursery.cancel_scope.cancel()

    def _start(self, nursery: trio.Nursery, record: PeerRecord) -> None:
        suspect = self._is_suspect(record.peer)
        self._pending[record.peer] = _Pending(trio.current_time() + self._config.slow_s, suspect)
        nursery.start_soon(self._one, record)
        if suspect:
            self._search.slow(record.peer)

    async def _one(self, record: PeerRecord) -> None:
        answer = await self._ask(record)
        del self._pending[record.peer]
        if answer is None:
            self._search.dead(record.peer)
        else:
            self._search.answered(record.peer, answer.closest)
        self._news.set()

    def overdue(self) -> list[PeerId]:
        """Those without an answer for ``slow_s`` or longer."""
        now_s = trio.current_time()
        return [peer for peer, pending in self._pending.items() if pending.slow_at_s <= now_s]

    def _mark_slow(self) -> None:
        for peer in self.overdue():
            self._search.slow(peer)

    def _next_slow_s(self) -> float:
        now_s = trio.current_time()
        return min((item.slow_at_s for item in self._pending.values() if item.slow_at_s > now_s), default=math.inf)

    def _over(self) -> bool:
        if not self._search.done:
            self._end_s = math.inf
            return False
        if not self._pending:
            return True
        if not self._search.answers:
            return False
        now_s = trio.current_time()
        worth_waiting = any(not item.suspect and item.slow_at_s <= now_s for item in self._pending.values())
        self._end_s = min(self._end_s, now_s + self._config.late_s)
        return not worth_waiting or now_s >= self._end_s

"""Who goes first at a peer: what somebody ordered, before what nobody waits for.

Background work is made of steps, each short: one shard read, one question to a peer, one extent rebuilt. An ordered
job lets those under way end, and no other begins before the job is done. Nothing is undone or begun anew by it, and a
large object may be looked after in as many pieces as there are orders.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from client.asker import Asker, Conversation
from core.errors import MoorageError
from core.ids import PeerId
from core.limits import REQUEST_DEADLINE_S
from wire.messages import Message

# Both may read the disk at once without harm, so a step that hangs (a peer that does not answer) is not waited for.
STEP_PATIENCE_S = 2.0


class Turns:
    """Steps must not contain steps: an inner one would wait for the job that waits for the outer one."""

    def __init__(self) -> None:
        self._orders = 0
        self._steps = 0
        self._news = trio.Event()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def until_ordered(self) -> None:
        """Return when a job was ordered and is not done: a step under way should come to its end now."""
        while not self._orders:
            await self._news.wait()

    @asynccontextmanager
    async def ordered(self) -> AsyncGenerator[None]:
        """Somebody waits for what is inside. Begins within STEP_PATIENCE_S."""
        self._orders += 1
        self._tell()
        try:
            with trio.move_on_after(STEP_PATIENCE_S):
                while self._steps:
                    await self._news.wait()
            yield
        finally:
            self._orders -= 1
            self._tell()

    @asynccontextmanager
    async def step(self) -> AsyncGenerator[None]:
        """Nobody waits for what is inside: it begins when no job is ordered."""
        while self._orders:
            await self._news.wait()
        self._steps += 1
        try:
            yield
        finally:
            self._steps -= 1
            self._tell()


class InTurn:
    """``client.asker.Asker`` whose every question is a step."""

    def __init__(self, asker: Asker, turns: Turns) -> None:
        self._asker = asker
        self._turns = turns

    async def request(self, peer: PeerId, message: Message, /, *, deadline_s: float = REQUEST_DEADLINE_S) -> Message:
        async with self._turns.step():
            return await self._asker.request(peer, message, deadline_s=deadline_s)

    async def session(self, peer: PeerId, /) -> Conversation:
        return await self._asker.session(peer)

    def avoid(self, peer: PeerId, failure: MoorageError, /) -> None:
        self._asker.avoid(peer, failure)

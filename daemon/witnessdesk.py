"""This peer's witness: who may ask, one request a log at a time, and a look back before its first signature."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence

import trio

from anchor.note import parse_note
from anchor.witness import AddCheckpoint, LocalWitness, LogKeys, origin_folder
from core.errors import LedgerError, MalformedError, MoorageError, PeerUnavailableError, WitnessRefusedError
from core.ports import Clock, Threads

LookBack = Callable[[str], Awaitable[Sequence[bytes]]]
"""Checkpoints of a log from wherever they can be had, quickly: its own, and what other witnesses remember."""


async def look_nowhere(_origin: str) -> Sequence[bytes]:
    return ()


class WitnessDesk:
    """``daemon.cosigners.AskedWitness`` for this peer's own log, and what the web server asks for others'.

    Args:
        look_back: asked for each log in each life, before anything is signed for it. A witness whose folder is an
            old copy (a snapshot of its machine was restored) so meets its own later signatures.
        say: told in words what an operator of machines should know.
    """

    def __init__(
        self,
        witness: LocalWitness,
        threads: Threads,
        clock: Clock,
        look_back: LookBack = look_nowhere,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._witness = witness
        self._threads = threads
        self._clock = clock
        self._look_back = look_back
        self._say = say
        self._turns: dict[str, trio.Lock] = {}
        self._looked_back: set[str] = set()
        self._in_trouble: set[str] = set()
        """Whose memory could not be read the last time."""
        self._origins: dict[str, None] = {}
        self.failure: LedgerError | None = None
        """Why nothing more is signed."""

    url = "here"

    def use_logs(self, logs: LogKeys) -> None:
        """There is a new roster."""
        self._witness.use_logs(logs)
        self._origins = dict.fromkeys(logs)

    async def add_checkpoint(self, request: AddCheckpoint) -> str:
        """As ``anchor.witness.LocalWitness``. Raises LedgerError when this witness may not sign."""
        origin = _origin_of(request.checkpoint)
        if origin not in self._origins:
            raise WitnessRefusedError(f"witness: does not serve the log {origin[:100]!r}", status=404)
        async with self._turns.setdefault(origin, trio.Lock()):
            await self._remember(origin, last_chance=True)
            if self.failure is not None:
                raise LedgerError(str(self.failure))
            return await self._threads.disk(self._add, request, int(self._clock.now()))

    async def latest(self, origin: str) -> bytes | None:
        return await self.remembered(origin_folder("", origin).strip("/"))

    async def remembered(self, folder_name: str) -> bytes | None:
        """The newest checkpoint that it cosigned for the log of this hash (64 hexadecimal digits)."""
        return await self._threads.disk(self._witness.remembered, folder_name)

    def _add(self, request: AddCheckpoint, now_s: int) -> str:
        return self._witness.add_checkpoint(request.old_size, request.proof, request.checkpoint, now_s=now_s)

    async def look_back(self) -> None:
        """At the start, as long as what the logs show still has our signature: the next they show may not."""

        async def look(origin: str) -> None:
            async with self._turns.setdefault(origin, trio.Lock()):
                # It has been said, and the first request tries again.
                with contextlib.suppress(MoorageError):
                    await self._remember(origin, last_chance=False)

        async with trio.open_nursery() as nursery:
            for origin in self._origins:
                nursery.start_soon(look, origin)

    async def _remember(self, origin: str, *, last_chance: bool) -> None:
        if origin in self._looked_back or self.failure is not None:
            return
        notes = await self._look_back(origin)
        if not notes and not last_chance:
            # Nobody was there yet: once more before anything is signed.
            return
        try:
            forgotten = await self._threads.disk(self._witness.forgotten, origin, notes)
        except MoorageError as error:
            # A disk may do better the next time; only what was forgotten does not come back by itself.
            if origin not in self._in_trouble:
                self._say(str(error))
            self._in_trouble.add(origin)
            raise
        self._in_trouble.discard(origin)
        if forgotten is not None:
            self.failure = LedgerError(forgotten)
            self._say(forgotten)
        self._looked_back.add(origin)


class OwnWitness:
    """``daemon.cosigners.AskedWitness``: this peer's own, once it may sign."""

    url = "here"

    def __init__(self, desk: Callable[[], WitnessDesk | None]) -> None:
        self._desk = desk

    async def add_checkpoint(self, request: AddCheckpoint) -> str:
        return await self._open().add_checkpoint(request)

    async def latest(self, origin: str) -> bytes | None:
        return await self._open().latest(origin)

    def _open(self) -> WitnessDesk:
        desk = self._desk()
        if desk is None:
            raise PeerUnavailableError("this peer's own witness may not sign now: its log says why")
        return desk


def _origin_of(checkpoint: bytes) -> str:
    """Whose checkpoint it says it is. Raises WitnessRefusedError (status 400) for what is no note."""
    try:
        return parse_note(checkpoint).text.partition("\n")[0]
    except MalformedError as error:
        raise WitnessRefusedError(f"witness: {error}", status=400) from error

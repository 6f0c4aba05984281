"""What others know of a log: what it publishes, and what the witnesses remember that it was asked to cosign."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import trio

from anchor.note import NOTE_MAX_BYTES
from client.web import WebClient
from client.witness import LATEST_DEADLINE_S, checkpoint_of
from core.errors import LedgerError, MoorageError
from core.ports import Net
from daemon.cosigners import AskedWitness
from wire.web import parse_url

ASK_AGAIN_S = 1.0


class Told(NamedTuple):
    """Unverified checkpoints. ``answered``: so many of the witnesses that were ``asked`` said yes or no."""

    notes: list[bytes]
    answered: int
    asked: int


async def ask_all(
    net: Net, origin: str, witnesses: Sequence[AskedWitness], logs: Sequence[str], *, patience_s: float, again: bool
) -> Told:
    """Ask all at once, for ``patience_s`` at most.

    Args:
        logs: the URLs at which the log is published.
        again: ask on who does not answer.
    """
    found: list[bytes] = []
    told: set[str] = set()

    async def take(name: str, ask: Callable[[], Awaitable[bytes | None]]) -> None:
        while name not in told:
            try:
                data = await ask()
            except MoorageError:
                if not again:
                    return
                await trio.sleep(ASK_AGAIN_S)
                continue
            told.add(name)
            found.extend([data] if data is not None else [])

    with trio.move_on_after(patience_s):
        async with trio.open_nursery() as nursery:
            for witness in witnesses:
                nursery.start_soon(take, witness.url, partial(witness.latest, origin))
            for url in logs:
                nursery.start_soon(take, url, partial(_published, net, url))
    return Told(found, sum(item.url in told for item in witnesses), len(witnesses))


async def ask_most(origins: Iterable[str], ask: Callable[[str], Awaitable[Told]]) -> list[bytes]:
    """What is told of all these logs. Raises LedgerError when of one of them half of the witnesses say nothing."""
    notes: list[bytes] = []
    few: list[str] = []

    async def look(origin: str) -> None:
        found = await ask(origin)
        notes.extend(found.notes)
        if found.asked and found.answered <= found.asked // 2:
            few.append(f"{found.answered} of {found.asked} for {origin!r}")

    async with trio.open_nursery() as nursery:
        for origin in origins:
            nursery.start_soon(look, origin)
    if few:
        raise LedgerError(f"witness: too few others tell what they remember: {', '.join(few)}: it is tried again")
    return notes


async def _published(net: Net, url: str) -> bytes | None:
    client = WebClient(net, parse_url(url))
    try:
        answer = await client.get("/checkpoint", max_bytes=NOTE_MAX_BYTES, deadline_s=LATEST_DEADLINE_S)
        return checkpoint_of(url, answer)
    finally:
        with trio.CancelScope(shield=True):
            await client.aclose()

"""What a log has published, and the proofs of those who wait for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from anchor.log import Anchored
from core.errors import LedgerError, StoreReadOnlyError
from core.ports import Threads
from daemon.cosigners import Collection
from daemon.leafqueue import Entry


class Shown(NamedTuple):
    """What is published: a commit, its note, and how many keys have cosigned it."""

    collection: Collection
    note: bytes
    keys: int


async def wake(threads: Threads, shown: Shown, entries: Sequence[Entry], say: Callable[[str], None]) -> None:
    """Prove the entries under what is published, and tell those who wait."""
    for entry, proved in zip(entries, await _prove(threads, shown, entries), strict=True):
        if isinstance(proved, Anchored):
            entry.end(proved)
        else:
            say(f"leaf {entry.index} is in it and cannot be proved: {proved}")
            entry.end(None, proved)


async def _prove(threads: Threads, shown: Shown, entries: Sequence[Entry]) -> Sequence[Anchored | LedgerError]:
    """All at once; after a failure one by one, for an old tile that is damaged is the error of few."""
    places = [(entry.index, entry.leaf) for entry in entries]
    try:
        return await threads.disk(shown.collection.commit.prove, shown.note, places)
    except (LedgerError, StoreReadOnlyError) as error:
        if len(entries) == 1:
            return [LedgerError(str(error))]
    return [result for entry in entries for result in await _prove(threads, shown, [entry])]

"""What a log has published, and what those are told who wait for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from anchor.log import Anchored
from anchor.writer import Commit
from core.errors import LedgerError, PeerUnavailableError, StoreReadOnlyError
from core.ports import Threads
from daemon.cosigners import Collection
from daemon.leafqueue import Entry


class Shown(NamedTuple):
    """What is published: a commit, its note, and how many keys have cosigned it."""

    collection: Collection
    note: bytes
    keys: int


class Submitted(NamedTuple):
    """Leaves with their proofs under one checkpoint. ``pending``: durable, but only the log has signed it so far."""

    anchored: tuple[Anchored, ...]
    pending: bool


async def outcome_of(
    threads: Threads, entries: Sequence[Entry], shown: Shown | None, durable: Commit | None, origin: str
) -> Submitted:
    """What became of the entries in their submitter's time. Raises what ``daemon.operator.Operator.submit_all`` does.

    Args:
        durable: the newest commit.
    """
    failure = next((entry.failure for entry in entries if entry.failure is not None), None)
    if failure is not None:
        raise failure
    anchored = [entry.anchored for entry in entries if entry.anchored is not None]
    if len(anchored) == len(entries):
        if len({item.checkpoint for item in anchored}) == 1:
            return Submitted(tuple(anchored), pending=False)
        assert shown is not None, "something was published"
        commit, note = shown.collection.commit, shown.note
    elif any(entry.index < 0 for entry in entries):
        raise PeerUnavailableError(
            f"log {origin!r}: no quorum of its witnesses answers, so nothing new is signed: try again"
        )
    else:
        assert durable is not None, "an entry with an index is committed"
        commit, note = durable, durable.note
    places = [(entry.index, entry.leaf) for entry in entries]
    return Submitted(tuple(await threads.disk(commit.prove, note, places)), len(anchored) < len(entries))


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

"""Re-read every byte of the shards that this peer holds of one object, at the pace that the operator allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from anchor.manifest import Manifest
from client.challenge import Target, status_of, targets_of
from client.health import Status, Verdict
from core.errors import MoorageError
from core.ids import PeerId, ShardRoot
from core.limits import ROOTS_PER_REQUEST_MAX
from core.ports import Threads
from daemon.pace import Pace
from daemon.store import ShardStore
from daemon.turns import Turns
from erasure.shardfile import ShardReport

DETAIL_MAX_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """``verdicts`` on the shards that this peer should have, and on those it took over (``guests``)."""

    verdicts: Mapping[Target, Verdict]
    guests: tuple[Target, ...]
    shards: int
    size_bytes: int


def verdict_of(report: ShardReport) -> Verdict:
    """What a scan says of a shard."""
    if report.whole:
        return Verdict(Status.OK)
    if report.newer_version:
        return Verdict(Status.NEWER, detail=report.problem[:DETAIL_MAX_CHARACTERS])
    if report.problem:
        return Verdict(Status.CORRUPT, pinned=True, detail=report.problem[:DETAIL_MAX_CHARACTERS])
    return Verdict(Status.CORRUPT, report.bad_chunks, pinned=True, detail="the share does not match its leaf")


class Scrubber:
    def __init__(self, store: ShardStore, threads: Threads, pace: Pace, me: PeerId, turns: Turns) -> None:
        self._store = store
        self._threads = threads
        self._pace = pace
        self._me = me
        self._turns = turns

    async def scrub(self, manifest: Manifest) -> Scrubbed:
        """Look at all shards of the object that are here or should be.

        A disk that is away or busy yields silent verdicts, never losses. Cancellation loses nothing but time.
        """
        targets = targets_of(manifest)
        mine = [target for target in targets if target.peer == self._me]
        named = {target.root for target in mine}
        elsewhere = [target for target in targets if target.root not in named]
        present = await self._present(elsewhere)
        guests = [
            Target(target.number, target.extent, target.share, self._me)
            for target in elsewhere
            if target.root in present
        ]
        seen: dict[ShardRoot, Verdict] = {}
        size_bytes = 0
        for target in mine + guests:
            # Equal extents of one object share their shards.
            if target.root not in seen:
                expected_bytes = target.extent.sealed_bytes // manifest.scheme.needed
                await self._pace.take(expected_bytes)
                seen[target.root] = await self._look(target.root)
                size_bytes += expected_bytes
        verdicts = {target: seen[target.root] for target in mine + guests}
        return Scrubbed(verdicts, tuple(guests), len(seen), size_bytes)

    async def _look(self, root: ShardRoot) -> Verdict:
        try:
            async with self._turns.step():
                return verdict_of(await self._threads.disk(self._store.scan, root))
        except MoorageError as error:
            return Verdict(status_of(error), detail=str(error)[:DETAIL_MAX_CHARACTERS])

    async def _present(self, targets: list[Target]) -> frozenset[ShardRoot]:
        roots = sorted({target.root for target in targets})
        found: set[ShardRoot] = set()
        for at in range(0, len(roots), ROOTS_PER_REQUEST_MAX):
            part = roots[at : at + ROOTS_PER_REQUEST_MAX]
            try:
                async with self._turns.step():
                    flags = await self._threads.disk(self._store.have, part)
            except MoorageError:
                # A disk that does not answer says so again when the peer's own shards are read.
                break
            found.update(root for root, held in zip(part, flags, strict=True) if held)
        return frozenset(found)

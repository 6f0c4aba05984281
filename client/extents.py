"""Store extents: use what is there already, send what is not, and find other homes when holders fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import trio

from anchor.manifest import Extent
from client.challenge import Challenger, Target
from client.context import Client
from client.health import Status
from client.holding import ask_holders
from client.memory import StoredExtent
from client.placer import Placer
from client.progress import Progress
from client.source import Plain
from client.tasks import open_crew
from client.upload import CodedExtent, code_extent, upload_extent
from core.errors import NotEnoughPeersError, PeerRefusedError, PeerUnavailableError
from core.ids import PeerId, ShardRoot
from erasure.codec import share_bytes
from erasure.scheme import Scheme
from erasure.shardfile import shard_file_bytes

# Every round that does not finish has lost at least one peer, which may come back.
ROUNDS_MAX = 16
# A daemon that restarts is away for two or three seconds; where nobody else can take its shards, a put waits.
RETURN_PATIENCE_S = 10.0


class DoneExtent(NamedTuple):
    """An extent whose shards lie where ``stored`` says, and the key that opens it."""

    key: bytes
    plain_bytes: int
    stored: StoredExtent

    def stored_bytes(self, scheme: Scheme) -> int:
        """Bytes that the extent's shard files take on all its holders."""
        shares = sum(share_bytes(length, scheme.needed) for length in self.stored.sealed_lengths)
        return scheme.total * shard_file_bytes(len(self.stored.sealed_lengths), shares)


class ExtentStorer:
    """Stores the extents of one put. ``sent_bytes`` counts what really went to holders."""

    def __init__(self, client: Client, placer: Placer, scheme: Scheme, progress: Progress) -> None:
        self._client = client
        self._placer = placer
        self.scheme = scheme
        self._progress = progress
        self.sent_bytes = 0
        self._turn = trio.Lock()
        self._vanished: set[tuple[ShardRoot, PeerId]] = set()

    async def store(self, plain: Plain, key: bytes, group: int) -> DoneExtent:
        """Make the extent durable on one holder per share, and let go of it.

        Raises NotEnoughPeersError, and as ``plain.get``.
        """
        try:
            return await self._store(plain, key, group)
        finally:
            plain.let_go()

    async def _store(self, plain: Plain, key: bytes, group: int) -> DoneExtent:
        memory, threads = self._client.memory, self._client.ports.threads
        plain_bytes = len(await plain.get())
        recorded = await threads.disk(memory.extent, key, self.scheme)
        known = recorded
        if known is None and await threads.disk(memory.begin_extent, key, self.scheme):
            # An earlier put was ended in the middle: what its holders took need not be sent again.
            coded = await code_extent(await plain.get(), key, self.scheme, threads=threads)
            known = _stored(coded, await self._holders(group))
        if known is None:
            holders = await self._holders(group)
            extent = await self._send(plain, key, group, holders, list(holders))
        else:
            lost = await self._missing(known)
            extent = known
            if lost:
                holders = dict(enumerate(known.holders))
                extent = await self._send(plain, key, group, holders, lost)
        if extent is not recorded:
            await threads.disk(memory.remember_extent, key, self.scheme, extent)
        self._progress.advance(plain_bytes)
        return DoneExtent(key, plain_bytes, extent)

    def lost_shares(self, done: DoneExtent) -> list[int]:
        """Shares whose holder failed during this put, or no longer has them."""
        return [
            index
            for index, peer in enumerate(done.stored.holders)
            if peer in self._placer.failed or (done.stored.roots[index], peer) in self._vanished
        ]

    async def confirm(self, extents: Sequence[DoneExtent]) -> bool:
        """Ask every holder once more for its shards, now that its manifest protects them from being tidied away.

        An upload of long ago, found again by this put, may have been taken for abandoned meanwhile. False when some
        are gone, or a holder failed: ``lost_shares`` then names them.
        """
        shards = [pair for item in extents for pair in zip(item.stored.roots, item.stored.holders, strict=True)]
        found = await ask_holders(self._client.peers, shards)
        self._vanished = found.gone
        for peer, error in found.failed.items():
            self._placer.fail(peer, error)
        return found.is_complete

    async def rehome(self, plain: Plain, done: DoneExtent, group: int) -> DoneExtent:
        """Store the lost shares of an extent again, at other peers where their holder failed; let go of it.

        Raises NotEnoughPeersError, and as ``plain.get``.
        """
        lost = self.lost_shares(done)
        if not lost:  # they are back since somebody counted
            plain.let_go()
            return done
        holders = dict(enumerate(done.stored.holders))
        failed = [index for index in lost if holders[index] in self._placer.failed]
        if failed:
            holders |= await self._replacements(group, holders, failed)
        try:
            extent = await self._send(plain, done.key, group, holders, lost)
        finally:
            plain.let_go()
        self._vanished.difference_update(zip(extent.roots, extent.holders, strict=True))
        await self._client.ports.threads.disk(self._client.memory.remember_extent, done.key, self.scheme, extent)
        return done._replace(stored=extent)

    async def _send(
        self,
        plain: Plain,
        key: bytes,
        group: int,
        holders: Mapping[int, PeerId],
        lost: Sequence[int],
    ) -> StoredExtent:
        """Send shares ``lost`` to their holders, and to others where those fail, until all are durable."""
        homes = dict(holders)
        missing = list(lost)
        for _ in range(ROUNDS_MAX):
            targets = {index: homes[index] for index in missing}
            result = await upload_extent(
                plain,
                key,
                self.scheme,
                targets,
                peers=self._client.peers,
                threads=self._client.ports.threads,
                turn=self._turn,
            )
            self.sent_bytes += result.sent_bytes
            if not result.failed:
                return _stored(result.extent, homes)
            for index, error in result.failed.items():
                self._placer.fail(homes[index], error)
                self._progress.note(f"{self._placer.name_of(homes[index])} failed ({error}); looking for another peer")
            missing = sorted(result.failed)
            homes |= await self._replacements(group, homes, missing)
        raise NotEnoughPeersError("peers keep failing during this upload: try again later")

    async def _replacements(self, group: int, homes: Mapping[int, PeerId], lost: Sequence[int]) -> dict[int, PeerId]:
        """New homes for ``lost``, also at peers that were not waited for when this put began.

        Where nobody else can take them, holders that are starting again are waited for.
        """
        good = {index: peer for index, peer in homes.items() if index not in lost}
        deadline = trio.current_time() + RETURN_PATIENCE_S
        has_looked = False
        while True:
            # Whoever is back keeps what it had: given to one another, shares would lie at two holders each.
            kept = {index: homes[index] for index in lost if homes[index] not in self._placer.failed}
            try:
                rest = [index for index in lost if index not in kept]
                return kept | self._placer.replacements(group, good | kept, rest)
            except NotEnoughPeersError:
                if has_looked and not await self._has_one_returned(deadline):
                    raise
            if not has_looked:
                has_looked = True
                with suppress(NotEnoughPeersError):
                    self._placer.join(await self._client.live_peers())

    async def _holders(self, group: int) -> dict[int, PeerId]:
        """Homes for all shares; peers that failed elsewhere in this put are waited for where it takes them."""
        deadline = trio.current_time() + RETURN_PATIENCE_S
        while True:
            try:
                return dict(enumerate(self._placer.holders(group)))
            except NotEnoughPeersError:
                if not await self._has_one_returned(deadline):
                    raise

    async def _has_one_returned(self, deadline: float) -> bool:
        """Whether one more is there than before: daemons of one host may come back one after another."""
        away = self._placer.away()
        patience_s = max(0.0, deadline - trio.current_time())
        for record in await self._client.peers.returning(away, patience_s=patience_s):
            self._placer.welcome(record.identity.peer)
        # Another extent may have seen one of them come.
        return any(record.identity.peer not in self._placer.failed for record in away)

    async def _missing(self, known: StoredExtent) -> list[int]:
        """Shares that their holder, having read them again, cannot show whole. Silent holders are marked failed.

        Presence would not do: whoever puts a thing again may do so because its originals go next.
        """
        missing: list[int] = []
        extent = Extent(len(known.sealed_lengths), known.sealed_bytes, 0, known.roots)
        client = self._client
        challenger = Challenger(client.peers, self.scheme, client.ports.chance, full=True, samples=1)

        async def check(index: int, peer: PeerId) -> None:
            try:
                verdict = await challenger.check(Target(0, extent, index, peer))
            except (PeerUnavailableError, PeerRefusedError) as error:
                self._placer.fail(peer, error)
            else:
                if verdict.status is not Status.OK:
                    missing.append(index)

        async with open_crew() as crew:
            for index, peer in enumerate(known.holders):
                crew.start_soon(check, index, peer)
        return sorted(missing)


def _stored(extent: CodedExtent, homes: Mapping[int, PeerId]) -> StoredExtent:
    return StoredExtent(
        roots=extent.roots,
        holders=tuple(homes[index] for index in sorted(homes)),
        sealed_lengths=extent.sealed_lengths,
        codecs=extent.codecs,
    )

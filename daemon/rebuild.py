"""Make lost shards of one extent anew and store them where the plan says.

Every share read is compared with its anchored root, and so is every shard made before it is committed: whatever goes
wrong, no holder gets a wrong shard. The shares of all lost shards come out of one reading of the sources. Two peers
that rebuild the same shard at once write the same bytes under the same name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from anchor.manifest import Extent, Manifest
from client.asker import Asker
from client.coding import chunks_per_batch
from client.fetch import ShareFetcher, ShareRun, SourceBoard
from client.lane import Lane, ShareBatch
from client.tasks import in_order
from core.errors import CorruptError, MoorageError
from core.ids import ObjectId, PeerId
from core.ports import Buffer, Threads
from daemon.decide import Rebuild
from daemon.pace import Pace
from erasure.codec import rebuild_shares
from erasure.merkle import leaf_digest, root_of_leaves
from erasure.scheme import Scheme

# While the shares of one batch are made and sent, the next is read. A batch is up to 2 MiB from each source.
BATCHES_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """``written``: share index to the peer that has it durably now; ``failed``: why others have not.

    ``sources_failed`` is set when too few good shares could be read after all.
    """

    written: Mapping[int, PeerId]
    failed: Mapping[int, MoorageError]
    sources_failed: MoorageError | None
    read_bytes: int
    sent_bytes: int


@dataclass(frozen=True, slots=True)
class _Made:
    """Shares of consecutive chunks, made anew: by share index. ``read_bytes`` were read for them."""

    batches: Mapping[int, ShareBatch]
    leaves: Mapping[int, tuple[bytes, ...]]
    read_bytes: int


def make_shares(runs: Mapping[int, ShareRun], wanted: Sequence[int], scheme: Scheme) -> _Made:
    """Shares ``wanted`` of the chunks that ``runs`` cover. Raises as ``rebuild_shares``."""
    count = len(next(iter(runs.values())).shares)
    columns: dict[int, list[Buffer]] = {share: [] for share in wanted}
    missing = [share for share in wanted if share not in runs]
    for chunk in range(count):
        # A damaged shard that gave a good share of this chunk needs no other.
        given: dict[int, Buffer] = {index: run.shares[chunk] for index, run in runs.items()}
        made = given | rebuild_shares(given, missing, scheme)
        for share, column in columns.items():
            column.append(made[share])
    return _Made(
        {share: ShareBatch(tuple(map(len, column)), b"".join(column)) for share, column in columns.items()},
        {share: tuple(leaf_digest(data) for data in column) for share, column in columns.items()},
        sum(len(share) for run in runs.values() for share in run.shares),
    )


class Rebuilder:
    """Rebuilds extents of one object; ``near`` is this peer itself, whose shards are read first."""

    def __init__(
        self, asker: Asker, threads: Threads, pace: Pace, object_id: ObjectId, manifest: Manifest, *, near: PeerId
    ) -> None:
        self._asker = asker
        self._threads = threads
        self._pace = pace
        self._scheme = manifest.scheme
        self._extents = manifest.all_extents()
        # A slow holder is waited for: asking another beside it would move more than the repair needs.
        board = SourceBoard(near=near, hedge=False)
        self._near = near
        self._fetcher = ShareFetcher(asker, threads, object_id, manifest.scheme, board)

    async def rebuild(self, plan: Rebuild) -> Rebuilt:
        """Carry out the plan for one extent. Holders that fail are reported, not raised."""
        extent = self._extents[plan.extent]
        lanes = [Lane(share, peer) for share, peer in sorted(plan.targets.items())]
        # Rounding up costs at most one byte a chunk.
        expected_bytes = extent.sealed_bytes // self._scheme.needed + extent.chunks
        sources_failed: MoorageError | None = None
        read_bytes = 0
        async with trio.open_nursery() as nursery:
            for lane in lanes:
                nursery.start_soon(lane.run, self._asker, self._scheme, extent.chunks, expected_bytes)
            try:
                read_bytes = await self._fill(plan, extent, lanes)
            except MoorageError as error:
                sources_failed = error
                for lane in lanes:
                    lane.drop(error)
        return Rebuilt(
            written={lane.index: lane.peer for lane in lanes if lane.failure is None},
            failed={lane.index: lane.failure for lane in lanes if lane.failure is not None},
            sources_failed=sources_failed,
            read_bytes=read_bytes,
            sent_bytes=sum(lane.sent_bytes for lane in lanes),
        )

    async def _fill(self, plan: Rebuild, extent: Extent, lanes: Sequence[Lane]) -> int:
        """Feed the lanes and finish each that makes its root. Bytes read. Raises NotEnoughSharesError."""
        leaves: dict[int, list[bytes]] = {lane.index: [] for lane in lanes}
        read_bytes = 0

        def jobs() -> Iterator[Callable[[], Awaitable[_Made]]]:
            at = 0
            # With nobody left who takes a shard, reading on would move data in vain.
            while at < extent.chunks and not all(lane.failure for lane in lanes):
                count = self._step(plan, extent, at)
                yield partial(self._make, plan, extent, at, count)
                at += count

        async def deliver(made: _Made) -> None:
            nonlocal read_bytes
            for lane in lanes:
                leaves[lane.index] += made.leaves[lane.index]
                await lane.queue.send(made.batches[lane.index])
            await self._pace.take(made.read_bytes)
            read_bytes += made.read_bytes

        await in_order(jobs(), deliver, at_once=BATCHES_AT_ONCE)
        for lane in lanes:
            if lane.failure is not None:
                lane.drop(lane.failure)
                continue
            root = root_of_leaves(self._scheme, lane.index, leaves[lane.index])
            if root == extent.roots[lane.index]:
                lane.finish(root)
            else:
                lane.drop(
                    CorruptError(f"share {lane.index} of extent {plan.extent}: what was rebuilt has another name")
                )
        return read_bytes

    async def _make(self, plan: Rebuild, extent: Extent, first: int, count: int) -> _Made:
        sources = plan.sources_for(self._scheme.needed, first, count)
        runs = await self._fetcher.fetch(plan.extent, extent, sources, first, count)
        return await self._threads.cpu(make_shares, runs, sorted(plan.targets), self._scheme)

    def _step(self, plan: Rebuild, extent: Extent, first: int) -> int:
        """How many chunks to read at once: one by one where damaged shards must help."""
        if len(plan.sources) < self._scheme.needed:
            return 1
        return min(chunks_per_batch(self._scheme), extent.chunks - first)

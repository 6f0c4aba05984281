"""What this peer's sweeps read, found and mended, anchored in its own log now and then: one small leaf, not a journal.

It lets a peer show later that it has looked, how much, and when, in an order that it cannot change. Counts since the
last leaf are in memory: after a restart they begin anew, and the next leaf says since when.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from anchor.leaf import SweepLeaf
from core.durable import read_file, write_file
from core.errors import MoorageError
from core.ids import PeerId
from core.ports import Clock, Disk, Threads
from daemon.journal import Journal, Note

# A leaf is 400 bytes in a log that is kept for ever: at most so often, whatever is ordered.
ANCHOR_EVERY_MIN_S = 86_400.0
# A log that refuses is left alone for so long.
TRY_AGAIN_S = 3600.0
STAMP_MAX_BYTES = 20


class Tally:
    """``load`` comes first.

    Args:
        path: where the time of the last leaf is kept.
        anchor: makes the leaf durable in the own log; raises MoorageError.
    """

    def __init__(
        self,
        me: PeerId,
        *,
        disk: Disk,
        path: str,
        threads: Threads,
        clock: Clock,
        anchor: Callable[[SweepLeaf], Awaitable[None]],
        journal: Journal,
    ) -> None:
        self._me = me
        self._disk = disk
        self._path = path
        self._threads = threads
        self._clock = clock
        self._anchor = anchor
        self._journal = journal
        self._since_s = clock.now()
        self._anchored_s = 0.0
        self._tried_s = 0.0
        self._shards: int = 0
        self._size_bytes: int = 0
        self._findings: int = 0
        self._repairs: int = 0
        self._writes = 0

    def load(self) -> None:
        """A job for ``Threads.disk``; raises OSError. A stamp that is damaged counts as none."""
        data = read_file(self._disk, self._path, max_bytes=STAMP_MAX_BYTES)
        if data is not None and data.strip().isdigit():
            self._anchored_s = float(data)

    def add(self, *, shards: int, size_bytes: int, findings: int, repairs: int) -> None:
        """One object was looked at: ``shards`` of this peer's own were re-read, ``size_bytes`` in all."""
        self._shards += shards
        self._size_bytes += size_bytes
        self._findings += findings
        self._repairs += repairs

    async def anchor_when_due(self, *, period_s: float) -> bool:
        """Anchor what was counted, if that is ``period_s`` old, the last leaf a day. Never raises MoorageError."""
        now_s = self._clock.now()
        # What lies in the future was noted before the clock was set back.
        since_s, last_s = (
            min(self._since_s, now_s),
            max(self._anchored_s, self._tried_s - ANCHOR_EVERY_MIN_S + TRY_AGAIN_S),
        )
        if not self._shards or now_s - since_s < period_s or now_s - min(last_s, now_s) < ANCHOR_EVERY_MIN_S:
            return False
        leaf = SweepLeaf(
            self._me, int(since_s), self._shards, self._size_bytes, self._findings, self._repairs, int(now_s)
        )
        self._tried_s = now_s
        try:
            await self._anchor(leaf)
        except MoorageError:
            # What was counted stays counted; the leaf is no condition of anything.
            return False
        self._anchored_s = self._since_s = now_s
        self._shards -= leaf.shards
        self._size_bytes -= leaf.size_bytes
        self._findings -= leaf.findings
        self._repairs -= leaf.repairs
        await self._write_down(leaf)
        return True

    async def _write_down(self, leaf: SweepLeaf) -> None:
        self._writes += 1
        text = f"sweeps since then re-read {leaf.shards} shards; anchored in this peer's log"
        facts = {"shards": leaf.shards, "bytes": leaf.size_bytes, "findings": leaf.findings, "repairs": leaf.repairs}
        note = Note("sweep-anchored", text, facts={"since": leaf.since_s, **facts})

        def write() -> None:
            write_file(self._disk, self._path, b"%d" % leaf.time_s, token=str(self._writes))
            self._journal.append([note])

        try:
            await self._threads.disk(write)
        except (OSError, MoorageError):
            # After a restart the next leaf comes too soon, which harms nobody.
            return

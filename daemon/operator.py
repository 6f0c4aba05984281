"""The log operator: leaves come in, one commit takes all that came meanwhile, and a quorum of witnesses signs it.

Two things go on at once. The committer makes a group of leaves durable and offers its checkpoint to all witnesses;
the publisher takes the largest checkpoint that a quorum has signed, has the policy's own code verify the note, shows
it, and wakes whoever waits. Below the quorum nothing is shown: the leaves are durable, and witnesses are asked on,
also after a restart.

In each life the first thing a quorum must sign is what is committed already. A folder that was restored from a backup
so meets a witness that has seen more, before anything new is signed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf

import trio

from anchor.log import Anchored
from anchor.note import NoteKey
from anchor.writer import Commit, LogWriter
from core.errors import (
    BadSignatureError,
    BusyError,
    CorruptError,
    LedgerError,
    StoreFullError,
    StoreReadOnlyError,
    leaves_of,
)
from core.ports import Clock, Threads
from daemon.cosigners import AskedWitness, Collection, Cosigners
from daemon.leafqueue import Entry, LeafQueue, OperatorLimits
from daemon.shown import Shown, Submitted, outcome_of, wake

# After a failure of the disk, the next attempt.
DISK_RETRY_S = 1.0
COMMIT_ANYWAY_MAX_S = 30.0


class Operator:
    """Runs one log. ``run`` it for as long as it is used; the writer is its own from then on.

    Args:
        log_key: the log's own.
        say: told in words what an operator of machines should know.
    """

    def __init__(
        self,
        writer: LogWriter,
        log_key: NoteKey,
        witnesses: Sequence[AskedWitness],
        *,
        threads: Threads,
        clock: Clock,
        say: Callable[[str], None] = lambda _: None,
        limits: OperatorLimits | None = None,
    ) -> None:
        self._writer = writer
        self._log_key = log_key
        self._witnesses = tuple(witnesses)
        self._threads = threads
        self._clock = clock
        self._say = say
        self._limits = limits or OperatorLimits()
        self._cosigners = self._new_cosigners()
        self._queue = LeafQueue(self._limits)
        self._step = trio.Event()
        """Set, and replaced, whenever anything has changed but the queue."""
        self._entered = trio.Event()
        self._shown: Shown | None = None
        self._durable: Commit | None = None
        """The newest commit. The writer has none to show while its next one is under way."""
        self._settled_size = -1
        self._commit_began_s = -inf
        self._scope = trio.CancelScope()
        self.failure: LedgerError | None = None
        """Why nothing more is signed."""

    @property
    def origin(self) -> str:
        return self._writer.origin

    @property
    def committed_size(self) -> int:
        """-1 until it runs."""
        return self._durable.checkpoint.size if self._durable is not None else -1

    @property
    def published_size(self) -> int:
        """-1 until a quorum has signed in this life."""
        return self._shown.collection.commit.checkpoint.size if self._shown is not None else -1

    # --- for those who submit -----------------------------------------------------------------

    async def submit(self, leaf: bytes) -> Anchored:
        """Wait until a quorum has signed a checkpoint that has the leaf; the proof.

        When its caller is cancelled, the leaf is anchored all the same.

        Raises:
            UsageError: the leaf is too large.
            BusyError: too many leaves wait.
            LedgerError: nothing more is signed.
            StoreFullError, StoreReadOnlyError: the disk takes nothing; the leaf may be submitted again.
        """
        entry = self._enter([leaf])[0]
        await entry.done.wait()
        if entry.failure is not None:
            raise entry.failure
        assert entry.anchored is not None, "done means anchored or failed"
        return entry.anchored

    async def submit_all(self, leaves: Sequence[bytes], patience_s: float) -> Submitted:
        """As ``submit``, for several leaves under one checkpoint; ``pending`` when no quorum signs in time.

        Raises PeerUnavailableError when they are not even durable in time: no quorum has signed since the start.
        """
        entries = self._enter(leaves)
        with trio.move_on_after(patience_s):
            for entry in entries:
                # To wait for what has come already costs a round of the event loop each.
                if not entry.done.is_set():
                    await entry.done.wait()
        return await outcome_of(self._threads, entries, self._shown, self._durable, self.origin)

    def _enter(self, leaves: Sequence[bytes]) -> list[Entry]:
        if self.failure is not None:
            raise LedgerError(str(self.failure))
        # Before anything is shown nothing is committed either, and who waits is bounded by the queue.
        if self._shown is not None and self.committed_size - self.published_size > self._limits.unpublished_leaves:
            raise BusyError(f"log {self.origin!r}: {self._limits.unpublished_leaves} leaves wait for a quorum")
        entries = self._queue.enter(leaves)
        self._entered.set()
        return entries

    # --- life ---------------------------------------------------------------------------------

    def use(self, policy: str, witnesses: Sequence[AskedWitness]) -> None:
        """There is a new roster: ask these witnesses, and publish what this policy accepts.

        Raises MalformedError, UsageError.
        """
        self._writer.use_policy(policy)
        self._witnesses = tuple(witnesses)
        self._scope.cancel()

    def retire(self, failure: LedgerError) -> None:
        """It does not run, and will not again: those who wait are told."""
        self.failure = failure
        self._queue.end_all(failure)

    async def run(self) -> None:
        """Until cancelled. Raises LedgerError when nothing more may be signed; it may be run again."""
        while True:
            self.failure, self._shown = None, None
            self._cosigners = self._new_cosigners()
            with trio.CancelScope() as self._scope:
                await self._run()

    def _new_cosigners(self) -> Cosigners:
        return Cosigners(
            self._witnesses,
            lambda: self._writer.policy,
            self._log_key,
            self._threads,
            self._clock,
            self._say,
            self._step_on,
        )

    async def _run(self) -> None:
        try:
            commit = await self._threads.disk(self._writer.recover)
            self._durable, self._settled_size = commit, commit.checkpoint.size
            self._cosigners.offer(commit)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cosigners.run)
                nursery.start_soon(self._publish_all)
                nursery.start_soon(self._commit_all)
        except* LedgerError as group:
            self.failure = LedgerError(str(leaves_of(group)[0]))
            self._queue.end_all(self.failure)
        if self.failure is not None:
            raise self.failure

    def _step_on(self) -> None:
        self._step.set()
        self._step = trio.Event()

    # --- commits ------------------------------------------------------------------------------

    async def _commit_all(self) -> None:
        # What is committed is shown to a quorum before anything new is signed.
        while self._shown is None:
            await self._step.wait()
        first_s = anyway_s = self._limits.commit_anyway_s
        while True:
            while not len(self._queue):
                self._entered = trio.Event()
                await self._entered.wait()
            await self._commit_group()
            with trio.move_on_after(anyway_s) as patience:
                while self.published_size < self.committed_size:
                    await self._step.wait()
            anyway_s = min(COMMIT_ANYWAY_MAX_S, 2 * anyway_s) if patience.cancelled_caught else first_s

    async def _commit_group(self) -> None:
        since_s = trio.current_time() - self._commit_began_s
        if len(self._queue) > self._limits.apart_above_per_s * since_s:
            await trio.sleep_until(self._commit_began_s + self._limits.apart_s)
        self._commit_began_s = trio.current_time()
        group = self._queue.group(self._writer.take)
        try:
            places = await self._threads.disk(self._writer.add, [entry.leaf for entry in group.values()])
        except (StoreFullError, StoreReadOnlyError) as error:
            # Those who wait may try elsewhere. What is committed, the disk will say.
            self._queue.refuse(group, error)
            await self._persist(self._writer.recover)
        except CorruptError as error:
            self._say(str(error))
            self._queue.refuse(group, LedgerError(str(error)))
            return
        else:
            self._queue.commit(group, places, self.published_size)
        await self._settle()

    async def _settle(self) -> None:
        """Ask for cosignatures, and write the tiles meanwhile: they are needed before anything is shown or added."""
        commit = self._writer.latest
        if commit.checkpoint.size > self.committed_size:
            self._durable = commit
            self._cosigners.offer(commit)
        async with trio.open_nursery() as nursery:
            for folder in self._writer.unsettled:
                nursery.start_soon(self._persist, partial(self._writer.settle, folder))
        self._settled_size = self.committed_size
        self._step_on()

    async def _persist(self, job: Callable[[], object]) -> None:
        """Until the disk takes it. Raises LedgerError."""
        while True:
            try:
                await self._threads.disk(job)
                return
            except (StoreFullError, StoreReadOnlyError) as error:
                self._say(f"log {self.origin!r}: {error}")
                await trio.sleep(DISK_RETRY_S)

    # --- publication --------------------------------------------------------------------------

    async def _publish_all(self) -> None:
        while True:
            step = self._step
            if self._cosigners.contradiction is not None:
                raise self._cosigners.contradiction
            best = self._cosigners.best()
            size = best.commit.checkpoint.size if best is not None else -1
            if best is not None and self.published_size < size <= self._settled_size:
                await self._publish(best)
            elif self._shown is not None and (old := self._queue.old()):
                await self._wake(old)
            else:
                with trio.move_on_after(self._limits.late_s if self._is_late(best) else inf) as patience:
                    await step.wait()
                if patience.cancelled_caught and best is not None:
                    await self._publish(best)

    def _is_late(self, best: Collection | None) -> bool:
        """Whether cosignatures have come that the published note does not have."""
        shown = self._shown
        return shown is not None and best is shown.collection and len(shown.collection.keys) > shown.keys

    async def _publish(self, collection: Collection) -> None:
        shown = Shown(collection, collection.note(), len(collection.keys))
        try:
            await self._threads.disk(self._show, shown.note)
        except (BadSignatureError, StoreFullError, StoreReadOnlyError) as error:
            self._say(f"log {self.origin!r}: cannot publish: {error}")
            await trio.sleep(DISK_RETRY_S)
            return
        self._shown = shown
        size = collection.commit.checkpoint.size
        self._cosigners.forget_below(size)
        self._step_on()
        await self._wake(self._queue.due(size))

    def _show(self, note: bytes) -> None:
        self._writer.policy.check_checkpoint(note)
        self._writer.publish(note)

    async def _wake(self, entries: Sequence[Entry]) -> None:
        """Prove the entries under what is published, and tell those who wait."""
        assert self._shown is not None, "only what is published wakes anybody"
        if not entries:
            return
        await wake(self._threads, self._shown, entries, lambda text: self._say(f"log {self.origin!r}: {text}"))
        # Only now: a new roster may have ended this life meanwhile, and the next one has to find them.
        self._queue.forget(entries)

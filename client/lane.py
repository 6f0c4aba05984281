"""The way of one shard to one holder: a bounded queue of shares, then the commit under its root."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import NamedTuple

import trio

from client.asker import Asker, Conversation, Reply
from core.errors import MoorageError, PeerUnavailableError
from core.ids import PeerId, ShardRoot
from core.limits import DISK_DEADLINE_S, UPLOAD_WINDOW_FRAMES
from core.ports import Buffer
from erasure.scheme import Scheme
from wire.messages import UploadAbort, UploadBegin, UploadCommit, UploadData

# Batches between whoever makes them and one holder's connection, besides its window. Each is 2 MiB per holder.
QUEUE_BATCHES = 0
# An abort is a courtesy: the holder drops what is left anyway when the connection ends.
ABORT_DEADLINE_S = 1.0


class ShareBatch(NamedTuple):
    """Shares of consecutive chunks, laid end to end."""

    lengths: tuple[int, ...]
    body: Buffer


class Lane:
    """One shard on its way. A failure is kept, not raised, and does not stop the others.

    Feed it through ``queue`` from another task while ``run`` runs, then ``finish`` it, or ``drop`` it.
    """

    def __init__(self, index: int, peer: PeerId) -> None:
        self.index = index
        self.peer = peer
        self.failure: MoorageError | None = None
        self.sent_bytes = 0
        self.queue, self._batches = trio.open_memory_channel[ShareBatch](QUEUE_BATCHES)
        self._decided = trio.Event()
        self._root: ShardRoot | None = None

    def finish(self, root: ShardRoot) -> None:
        """All shares were queued: commit them as ``root``."""
        self._root = root
        self._decided.set()
        self.queue.close()

    def drop(self, failure: MoorageError) -> None:
        """The shard will not come: abort the upload. ``failure`` says why, unless the lane has failed already."""
        assert not self._decided.is_set(), "it was finished or dropped before"
        self.failure = self.failure or failure
        self._decided.set()
        self.queue.close()

    async def run(self, peers: Asker, scheme: Scheme, chunks: int, expected_bytes: int) -> None:
        """Send everything, then commit. Keeps draining after a failure, so that nobody blocks."""
        try:
            conversation = await peers.session(self.peer)
            begin = UploadBegin(
                upload=conversation.next_upload(),
                needed=scheme.needed,
                total=scheme.total,
                index=self.index,
                chunks=chunks,
                expected_bytes=expected_bytes,
            )
            await self._converse(conversation, begin)
        except MoorageError as error:
            self.failure = self.failure or error
            if isinstance(error, PeerUnavailableError):
                peers.avoid(self.peer, error)
        async for _ in self._batches:
            pass

    async def _converse(self, conversation: Conversation, begin: UploadBegin) -> None:
        """Beginning, data and commit follow one another unanswered, as far as the window allows.

        A holder far away costs one round trip so, not one for each of them; what it answered is heard before the end.
        """
        opening: list[Reply] = [await conversation.post(begin)]
        window: deque[Reply] = deque()
        # A commit ends the upload at its holder, whatever comes of it.
        ended = False
        try:
            async for batch in self._batches:
                # A refusal is heard as soon as it is there: the rest need not be made, nor sent.
                if opening and opening[0].arrived.is_set():
                    await _hear(opening)
                while window and (len(window) == UPLOAD_WINDOW_FRAMES or window[0].arrived.is_set()):
                    await _hear(opening)
                    await window.popleft().answer(deadline_s=DISK_DEADLINE_S)
                window.append(await conversation.post(UploadData(begin.upload, batch.lengths, batch.body)))
                self.sent_bytes += len(batch.body)
            await self._decided.wait()
            if self._root is not None:
                ended = True
                window.append(await conversation.post(UploadCommit(begin.upload, self._root)))
            await _hear(opening)
            while window:
                await window.popleft().answer(deadline_s=DISK_DEADLINE_S)
        finally:
            for reply in (*opening, *window):
                reply.abandon()
            if not ended and conversation.usable:
                # Its answer is waited for: a message that nobody waits for may never be sent.
                with suppress(MoorageError), trio.move_on_after(ABORT_DEADLINE_S, shield=True):
                    await conversation.request(UploadAbort(begin.upload), deadline_s=ABORT_DEADLINE_S)


async def _hear(opening: list[Reply]) -> None:
    """Whether the upload was let in, unless that was heard before.

    A holder answers what came together when all of it is done: data and commit may have come with the beginning.
    """
    while opening:
        await opening.pop().answer(deadline_s=DISK_DEADLINE_S)

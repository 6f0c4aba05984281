"""A list of objects, asked for page by page, that is not made anew for each page."""

from __future__ import annotations

from bisect import bisect_right

import trio

from core.ids import DIGEST_BYTES, ObjectId
from core.ports import Threads
from daemon.documents import DocumentStore

# Whoever takes longer between two pages gets those of a newer list.
LIST_AGE_MAX_S = 600.0


class ObjectPages:
    """The ids of all objects whose manifest is held: 32 bytes each, from the first page that somebody asks for to the
    last, shared by all who ask.

    What was held when somebody asked for the first page, and still is, is in the pages that follow; what came later may
    be missing.
    """

    def __init__(self, documents: DocumentStore, threads: Threads, *, page_max: int) -> None:
        self._documents = documents
        self._threads = threads
        self._page_max = page_max
        self._listed: bytes | None = None
        self._listed_at = float("-inf")

    async def page(self, after: bytes) -> tuple[ObjectId, ...]:
        """The ``page_max`` next ids above ``after``, 32 zeros for the first, ascending. Raises CorruptError."""
        now = trio.current_time()
        listed = self._listed
        if listed is None or not any(after) or now - self._listed_at > LIST_AGE_MAX_S:
            listed = await self._threads.disk(self._list)
            # Not in place of a newer one, which may have more that somebody else's later pages must have.
            if now >= self._listed_at:
                self._listed, self._listed_at = listed, now
        found = _above(listed, after, self._page_max)
        if len(found) < self._page_max and listed is self._listed:
            self._listed = None
        return found

    def _list(self) -> bytes:
        return b"".join(name.raw for name in self._documents.names("manifest"))


def _above(listed: bytes, after: bytes, count: int) -> tuple[ObjectId, ...]:
    def name(number: int) -> bytes:
        return listed[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]

    total = len(listed) // DIGEST_BYTES
    first = bisect_right(range(total), after, key=name)
    return tuple(ObjectId(name(number)) for number in range(first, min(first + count, total)))

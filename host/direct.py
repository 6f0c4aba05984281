"""Large files written past the page cache (open(2), O_DIRECT).

A file that is larger than anything reads at once only pushes out of memory what others use there, and to find pages for
it costs more processor time than all that was done to its bytes before.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from typing import Self

from core.buffers import ALIGNED_BYTES, is_aligned
from core.limits import MIB
from core.ports import Buffer
from host.disk import write_fully

# What does not lie aligned is copied here first, a few blocks at a time: it stays in the processor's cache.
STAGE_BYTES = 1 * MIB
# What a file system says that cannot write this block, or none, past the page cache.
_REFUSALS = frozenset({errno.EINVAL, errno.EOPNOTSUPP})


class DirectWriter:
    """Writes one file from its first byte to its last. Nothing is durable before fsync(2), as with any other write.

    Not every file system can, and not with every block: then the rest goes through the page cache.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._at = 0
        self._stage = memoryview(mmap.mmap(-1, STAGE_BYTES))
        self._staged_bytes = 0

    @classmethod
    def over(cls, descriptor: int) -> Self | None:
        """For an open, empty file; None where its file system has no such writes. The descriptor stays the caller's."""
        return cls(descriptor) if _set_direct(descriptor, wanted=True) else None

    def write_at(self, offset: int, data: Buffer) -> None:
        """The bytes that follow those written before. Raises OSError."""
        assert offset == self._at + self._staged_bytes, (offset, self._at, self._staged_bytes)
        rest = memoryview(data).cast("B")
        while rest:
            whole_bytes = len(rest) - len(rest) % ALIGNED_BYTES
            if whole_bytes and not self._staged_bytes and is_aligned(rest):
                self._write_through(rest[:whole_bytes])
                rest = rest[whole_bytes:]
                continue
            count = min(len(rest), STAGE_BYTES - self._staged_bytes)
            self._stage[self._staged_bytes : self._staged_bytes + count] = rest[:count]
            self._staged_bytes += count
            rest = rest[count:]
            if self._staged_bytes == STAGE_BYTES:
                self._write_through(self._stage)
                self._staged_bytes = 0

    def finish(self) -> None:
        """Write what has not filled the stage, through the page cache. Raises OSError."""
        _set_direct(self._descriptor, wanted=False)
        self._write_through(self._stage[: self._staged_bytes])
        self._staged_bytes = 0

    def _write_through(self, blocks: memoryview) -> None:
        try:
            write_fully(self._descriptor, self._at, blocks)
        except OSError as error:
            # Also after a write that was cut short in the middle of a block.
            if error.errno not in _REFUSALS or not _set_direct(self._descriptor, wanted=False):
                raise
            write_fully(self._descriptor, self._at, blocks)
        self._at += len(blocks)


def _set_direct(descriptor: int, *, wanted: bool) -> bool:
    """Whether that changed anything."""
    direct = getattr(os, "O_DIRECT", 0)
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    if bool(flags & direct) == wanted or not direct:
        return False
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags ^ direct)
    except OSError:
        return False
    return True

"""What a disk's refusal means: the one place where an OSError becomes an error that a peer can be told."""

from __future__ import annotations

import errno

from core.errors import BusyError, CorruptError, MoorageError, NoSuchShardError, StoreFullError, StoreReadOnlyError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# Nothing is wrong with the disk: this process has used up something that it gets back.
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def write_fault(error: OSError) -> MoorageError:
    """StoreFullError when there is no room, BusyError for want of memory or files, StoreReadOnlyError for all else.

    A disk that fails one write (EIO) or one sync is not trusted with the next: what it dropped it may never report
    again (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020).
    """
    if error.errno in _FULL:
        return StoreFullError(f"the disk is full: {error}")
    if error.errno in _PASSING:
        return BusyError(f"try again: {error}")
    return StoreReadOnlyError(f"the disk refuses writes: {error}")


def read_fault(error: OSError, what: str) -> MoorageError:
    """NoSuchShardError when nothing is there; CorruptError when what is there cannot be read; BusyError."""
    if isinstance(error, FileNotFoundError):
        return NoSuchShardError(f"{what} is not held here")
    if error.errno in _PASSING:
        return BusyError(f"try again: {error}")
    return CorruptError(f"{what} cannot be read: {error}")

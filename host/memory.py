"""How the C library holds memory for the buffers that every share passes through."""

from __future__ import annotations

import ctypes
from typing import Final

from core.limits import MIB

# mallopt(3), malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8

# Above every buffer of a frame or batch, below the 64 MiB of an extent; the largest that glibc takes.
KEPT_BLOCK_BYTES = 32 * MIB
# Free memory at the end of the heap beyond this goes back to the system.
KEPT_FREE_BYTES = 32 * MIB
# Memory that one thread fills and another lets go stays in one place, where the next buffer finds it.
ARENAS_MAX = 1


def keep_freed_memory() -> None:
    """Let glibc reuse freed blocks of 128 KiB and more instead of giving each back to the system at once.

    A buffer of 1 MiB fresh from the system costs 256 page faults, a third of a millisecond, more than its digest. Does
    nothing with other C libraries.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, KEPT_BLOCK_BYTES)
    mallopt(_M_TRIM_THRESHOLD, KEPT_FREE_BYTES)
    mallopt(_M_ARENA_MAX, ARENAS_MAX)

"""How many files and connections the process may have open."""

from __future__ import annotations

import resource
from contextlib import suppress

# A command holds a connection to every peer that it asked, a daemon besides those of others and its files.
WANTED = 16_384


def allow_open_files(wanted: int = WANTED) -> int:
    """Raise the process' own limit to ``wanted``, or as far as the system lets it; what it is then.

    The usual limit of 1,024 dates from ``select``, which trio does not use.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    # Some systems refuse what they say they allow.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

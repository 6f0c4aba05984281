"""A daemon that ends with the process that it was started for: nothing else would stop it when that one is killed.

The demo names itself in ``OWNER_VARIABLE``, which commands and the daemons that they start inherit. A daemon watches it
by a pidfd (pidfd_open(2), Linux 5.3): that needs no open pipe through every process in between, and no polling. Where
there are no pidfds, daemons of a killed demo stay, as they would without this.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping

OWNER_VARIABLE = "MOORAGE_OWNER_PID"


def owner_of(environment: Mapping[str, str]) -> int | None:
    """The process that the daemon must not outlive; None when there is none."""
    text = environment.get(OWNER_VARIABLE, "")
    return int(text) if text.isdecimal() and int(text) > 0 else None


async def end_with(owner: int) -> None:
    """Send this process SIGTERM when ``owner`` has ended. Never returns before that, where it can be known."""
    import trio

    if sys.platform != "linux":
        return
    try:
        watched = os.pidfd_open(owner)
    except ProcessLookupError:
        os.kill(os.getpid(), signal.SIGTERM)
        return
    except OSError:
        # An older kernel, or one that forbids it.
        return
    try:
        await trio.lowlevel.wait_readable(watched)
    finally:
        os.close(watched)
    os.kill(os.getpid(), signal.SIGTERM)

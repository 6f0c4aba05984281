"""The boundary of a background task: what goes wrong in it is said, and it begins anew; the peer goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from core.errors import leaves_of
from daemon.eventlog import EventLog

# Often enough that a passing cause costs a minute, seldom enough that a lasting one fills no log.
RESTART_S = 60.0


async def supervise(name: str, task: Callable[[], Awaitable[None]], log: EventLog) -> None:
    """Run ``task`` until cancelled, again after each end."""
    while True:
        try:
            await task()
        except Exception as error:  # the boundary: a bug in one background task must not end the peer
            causes = ", ".join(f"{type(cause).__name__}: {cause}" for cause in leaves_of(error))
            log.log("error", "task-failed", f"{name}: {causes}")
        await trio.sleep(RESTART_S)

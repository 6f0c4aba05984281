"""One daemon in a home, not two."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

from client.home import Home
from core.errors import HomeError
from core.ports import Ports

LOCK_FILE = "lock"


@contextmanager
def only_daemon(ports: Ports, home: Home) -> Generator[None]:
    """Hold the home's lock. Raises HomeError when another daemon has it, or it cannot be had."""
    with ExitStack() as held:
        try:
            got = held.enter_context(ports.disk.lock(home.path(LOCK_FILE), wait=False))
        except OSError as error:
            raise HomeError(f"{home.path(LOCK_FILE)} cannot be locked: {error.strerror}") from error
        if not got:
            raise HomeError(f"another daemon runs in {home.folder}: stop it first")
        yield

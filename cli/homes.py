"""Read the home that a command works in, without a network (``cli.clients`` has one)."""

from __future__ import annotations

from client.home import Home, load_home
from host.clock import RealClock
from host.disk import RealDisk


def read_home(folder: str) -> Home:
    """Raises HomeError, PeerRefusedError (its own certificate has expired)."""
    return load_home(RealDisk(private=True), folder, RealClock())

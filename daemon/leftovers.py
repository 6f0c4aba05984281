"""What a killed daemon leaves in its home beside the store, cleared when it starts (the store clears its own)."""

from __future__ import annotations

from contextlib import suppress

from client.home import WORKSHOP_FOLDER, Home
from core.durable import clear_workshop, remove_parts
from core.ports import Disk

STATE_FOLDER = "state"
KEYS_FOLDER = "keys"
# A command that is writing a key at this moment is done long before.
KEY_PARTS_KEPT_S = 3600


def clear_state(disk: Disk, home: Home, now_s: float) -> None:
    """Blocks. Only the home's daemon writes parts in its state folder; commands in its home have their workshop.

    New keys are written by commands beside where they belong: a secret that a crash left half there goes too.
    """
    # A disk that takes no writes keeps them, and is no reason not to serve what is on it.
    with suppress(OSError):
        remove_parts(disk, home.path(STATE_FOLDER))
        clear_workshop(disk, home.path(WORKSHOP_FOLDER))
        remove_parts(disk, home.path(KEYS_FOLDER), before_ns=(now_s - KEY_PARTS_KEPT_S) * 1e9)

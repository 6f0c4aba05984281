"""Mutual exclusion between jobs. The store's jobs run in several threads at once and share a few counters.

A lock held for a moment has no effect that a simulator would have to know of: there, jobs never overlap. No job may
wait for anything but the disk while it holds one.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager


def new_mutex() -> AbstractContextManager[bool]:
    """Enter it to hold it; not re-entrant."""
    return threading.Lock()

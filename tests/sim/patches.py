"""Replace a name for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: object) -> Generator[None, None, None]:
    """``owner.name`` is ``value`` inside; AttributeError when there is no such name to replace."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)

"""Chance from the operating system."""

from __future__ import annotations

import os
import random
import secrets

_SEED_BYTES = 16


class RealChance:
    """``core.ports.Chance``."""

    def __init__(self) -> None:
        self._streams: dict[str, random.Random] = {}

    def token(self, size_bytes: int) -> bytes:
        return secrets.token_bytes(size_bytes)

    def stream(self, name: str) -> random.Random:
        """The same generator at every call with the same name."""
        if name not in self._streams:
            self._streams[name] = random.Random(os.urandom(_SEED_BYTES))  # noqa: S311 (the port says: no secrecy)
        return self._streams[name]

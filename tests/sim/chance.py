"""Chance from a seed, in streams with names: one more draw in one place shifts nothing elsewhere."""

from __future__ import annotations

import hashlib
import random


def derive(seed: int, name: str) -> random.Random:
    """The generator that ``seed`` has for ``name``; a fresh one at every call."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=16).digest()
    return random.Random(int.from_bytes(digest, "big"))


class SimChance:
    """``core.ports.Chance`` of one life of one node, which ``name`` tells from all others."""

    def __init__(self, seed: int = 0, name: str = "node") -> None:
        self._seed = seed
        self._name = name
        self._tokens = derive(seed, f"{name}/tokens")
        self._streams: dict[str, random.Random] = {}

    def token(self, size_bytes: int) -> bytes:
        return self._tokens.randbytes(size_bytes)

    def stream(self, name: str) -> random.Random:
        if name not in self._streams:
            self._streams[name] = derive(self._seed, f"{self._name}/stream/{name}")
        return self._streams[name]

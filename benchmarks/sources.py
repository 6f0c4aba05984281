"""Bytes to store: incompressible, and equal for equal seeds, so that a round can be repeated.

What a system has stored it may not store again: a seed names its benchmark and its round, and no other has it.
"""

from __future__ import annotations

import random
from pathlib import Path

WRITE_BYTES = 8 << 20


def make_source(path: Path, size_bytes: int, seed: str) -> None:
    """One file of random bytes."""
    _fill(path, size_bytes, random.Random(seed))


def make_folder(folder: Path, *, files: int, file_bytes: int, seed: str, per_folder: int = 1000) -> None:
    """``files`` files of ``file_bytes`` random bytes each, ``per_folder`` to a folder."""
    generator = random.Random(seed)
    for number in range(files):
        place = folder / f"part-{number // per_folder:04}"
        place.mkdir(parents=True, exist_ok=True)
        _fill(place / f"file-{number:06}.bin", file_bytes, generator)


def _fill(path: Path, size_bytes: int, generator: random.Random) -> None:
    with path.open("wb") as file:
        for start in range(0, size_bytes, WRITE_BYTES):
            file.write(generator.randbytes(min(WRITE_BYTES, size_bytes - start)))


def folder_size(folder: Path) -> int:
    """Bytes of all its files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import memory
from benchmarks.figures import MIB
from benchmarks.memory import fill_page_cache, unused_bytes


def test_unused_memory_is_filled_without_taking_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "unused_bytes", lambda: 100 * MIB)
    assert fill_page_cache(tmp_path) == 95 * MIB
    (found,) = tmp_path.iterdir()
    assert found.stat().st_size == 95 * MIB
    assert found.stat().st_blocks * 512 < MIB


def test_the_system_says_how_much_is_unused() -> None:
    assert 0 < unused_bytes() < 1 << 50

from __future__ import annotations

from pathlib import Path

from benchmarks.figures import MIB
from benchmarks.pages import measure


def test_every_way_writes_its_file(tmp_path: Path) -> None:
    found = measure(tmp_path, 4 * MIB, 2)
    assert {name: len(series) for name, series in found.items()} == {
        "any memory": 2,
        "just let go": 2,
        "past the cache": 2,
    }
    assert all(seconds > 0 for series in found.values() for seconds in series)
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [4 * MIB] * 6

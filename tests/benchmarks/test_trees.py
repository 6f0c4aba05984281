"""Folders of files are compared whole, and what was not measured is told by two smaller measurements."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.figures import Timing
from benchmarks.plans import FULL, QUICK
from benchmarks.sources import make_folder
from benchmarks.trees import ManyFiles, differences, extrapolated


def test_a_fixed_part_is_not_multiplied() -> None:
    whole = extrapolated((1, Timing(3.0, 1.0)), (11, Timing(5.0, 2.0)), 101)
    assert whole.wall_s == pytest.approx(5.0 + 9 * 2.0)
    assert whole.cpu_s == pytest.approx(2.0 + 9 * 1.0)


def test_noise_never_makes_more_files_take_less() -> None:
    assert extrapolated((1, Timing(3.0)), (11, Timing(2.0)), 101).wall_s >= 2.0


def test_a_changed_a_missing_and_an_added_file_are_found(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        make_folder(folder, files=5, file_bytes=100, seed="same", per_folder=2)
    assert differences(one, other) == []
    (other / "part-0000" / "file-000001.bin").write_bytes(b"x" * 100)
    (other / "part-0001" / "file-000002.bin").unlink()
    (one / "part-0002" / "more").touch()
    assert differences(one, other) == [
        "part-0000/file-000001.bin",
        "part-0001/file-000002.bin",
        "part-0002/more",
    ]


def test_a_slow_system_gets_fewer_files_and_never_more() -> None:
    many = ManyFiles(200, 500, {"tahoe": 1000, "restic": 20})
    assert [many.files_for(name) for name in ("moorage", "tahoe", "restic")] == [200, 200, 20]


def test_the_plans_differ_in_name_and_the_quick_one_is_smaller() -> None:
    assert FULL.name != QUICK.name
    assert QUICK.disk_bytes < FULL.disk_bytes / 5

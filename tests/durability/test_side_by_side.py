"""Others' published figures come out of the table as they print them."""

from __future__ import annotations

from erasure.scheme import Scheme
from tests.durability.side_by_side import CODES, on_drives, on_hospitals, on_nodes, side_by_side_table


def test_backblaze_and_storj_are_in_it_as_published() -> None:
    table = side_by_side_table()
    assert "| 17+3 (Backblaze) | 1.18 | 7.354e-12, 11.1 nines |" in table
    # 99.9999998077 % are kept.
    assert "1.923e-09" in table
    assert f"{100 * (1 - on_nodes(Scheme(20, 40))):.10f}" == "99.9999998077"


def test_harsher_assumptions_lose_more() -> None:
    for code in CODES:
        assert on_drives(code.scheme) < on_hospitals(code.scheme) < on_nodes(code.scheme)

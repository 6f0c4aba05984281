"""The skeleton moves real bytes by the shipped stages: else its times would say nothing."""

from __future__ import annotations

from pathlib import Path

from benchmarks.lab import Lab, Tools
from benchmarks.skeleton import bare_turn, lines_of, make_sources, started
from benchmarks.stages import Limit
from core.limits import CHUNK_BYTES
from erasure.scheme import Scheme


def test_what_the_skeleton_gets_is_what_it_put(tmp_path: Path) -> None:
    """``bare_turn`` compares them; the shards lie with its peers meanwhile."""
    lab = Lab(tmp_path, Tools(None, None, None), private=False)
    source = make_sources(lab, 3, 9 * CHUNK_BYTES + 21, 0)
    with started(lab, Scheme(2, 3)) as skeleton:
        assert all(wall_s > 0 for wall_s in bare_turn(lab, skeleton, source))
        shards = [path for share in range(3) for path in (tmp_path / f"skeleton-{share}" / "shards").rglob("*")]
        sizes = [path.stat().st_size for path in shards if path.is_file()]
    assert len(sizes) == 3
    assert min(sizes) * 2 > 9 * CHUNK_BYTES


def test_limits_skeleton_and_program_stand_side_by_side() -> None:
    limits = [{flow: Limit(cpu_s, 0.0, 2) for flow in ("put", "get")} for cpu_s in (1.0, 2.0)]
    _, put, get = lines_of({"put": ([4.0], [3.0]), "get": ([2.0, 1.0, 3.0], [1.5])}, limits, 500_000_000)
    assert " ".join(put.split()) == "put 0.25 s 0.50 s 3.00 s (3.00 to 3.00) 4.00 s (4.00 to 4.00)"
    assert get.endswith("2.00 s (1.00 to 3.00)")

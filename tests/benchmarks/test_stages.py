"""The limit that a put or a get is compared with: a sum of stages over cores, or the disk, whichever is slower."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.sources import make_source
from benchmarks.stage_jobs import SAMPLE_BYTES, GetJobs, PutJobs
from benchmarks.stages import Limit, Stage, limit_of, limits_of, stage_lines, stages_json
from erasure.scheme import Scheme

STAGES = [
    Stage("put", "client", "seal", [0.5, 0.4, 9.0]),
    Stage("put", "peers", "write", [1.5, 1.5, 1.5], [0.2, 0.3, 0.4], on_disk=True),
    Stage("get", "client", "open", [1.0, 1.0, 1.0]),
]


def test_the_limit_is_the_sum_of_medians_over_the_cores() -> None:
    limit = limit_of(STAGES, "put", cores=2)
    assert limit.cpu_s == pytest.approx(2.0)
    assert limit.seconds == pytest.approx(1.0)
    assert limit.bytes_per_s == pytest.approx(1e9)


def test_a_slow_disk_is_a_lower_limit_than_the_cores() -> None:
    assert limit_of(STAGES, "put", cores=100).seconds == pytest.approx(0.3)


def test_a_fraction_of_the_limit_grows_with_speed() -> None:
    limit = Limit(cpu_s=2.0, disk_s=0.0, cores=2)
    assert limit.fraction(500_000_000, 1.0) == pytest.approx(0.5)
    assert limit.fraction(500_000_000, 0.5) == pytest.approx(1.0)


def test_every_stage_is_printed_and_stored() -> None:
    limits = limits_of(STAGES)
    text = "\n".join(stage_lines(STAGES, limits))
    assert all(stage.name in text for stage in STAGES)
    rows = stages_json(STAGES, limits)["stages"]
    assert isinstance(rows, list)
    assert len(rows) == len(STAGES)


def test_the_jobs_handle_the_whole_sample_as_put_and_get_do(tmp_path: Path) -> None:
    source = tmp_path / "source"
    make_source(source, SAMPLE_BYTES, seed="test")
    put = PutJobs(source, tmp_path, Scheme(4, 6))
    assert sum(len(batch.sealed_lengths) for batch in put.batches) * (256 << 10) == SAMPLE_BYTES
    get = GetJobs(put, tmp_path)
    get.verify()
    get.open()
    assert get.plain == put.plain

"""Whatever happens to a disk is found exactly, repaired without any key, and the bad copy is gone."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.pool import Pool, assert_same, flip, is_whole, kinds, layout_of, random_file

VICTIM, OTHER = "peer-3", "peer-4"
CHUNK = 5
# (extent number counts from 0, the index's extents come last); 3 MB are one extent of 12 chunks and an index.
Damage = Callable[[Path], None]


def _flip_head(path: Path) -> None:
    flip(path, 40)


def _flip_share(path: Path) -> None:
    layout = layout_of(path)
    flip(path, layout.offsets[CHUNK] + 17)


def _flip_foot(path: Path) -> None:
    flip(path, -100)


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1000)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _rename(path: Path) -> None:
    path.rename(path.with_name("0" * 64))


def _delete(path: Path) -> None:
    path.unlink()


def _put_blob(pool: Pool, blob: Path) -> tuple[str, Path]:
    """A stored object and the biggest of its shards on VICTIM."""
    stored = pool.put(blob)["object"]
    path = max(pool.shards_of(stored, VICTIM), key=lambda path: path.stat().st_size)
    return stored, path


def _check_finding(pool: Pool, finding: dict[str, Any], stored: str, path: Path) -> None:
    """The finding names exactly this shard of this object on this holder."""
    assert finding["holder"] == pool.peer_id(VICTIM)
    assert finding["root"] == path.name
    assert finding["object"] == stored
    assert finding["extent"] == 0
    roots = pool.manifest(stored).extents[0].roots
    assert str(roots[finding["share"]]) == path.name


def _check_repaired(pool: Pool, stored: str, path: Path, blob: Path, tmp_path: Path) -> None:
    """The same name holds good bytes again, nothing bad is left anywhere, and the object is whole."""
    assert is_whole(path)
    assert pool.quarantined() == []
    assert len(pool.shards_of(stored)) == 12
    assert pool.verify(stored)["health"] == "full"
    pool.get(stored, tmp_path / "out")
    assert (tmp_path / "out" / blob.name).read_bytes() == blob.read_bytes()


@pytest.mark.parametrize("sweeper", ["peer-1", VICTIM], ids=["seen-by-another", "seen-by-itself"])
@pytest.mark.parametrize(
    ("damage", "chunk"),
    [(_flip_head, None), (_flip_share, CHUNK), (_flip_foot, None), (_truncate, None), (_empty, None)],
    ids=["head", "share", "foot", "truncated", "empty"],
)
def test_a_damaged_shard_is_found_exactly_and_rebuilt(
    pool: Pool, blob: Path, tmp_path: Path, damage: Damage, chunk: int | None, sweeper: str
) -> None:
    stored, path = _put_blob(pool, blob)
    damage(path)
    swept = pool.sweep(stored, home=sweeper)
    assert kinds(swept["findings"]) == ["corrupt"]
    (finding,) = (finding for finding in swept["findings"] if finding["kind"] == "corrupt")
    _check_finding(pool, finding, stored, path)
    if chunk is not None:
        assert finding["chunk"] == chunk
    assert len(swept["repairs"]) == 1
    _check_repaired(pool, stored, path, blob, tmp_path)


def test_a_missing_shard_is_found_exactly_and_one_is_written(pool: Pool, blob: Path, tmp_path: Path) -> None:
    stored, path = _put_blob(pool, blob)
    inodes = {other: other.stat().st_ino for other in pool.shards_of(stored)}
    _delete(path)
    swept = pool.sweep(stored)
    assert kinds(swept["findings"]) == ["missing"]
    _check_finding(pool, swept["findings"][0], stored, path)
    assert len(swept["repairs"]) == 1
    now = {other: other.stat().st_ino for other in pool.shards_of(stored)}
    assert [other for other in now if now[other] != inodes.get(other)] in ([path], [])
    _check_repaired(pool, stored, path, blob, tmp_path)


def test_a_renamed_shard_is_missing_there_and_a_stray_here_and_both_end(pool: Pool, blob: Path, tmp_path: Path) -> None:
    stored, path = _put_blob(pool, blob)
    _rename(path)
    swept = pool.sweep(home=VICTIM)
    assert sorted(set(kinds(swept["findings"]))) == ["missing", "stray"]
    missing = [finding for finding in swept["findings"] if finding["kind"] == "missing"]
    assert len(missing) == 1
    _check_finding(pool, missing[0], stored, path)
    assert not path.with_name("0" * 64).exists()
    for left in pool.quarantined():
        left.unlink()
    _check_repaired(pool, stored, path, blob, tmp_path)


def test_two_swapped_shard_files_are_both_found_and_both_repaired(pool: Pool, blob: Path, tmp_path: Path) -> None:
    stored, path = _put_blob(pool, blob)
    (other,) = (found for found in pool.shards_of(stored, VICTIM) if found != path)
    aside = path.with_name("aside")
    path.rename(aside)
    other.rename(path)
    aside.rename(other)
    swept = pool.sweep(home=VICTIM)
    damaged = {finding["root"] for finding in swept["findings"] if finding["kind"] in ("corrupt", "missing", "stray")}
    assert damaged == {path.name, other.name}
    assert is_whole(other)
    for left in pool.quarantined():
        left.unlink()
    _check_repaired(pool, stored, path, blob, tmp_path)


@pytest.mark.parametrize("sweeper", ["peer-1", VICTIM], ids=["seen-by-another", "seen-by-itself"])
@pytest.mark.parametrize("paper", ["manifest", "receipt"])
def test_a_damaged_copy_of_a_paper_is_found_and_replaced(pool: Pool, blob: Path, paper: str, sweeper: str) -> None:
    stored, _ = _put_blob(pool, blob)
    copy = pool.home(VICTIM) / f"{paper}s" / stored
    good = copy.read_bytes()
    for at in (len(good) // 2, -1):
        flip(copy, at)
        swept = pool.sweep(stored, home=sweeper)
        assert kinds(swept["findings"]) == [f"{paper}-corrupt"]
        (finding,) = (finding for finding in swept["findings"] if finding["kind"] == f"{paper}-corrupt")
        assert (finding["holder"], finding["object"]) == (pool.peer_id(VICTIM), stored)
        assert copy.read_bytes() == good
    copy.unlink()
    assert kinds(pool.sweep(stored)["findings"]) == [f"{paper}-missing"]
    assert copy.read_bytes() == good
    assert pool.verify(stored)["health"] == "full"
    assert pool.quarantined() == []


def test_two_damaged_shares_of_six_are_both_repaired_without_spare_peers(
    pool: Pool, blob: Path, tmp_path: Path
) -> None:
    stored, path = _put_blob(pool, blob)
    second = max(pool.shards_of(stored, OTHER), key=lambda path: path.stat().st_size)
    _flip_share(path)
    _flip_share(second)
    swept = pool.sweep(stored)
    assert kinds(swept["findings"]) == ["corrupt", "corrupt"]
    assert len(swept["repairs"]) == 2
    assert is_whole(second)
    _check_repaired(pool, stored, path, blob, tmp_path)


def test_repair_needs_no_key_and_no_client(pool: Pool, blob: Path, tmp_path: Path) -> None:
    """With the client's home moved away: the shards come back under the manifest's names."""
    stored, path = _put_blob(pool, blob)
    roots = pool.roots(stored)
    _flip_share(path)
    away = tmp_path / "away"
    shutil.move(pool.home("client"), away)
    try:
        swept = pool.run("sweep", "--full", stored, home="peer-1").json
        assert len(swept["repairs"]) == 1
        path.unlink()
        assert pool.run("repair", stored, home="peer-1").json["rebuilt"] == 1
    finally:
        shutil.move(away, pool.home("client"))
    assert sorted(found.name for found in pool.shards_of(stored)) == sorted(roots)
    _check_repaired(pool, stored, path, blob, tmp_path)


def test_a_wiped_disk_is_rebuilt_by_a_sweep(pool: Pool, blob: Path, tmp_path: Path) -> None:
    stored, path = _put_blob(pool, blob)
    lost = pool.shards_of(stored, VICTIM)
    shutil.rmtree(pool.home(VICTIM) / "shards")
    assert pool.verify(stored, expect=3)["health"] == "degraded"
    swept = pool.sweep()
    assert {path.name for path in lost} <= {finding["root"] for finding in swept["findings"]}
    assert all(is_whole(path) for path in lost)
    _check_repaired(pool, stored, path, blob, tmp_path)


def test_a_client_s_sweep_finds_and_repairs_too(pool: Pool, blob: Path, tmp_path: Path) -> None:
    stored, path = _put_blob(pool, blob)
    _flip_share(path)
    swept = pool.sweep(stored, home="client")
    assert kinds(swept["findings"]) == ["corrupt"]
    _check_repaired(pool, stored, path, blob, tmp_path)


def test_a_holder_that_comes_back_with_a_rebuilt_shard_ends_with_no_duplicate(
    make_pool: Callable[..., Pool], tmp_path: Path
) -> None:
    pool = make_pool(peers=9, sites=3)
    source = random_file(tmp_path / "object.bin", 2_000_000)
    stored = pool.put(source)["object"]
    gone = pool.holder(pool.shards_of(stored)[0])
    pool.kill(gone)
    rebuilt = pool.run("repair", stored).json
    assert rebuilt["rebuilt"] >= 2
    holders = sorted(pool.holder(path) for path in pool.shards_of(stored))
    assert len(holders) == 14, holders
    assert pool.verify(stored, expect=None)["spare"] == 2
    pool.up()
    for name in pool.names:
        if pool.shards_of(stored, name):
            pool.sweep(home=name, expect=None)
    assert len(pool.shards_of(stored)) == 12
    assert pool.verify(stored)["health"] == "full"
    pool.get(stored, tmp_path / "out")
    assert_same(source, tmp_path / "out" / source.name)


def test_one_lost_shard_moves_little_more_than_its_extent(pool: Pool, tmp_path: Path) -> None:
    """(k + 1) / k of the extent's sealed bytes plus 2 %, as the loopback interface of the pool counts them."""
    source = random_file(tmp_path / "extent.bin", 20_000_000)
    stored = pool.put(source)["object"]
    path = max(pool.shards_of(stored, VICTIM), key=lambda path: path.stat().st_size)
    path.unlink()
    before = _loopback_bytes()
    began = time.monotonic()
    assert pool.run("repair", stored).json["rebuilt"] == 1
    moved = _loopback_bytes() - before
    assert is_whole(path)
    # The repairer reads from its own disk what it holds itself, so this is at most five quarters. Other tests of
    # other workers share the interface: only a quiet run can be judged.
    if moved < 0 or time.monotonic() - began > 20:
        pytest.skip("the machine is too busy to count bytes")
    assert moved <= 1.02 * 20_000_000 * 5 / 4 + 1_000_000 or _is_shared()


def _loopback_bytes() -> int:
    lines = Path("/proc/net/dev").read_text().splitlines()
    (line,) = (line for line in lines if line.strip().startswith("lo:"))
    return int(line.partition(":")[2].split()[0])


def _is_shared() -> bool:
    return "PYTEST_XDIST_WORKER" in os.environ

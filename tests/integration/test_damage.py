"""Whatever happens to a disk is found exactly, repaired without any key, and the bad copy is gone."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass
class Kept:
    """An object that every test of a worker damages and must find whole again."""

    pool: Pool
    source: Path
    stored: str

    @property
    def path(self) -> Path:
        """The biggest of its shards on VICTIM."""
        return self.shard_on(VICTIM)

    def shard_on(self, name: str) -> Path:
        return max(self.pool.shards_of(self.stored, name), key=lambda path: path.stat().st_size)

    def is_whole(self) -> bool:
        """Twelve good shards under the manifest's names, and nothing bad left anywhere."""
        paths = self.pool.shards_of(self.stored)
        return (
            sorted(path.name for path in paths) == sorted(self.pool.roots(self.stored))
            and all(is_whole(path) for path in paths)
            and self.pool.quarantined() == []
        )


@pytest.fixture(scope="session")
def kept_objects() -> list[Kept]:
    return []


@pytest.fixture
def kept(pool: Pool, kept_objects: list[Kept], tmp_path_factory: pytest.TempPathFactory) -> Kept:
    if not kept_objects or not kept_objects[-1].is_whole():
        number = len(kept_objects)
        source = random_file(tmp_path_factory.mktemp("kept") / f"kept-{number}.bin", 3_000_000, seed=number)
        kept_objects.append(Kept(pool, source, pool.put(source)["object"]))
    return kept_objects[-1]


def _check_finding(pool: Pool, finding: dict[str, Any], stored: str, path: Path) -> None:
    """The finding names exactly this shard of this object on this holder."""
    assert finding["holder"] == pool.peer_id(VICTIM)
    assert finding["root"] == path.name
    assert finding["object"] == stored
    assert finding["extent"] == 0
    roots = pool.manifest(stored).extents[0].roots
    assert str(roots[finding["share"]]) == path.name


@pytest.mark.parametrize("sweeper", ["peer-1", VICTIM], ids=["seen-by-another", "seen-by-itself"])
@pytest.mark.parametrize(
    ("damage", "chunk"),
    [(_flip_head, None), (_flip_share, CHUNK), (_flip_foot, None), (_truncate, None), (_empty, None)],
    ids=["head", "share", "foot", "truncated", "empty"],
)
def test_a_damaged_shard_is_found_exactly_and_rebuilt(
    pool: Pool, kept: Kept, damage: Damage, chunk: int | None, sweeper: str
) -> None:
    stored, path = kept.stored, kept.path
    damage(path)
    swept = pool.sweep(stored, home=sweeper)
    assert kinds(swept["findings"]) == ["corrupt"]
    (finding,) = (finding for finding in swept["findings"] if finding["kind"] == "corrupt")
    _check_finding(pool, finding, stored, path)
    if chunk is not None:
        assert finding["chunk"] == chunk
    assert len(swept["repairs"]) == 1
    assert kept.is_whole()


def test_a_missing_shard_is_found_exactly_and_one_is_written(pool: Pool, kept: Kept) -> None:
    stored, path = kept.stored, kept.path
    inodes = {other: other.stat().st_ino for other in pool.shards_of(stored)}
    _delete(path)
    swept = pool.sweep(stored)
    assert kinds(swept["findings"]) == ["missing"]
    _check_finding(pool, swept["findings"][0], stored, path)
    assert len(swept["repairs"]) == 1
    now = {other: other.stat().st_ino for other in pool.shards_of(stored)}
    assert [other for other in now if now[other] != inodes.get(other)] in ([path], [])
    assert kept.is_whole()


def test_a_renamed_shard_is_missing_there_and_a_stray_here_and_both_end(pool: Pool, kept: Kept) -> None:
    stored, path = kept.stored, kept.path
    _rename(path)
    swept = pool.sweep(home=VICTIM)
    assert sorted(set(kinds(swept["findings"]))) == ["missing", "stray"]
    missing = [finding for finding in swept["findings"] if finding["kind"] == "missing"]
    assert len(missing) == 1
    _check_finding(pool, missing[0], stored, path)
    assert not path.with_name("0" * 64).exists()
    for left in pool.quarantined():
        left.unlink()
    assert kept.is_whole()


def test_two_swapped_shard_files_are_both_found_and_both_repaired(pool: Pool, kept: Kept) -> None:
    stored, path = kept.stored, kept.path
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
    assert kept.is_whole()


@pytest.mark.parametrize("sweeper", ["peer-1", VICTIM], ids=["seen-by-another", "seen-by-itself"])
@pytest.mark.parametrize("paper", ["manifest", "receipt"])
def test_a_damaged_copy_of_a_paper_is_found_and_replaced(pool: Pool, kept: Kept, paper: str, sweeper: str) -> None:
    stored = kept.stored
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
    assert kept.is_whole()


def test_two_damaged_shares_of_six_are_both_repaired_without_spare_peers(pool: Pool, kept: Kept) -> None:
    stored, path = kept.stored, kept.path
    second = kept.shard_on(OTHER)
    _flip_share(path)
    _flip_share(second)
    swept = pool.sweep(stored)
    assert kinds(swept["findings"]) == ["corrupt", "corrupt"]
    assert len(swept["repairs"]) == 2
    assert is_whole(second)
    assert kept.is_whole()


def test_repair_needs_no_key_and_no_client(pool: Pool, kept: Kept, tmp_path: Path) -> None:
    """With the client's home moved away: the shards come back under the manifest's names."""
    stored, path = kept.stored, kept.path
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
    assert kept.is_whole()


def test_a_wiped_disk_is_rebuilt_by_a_sweep(pool: Pool, kept: Kept, tmp_path: Path) -> None:
    stored = kept.stored
    lost = pool.shards_of(stored, VICTIM)
    shutil.rmtree(pool.home(VICTIM) / "shards")
    assert pool.verify(stored, expect=3)["health"] == "degraded"
    swept = pool.sweep()
    assert {path.name for path in lost} <= {finding["root"] for finding in swept["findings"]}
    assert all(is_whole(path) for path in lost)
    assert kept.is_whole()
    assert pool.verify(stored)["health"] == "full"
    pool.get(stored, tmp_path / "out")
    assert (tmp_path / "out" / kept.source.name).read_bytes() == kept.source.read_bytes()


def test_a_client_s_sweep_finds_and_repairs_too(pool: Pool, kept: Kept) -> None:
    stored, path = kept.stored, kept.path
    _flip_share(path)
    swept = pool.sweep(stored, home="client")
    assert kinds(swept["findings"]) == ["corrupt"]
    assert kept.is_whole()


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
    assert len(pool.shards_of(stored)) == 14
    pool.up()
    copies = Counter(path.name for path in pool.shards_of(stored))
    doubled = {pool.holder(path) for path in pool.shards_of(stored) if copies[path.name] > 1} - {gone}
    for name in sorted(doubled):
        pool.sweep(home=name)
    assert len(pool.shards_of(stored)) == 12
    assert pool.verify(stored)["health"] == "full"
    pool.get(stored, tmp_path / "out")
    assert_same(source, tmp_path / "out" / source.name)


@pytest.mark.slow
def test_one_lost_shard_moves_little_more_than_its_extent(pool: Pool, tmp_path: Path) -> None:
    """At most (k + 1) / k of the extent's sealed bytes plus 2 %, as the loopback interface counts them."""
    stored = pool.put(random_file(tmp_path / "extent.bin", 60_000_000))["object"]
    path = max(pool.shards_of(stored, VICTIM), key=lambda path: path.stat().st_size)
    path.unlink()
    before = _loopback_bytes()
    assert pool.run("repair", stored).json["rebuilt"] == 1
    moved = _loopback_bytes() - before
    print(f"moved {moved / 60_000_000:.3f} of the extent")
    assert is_whole(path)
    assert moved <= 1.02 * 60_000_000 * 5 / 4


def _loopback_bytes() -> int:
    lines = Path("/proc/net/dev").read_text().splitlines()
    (line,) = (line for line in lines if line.strip().startswith("lo:"))
    return int(line.partition(":")[2].split()[0])

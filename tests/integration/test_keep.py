"""The main job: what goes in comes out, byte for byte, whatever happens to the peers and to whoever puts."""

from __future__ import annotations

import os
import signal
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.integration.pool import LONG_AGO_NS, Pool, assert_same, is_whole, picture, random_file, run, wait_until

DICOM = ("693_UNCR.dcm", "MR2_UNCR.dcm", "US1_UNCR.dcm", "eCT_Supplemental.dcm", "emri_small.dcm", "color-px.dcm")


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real CT, MR and US files."""
    found = find_spec("data_store")
    assert found is not None
    assert found.submodule_search_locations
    images = Path(found.submodule_search_locations[0]) / "data"
    folder = tmp_path_factory.mktemp("study") / "study"
    folder.mkdir()
    for name in DICOM:
        (folder / name).write_bytes((images / name).read_bytes())
        os.utime(folder / name, ns=(LONG_AGO_NS, LONG_AGO_NS))
    return folder


def test_real_images_come_back_with_any_two_peers_dead_and_verify_says_why(
    pool: Pool, study: Path, tmp_path: Path
) -> None:
    stored = pool.put(study)
    assert stored["files"] == len(DICOM)
    assert stored["anchored"] is True
    pool.kill("peer-1", "peer-6")
    assert pool.get(stored["object"], tmp_path / "out")["files"] == len(DICOM)
    assert_same(study, tmp_path / "out" / study.name)
    health = pool.verify(stored["object"], full=False, expect=3)
    assert health["health"] == "degraded"
    silent = {finding["holder"] for finding in health["findings"] if finding["kind"] == "silent"}
    assert silent == {pool.peer_id("peer-1"), pool.peer_id("peer-6")}
    pool.up()
    assert pool.verify(stored["object"])["health"] == "full"


def test_verify_of_a_sample_says_what_was_sampled_and_with_what_confidence(pool: Pool, blob: Path) -> None:
    health = pool.verify(pool.put(blob)["object"], full=False)
    assert "sampled" in health["confidence"]
    assert "%" in health["confidence"]
    assert health["full"] is False


def test_a_second_put_sends_nothing_and_says_so(pool: Pool, blob: Path) -> None:
    first, second = pool.put(blob), pool.put(blob)
    assert first["new_bytes"] > 0
    assert second["new_bytes"] == 0
    assert second["object"] == first["object"]
    said = pool.run("put", blob, json_output=False).output.decode()
    assert "already stored" in said


def test_disk_use_is_the_code_s_and_nothing_else(pool: Pool, tmp_path: Path) -> None:
    """At most 1.005 times n/k of the sealed bytes; random data do not shrink, so sealed is plain plus tags."""
    stored = pool.put(random_file(tmp_path / "big.bin", 40_000_000))
    sealed = sum(extent.sealed_bytes for extent in pool.manifest(stored["object"]).all_extents())
    on_disk = sum(path.stat().st_size for path in pool.shards_of(stored["object"]))
    assert on_disk == stored["stored_bytes"]
    assert on_disk <= 1.005 * sealed * 6 / 4
    assert sealed < 40_000_000 * 1.001


def test_many_small_files_do_not_cost_a_chunk_each(pool: Pool, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    for number in range(300):
        random_file(folder / f"{number % 7}" / f"{number}.dat", 200 + number)
    stored = pool.put(folder)
    assert stored["stored_bytes"] < 1.5 * stored["bytes"] + 300 * 400
    pool.get(stored["object"], tmp_path / "out")
    assert_same(folder, tmp_path / "out" / "small")


def test_folders_keep_names_times_empty_files_and_links_which_are_never_followed(pool: Pool, tmp_path: Path) -> None:
    secret = random_file(tmp_path / "outside" / "secret", 1000)
    top = tmp_path / "tree"
    (top / "empty folder").mkdir(parents=True)
    (top / "a").mkdir(mode=0o750)
    (top / "a" / "empty").touch()
    (top / "a" / "运动 — ünïcode\n\t.dat").write_bytes(b"x")
    (top / "run.sh").write_bytes(b"#!/bin/sh\n")
    (top / "run.sh").chmod(0o755)
    raw = os.fsencode(top) + b"/\xff\xfe not utf-8 \x01"
    with open(raw, "wb") as file:
        file.write(b"bytes are names")
    (top / "out").symlink_to(secret.parent)
    (top / "dangling").symlink_to("/nowhere/at/all")
    (top / "a" / "up").symlink_to("../run.sh")
    os.symlink(b"\xfe\xff", os.fsencode(top) + b"/raw link")
    for path in (top / "a" / "empty", top / "run.sh", top / "empty folder", top / "a"):
        os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))
    stored = pool.put(top)
    pool.get(stored["object"], tmp_path / "back")
    assert_same(top, tmp_path / "back" / "tree")
    assert b"/out/secret" not in picture(tmp_path / "back" / "tree")
    assert stored["files"] == 4


def test_one_file_of_an_object_and_ranges_of_it_can_be_read(pool: Pool, study: Path, tmp_path: Path) -> None:
    stored = pool.put(study)["object"]
    data = (study / "MR2_UNCR.dcm").read_bytes()
    assert pool.run("cat", stored, "study/MR2_UNCR.dcm", json_output=False).output == data
    part = pool.run("cat", stored[:12], "study/MR2_UNCR.dcm", "--range", "262100-524400", json_output=False)
    assert part.output == data[262100:524401]
    got = pool.run("get", stored, "study/color-px.dcm", "--to", tmp_path / "one").json
    assert got["files"] == 1
    assert [path.name for path in (tmp_path / "one").rglob("*.dcm")] == ["color-px.dcm"]


def test_a_put_that_was_killed_goes_on_where_it_was(pool: Pool, tmp_path: Path) -> None:
    """kill -9 in the middle, put again: at most one extent of 64 MiB is sent twice."""
    source = random_file(tmp_path / "killed.bin", 3 * 64 * 2**20)
    before = {path.name for path in pool.shards()}
    putting = pool.start("put", source)
    wait_until(lambda: len({path.name for path in pool.shards()} - before) >= 6, what="first extent", within_s=60)
    putting.kill()
    taken_bytes = sum(path.stat().st_size for path in pool.shards() if path.name not in before)
    again = pool.put(source)
    extent_bytes = 64 * 2**20 * 1.001 * 6 / 4
    # What holders had taken whole is not sent again.
    assert again["new_bytes"] <= 3 * extent_bytes - taken_bytes + 2**20
    pool.get(again["object"], tmp_path / "out")
    assert (tmp_path / "out" / source.name).read_bytes() == source.read_bytes()
    # What the killed put left behind is either part of the object or gone when its upload ended.
    assert not [path for name in pool.names for path in (pool.home(name) / "incoming").iterdir()]


def test_a_file_that_changes_while_it_is_read_fails_that_put_and_nothing_is_stored(pool: Pool, tmp_path: Path) -> None:
    source = random_file(tmp_path / "changing.bin", 100_000_000)
    catalogue = sorted((pool.home("client") / "catalogue").iterdir())
    putting = pool.start("put", source)
    deadline = time.monotonic() + 60
    while putting.process.poll() is None and time.monotonic() < deadline:
        with open(source, "r+b") as file:
            file.seek(90_000_000)
            file.write(os.urandom(8))
        time.sleep(0.02)
    ran = putting.wait(expect=75)
    assert "changed while it was being read" in ran.complaint
    assert ran.json["error"]["code"] == "source-changed"
    assert sorted((pool.home("client") / "catalogue").iterdir()) == catalogue


def test_four_puts_and_four_gets_at_once_while_a_peer_restarts(pool: Pool, tmp_path: Path) -> None:
    old = [random_file(tmp_path / f"old-{number}.bin", 6_000_000) for number in range(4)]
    new = [random_file(tmp_path / f"new-{number}.bin", 6_000_000) for number in range(4)]
    stored = [pool.put(path)["object"] for path in old]
    running = [pool.start("put", path) for path in new]
    getting = [pool.start("get", name, "--to", tmp_path / f"got-{at}") for at, name in enumerate(stored)]
    time.sleep(0.7)
    pool.kill("peer-3")
    pool.up()
    puts = [process.wait().json for process in running]
    for at, process in enumerate(getting):
        process.wait()
        assert (tmp_path / f"got-{at}" / old[at].name).read_bytes() == old[at].read_bytes()
    for at, put in enumerate(puts):
        pool.get(put["object"], tmp_path / f"new-got-{at}")
        assert (tmp_path / f"new-got-{at}" / new[at].name).read_bytes() == new[at].read_bytes()


def test_a_receipt_is_proven_offline_and_every_flipped_byte_of_it_shows(pool: Pool, blob: Path, tmp_path: Path) -> None:
    stored = pool.put(blob)["object"]
    receipt = tmp_path / "receipt"
    receipt.write_bytes(pool.run("receipt", stored, json_output=False).output)
    pool.get(stored, tmp_path / "out")
    (restored,) = (tmp_path / "out").iterdir()
    checked = run("--home", "/nonexistent", "--json", "check-receipt", receipt, "--against", restored).json
    assert checked["valid"] is True
    assert checked["cosigners"]
    with open(restored, "r+b") as file:
        file.write(b"!")
    wrong = run("--home", "/nonexistent", "--json", "check-receipt", receipt, "--against", restored, expect=4).json
    assert wrong["valid"] is False
    data = receipt.read_bytes()
    for at in range(0, len(data), len(data) // 2):
        damaged = bytearray(data)
        damaged[at] ^= 1
        (tmp_path / "damaged").write_bytes(damaged)
        assert run("check-receipt", tmp_path / "damaged", expect=None).status in (1, 4), at


def test_shards_are_what_their_names_say(pool: Pool, blob: Path) -> None:
    stored = pool.put(blob)["object"]
    paths = pool.shards_of(stored)
    assert len(paths) == 12
    assert all(is_whole(path) and path.parent.name == path.name[2:4] for path in paths)


def test_sigterm_ends_a_daemon_with_status_0_within_ten_seconds(pool: Pool) -> None:
    pool.signal(signal.SIGTERM, "peer-2")
    began = time.monotonic()
    wait_until(lambda: pool.pid("peer-2") is None, what="end of peer-2", within_s=10)
    daemon = pool.start("daemon", home="peer-2", json_output=False)
    wait_until(lambda: pool.pid("peer-2") is not None, what="start of peer-2")
    wait_until(lambda: (pool.home("peer-2") / "state" / "address").exists(), what="address")
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.wait(expect=0).status == 0
    assert time.monotonic() - began < 25


def test_a_proof_bundle_convinces_with_no_home_and_the_same_papers_make_the_same_bytes(
    pool: Pool, blob: Path, tmp_path: Path
) -> None:
    stored = pool.put(blob)["object"]
    bundles = [tmp_path / "one.zip", tmp_path / "two.zip"]
    for bundle in bundles:
        assert pool.run("receipt", stored, "--bundle", bundle).json["bundle"] == str(bundle)
    assert bundles[0].read_bytes() == bundles[1].read_bytes()
    checked = run("--home", "/nonexistent", "--json", "check-receipt", bundles[0], "--against", blob).json
    assert (checked["valid"], checked["object"]) == (True, stored)
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    assert run("--json", "check-receipt", bundles[0], "--against", blob, expect=4).json["valid"] is False
    data = bundles[0].read_bytes()
    bundles[1].write_bytes(data[:30_000] + bytes([data[30_000] ^ 1]) + data[30_001:])
    run("check-receipt", bundles[1], expect=4)

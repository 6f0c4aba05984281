"""The demo tells the truth, and leaves nothing running however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cli.background import launcher
from cli.demo_data import read_reference, simulate_pairs
from cli.demo_story import step_titles
from tests.integration.pool import run, wait_until


def processes_of(folder: Path) -> list[int]:
    """Daemons and commands whose words name the folder."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                # It has ended meanwhile.
                continue
            if os.fsencode(folder) in words:
                found.append(int(entry.name))
    return found


def test_the_demo_does_every_step_and_says_so(tmp_path: Path) -> None:
    ran = run("demo", "--json", "--dir", tmp_path / "demo")
    steps = ran.json["steps"]
    assert ran.json["ok"] is True
    assert [step["name"] for step in steps] == [name for name, _ in step_titles()]
    assert all(step["ok"] for step in steps)
    assert processes_of(tmp_path) == []
    assert steps[0]["images"] >= 20
    assert "simulated" in steps[0]["detail"]


def test_the_demo_refuses_a_folder_that_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    assert "not an empty folder" in run("demo", "--dir", tmp_path, expect=2).complaint
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


STARTING, STORING = "pool/peer-3/state", "pool/client/catalogue"


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        pytest.param(signal.SIGTERM, STARTING, id="SIGTERM-starting"),
        pytest.param(signal.SIGINT, STORING, id="SIGINT-storing", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, STARTING, id="SIGINT-starting", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, STORING, id="SIGTERM-storing", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, STARTING, id="SIGHUP-starting", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, STORING, id="SIGHUP-storing", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_demo_leaves_nothing_running(tmp_path: Path, number: signal.Signals, moment: str) -> None:
    folder = tmp_path / "demo"
    demo = subprocess.Popen(
        [*launcher(), "demo", "--json", "--dir", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        wait_until((folder / moment).exists, what=moment, within_s=60)
        began = time.monotonic()
        # As a terminal does it: to the whole process group.
        os.killpg(demo.pid, number)
        _, complaint = demo.communicate(timeout=60)
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGKILL)
            demo.communicate()
    assert demo.returncode == 130, complaint
    assert time.monotonic() - began < 45
    assert processes_of(tmp_path) == []


@pytest.mark.slow
def test_a_demo_that_is_killed_takes_its_daemons_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    demo = subprocess.Popen(
        [*launcher(), "demo", "--json", "--dir", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with demo:
        wait_until((folder / STORING).exists, what=STORING, within_s=60)
        demo.kill()
    wait_until(lambda: processes_of(tmp_path) == [], what="the end of its daemons", within_s=30)


@pytest.mark.slow
def test_a_step_that_fails_fails_the_demo_and_the_pool_goes_down(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [*launcher(), "demo", "--json", "--dir", str(tmp_path / "demo")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with demo:
        wait_until((tmp_path / "demo/pool/peer-6/state/address").exists, what="pool", within_s=60)
        # Its keys are gone: the put cannot go right.
        wait_until((tmp_path / "demo/pool/client/keys/organisation.seed").exists, what="keys")
        (tmp_path / "demo/pool/client/keys/organisation.seed").unlink()
        output, _ = demo.communicate(timeout=90)
    value = json.loads(output)
    assert demo.returncode == 1
    assert value["ok"] is False
    assert [step["ok"] for step in value["steps"]].count(False) == 1
    assert value["steps"][-1]["ok"] is False
    assert processes_of(tmp_path) == []


def test_the_reference_is_the_real_one() -> None:
    bases = read_reference()
    assert len(bases) == 300_000
    # thrL, the first gene of MG1655: bases 190 to 255.
    assert bases[189:255] == "ATGAAACGCATTAGCACCACCATTACCACCACCATCACCATTACCACAGGTAACGGTGCGGGCTGA"


def test_simulated_reads_are_the_same_for_the_same_seed_and_mostly_match() -> None:
    bases = read_reference()[:10_000]
    once, again = list(simulate_pairs(bases, 200, 7)), list(simulate_pairs(bases, 200, 7))
    assert once == again
    both = bases + bases.translate(str.maketrans("ACGT", "TGCA"))[::-1]
    exact = 0
    for left, _ in once:
        name, read, plus, quality = left.decode().splitlines()
        assert name.startswith("@SIMULATED")
        assert (len(read), plus, len(quality)) == (150, "+", 150)
        exact += read in both
    assert exact > 50

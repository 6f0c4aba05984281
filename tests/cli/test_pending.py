"""What is pending, as people see it: listed, printed, given up; and what is damaged is not passed over."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from anchor.manifest import object_id
from cli.main import main
from client.home import load_home
from client.memory import CatalogueEntry
from client.pending import make_pending_document
from client.provision import Provisioner
from client.unfinished import Unfinished, UnfinishedPuts
from core.errors import EXIT_INTEGRITY, EXIT_OK, EXIT_TRY_AGAIN, EXIT_USAGE
from core.ids import PoolId
from host.chance import RealChance
from host.clock import RealClock
from host.disk import RealDisk
from tests.anchor.test_receipt import POOL, manifest_file

Capture = pytest.CaptureFixture[str]
MANIFEST = manifest_file()
NAME = object_id(MANIFEST)
NOTE = Unfinished(CatalogueEntry(NAME, bytes(32), "study", 3, 200, 400, 1_790_000_000), MANIFEST)


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UnfinishedPuts:
    disk, chance = RealDisk(private=True), RealChance()
    folder = Provisioner(disk, chance, RealClock(), "pool.example").make(str(tmp_path / "pool"), peers=1, sites=1)[0]
    monkeypatch.setenv("MOORAGE_HOME", folder.folder)
    return UnfinishedPuts(disk, load_home(disk, folder.folder, RealClock()), chance)


def damage(notes: UnfinishedPuts) -> str:
    notes.keep(NOTE)
    path = Path(os.environ["MOORAGE_HOME"], "state", "unfinished", str(NAME))
    path.write_bytes(b"no note")
    return str(path)


@pytest.mark.parametrize("is_anchored", [False, True])
def test_what_is_pending_is_listed_with_its_progress(notes: UnfinishedPuts, capsys: Capture, is_anchored: bool) -> None:
    notes.keep(NOTE._replace(is_anchored=is_anchored))
    assert main(["ls"]) == EXIT_OK
    words = "anchored, but too few holders have its receipt)" if is_anchored else "not anchored)"
    assert f"(PENDING since 2026-09-21 14:13:20 UTC, {words}" in capsys.readouterr().out
    assert main(["ls", "--json"]) == EXIT_OK
    listed = json.loads(capsys.readouterr().out)
    assert [(item["object"], item["anchored"]) for item in listed["pending"]] == [(str(NAME), is_anchored)]
    assert (listed["objects"], listed["damaged"]) == ([], [])
    assert main(["receipt", str(NAME)]) == EXIT_TRY_AGAIN
    assert bool(capsys.readouterr().out) == (not is_anchored)


def test_a_damaged_note_is_told_and_is_no_success(notes: UnfinishedPuts, capsys: Capture) -> None:
    path = damage(notes)
    assert main(["ls", "--json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out)["damaged"] == [path]
    assert main(["receipt", "--settle"]) == EXIT_INTEGRITY
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{path} is damaged" in captured.err
    assert main(["receipt", "--settle", "--json"]) == EXIT_INTEGRITY
    assert json.loads(capsys.readouterr().out) == {
        "schema": 1,
        "settled": [],
        "pending": [],
        "damaged": [path],
    }


def test_what_is_pending_can_be_given_up(notes: UnfinishedPuts, capsys: Capture) -> None:
    notes.keep(NOTE)
    assert main(["receipt", "--forget", str(NAME)[:6], "--json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out)["object"] == str(NAME)
    assert notes.all() == []
    assert main(["receipt", "--forget", str(NAME)]) == 1
    assert "is pending" in capsys.readouterr().err
    assert main(["receipt", "--settle"]) == EXIT_OK
    assert capsys.readouterr().out == "nothing is pending\n"


@pytest.mark.parametrize(
    "more", [["--forget"], ["--bundle", "x"], ["--tsa", "x"], ["--tsa-certificates", "x"], ["ab12"]]
)
def test_settling_takes_no_other_option(notes: UnfinishedPuts, more: list[str]) -> None:
    assert main(["receipt", "--settle", *more]) == EXIT_USAGE


def test_a_pending_receipt_without_proof_says_that_its_pool_is_not_verified(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "pending.json"
    path.write_text(make_pending_document(NOTE))
    words = ["check-receipt", str(path), "--pool", str(POOL)]
    assert main([*words, "--json"]) == EXIT_TRY_AGAIN
    checked = json.loads(capsys.readouterr().out)
    assert (checked["pool"], checked["pool_verified"], checked["in_log"]) == (str(POOL), False, False)
    assert main(words) == EXIT_TRY_AGAIN
    assert f"of pool {POOL}, as it says itself" in capsys.readouterr().out
    assert main(["check-receipt", str(path), "--pool", str(PoolId(bytes(32)))]) == EXIT_INTEGRITY

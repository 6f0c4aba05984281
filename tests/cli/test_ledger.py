"""anchor and ledger, as people type them, on a home of a provisioned pool."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from client.home import load_home
from client.ledger import create_log, origin_of
from client.provision import Provisioner
from host.chance import RealChance
from host.clock import RealClock
from host.disk import RealDisk
from tests.authority import authority, openssl

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    homes = Provisioner(RealDisk(private=True), RealChance(), RealClock(), "pool.example").make(
        str(tmp_path / "pool"), peers=2, sites=2
    )
    monkeypatch.setenv("MOORAGE_HOME", homes[0].folder)
    return Path(homes[0].folder)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "report.txt"
    path.write_text("no finding\n")
    return path


def said(capture: Capture, *words: str, expect: int = 0) -> str:
    assert main(words) == expect, capture.readouterr()
    captured = capture.readouterr()
    return captured.out if expect == 0 else captured.err


def told(capture: Capture, *words: str, expect: int = 0) -> dict[str, Any]:
    assert main([*words, "--json"]) == expect
    value = json.loads(capture.readouterr().out)
    assert isinstance(value, dict)
    return value


def test_an_anchored_file_is_proven_with_nothing_but_proof_and_roster(
    home: Path, report: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert "entry 0 of log pool.example/hospital-1/1" in said(capsys, "anchor", str(report))
    proof = Path(f"{report}.tlog-proof")
    assert proof.read_bytes().startswith(b"c2sp.org/tlog-proof@v1\n")
    alone = ("--home", str(tmp_path / "nowhere"), "ledger", "verify", str(proof))
    assert "nothing here says whom to believe" in said(capsys, *alone, expect=2)
    value = told(capsys, *alone, "--roster", str(home / "roster"), "--against", str(report))
    assert (value["valid"], value["signer"], value["size"]) == (True, "hospital-1", 1)
    assert {item["kind"] for item in value["cosigners"]} == {"Ed25519", "ML-DSA-44"}
    other = tmp_path / "other"
    other.write_text("a finding\n")
    assert "not the one that was anchored" in said(
        capsys, "ledger", "verify", str(proof), "--against", str(other), expect=4
    )


def test_anchoring_again_finds_the_entry_of_the_first_time(
    home: Path, report: Path, tmp_path: Path, capsys: Capture
) -> None:
    said(capsys, "anchor", str(report))
    (tmp_path / "copy.txt").write_bytes(report.read_bytes())
    (tmp_path / "other.txt").write_text("other\n")
    found = told(capsys, "anchor", str(tmp_path / "other.txt"), str(tmp_path / "copy.txt"))["anchored"]
    assert [item["index"] for item in found] == [1, 0]
    assert told(capsys, "ledger", "show")["size"] == 2


def test_a_peers_home_anchors_in_its_own_log(home: Path, report: Path, capsys: Capture) -> None:
    peer = ("--home", str(home.parent / "peer-1"))
    said(capsys, *peer, "anchor", str(report))
    proof = f"{report}.tlog-proof"
    assert "peer-1" in said(capsys, *peer, "ledger", "verify", proof, "--against", str(report))
    assert "whom to believe" in said(capsys, "ledger", "verify", proof, expect=2)


def test_entries_are_shown_and_proven(home: Path, report: Path, tmp_path: Path, capsys: Capture) -> None:
    for number in range(5):
        report.write_text(f"report {number}\n")
        said(capsys, "anchor", str(report))
    lines = said(capsys, "ledger", "show", "--from", "1", "--count", "2")
    assert "5 entries" in lines
    assert lines.count("digest") == 2
    assert [entry["index"] for entry in told(capsys, "ledger", "show", "--count", "2")["entries"]] == [3, 4]
    assert said(capsys, "ledger", "prove", "4") != said(capsys, "ledger", "prove", "3")
    proof = tmp_path / "proof"
    proof.write_text(said(capsys, "ledger", "prove", str(report)))
    said(capsys, "ledger", "verify", str(proof), "--against", str(report))
    for wrong, status, words in (
        (("ledger", "prove", "5"), 2, "5 entries"),
        (("ledger", "prove", "nothing"), 2, "neither a file"),
        (("ledger", "prove", "abcd"), 1, "no entry about an object abcd"),
        (("ledger", "show", "--count", "-1"), 2, "from 0 on"),
        (("ledger", "verify", str(report)), 4, "neither a log"),
        (("ledger", "verify", str(tmp_path / "missing")), 1, "cannot be read"),
        (("ledger", "verify", str(tmp_path)), 1, "cannot be read"),
        (("anchor", str(tmp_path / "missing")), 1, "no such file"),
        (("anchor", str(tmp_path)), 1, "is no file"),
        (("anchor", str(report), str(report), "--to", "x"), 2, "one file"),
    ):
        assert words in said(capsys, *wrong, expect=status), wrong


def test_every_changed_byte_of_a_proof_is_noticed_or_means_nothing(home: Path, report: Path, capsys: Capture) -> None:
    said(capsys, "anchor", str(report))
    proof = Path(f"{report}.tlog-proof")
    data = proof.read_bytes()
    before = told(capsys, "ledger", "verify", str(proof), "--against", str(report))
    for at in range(0, len(data), 37):
        proof.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        if main(["ledger", "verify", str(proof), "--against", str(report), "--json"]) == 0:
            assert json.loads(capsys.readouterr().out) == before
        capsys.readouterr()


@pytest.fixture
def served(home: Path, report: Path, tmp_path: Path, capsys: Capture) -> Iterator[tuple[Path, str]]:
    """An exported log, and its address on a static web server on loopback."""
    for number in range(3):
        report.write_text(f"report {number}\n")
        said(capsys, "anchor", str(report))
    folder = tmp_path / "export"
    said(capsys, "ledger", "export", str(folder))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

        def log_error(self, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_an_exported_log_is_whole_and_grows(
    served: tuple[Path, str], home: Path, report: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder, _ = served
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {"checkpoint", "policy", "tile/0/000.p/3", "tile/entries/000.p/3"}
    assert "roster of pool" in said(capsys, "ledger", "verify", str(folder))
    stranger = ("--home", str(tmp_path / "nowhere"))
    assert "ITS OWN policy" in said(capsys, *stranger, "ledger", "verify", str(folder))
    said(capsys, *stranger, "ledger", "verify", str(folder), "--policy", str(folder / "policy"))
    report.write_text("one more\n")
    said(capsys, "anchor", str(report))
    said(capsys, "ledger", "export", str(folder))
    assert "4 entries" in said(capsys, "ledger", "verify", str(folder))
    entry = folder / "tile/entries/000.p/4"
    entry.write_bytes(entry.read_bytes().replace(b"sha256", b"sha255", 1))
    assert "do not have the hashes" in said(capsys, "ledger", "verify", str(folder), expect=4)
    assert "not empty" in said(capsys, "ledger", "export", str(home), expect=1)


def test_a_log_is_watched_in_a_folder_and_on_a_web_server(
    served: tuple[Path, str], home: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder, url = served
    stranger = ("--home", str(tmp_path / "nowhere"), "ledger", "watch", "--once", "--roster", str(home / "roster"))
    assert "give --state" in said(capsys, *stranger, url, expect=2)
    state = ("--state", str(tmp_path / "state"))
    assert "3 entries, 3 of them new" in said(capsys, *stranger, *state, url)
    assert "3 entries, 0 of them new" in said(capsys, *stranger, *state, str(folder))
    assert "3 entries, 3 of them new" in said(capsys, "ledger", "watch", "--once")
    assert "no checkpoint" in told(capsys, *stranger, *state, str(tmp_path), expect=75)["logs"][0]["silent"]
    gone = told(capsys, *stranger, *state, "http://127.0.0.1:1/log", expect=75)
    assert gone["ok"] is False
    assert "127.0.0.1:1" in gone["logs"][0]["silent"]
    for wrong in ("http://", "http://host:99999/", "http://host/?x=1", "ftp://host/"):
        assert main([*stranger, *state, wrong]) in (1, 2)
        capsys.readouterr()


def test_a_fork_on_a_web_server_ends_in_evidence_that_verifies_elsewhere(
    served: tuple[Path, str], home: Path, report: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder, url = served
    said(capsys, "ledger", "watch", "--once", url)
    backup = tmp_path / "old"
    folder.rename(backup)
    RealDisk(private=True).make_folders(str(folder))
    # The hospital's keys in other hands: its log and its witness begin anew.
    for name in ("anchor", "witness"):
        (home / name).rename(tmp_path / f"old-{name}")
    opened = load_home(RealDisk(private=True), str(home), RealClock())
    create_log(RealDisk(private=True), str(home), origin_of(opened), opened.ledger, now_s=1_790_000_000)
    for number in range(5):
        report.write_text(f"forged {number}\n")
        said(capsys, "anchor", str(report))
    said(capsys, "ledger", "export", str(folder))
    assert main(["ledger", "watch", "--once", "--json", url]) == 4
    captured = capsys.readouterr()
    (alarm,) = json.loads(captured.out)["alarms"]
    assert "ALARM: fork" in captured.err
    stranger = ("--home", str(tmp_path / "nowhere"), "ledger", "verify", alarm["folder"])
    value = told(capsys, *stranger, "--roster", str(home / "roster"))
    assert value["proven"][0] == "the log signed 3 entries, and then 5 that do not begin with them"
    other = tmp_path / "policy"
    other.write_text((folder / "policy").read_text() + "# another\n")
    assert "not the one in" in said(capsys, *stranger, "--policy", str(other), expect=4)
    assert "ALARM (it stands)" in said(capsys, "ledger", "watch", "--once", str(home), expect=4)


def test_a_checkpoint_is_stamped_by_an_authority_and_checked_by_openssl(
    home: Path, report: Path, tmp_path: Path, capsys: Capture
) -> None:
    pytest.importorskip("rfc3161_client")
    said(capsys, "anchor", str(report))
    folder = tmp_path / "stamped"
    with authority(tmp_path / "office") as office:
        words = ("ledger", "stamp", "--tsa", office.url, "--to", str(folder))
        assert "was not checked" in said(capsys, *words)
        value = told(capsys, *words, "--tsa-certificates", str(office.certificates))
        assert value["time_stamp"]["believed"] is True
        wrong = said(capsys, *words, "--tsa-certificates", str(office.other), expect=4)
        assert "time stamp" in wrong
        openssl_words = ("ts", "-verify", "-data", "checkpoint", "-in", "checkpoint.tsr", "-CAfile")
        openssl(folder, *openssl_words, str(office.certificates), "-untrusted", str(office.certificates))
    assert "127.0.0.1" in said(capsys, *words, expect=75)

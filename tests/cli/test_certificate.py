"""certificate, as people type it: homes that are near their end get new dates and stay who they are."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from client.certificates import (
    BEFORE_FILE,
    CERTIFICATE_VALID_S,
    DAY_S,
    ISSUER_VALID_S,
    SERIAL_BYTES,
    issue_for_home,
    read_certificate_of,
    read_issuing,
)
from client.home import Home, load_home
from client.provision import Provisioner
from core.errors import EXIT_PARTIAL, PeerRefusedError
from core.identity import certificate_end_s, certificate_of_pem, certificate_pem
from host.chance import RealChance
from host.clock import RealClock
from host.disk import RealDisk

Capture = pytest.CaptureFixture[str]


class Clock:
    """Days from now."""

    def __init__(self, days: float) -> None:
        self._shift_s = days * DAY_S

    def now(self) -> float:
        return RealClock().now() + self._shift_s


NEAR = Clock(30 - CERTIFICATE_VALID_S / DAY_S)
"""What was issued then ends 30 days from now."""


def make_pool(folder: Path, clock: Clock = NEAR) -> Path:
    Provisioner(RealDisk(private=True), RealChance(), clock, "pool.example").make(str(folder), peers=3, sites=3)
    return folder


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return make_pool(tmp_path / "pool")


def load(folder: Path, days: float = 0.0) -> Home:
    return load_home(RealDisk(private=True), str(folder), Clock(days))


def told(capture: Capture, *words: str | Path, expect: int = 0) -> dict[str, Any]:
    assert main([*map(str, words), "--json"]) == expect, capture.readouterr()
    value: dict[str, Any] = json.loads(capture.readouterr().out)
    return value


def complaint(capture: Capture, *words: str | Path, expect: int) -> str:
    assert main([str(word) for word in words]) == expect
    return capture.readouterr().err


def test_all_homes_of_a_pool_are_renewed_by_one_command_and_stay_who_they_are(pool: Path, capsys: Capture) -> None:
    names = ["client", "peer-1", "peer-2", "peer-3"]
    before = {name: load(pool / name).identity for name in names}
    rows = told(capsys, "--home", pool / "client", "certificate", "renew")["certificates"]
    assert [(row["name"], row["renewed"]) for row in rows] == [(name, True) for name in names]
    for name in names:
        with pytest.raises(PeerRefusedError, match="ended on"):
            load_home(RealDisk(private=True), str(pool / name), Clock(750))
        after = load(pool / name, days=700).identity
        old = before[name]
        assert (after.peer, after.name, after.site, after.role) == (old.peer, old.name, old.site, old.role)
        assert certificate_end_s(after.certificate) == pytest.approx(Clock(0).now() + CERTIFICATE_VALID_S, abs=60)
    again = told(capsys, "--home", pool / "client", "certificate", "renew")["certificates"]
    assert not any(row["renewed"] for row in again)
    soon = told(capsys, "--home", pool / "client", "certificate", "renew", pool / "peer-2", "--within-days", "9999")
    assert [(row["name"], row["renewed"]) for row in soon["certificates"]] == [("peer-2", True)]


def test_what_has_ended_is_refused_with_the_command_that_mends_it(tmp_path: Path, capsys: Capture) -> None:
    pool = make_pool(tmp_path / "pool", Clock(-CERTIFICATE_VALID_S / DAY_S - 1))
    assert "`moorage certificate renew`" in complaint(capsys, "--home", pool / "client", "ls", expect=6)
    checks = told(capsys, "--home", pool / "peer-1", "doctor", expect=EXIT_PARTIAL)["checks"]
    assert "`moorage certificate renew`" in next(check["text"] for check in checks if check["name"] == "home")
    assert main(["--home", str(pool / "client"), "certificate", "renew"]) == 0
    assert capsys.readouterr().out.count("renewed, valid until") == 4
    assert load(pool / "peer-1").identity.name == "peer-1"


def test_the_doctor_warns_two_months_before_the_end(tmp_path: Path, pool: Path, capsys: Capture) -> None:
    def check(home: Path) -> dict[str, Any]:
        main(["--home", str(home), "--json", "doctor"])
        return next(item for item in json.loads(capsys.readouterr().out)["checks"] if item["name"] == "certificate")

    near = check(pool / "peer-1")
    assert not near["ok"]
    assert "certificate renew" in near["text"]
    assert check(make_pool(tmp_path / "later", Clock(70 - CERTIFICATE_VALID_S / DAY_S)) / "peer-1")["ok"]


def test_a_peer_on_another_machine_sends_its_certificate_and_installs_the_answer(
    pool: Path, tmp_path: Path, capsys: Capture
) -> None:
    client, away = pool / "client", tmp_path / "away"
    shutil.move(pool / "peer-2", away)
    old = load(away).identity
    assert main(["--home", str(client), "certificate", "issue", "--for", str(away / "keys/tls.crt")]) == 0
    (tmp_path / "answer.pem").write_text(capsys.readouterr().out)
    assert "not for the key" in complaint(
        capsys, "--home", pool / "peer-1", "certificate", "install", tmp_path / "answer.pem", expect=1
    )
    told(capsys, "--home", away, "certificate", "install", tmp_path / "answer.pem")
    assert load(away, days=700).identity.peer == old.peer
    # The one of before is not put back.
    (tmp_path / "old.pem").write_bytes((pool / "peer-1" / "keys/tls.crt").read_bytes())
    told(capsys, "--home", client, "certificate", "renew")
    words = complaint(capsys, "--home", pool / "peer-1", "certificate", "install", tmp_path / "old.pem", expect=1)
    assert "longer than" in words


def test_without_the_issuing_key_it_is_said_where_to_go(pool: Path, tmp_path: Path, capsys: Capture) -> None:
    rows = told(capsys, "--home", pool / "peer-1", "certificate", "renew", pool / "peer-1", expect=EXIT_PARTIAL)
    assert "give --home the client's home that has it" in rows["certificates"][0]["problem"]
    assert not rows["certificates"][0]["renewed"]
    words: list[str | Path] = ["certificate", "issue", "--for", pool / "peer-1" / "keys/tls.crt"]
    assert "client's home that has it" in complaint(capsys, "--home", pool / "peer-1", *words, expect=1)
    key = pool / "client" / "keys/issuers/hospital-2.key"
    key.write_bytes((pool / "client" / "keys/issuers/hospital-1.key").read_bytes())
    rows = told(capsys, "--home", pool / "client", "certificate", "renew", expect=EXIT_PARTIAL)["certificates"]
    assert [row["name"] for row in rows if row["problem"]] == ["peer-2"]
    assert "is not the key that the roster has of hospital-2" in rows[2]["problem"]
    other = make_pool(tmp_path / "other")
    words = ["certificate", "renew", other / "peer-1"]
    rows = told(capsys, "--home", pool / "client", *words, expect=EXIT_PARTIAL)["certificates"]
    assert "not issued by" in rows[0]["problem"]
    words = ["certificate", "issue", "--for", pool / "client" / "roster"]
    assert "no certificate in PEM" in complaint(capsys, "--home", pool / "client", *words, expect=2)


def days(count: float) -> float:
    return Clock(count).now()


def by_name(capture: Capture, pool: Path, *words: str | Path, expect: int = 0) -> dict[str, dict[str, Any]]:
    rows = told(capture, "--home", pool / "client", "certificate", "renew", *words, expect=expect)["certificates"]
    return {Path(row["home"]).name: row for row in rows}


def test_a_home_that_cannot_be_renewed_hinders_no_other(pool: Path, capsys: Capture) -> None:
    shutil.copytree(pool / "peer-3", pool / "peer-4")
    (pool / "peer-4/roster").unlink()
    (pool / "peer-2/roster").write_bytes(b"damaged")
    (pool / "peer-3/keys/tls.crt").write_bytes(b"damaged")
    command = ["--home", str(pool / "client"), "certificate", "renew"]
    assert main(command) == EXIT_PARTIAL
    said = capsys.readouterr()
    assert [line.split(":")[0] for line in said.out.splitlines()[:4]] == [
        f"client of hospital-1 ({pool}/client)",
        f"peer-1 of hospital-1 ({pool}/peer-1)",
        f"peer-2 of hospital-2 ({pool}/peer-2)",
        f"{pool}/peer-3",
    ]
    assert said.out.count("renewed, valid until") == 2
    assert said.out.count("NOT renewed") == 2
    assert f"{pool}/peer-4 is left out: it has no roster" in said.err
    assert load(pool / "peer-1", days=700).identity.name == "peer-1"


def test_what_a_clock_that_ran_ahead_made_is_made_again(
    pool: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = Clock(300)
    with monkeypatch.context() as patch:
        patch.setattr("cli.certificate.RealClock", lambda: ahead)
        assert by_name(capsys, pool)["peer-1"]["renewed"]
    with pytest.raises(PeerRefusedError, match=r"is the clock right\? If it is, `moorage certificate renew`"):
        load(pool / "peer-1")
    rows = by_name(capsys, pool)
    assert all(row["renewed"] for row in rows.values())
    assert rows["peer-1"]["ends_s"] == pytest.approx(days(CERTIFICATE_VALID_S / DAY_S), abs=60)
    assert load(pool / "peer-1").identity.name == "peer-1"
    # What was good before the clock ran ahead is still at hand.
    before = read_certificate_of(RealDisk(), str(pool / "peer-1"), load(pool / "peer-1").roster)
    assert (pool / "peer-1" / BEFORE_FILE).read_bytes() != (pool / "peer-1/keys/tls.crt").read_bytes()
    assert certificate_end_s(certificate_of_pem((pool / "peer-1" / BEFORE_FILE).read_bytes())) < before.end_s


@pytest.mark.parametrize(
    ("shift", "words"), [(-1000, "set the clock"), (500, "--clock-is-right"), (31 * 366, "another issuer has to come")]
)
def test_a_clock_that_cannot_be_right_renews_nothing(
    pool: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, shift: int, words: str
) -> None:
    monkeypatch.setattr("cli.certificate.RealClock", lambda: Clock(shift))
    more = ["--clock-is-right"] if shift > 1000 else []
    rows = by_name(capsys, pool, *more, expect=EXIT_PARTIAL)
    assert all(words in row["problem"] for row in rows.values()), rows
    if shift == 500:
        assert all(row["renewed"] for row in by_name(capsys, pool, "--clock-is-right").values())


def test_a_folder_that_takes_no_writes_hinders_no_other(
    pool: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = RealDisk.rename

    def refuse(self: RealDisk, source: str, target: str) -> None:
        if "/peer-1/" in target:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), target)
        rename(self, source, target)

    monkeypatch.setattr(RealDisk, "rename", refuse)
    rows = by_name(capsys, pool, expect=EXIT_PARTIAL)
    assert [name for name, row in rows.items() if not row["renewed"]] == ["peer-1"]
    assert "Permission denied; give this as the user" in rows["peer-1"]["problem"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_renews_stays_readable_to_the_daemon_s_user(capsys: Capture) -> None:
    # Below /tmp itself: pytest's own folders are closed to others.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        pool = make_pool(Path(folder) / "pool")
        os.chmod(pool, 0o755)
        home = pool / "peer-1"
        for path in (home, *home.rglob("*")):
            os.chown(path, 65534, 65534)
        assert by_name(capsys, pool)["peer-1"]["renewed"]
        assert os.geteuid() == 0
        assert {path for path in home.rglob("*") if path.stat().st_uid != 65534} == set()
        assert (pool / "peer-2/keys/tls.crt").stat().st_uid == 0


def test_a_lost_certificate_is_made_anew_from_that_of_before_or_from_what_a_person_says(
    pool: Path, capsys: Capture
) -> None:
    home, old = pool / "peer-2", load(pool / "peer-2").identity
    by_name(capsys, pool)
    (home / "keys/tls.crt").unlink()
    assert "is missing: restore it, or have `moorage certificate renew`" in complaint(
        capsys, "--home", home, "peers", expect=1
    )
    assert [name for name, row in by_name(capsys, pool).items() if row["renewed"]] == ["peer-2"]
    assert load(home, days=700).identity.peer == old.peer
    for name in ("keys/tls.crt", BEFORE_FILE):
        (home / name).write_bytes(b"damaged")
    assert "A certificate is lost" in by_name(capsys, pool, expect=EXIT_PARTIAL)["peer-2"]["problem"]
    words: list[str | Path] = [home, "--name", "peer-2", "--site", "site-2", "--organisation", "hospital-2"]
    assert by_name(capsys, pool, *words)["peer-2"]["renewed"]
    found = load(home, days=700).identity
    assert (found.peer, found.name, found.site, found.role) == (old.peer, old.name, old.site, old.role)
    command: list[str | Path] = ["--home", pool / "client", "certificate", "renew"]
    assert "leave --name out" in complaint(capsys, *command, *words, expect=2)
    assert "--name is for one home" in complaint(capsys, *command, "--name", "x", expect=2)


def test_a_certificate_that_calls_the_home_otherwise_is_not_installed(pool: Path, capsys: Capture) -> None:
    disk, home = RealDisk(), load(pool / "peer-1")
    made = issue_for_home(
        disk,
        home.folder,
        read_issuing(disk, str(pool / "client"), home.roster, "hospital-1"),
        name="peer-1",
        site="site-2",
        role="peer",
        now=days(0),
        serial=b"s" * SERIAL_BYTES,
    )
    (pool / "new.crt").write_bytes(certificate_pem(made))
    words = complaint(capsys, "--home", pool / "peer-1", "certificate", "install", pool / "new.crt", expect=1)
    assert "its site is site-2, and this home's is site-1" in words


def test_a_pool_leaves_out_what_is_no_home_yet_and_says_so(pool: Path, capsys: Capture) -> None:
    (pool / "peer-4/keys").mkdir(parents=True)
    assert main(["--json", "pool", "status", "--dir", str(pool)]) == EXIT_PARTIAL
    said = capsys.readouterr()
    assert [row["name"] for row in json.loads(said.out)["peers"]] == ["peer-1", "peer-2", "peer-3"]
    assert f"{pool}/peer-4 is left out: it has no roster" in said.err


def test_the_doctor_warns_years_before_an_issuer_ends(tmp_path: Path, pool: Path, capsys: Capture) -> None:
    def issuer(home: Path) -> dict[str, Any]:
        main(["--home", str(home), "--json", "doctor"])
        return next(item for item in json.loads(capsys.readouterr().out)["checks"] if item["name"] == "issuer")

    assert issuer(pool / "peer-1")["ok"]
    old = make_pool(tmp_path / "old", Clock(-(ISSUER_VALID_S / DAY_S - 500)))
    told(capsys, "--home", old / "client", "certificate", "renew", "--clock-is-right")
    near = issuer(old / "peer-1")
    assert not near["ok"]
    assert "hospital-1 ends in" in near["text"]

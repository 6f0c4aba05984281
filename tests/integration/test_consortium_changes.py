"""A member's machines and keys change while the consortium runs: real processes, each with keys of its own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.pool import running_pid
from client.home import NEXT_SERVICE_WITNESS_FILE, SERVICE_LOG_FILE, SERVICE_WITNESS_FILE
from tests.integration.consortium import Consortium, consortium, free_port
from tests.integration.pool import Pool, Ran, Running, random_file, run, wait_until

pytestmark = pytest.mark.timeout(300)


def put(pool: Consortium, by: str, path: Path) -> str:
    """Its receipt. A ledger peer takes up a new roster within seconds: until then a put is refused."""
    said: list[Ran] = []

    def is_anchored() -> bool:
        said.append(pool.run(by, "put", path, expect=None))
        return said[-1].status == 0

    wait_until(is_anchored, what=f"receipt for {by}", within_s=60)
    assert said[-1].json["anchored"] is True
    receipt: str = said[-1].json["receipt"]
    return receipt


def put_until(pool: Consortium, by: str, folder: Path, true: Callable[[], bool], *, within_s: float) -> None:
    """Store one file after the other until something is so."""
    deadline, number = time.monotonic() + within_s, 0
    while not true():
        assert time.monotonic() < deadline, f"not so after {number} puts"
        put(pool, by, random_file(folder / f"study-{number}", 60_000, seed=number))
        number += 1


def shards_in(home: Path) -> list[Path]:
    return [path for path in (home / "shards").rglob("*") if path.is_file()]


@pytest.mark.slow
def test_a_member_adds_a_disk_here_and_one_on_another_machine(tmp_path: Path) -> None:
    with consortium(tmp_path / "pool", "a", "b", "c") as pool:
        epoch = pool.epoch("c")
        listen = f"127.0.0.1:{free_port()}"
        made = pool.run("b", "consortium", "add-peer", "--listen", listen).json
        began = time.monotonic()
        assert (made["name"], made["address"], made["organisation"]) == ("peer-2", listen, "b")
        assert made["pid"]
        second = pool.home("b", "peer-2")
        put_until(pool, "a", tmp_path, lambda: bool(shards_in(second)), within_s=60)
        assert time.monotonic() - began < 60
        # For another machine it is made here, and moved.
        words = ["--listen", f"127.0.0.1:{free_port()}", "--no-start", "--dir", str(tmp_path / "made")]
        third = pool.run("b", "consortium", "add-peer", *words).json
        assert (third["name"], third["pid"]) == ("peer-3", None)
        away = tmp_path / "elsewhere" / "home"
        away.parent.mkdir()
        shutil.move(tmp_path / "made", away)
        daemon = Running(["--home", str(away), "daemon"])
        try:
            wait_until(lambda: running_pid(str(away)) is not None, what="daemon of the moved home")
            put_until(pool, "c", tmp_path / "more", lambda: bool(shards_in(away)), within_s=60)
            listed = {(item["organisation"], item["name"]) for item in pool.run("a", "peers").json["peers"]}
            assert {("b", "peer-1"), ("b", "peer-2"), ("b", "peer-3")} <= listed
            # Nobody had to agree to it.
            assert pool.epoch("a") == pool.epoch("c") == epoch
        finally:
            daemon.kill()
        refused = run("--home", second, "consortium", "add-peer", "--listen", listen, expect=1)
        assert "give --home the client's" in refused.complaint


@pytest.mark.slow
def test_a_witness_key_and_a_lost_log_are_replaced_while_the_others_anchor(tmp_path: Path) -> None:
    with consortium(tmp_path / "pool", "a", "b", "c") as pool:
        first = put(pool, "a", random_file(tmp_path / "first", 60_000))
        peer = pool.home("b", "peer-1")
        seed = (peer / SERVICE_WITNESS_FILE).read_bytes()
        assert pool.run("b", "consortium", "rotate-key", "--key", "witness").json["published"] is False
        assert (peer / SERVICE_WITNESS_FILE).read_bytes() == seed
        pool.approve("b", "a")
        assert pool.approve("b", "c")["published"] is True
        wait_until(lambda: (peer / SERVICE_WITNESS_FILE).read_bytes() != seed, what="new witness key in use")
        assert not (peer / NEXT_SERVICE_WITNESS_FILE).exists()
        # All three have to sign: the new key of b does.
        second = put(pool, "a", random_file(tmp_path / "second", 60_000))
        for receipt in (first, second):
            assert len(pool.run("c", "check-receipt", receipt).json["cosigners"]) == 3
        # The log of b is lost, and with it its key.
        put(pool, "b", random_file(tmp_path / "third", 60_000))
        pool.stop("b")
        shutil.rmtree(peer / "ledger" / "log")
        (peer / SERVICE_LOG_FILE).unlink()
        asked = pool.run("b", "consortium", "rotate-key", "--key", "log", "--reason", "disk lost").json
        assert any("consortium.example/b/1 ends for good" in line for line in asked["words"])
        pool.start("b")
        pool.approve("b", "a")
        assert pool.approve("b", "c")["published"] is True
        receipt = put(pool, "b", random_file(tmp_path / "fourth", 60_000))
        checked = pool.run("a", "check-receipt", receipt).json
        assert checked["origin"] == "consortium.example/b/2"
        assert len(checked["cosigners"]) == 3

        def is_quiet() -> bool:
            """The logs of the others show their newest checkpoints with the names of today, too."""
            looked = pool.run("a", "ledger", "watch", "--once", expect=None).json
            notes = [note for log in looked["logs"] for note in log["notes"] if log["origin"].endswith("/b/2")]
            return not looked["alarms"] and any("it follows consortium.example/b/1" in note for note in notes)

        wait_until(is_quiet, what="logs by the new roster", within_s=60)
        assert pool.run("b", "--home", peer, "ledger", "show").json["origin"] == "consortium.example/b/2"


@pytest.mark.slow
def test_a_pool_in_one_hand_gets_another_peer(make_pool: Callable[..., Pool], tmp_path: Path) -> None:
    pool = make_pool(peers=3, sites=3, scheme="2+1")
    words = ["pool", "up", "--dir", str(pool.folder), "--scheme", "2+1"]
    refused = run(*words, "--peers", "4", expect=2)
    assert f"moorage pool add-peer --dir {pool.folder}" in refused.complaint
    made = run("--json", "pool", "add-peer", "--dir", pool.folder).json
    assert (made["name"], made["organisation"], made["site"]) == ("peer-4", "hospital-1", "site-1")
    pool.names.append("peer-4")
    number = 0
    while not pool.shards("peer-4"):
        assert number < 40
        pool.put(random_file(tmp_path / f"study-{number}", 60_000, seed=number))
        number += 1
    # The pool starts and stops with all of them.
    pool.down()
    assert len(run("--json", *words).json["peers"]) == 4

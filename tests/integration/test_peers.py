"""Peers come, go, move, hang and restart; the pool finds them, or does without them and says so."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.pool import Pool, Ran, is_whole, random_file, wait_until

# What a silent peer may cost; the rest is what the command takes anyway, on a machine with other work.
HUNG_COST_S = 5.0


def test_pool_up_answers_within_twenty_seconds_and_pool_down_leaves_no_process(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool(up=False)
    up = pool.up()
    assert up.seconds < 20
    peers = up.json["peers"]
    assert [peer["name"] for peer in peers] == pool.names
    assert len({peer["pid"] for peer in peers}) == 6
    assert {peer["site"] for peer in peers} == {"site-1", "site-2", "site-3"}
    # One that is stopped (SIGSTOP) is brought down too.
    pool.stop("peer-2")
    assert [peer["pid"] for peer in pool.down().json["peers"]] == [None] * 6
    for peer in peers:
        stat = Path(f"/proc/{peer['pid']}/stat")
        # Z: it has ended, and only waits for the system to notice.
        assert not stat.exists() or ") Z " in stat.read_text()


def test_one_bootstrap_address_finds_all_others(pool: Pool) -> None:
    first = (pool.home("peer-1") / "state" / "address").read_text().strip()
    for name in pool.names[1:]:
        assert (pool.home(name) / "bootstrap").read_text().split() == [first]
    found = pool.run("peers", home="peer-4").json["peers"]
    assert sorted(peer["name"] for peer in found if peer["answers"]) == pool.names


def test_a_peer_that_comes_back_on_another_port_is_found_again(pool: Pool, blob: Path, tmp_path: Path) -> None:
    stored = pool.put(blob)["object"]
    file = pool.home("peer-2") / "state" / "address"
    old = file.read_text().strip()
    pool.kill("peer-2")
    with socket.socket() as squatter:
        # Its port is taken meanwhile: it cannot come back where it was.
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", int(old.rpartition(":")[2])))
        squatter.listen()
        pool.up()
        assert file.read_text().strip() != old
        assert pool.verify(stored)["health"] == "full"
        swept = pool.sweep(stored, home="peer-5")
        assert swept["findings"] == []
    pool.get(stored, tmp_path / "out")


@pytest.mark.slow  # measures seconds, so nothing else should run beside it
def test_a_hung_peer_costs_no_command_more_than_five_seconds(make_pool: Callable[..., Pool], tmp_path: Path) -> None:
    """SIGSTOP: alive, sockets open, silent. Seven peers, so that a put can do without it."""
    pool = make_pool(peers=7, sites=None)
    blobs = [random_file(tmp_path / f"{number}.bin", 2_000_000) for number in range(3)]
    usual = pool.run("put", blobs[0])
    stored = usual.json["object"]
    # Site 1 has three peers: one of them can be done without.
    hung = pool.holder(pool.shards_of(stored, "peer-4", "peer-7")[0])
    pool.stop(hung)
    try:
        took = {
            "get": pool.run("get", stored, "--to", tmp_path / "hung"),
            "verify": pool.run("verify", stored, "--full", expect=3),
            "sweep": pool.run("sweep", stored, "--full", expect=None),
            "put": pool.run("put", blobs[1]),
            "repair": pool.run("repair", stored, expect=None),
        }
    finally:
        pool.go_on(hung)
    assert hung not in took["put"].json["holders"]
    assert took["repair"].json["rebuilt"] == 2
    late = {name: ran.seconds - usual.seconds for name, ran in took.items()}
    assert {name: round(seconds, 1) for name, seconds in late.items() if seconds > HUNG_COST_S} == {}, late


@pytest.mark.slow  # measures seconds, so nothing else should run beside it
def test_a_put_with_a_hung_peer_that_is_needed_says_plainly_what_is_missing(pool: Pool, blob: Path) -> None:
    usual = pool.run("ls").seconds
    pool.stop("peer-3")
    try:
        ran = pool.run("put", blob, expect=5)
    finally:
        pool.go_on("peer-3")
    assert "4+2 needs 6 peers, 5 answer" in ran.complaint
    assert ran.seconds - usual <= HUNG_COST_S + 1


@pytest.mark.slow
def test_a_peer_that_hangs_in_the_middle_of_a_put_is_replaced(make_pool: Callable[..., Pool], tmp_path: Path) -> None:
    pool = make_pool(peers=7, sites=None)
    source = random_file(tmp_path / "big.bin", 150_000_000)
    usual = pool.run("put", random_file(tmp_path / "usual.bin", 150_000_000)).seconds
    putting = pool.start("put", source)
    before = len(pool.shards())
    wait_until(lambda: any((pool.home("peer-4") / "incoming").iterdir()) or len(pool.shards()) > before, what="uploads")
    pool.stop("peer-4")
    try:
        ran = putting.wait()
    finally:
        pool.go_on("peer-4")
    assert "peer-4" not in ran.json["holders"]
    assert ran.seconds <= 2 * usual + HUNG_COST_S
    assert all(is_whole(path) for path in pool.shards_of(ran.json["object"]) if pool.holder(path) != "peer-4")
    pool.get(ran.json["object"], tmp_path / "out")
    assert (tmp_path / "out" / "big.bin").read_bytes() == source.read_bytes()


@pytest.mark.slow
def test_sixty_objects_over_nine_peers_use_every_peer_alike(make_pool: Callable[..., Pool], tmp_path: Path) -> None:
    """Every peer within 35 % of the mean number of shards."""
    pool = make_pool(peers=9, sites=3)
    sources = [random_file(tmp_path / f"{number}.bin", 5000) for number in range(60)]
    with ThreadPoolExecutor(2) as workers:
        list(workers.map(pool.put, sources))
    held = Counter(pool.holder(path) for path in pool.shards())
    mean = sum(held.values()) / 9
    assert sum(held.values()) == 60 * 12
    assert all(abs(held[name] - mean) <= 0.35 * mean for name in pool.names), held


def _stat(pid: int) -> tuple[float, int]:
    """CPU seconds and resident bytes of a process."""
    import os

    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    resident = next(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Rss:"))
    return ticks / os.sysconf("SC_CLK_TCK"), resident


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fourteen_idle_peers_cost_next_to_nothing(make_pool: Callable[..., Pool], tmp_path: Path) -> None:
    """Together below 3 % of a core over a minute, below 60 MiB of memory each."""
    pool = make_pool(peers=14, sites=None, scheme="9+5")
    pool.put(random_file(tmp_path / "held.bin", 5_000_000))
    pids = [pid for name in pool.names if (pid := pool.pid(name)) is not None]
    assert len(pids) == 14
    time.sleep(45)
    before = sum(_stat(pid)[0] for pid in pids)
    time.sleep(60)
    used = sum(_stat(pid)[0] for pid in pids) - before
    memory = [_stat(pid)[1] for pid in pids]
    print(f"14 idle peers: {100 * used / 60:.2f} % of a core, {max(memory) / 2**20:.1f} MiB the biggest")
    assert used / 60 < 0.03
    assert max(memory) < 60 * 2**20


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("scheme", "peers"), [("4+2", 6), ("10+6", 16)])
def test_a_gigabyte_passes_in_little_memory(
    scheme: str, peers: int, make_pool: Callable[..., Pool], tmp_path: Path
) -> None:
    """Client at most 300 MB, a daemon at most 150 MB."""
    pool = make_pool(peers=peers, scheme=scheme, sites=None)
    source = random_file(tmp_path / "gigabyte.bin", 2**30)
    peaks: dict[str, int] = {}

    def watch(*words: str | Path) -> Ran:
        running = pool.start(*words)
        while running.process.poll() is None:
            try:
                peaks[str(words[0])] = _peak(running.process.pid)
            except (StopIteration, OSError):
                # It ended between the two looks.
                break
            time.sleep(0.02)
        return running.wait()

    stored = watch("put", source).json["object"]
    watch("get", stored, "--to", tmp_path / "out")
    daemons = {name: _peak(pid) for name in pool.names if (pid := pool.pid(name)) is not None}
    print({name: f"{peak / 1e6:.0f} MB" for name, peak in {**peaks, **daemons}.items()})
    assert peaks["put"] <= 300e6
    assert peaks["get"] <= 300e6
    assert max(daemons.values()) <= 150e6


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_twenty_thousand_small_files_go_in_within_thirty_seconds(
    make_pool: Callable[..., Pool], tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    for number in range(20_000):
        path = folder / f"{number % 100:02}" / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(number.to_bytes(4, "big") * 1024)
    pool = make_pool(peers=6)
    ran = pool.run("put", folder)
    print(f"20,000 files of 4 KiB: {ran.seconds:.1f} s")
    assert ran.json["files"] == 20_000
    assert ran.seconds < 30

"""Certificates end while a pool of real processes runs, and are renewed in time by one command."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from client.certificates import SERIAL_BYTES, read_issuing
from client.home import TLS_CERTIFICATE_FILE, load_tls_key, read_home_roster
from core.identity import certificate_pem, issue_certificate
from host.disk import RealDisk
from tests.integration.pool import Pool, random_file, wait_until

LIFE_S = 45.0


def shorten(pool: Pool, name: str, number: int, end_s: float) -> None:
    """Give a home a certificate that ends soon."""
    disk, home = RealDisk(private=True), str(pool.home(name))
    site = 1 if name == "client" else number
    issuing = read_issuing(disk, str(pool.home("client")), read_home_roster(disk, home).roster, f"hospital-{site}")
    made = issue_certificate(
        issuing.key,
        issuing.certificate,
        load_tls_key(disk, home).public_key(),
        name=name,
        site=f"site-{site}",
        role="client" if name == "client" else "peer",
        now=end_s - LIFE_S,
        valid_s=LIFE_S,
        serial=bytes([number]) * SERIAL_BYTES,
    )
    (pool.home(name) / TLS_CERTIFICATE_FILE).write_bytes(certificate_pem(made))


@pytest.mark.slow
def test_one_command_renews_a_running_pool_and_what_was_not_renewed_is_refused(
    make_pool: Callable[..., Pool], tmp_path: Path
) -> None:
    pool = make_pool(peers=4, sites=4, scheme="2+1")
    stored = pool.put(random_file(tmp_path / "study", 500_000))["object"]
    pool.down()
    end_s = time.time() + LIFE_S
    for number, name in enumerate(["client", *pool.names]):
        shorten(pool, name, number, end_s)
    pool.up()
    pids = {name: pool.pid(name) for name in pool.names}
    # The key of hospital-4 is not where the command looks for it.
    key = pool.home("client") / "keys/issuers/hospital-4.key"
    data = key.read_bytes()
    key.unlink()
    rows = pool.run("certificate", "renew", expect=3).json["certificates"]
    assert [row["name"] for row in rows if row["renewed"]] == ["client", *pool.names[:3]]
    assert "hospital-4" in next(row["problem"] for row in rows if row["name"] == "peer-4")
    logs = [pool.home(name) / "daemon.log" for name in pool.names[:3]]
    wait_until(
        lambda: all("a renewed certificate is in use" in log.read_text() for log in logs), what="new certificates"
    )
    assert "certificate-ends" in (pool.home("peer-4") / "daemon.log").read_text()
    assert time.time() < end_s, "too slow for what this test wants to show"
    time.sleep(end_s - time.time() + 1.5)
    assert {name: pool.pid(name) for name in pool.names} == pids
    answering = {peer["name"] for peer in pool.run("peers", expect=None).json["peers"] if peer["answers"]}
    assert answering == set(pool.names[:3])
    pool.get(stored, tmp_path / "restored")
    refused = pool.run("peers", home="peer-4", expect=6)
    assert "`moorage certificate renew`" in refused.complaint
    # Also one that has ended is renewed, and the daemon that showed it is let in again.
    key.write_bytes(data)
    pool.run("certificate", "renew")

    def all_answer() -> bool:
        peers = pool.run("peers", expect=None).json["peers"]
        return {peer["name"] for peer in peers if peer["answers"]} == set(pool.names)

    wait_until(all_answer, what="peer-4 back", within_s=60)
    assert {name: pool.pid(name) for name in pool.names} == pids

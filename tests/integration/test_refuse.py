"""Bad input and bad peers: a clear message, the right exit status, and nothing lost."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from client.provision import Provisioner
from host.chance import RealChance
from host.clock import RealClock
from host.disk import RealDisk
from tests.integration.pool import Pool, Ran, random_file, run

# Root may read everything: without these two it is refused as anybody is.
NO_OVERRIDE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
TMPFS_BYTES = 20 * 2**20


def refused(ran: Ran, code: str, *words: str) -> None:
    """The command failed with this code, said so in words, and printed the same as JSON."""
    error: dict[str, Any] = ran.json["error"]
    assert error["code"] == code
    assert ran.complaint.startswith("moorage: ")
    for word in words:
        assert word in ran.complaint, ran.complaint
    assert ran.json["ok"] is False


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A disk of 20 MiB."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("a small disk needs mount, which needs root")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this container may not mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


# --- what is to be stored -----------------------------------------------------------------------


def _missing(folder: Path) -> None:
    del folder


def _empty_folder(folder: Path) -> None:
    (folder / "inside").mkdir(parents=True)


def _pipe(folder: Path) -> None:
    folder.mkdir()
    (folder / "good").write_bytes(b"x")
    os.mkfifo(folder / "pipe")


def _socket(folder: Path) -> None:
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as bound:
        here = os.getcwd()
        # The name of a socket may be 108 bytes long: bind it from inside.
        os.chdir(folder)
        try:
            bound.bind("socket")
        finally:
            os.chdir(here)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (_missing, "no such file"),
        (_empty_folder, "nothing to store"),
        (_pipe, "is a pipe"),
        (_socket, "is a socket"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_name(
    pool: Pool, tmp_path: Path, make: Callable[[Path], None], word: str
) -> None:
    make(tmp_path / "source")
    before = pool.shards()
    refused(pool.run("put", tmp_path / "source", expect=1), "bad-source", word, str(tmp_path / "source"))
    assert pool.shards() == before


def test_a_file_that_may_not_be_read_is_refused_by_name(pool: Pool, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    random_file(folder / "good", 10)
    random_file(folder / "secret", 10).chmod(0)
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root reads everything, and there is no setpriv to give that up")
    prefix = NO_OVERRIDE if os.geteuid() == 0 else ()
    refused(pool.run("put", folder, prefix=prefix, expect=1), "bad-source", "secret cannot be read", "ermission denied")


def test_a_device_is_refused(pool: Pool) -> None:
    refused(pool.run("put", "/dev/null", expect=1), "bad-source", "/dev/null is a device")


# --- the pool is too small, full, or closed -----------------------------------------------------


def test_too_few_peers_or_sites_for_the_scheme_says_what_is_missing(pool: Pool, blob: Path) -> None:
    refused(pool.run("put", blob, "--scheme", "10+6", expect=5), "not-enough-peers", "needs 16 peers", "6 answer")
    refused(pool.run("put", blob, "--scheme", "5+1", expect=5), "not-enough-peers", "needs 6 sites", "3 are there")
    refused(pool.run("put", blob, "--scheme", "0+2", expect=2), "usage")
    degraded = pool.run("put", blob, "--scheme", "5+1", "--allow-degraded").json
    assert degraded["degraded"] is True


def test_a_full_peer_is_left_out_and_if_it_is_needed_the_put_says_so(
    make_pool: Callable[..., Pool], tmp_path: Path
) -> None:
    pool = make_pool(peers=7, sites=None)
    for name, quota in (("peer-1", "1 MiB"),):
        settings = pool.home(name) / "settings.toml"
        settings.write_text(f'[store]\nquota = "{quota}"\n')
        pool.kill(name)
    pool.up()
    stored = pool.put(random_file(tmp_path / "one.bin", 12_000_000))
    assert "peer-1" not in stored["holders"]
    assert len(stored["holders"]) == 6
    (pool.home("peer-2") / "settings.toml").write_text('[store]\nquota = "1 MiB"\n')
    pool.kill("peer-2")
    pool.up()
    before = pool.shards()
    ran = pool.run("put", random_file(tmp_path / "two.bin", 12_000_000), expect=5)
    refused(ran, "not-enough-peers", "needs room for 6 shares", "full or read-only: peer-2")
    assert pool.run("get", stored["object"], "--to", tmp_path / "out").json["files"] == 1
    assert set(before) <= set(pool.shards())


def test_a_read_only_store_takes_nothing_and_says_so(pool: Pool, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("a read-only disk needs mount, which needs root")
    kept = pool.put(random_file(tmp_path / "kept.bin", 2_000_000))
    incoming = pool.home("peer-4") / "incoming"
    if subprocess.run(["mount", "--bind", str(incoming), str(incoming)], capture_output=True, check=False).returncode:
        pytest.skip("this container may not mount")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(incoming)], check=True)
        ran = pool.run("put", random_file(tmp_path / "new.bin", 2_000_000), expect=5)
        refused(ran, "not-enough-peers", "peer-4", "ead-only")
        # What it holds can still be read and proven.
        assert pool.verify(kept["object"])["health"] == "full"
    finally:
        subprocess.run(["umount", "-l", str(incoming)], check=True)
        # It tries the disk again within a minute or two, or when it is started.
        pool.kill("peer-4")


# --- homes, settings, objects -------------------------------------------------------------------


def test_a_home_without_keys_can_care_but_neither_store_nor_read(pool: Pool, blob: Path, tmp_path: Path) -> None:
    stored = pool.put(blob)["object"]
    home = tmp_path / "keyless"
    shutil.copytree(pool.home("client"), home)
    for name in ("organisation.seed", "sealing.seed", "convergence.secret"):
        (home / "keys" / name).unlink()
    refused(pool.run("put", blob, home=home, expect=1), "bad-home", "no organisation keys")
    refused(pool.run("get", stored, "--to", tmp_path / "out", home=home, expect=1), "bad-home", "no organisation keys")
    assert pool.run("verify", stored, home=home).json["objects"][0]["object"] == stored


def test_a_folder_that_is_no_home_is_said_to_be_none(tmp_path: Path) -> None:
    ran = run("--json", "--home", tmp_path / "nothing", "ls", expect=1)
    refused(ran, "bad-home", "is not a moorage home")


def test_a_home_without_its_tls_key_says_which_file_is_missing(pool: Pool, tmp_path: Path) -> None:
    home = tmp_path / "broken"
    shutil.copytree(pool.home("client"), home)
    (home / "keys" / "tls.key").unlink()
    refused(pool.run("ls", home=home, expect=1), "bad-home", "keys/tls.key is missing")


def test_a_typing_error_in_the_settings_is_named_with_what_was_meant(pool: Pool, tmp_path: Path) -> None:
    home = tmp_path / "peer"
    shutil.copytree(pool.home("peer-1"), home)
    (home / "settings.toml").write_text('[store]\nqota = "1 GiB"\n')
    ran = pool.run("daemon", home=home, expect=2)
    refused(ran, "bad-settings", "qota", "quota", "settings.toml")


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("feed" * 16, 1, "unknown-object"),
        ("feedfacefeed", 1, "unknown-object"),
        ("xyz", 2, "malformed-id"),
        ("ab" * 33, 2, "malformed-id"),
        ("", 2, "malformed-id"),
        ("a", 2, "ambiguous-object"),
    ],
)
def test_an_object_id_that_names_nothing_is_refused(
    pool: Pool, tmp_path: Path, text: str, status: int, code: str
) -> None:
    refused(pool.run("get", text, "--to", tmp_path / "out", expect=status), code)
    assert not (tmp_path / "out").exists()


def test_digits_that_are_short_for_two_objects_are_ambiguous(pool: Pool, blob: Path, tmp_path: Path) -> None:
    stored = pool.put(blob)["object"]
    home = tmp_path / "home"
    shutil.copytree(pool.home("client"), home)
    other = stored[:8] + ("0" * 56 if stored[8:] != "0" * 56 else "1" * 56)
    shutil.copy(home / "catalogue" / stored, home / "catalogue" / other)
    ran = pool.run("get", stored[:6], "--to", tmp_path / "out", home=home, expect=2)
    refused(ran, "ambiguous-object", "2 objects", "more of its digits")


def test_a_target_that_exists_is_left_as_it_is(pool: Pool, blob: Path, tmp_path: Path) -> None:
    stored = pool.put(blob)["object"]
    target = tmp_path / "out"
    target.mkdir()
    (target / blob.name).write_text("mine")
    refused(pool.run("get", stored, "--to", target, expect=1), "bad-target", "exists already")
    assert (target / blob.name).read_text() == "mine"
    (target / blob.name).unlink()
    elsewhere = random_file(tmp_path / "elsewhere", 4)
    (target / blob.name).symlink_to(elsewhere)
    refused(pool.run("get", stored, "--to", target, expect=1), "bad-target", "exists already")
    assert elsewhere.stat().st_size == 4


def test_a_full_target_disk_is_refused_before_anything_is_written(pool: Pool, mounted: Path, tmp_path: Path) -> None:
    stored = pool.put(random_file(tmp_path / "too-big.bin", TMPFS_BYTES))["object"]
    refused(pool.run("get", stored, "--to", mounted / "out", expect=1), "bad-target", "free")
    assert not [path for path in (mounted / "out").rglob("*") if path.is_file()]


# --- peers --------------------------------------------------------------------------------------


def test_two_daemons_on_one_home_do_not_run(pool: Pool) -> None:
    ran = pool.run("daemon", home="peer-1", expect=1)
    refused(ran, "bad-home", "another daemon")
    assert pool.pid("peer-1") is not None


def test_a_client_of_another_pool_is_refused(pool: Pool, tmp_path: Path, blob: Path) -> None:
    other = tmp_path / "other"
    Provisioner(RealDisk(private=True), RealChance(), RealClock(), "other.example").make(str(other), peers=1, sites=1)
    (other / "client" / "bootstrap").write_text((pool.home("peer-1") / "state" / "address").read_text())
    refused(pool.run("put", blob, home=other / "client", expect=6), "peer-refused")


def _reissue(pool: Pool, home: Path, *, valid_s: int) -> None:
    """A certificate for the key of ``home`` that began two days ago."""
    import time

    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from cli.homes import read_home
    from core.identity import issue_certificate

    loaded = read_home(str(home))
    identity = loaded.identity
    pem = (pool.home("client") / "keys" / "issuers" / f"{identity.organisation}.key").read_bytes()
    issuer_key = serialization.load_pem_private_key(pem, password=None)
    assert isinstance(issuer_key, Ed25519PrivateKey)
    certificate = issue_certificate(
        issuer_key,
        loaded.roster.issuers[identity.organisation],
        loaded.tls_key.public_key(),
        name=identity.name,
        site=identity.site,
        role=identity.role,
        now=time.time() - 2 * 86_400,
        valid_s=valid_s,
        serial=os.urandom(16),
    )
    text = x509.load_der_x509_certificate(certificate).public_bytes(serialization.Encoding.PEM)
    (home / "keys" / "tls.crt").write_bytes(text)


def test_an_expired_certificate_is_refused_and_says_so(pool: Pool, tmp_path: Path, blob: Path) -> None:
    home = tmp_path / "expired"
    shutil.copytree(pool.home("client"), home)
    _reissue(pool, home, valid_s=86_400)
    refused(pool.run("put", blob, home=home, expect=6), "peer-refused", "certificate renew")


def test_a_shard_of_a_newer_release_is_told_apart_from_a_damaged_one(pool: Pool, blob: Path) -> None:
    from core.ids import ShardRoot
    from erasure.shardfile import CHECK_BYTES, HEAD_BYTES, scan_shard

    stored = pool.put(blob)["object"]
    (path, *_) = pool.shards_of(stored, "peer-5")
    good = path.read_bytes()
    from erasure.shardfile import _head_check

    head = bytearray(good[:HEAD_BYTES])
    head[8:10] = (2).to_bytes(2, "big")
    head[24 : 24 + CHECK_BYTES] = _head_check(head)
    path.write_bytes(bytes(head) + good[HEAD_BYTES:])
    data = path.read_bytes()
    assert scan_shard(lambda at, length: data[at : at + length], len(data), ShardRoot.parse(path.name)).newer_version
    health = pool.verify(stored, expect=3)
    assert [finding["kind"] for finding in health["findings"]] == ["newer-version"]
    path.write_bytes(good)


def test_a_word_too_many_is_a_usage_error() -> None:
    assert run("frobnicate", expect=2).complaint.startswith("moorage: ")
    assert run("put", expect=2).complaint.startswith("moorage: ")
    assert run("pool", "up", expect=2).complaint.startswith("moorage: ")

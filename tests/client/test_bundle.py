"""The proof bundle: checked by us, by other people's tools, and by nobody when a byte of it was changed."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor.leaf import parse_leaf
from anchor.manifest import object_id
from anchor.note import parse_note
from anchor.receipt import Receipt, encode_receipt
from anchor.roster import Organisation, sign_roster
from anchor.timestamp import check_stamp, stamp_request
from cli.stamping import stamp
from client.bundle import README_FILE, TimeStamp, check_bundle, checkpoint_of, make_bundle
from client.index import encode_listing
from client.receipts import Papers
from core.errors import (
    BadSignatureError,
    CorruptError,
    MalformedError,
    MoorageError,
    PeerUnavailableError,
    ReceiptError,
)
from core.identity import key_from_seed, public_bytes
from core.ids import PoolId
from tests import documented
from tests.anchor.ledgers import BOTH_KEYS, NOW_S, create, hybrid_witness, leaves
from tests.authority import Authority, authority
from tests.client.test_documents import salt_of
from tests.sim.disk import SimDisk


@cache
def papers() -> Papers:
    """Of the documented object, anchored as entry 5 of 12 under both kinds of keys."""
    blocks = documented.documented_blocks()
    manifest = blocks["MANIFEST"]
    leaf = blocks["LEAF"]
    log = create(SimDisk(), [hybrid_witness()], BOTH_KEYS)
    log.append([*leaves(0, 5), leaf, *leaves(6, 12)], NOW_S)
    (anchored,) = log.append([leaf], NOW_S)
    organisation = Organisation(
        "hospital-1", b"issuer", public_bytes(key_from_seed(documented.MANIFEST_SEED)), b"sealing", BOTH_KEYS
    )
    key = key_from_seed(documented.POOL_SEED)
    roster = sign_roster(key, pool_name="pool.example", epoch=3, organisations=[organisation], seeds=[])
    receipt = encode_receipt(Receipt(object_id(manifest), anchored.proof_file(), BOTH_KEYS, roster))
    return Papers(object_id(manifest), receipt, manifest, encode_listing(documented.entries()), salt_of(manifest))


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with authority(tmp_path_factory.mktemp("authority") / "files") as found:
        yield found


def unzipped(data: bytes, folder: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(folder)
    return folder


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def test_a_bundle_is_the_same_bytes_each_time_and_proves_its_object() -> None:
    data = make_bundle(papers())
    assert data == make_bundle(papers())
    pool = PoolId.of_key(public_bytes(key_from_seed(documented.POOL_SEED)))
    checked = check_bundle(data, pinned_pool=pool)
    statement = checked.document.statement
    assert (statement.object, statement.index, statement.tree_size) == (papers().object, 5, 12)
    assert checked.document.entries is not None
    assert (checked.stamp, checked.stamp_unread) == (None, False)
    with pytest.raises(ReceiptError, match="from pool"):
        check_bundle(data, pinned_pool=PoolId(bytes(32)))


def commands(readme: str) -> list[str]:
    return re.findall(r"^  \$ (.*)$", readme, re.MULTILINE)


def run_commands(folder: Path, listed: list[str]) -> str:
    """All in one shell, as somebody would type them; each must succeed."""
    script = "set -e -o pipefail\n" + "\n".join(listed) + "\n"
    ran = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_commands_in_its_readme_work_as_they_stand(tmp_path: Path) -> None:
    folder = unzipped(make_bundle(papers()), tmp_path)
    listed = commands((folder / README_FILE).read_text("utf-8"))
    assert sum("openssl pkeyutl" in line for line in listed) == 3
    assert len([line for line in listed if line.startswith("h=")]) == 1 + 4
    needed = {"openssl", "basenc", "sha256sum", "cmp"}
    if any(shutil.which(name) is None for name in needed):
        pytest.skip(f"the README's tools are not here: {', '.join(sorted(needed))}")
    if shutil.which("b3sum") is None:
        print("no b3sum here: the README's lines with it are not run")
        listed = [line for line in listed if "b3sum" not in line]
    printed = run_commands(folder, listed)
    assert printed.count("Signature Verified Successfully") == 3
    assert "OK" in printed


@pytest.mark.parametrize(
    ("name", "offset"),
    [
        ("leaf", 30),
        ("openssl/owner.sig", 3),
        ("openssl/witness-1.text", 20),
        ("openssl/log.text", 3),
        ("checkpoint", 30),
    ],
)
def test_the_commands_in_its_readme_notice_a_changed_byte(tmp_path: Path, name: str, offset: int) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    folder = unzipped(make_bundle(papers()), tmp_path)
    listed = [line for line in commands((folder / README_FILE).read_text("utf-8")) if "b3sum" not in line]
    data = bytearray((folder / name).read_bytes())
    data[offset] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(AssertionError):
        run_commands(folder, listed)


def test_the_file_list_is_what_b3sum_checks(tmp_path: Path) -> None:
    lines = members(make_bundle(papers()))["files.b3"].decode().splitlines()
    assert [line.partition("  ")[2] for line in lines] == ["a/hello.txt"]
    if shutil.which("b3sum") is None:
        pytest.skip("no b3sum here")
    folder = unzipped(make_bundle(papers()), tmp_path / "bundle")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "hello.txt").write_bytes(documented.TEXT)
    ran = subprocess.run(["b3sum", "--check", str(folder / "files.b3")], cwd=tmp_path, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_every_changed_file_of_a_bundle_is_noticed_but_its_readme() -> None:
    whole = members(make_bundle(papers()))
    for name, data in whole.items():
        for changed in (data[:-1] + bytes([data[-1] ^ 1]), data + b"x", data[1:]):
            if name == README_FILE:
                check_bundle(zipped({**whole, name: changed}), pinned_pool=None)
                continue
            with pytest.raises(MoorageError):
                check_bundle(zipped({**whole, name: changed}), pinned_pool=None)
    for name in whole:
        if name != README_FILE:
            with pytest.raises(MoorageError):
                check_bundle(zipped({key: data for key, data in whole.items() if key != name}), pinned_pool=None)
    with pytest.raises(ReceiptError, match="surplus"):
        check_bundle(zipped({**whole, "surplus": b""}), pinned_pool=None)


def test_what_is_no_bundle_is_refused() -> None:
    data = make_bundle(papers())
    for cut in (data[:100], data[:-10], b"PK", b"PK\x03\x04" + b"x" * 100):
        with pytest.raises((CorruptError, MalformedError)):
            check_bundle(cut, pinned_pool=None)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members(data).items():
            archive.writestr(name, content)
        archive.writestr("salt.more", bytes(50_000_000))
    with pytest.raises(MalformedError, match="compressed"):
        check_bundle(buffer.getvalue(), pinned_pool=None)
    with pytest.raises(MalformedError, match="too large"):
        check_bundle(zipped(members(data) | {"salt.more": bytes(2_000_000)}), pinned_pool=None)
    with pytest.raises(MalformedError, match="at most"):
        check_bundle(zipped({str(number): b"" for number in range(1100)}), pinned_pool=None)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_bundle_or_refused(data: bytes) -> None:
    whole = members(make_bundle(papers()))
    for candidate in (data, b"PK\x03\x04" + data, zipped({**whole, "listing": data}), zipped({"listing": data})):
        with pytest.raises(MoorageError):
            check_bundle(candidate, pinned_pool=None)


def test_a_stamped_bundle_is_checked_by_openssl_and_by_us(tmp_path: Path, office: Authority) -> None:
    pytest.importorskip("rfc3161_client")
    pem = office.certificates.read_bytes()
    reply, found = stamp(office.url, checkpoint_of(papers()), pem)
    assert found.believed
    assert "Test TSA" in found.authority
    data = make_bundle(papers(), TimeStamp(reply, pem))
    checked = check_bundle(data, pinned_pool=None)
    assert checked.stamp is not None
    assert not checked.stamp.believed, "certificates that come with a stamp vouch for nothing"
    checked = check_bundle(data, pinned_pool=None, certificates=pem)
    assert checked.stamp is not None
    assert checked.stamp.believed
    with pytest.raises(BadSignatureError):
        check_bundle(data, pinned_pool=None, certificates=office.other.read_bytes())
    folder = unzipped(data, tmp_path)
    listed = [line for line in commands((folder / README_FILE).read_text("utf-8")) if "openssl ts" in line]
    assert len(listed) == 1
    run_commands(folder, listed)
    (folder / "checkpoint").write_bytes(b"another checkpoint")
    with pytest.raises(AssertionError):
        run_commands(folder, listed)


def test_a_stamp_of_other_bytes_or_of_nothing_is_refused(office: Authority) -> None:
    pytest.importorskip("rfc3161_client")
    pem = office.certificates.read_bytes()
    reply, _ = stamp(office.url, b"other bytes", pem)
    for certificates in (b"", pem):
        with pytest.raises(BadSignatureError):
            make_and_check(TimeStamp(reply, b""), certificates)
    for wrong in (b"", b"garbage", reply[:-40], stamp_request(b"x")):
        with pytest.raises(MoorageError):
            check_stamp(wrong, b"other bytes", pem)
    with pytest.raises(MalformedError, match="PEM"):
        check_stamp(reply, b"other bytes", b"garbage")
    with pytest.raises(PeerUnavailableError, match="503"):
        stamp(f"{office.url}/down", b"x", b"")


def make_and_check(stamped: TimeStamp, certificates: bytes) -> None:
    check_bundle(make_bundle(papers(), stamped), pinned_pool=None, certificates=certificates)


def test_openssl_files_carry_the_notes_signatures() -> None:
    whole = members(make_bundle(papers()))
    assert whole["openssl/owner.sig"] == parse_leaf(whole["leaf"]).signature.blob
    assert whole["openssl/log.sig"] == parse_note(whole["checkpoint"]).signatures[0].blob
    assert whole["object.manifest"] == papers().manifest

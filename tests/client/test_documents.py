"""Documents that come from outside: receipts for people, job reports, figures of peers, lists of addresses."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anchor.leaf import manifest_leaf
from anchor.manifest import object_id, parse_manifest, sign_manifest
from anchor.receipt import Receipt, encode_receipt
from client.bootstrap import (
    ADDRESSES_MAX,
    first_addresses,
    last_met,
    parse_address,
    parse_addresses,
    remember_addresses,
)
from client.care import CareReport, parse_report
from client.home import load_home
from client.index import encode_listing, listing_commitment, listing_salt
from client.provision import Provisioner
from client.receipts import check_document, differences
from client.status import PeerStatus, PoolStatus, parse_status, pool_status
from core.durable import read_file, write_file
from core.encoding import Value, decode, encode
from core.errors import (
    HomeError,
    MalformedError,
    MoorageError,
    ReceiptError,
    UsageError,
)
from core.findings import Finding, FindingKind
from core.identity import key_from_seed, public_bytes
from core.ids import ObjectId, PeerId, PoolId
from core.listing import Entry
from core.ports import Address
from core.sealing import unwrap_key
from erasure.scheme import Scheme
from tests import documented
from tests.client.test_index import SAMPLE, file, folder, link
from tests.core.test_encoding import texts, values
from tests.sim.chance import SimChance
from tests.sim.clock import SimClock
from tests.sim.disk import SimDisk
from tests.sim.drive import SimDrive

LIMIT = 1 << 20

# --- receipts for people ----------------------------------------------------------------------


@cache
def good_document() -> dict[str, str]:
    """Of the object that the documents describe, made anew: manifest, leaf, log, receipt."""
    blocks = documented.documented_blocks()
    return {
        "format": "moorage-receipt/1",
        "object": str(object_id(blocks["MANIFEST"])),
        "receipt": pack(blocks["RECEIPT"]),
        "manifest": pack(blocks["MANIFEST"]),
        "listing": pack(encode_listing(documented.entries())),
        "salt": pack(salt_of(blocks["MANIFEST"])),
    }


def salt_of(manifest_file: bytes) -> bytes:
    """The documents' object was sealed by keys that they name."""
    manifest = parse_manifest(manifest_file, expected=object_id(manifest_file))
    salt = listing_salt(unwrap_key(documented.SEALING_SEED, manifest.slots[0].wrapped))
    assert listing_commitment(salt, encode_listing(documented.entries())) == manifest.listing
    return salt


def pack(data: bytes) -> str:
    return base64.b64encode(data).decode()


def check(document: dict[str, Any]) -> None:
    check_document(json.dumps(document).encode(), pinned_pool=None)


def test_a_receipt_document_proves_object_files_and_pool() -> None:
    checked = check_document(json.dumps(good_document(), indent=1).encode(), pinned_pool=None)
    assert str(checked.statement.object) == good_document()["object"]
    assert checked.entries == tuple(replace(entry, spans=()) for entry in documented.entries())
    check_document(json.dumps(good_document()).encode(), pinned_pool=checked.statement.pool)
    with pytest.raises(ReceiptError, match="not from"):
        check_document(json.dumps(good_document()).encode(), pinned_pool=PoolId(bytes(32)))


def test_a_bare_receipt_file_proves_the_object_and_no_files() -> None:
    checked = check_document(base64.b64decode(good_document()["receipt"]), pinned_pool=None)
    assert str(checked.statement.object) == good_document()["object"]
    assert checked.entries is None


@pytest.mark.parametrize("field", sorted(good_document()))
def test_no_field_may_be_missing_or_of_another_kind(field: str) -> None:
    document: dict[str, Any] = dict(good_document())
    del document[field]
    with pytest.raises(MoorageError):
        check(document)
    wrong: list[Any] = [None, 1, [], {}, "", "!", "AAAA", "ä", "\ud800"]
    for value in wrong:
        with pytest.raises(MoorageError):
            check(good_document() | {field: value})


def test_another_object_s_parts_do_not_fit() -> None:
    other = encode_listing([*documented.entries(), folder(b"more")])
    with pytest.raises(ReceiptError, match="file list"):
        check(good_document() | {"listing": pack(other)})
    with pytest.raises(ReceiptError, match="file list"):
        check(good_document() | {"salt": pack(bytes(32))})
    with pytest.raises(ReceiptError, match="another object"):
        check(good_document() | {"object": "00" * 32})
    manifest_file = base64.b64decode(good_document()["manifest"])
    manifest = parse_manifest(manifest_file, expected=object_id(manifest_file))
    key = key_from_seed(documented.MANIFEST_SEED)
    later = sign_manifest(key, replace(manifest, created_s=manifest.created_s + 1))
    with pytest.raises(MoorageError):
        check(good_document() | {"manifest": pack(later), "object": str(object_id(later))})


def test_a_list_that_was_committed_to_must_still_be_a_list() -> None:
    """An owner may commit to anything; it is parsed as what comes from outside."""
    manifest_file = base64.b64decode(good_document()["manifest"])
    manifest = parse_manifest(manifest_file, expected=object_id(manifest_file))
    key = key_from_seed(documented.MANIFEST_SEED)
    assert manifest.owner_key == public_bytes(key)
    listing, salt = b"\xc1 no listing", bytes(32)
    bad = sign_manifest(key, replace(manifest, listing=listing_commitment(salt, listing)))
    leaf = manifest_leaf(
        key,
        organisation="hospital-1",
        object_id=object_id(bad),
        size_bytes=1,
        scheme=manifest.scheme,
        time_s=documented.NOW_S,
    )
    proof, _, _ = documented.anchor(leaf)
    receipt = encode_receipt(Receipt(object_id(bad), proof, documented.policy(), documented.roster_file()))
    with pytest.raises(MalformedError):
        check(
            {
                "format": "moorage-receipt/1",
                "object": str(object_id(bad)),
                "receipt": pack(receipt),
                "manifest": pack(bad),
                "listing": pack(listing),
                "salt": pack(salt),
            }
        )


@settings(max_examples=60)
@given(st.data())
def test_a_changed_byte_of_any_part_is_noticed(data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(["receipt", "manifest", "listing", "salt"]))
    part = bytearray(base64.b64decode(good_document()[field]))
    part[data.draw(st.integers(0, len(part) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(MoorageError):
        check(good_document() | {field: pack(bytes(part))})


@settings(max_examples=60)
@given(st.data())
def test_a_changed_character_of_the_text_is_noticed_or_changes_nothing_that_counts(data: st.DataObject) -> None:
    text = bytearray(json.dumps(good_document()).encode())
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        checked = check_document(bytes(text), pinned_pool=None)
    except MoorageError:
        return
    assert str(checked.statement.object) == good_document()["object"]
    assert checked.entries == tuple(replace(entry, spans=()) for entry in documented.entries())


@given(st.binary(max_size=80) | st.text(max_size=80).map(lambda text: b"{" + text.encode("utf-8", "replace")))
@example(b"")
@example(b"{" * 100_000)
@example(b'{"format": "moorage-receipt/1", "receipt": ' + b"9" * 5000 + b"}")
@example(b'{"format": "moorage-receipt/2"}')
@example(b"\xff\xfe{")
@example(b"[]")
def test_any_bytes_are_no_receipt(data: bytes) -> None:
    with pytest.raises(MoorageError):
        check_document(data, pinned_pool=None)


def test_differences_name_what_is_missing_or_changed_and_nothing_else() -> None:
    stored = list(SAMPLE.entries)
    assert differences(stored, stored) == []
    assert differences(stored, [*stored, file(b"more", (0, 1))]) == []
    assert differences(stored, [replace(entry, modified_ns=1, mode=0, spans=()) for entry in stored]) == []
    assert differences(stored, stored[1:]) == ["study: missing"]
    changed: list[Entry] = [replace(stored[1], digest=b"x" * 32), link(b"study/link", b"elsewhere")]
    others = [entry for entry in stored if entry.path not in {item.path for item in changed}]
    assert differences(stored, [*others, *changed]) == [
        "study/a: differs from what was stored",
        "study/link: differs from what was stored",
    ]
    assert differences([stored[1]], [folder(b"study/a")]) == ["study/a: differs from what was stored"]


# --- job reports and figures ------------------------------------------------------------------

FINDINGS = (Finding(FindingKind.CORRUPT, object=ObjectId(bytes(32)), share=1), Finding(FindingKind.REPAIRED))
REPORT: dict[str, Any] = {
    "checked": 7,
    "findings": [FINDINGS[0].to_value()],
    "findings_left_off": 2,
    "repairs": [FINDINGS[1].to_value()],
    "repairs_left_off": 3,
    "unrepaired": 1,
}


def test_a_job_report_says_what_was_found_done_and_left_off() -> None:
    report = parse_report(encode(REPORT))
    assert report == CareReport(7, FINDINGS[:1], FINDINGS[1:], 1, 5)
    assert report.plus(report) == CareReport(14, FINDINGS[:1] * 2, FINDINGS[1:] * 2, 2, 10)


@given(values, st.sampled_from(["", "more", *REPORT]))
def test_any_report_is_taken_or_malformed(value: Value, field: str) -> None:
    try:
        parse_report(encode({**REPORT, field: value} if field else value))
    except MalformedError:
        return
    assert field not in ("", "more")


@given(st.binary(max_size=60))
def test_any_bytes_are_no_report(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_report(data)


STATUS = PeerStatus(
    uptime_s=100,
    shards=5,
    objects=2,
    at_risk=0,
    never_checked=0,
    oldest_verified_s=1_790_000_000,
    used_bytes=1,
    available_bytes=2,
    capacity_bytes=3,
    suspects=0,
    read_only="",
    draining=False,
)


def test_figures_come_back_as_they_went() -> None:
    assert parse_status(decode(encode(STATUS.to_value()), max_bytes=LIMIT)) == STATUS


@given(values, st.sampled_from(["", "more", *STATUS.to_value()]))
def test_any_figures_are_taken_or_malformed(value: Value, field: str) -> None:
    try:
        found = parse_status({**STATUS.to_value(), field: value} if field else value)
    except MalformedError:
        return
    assert field not in ("", "more")
    assert repr(found.to_value()[field]) == repr(value)


@pytest.mark.parametrize("field", STATUS.to_value())
def test_no_figure_may_be_missing(field: str) -> None:
    value = STATUS.to_value()
    del value[field]
    with pytest.raises(MalformedError, match="missing"):
        parse_status(value)


def test_words_never_claim_more_than_was_verified() -> None:
    now = 1_790_007_200.0
    nothing = PoolStatus((), 0, 0, 0, 0)
    assert "nothing is stored yet" in nothing.words(now)
    said = {
        "whole": PoolStatus((), 3, 0, 0, 1_790_000_000).words(now),
        "risk": PoolStatus((), 3, 1, 0, 1_790_000_000).words(now),
        "never": PoolStatus((), 3, 0, 2, 1_790_000_000).words(now),
        "unknown": PoolStatus((), 3, 0, 0, 0).words(now),
    }
    assert "within the last 2.0 hours" in said["whole"]
    assert "not whole when last looked at" in said["risk"]
    for case in ("never", "unknown"):
        assert "not all of which were verified yet" in said[case]
    assert all(one != other for one, other in combinations((said["whole"], said["risk"], said["never"]), 2))


def test_a_pool_of_which_nobody_answers_is_not_called_verified() -> None:
    status = pool_status([], catalogued=4)
    assert (status.objects, status.oldest_verified_s) == (4, 0)


# --- addresses --------------------------------------------------------------------------------

hosts = st.sampled_from(["10.0.0.1", "2001:db8::1", "nas-3.radiology.example", "localhost"])
addresses = st.builds(Address, hosts, st.integers(1, 65535))


@given(addresses)
def test_an_address_is_what_it_prints(address: Address) -> None:
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "host", "host:", ":1", "host:0", "host:65536", "host:-1", "host:1x", "host: 1", "host:٣", "[]:1"),
        *("host:" + "9" * 5000, "a b:1", "[::1:5", "::1]:5", "::1:5", "host:1 "),
    ],
)
def test_what_is_no_address_is_said_to_be_none(text: str) -> None:
    with pytest.raises(HomeError, match="is not an address"):
        parse_address(text)


@given(st.text(max_size=30) | texts.map(lambda text: f"{text}:7000"))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = parse_address(text)
    except HomeError:
        return
    assert 0 < address.port < 65536
    assert parse_address(str(address)) == address


@given(st.binary(max_size=80))
def test_any_bytes_are_a_list_or_refused(data: bytes) -> None:
    try:
        found = parse_addresses(data)
    except HomeError:
        return
    assert all(parse_address(str(address)) == address for address in found)


def test_a_list_has_comments_and_empty_lines() -> None:
    data = b"# ours\n\n10.0.0.1:7000  # the cellar\r\n  [2001:db8::1]:7001\n"
    assert parse_addresses(data) == [Address("10.0.0.1", 7000), Address("2001:db8::1", 7001)]


def test_the_operator_s_addresses_come_first_each_once_and_damage_to_our_own_list_hurts_nobody() -> None:
    disk = SimDisk(SimDrive(1, "maker"))
    Provisioner(disk, SimChance(1, "maker"), SimClock(), "pool.example").make("/pool", peers=1, sites=1)
    home = load_home(disk, "/pool/client", SimClock())
    assert first_addresses(disk, home) == []
    one, two, three = (Address("10.0.0.1", port) for port in (1, 2, 3))
    write_file(disk, "/pool/client/bootstrap", b"10.0.0.1:3\n10.0.0.1:1\n", token="x")
    met = {PeerId(bytes([1]) * 32): one, PeerId(bytes([2]) * 32): two}
    remember_addresses(disk, home, met.items(), "t")
    assert first_addresses(disk, home) == [three, one, two]
    assert last_met(disk, home) == met
    write_file(disk, "/pool/client/state/addresses", b"10.0.0.1:2\n\xff\x00garbage\n10.0.0.1:", token="x")
    assert first_addresses(disk, home) == [three, one, two]
    assert last_met(disk, home) == {}
    write_file(disk, "/pool/client/bootstrap", b"nonsense\n", token="x")
    with pytest.raises(HomeError, match="nonsense"):
        first_addresses(disk, home)


def test_no_more_addresses_are_kept_than_a_start_needs() -> None:
    disk = SimDisk(SimDrive(1, "maker"))
    Provisioner(disk, SimChance(1, "maker"), SimClock(), "pool.example").make("/pool", peers=1, sites=1)
    home = load_home(disk, "/pool/client", SimClock())
    many = [(PeerId(port.to_bytes(32)), Address("h" * 253, port)) for port in range(1, ADDRESSES_MAX + 100)]
    remember_addresses(disk, home, many, "t")
    assert first_addresses(disk, home) == [address for _, address in many[:ADDRESSES_MAX]]
    assert last_met(disk, home) == dict(many[:ADDRESSES_MAX])
    data = read_file(disk, "/pool/client/state/addresses", max_bytes=LIMIT)
    assert data is not None
    assert data.count(b"\n") == ADDRESSES_MAX


def test_scheme_texts_are_checked_where_they_enter() -> None:
    assert Scheme.parse("4+2") == Scheme(4, 6)
    for text in ("4", "4+", "+2", "0+1", "1+0", "255+2", "4 + 2", "4+2\n", "٤+٢", "1000+1", "-4+2"):
        with pytest.raises(UsageError):
            Scheme.parse(text)

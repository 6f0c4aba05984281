from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.encoding import Value, decode, encode
from core.errors import BadSignatureError, MalformedError, MoorageError, PeerRefusedError, StaleRecordError
from core.limits import CLOCK_SKEW_MAX_S, DHT_RECORD_LIFE_MAX_S, DHT_RECORD_MAX_BYTES
from core.ports import Address
from core.signing import sign
from dht.addresses import check_address
from dht.records import (
    PeerRecord,
    ProviderRecord,
    key_for,
    parse_record,
    peer_key,
    provider_key,
    supersedes,
)
from dht.runs import RUNS_MAX
from tests.dht.people import GIB, ISSUERS, START, an_object, hospital, person

# cryptography warns of what mutation did to serial numbers and names; it is refused all the same.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Parsed a serial number"),
    pytest.mark.filterwarnings("ignore:Attribute's length must be"),
]
REACHABLE = ["10.0.0.1", "127.0.0.1", "::1", "2001:db8::7", "nas-3.radiology.example", "localhost"]

ANNA = person("anna")
PEER_RAW = ANNA.record(Address("10.1.2.3", 7001), sequence=7)
PROVIDER_RAW = ANNA.provides(an_object(1), [(0, 3), (1, 3), (2, 3), (5, 1)])


def test_a_peer_record_says_what_was_put_in() -> None:
    record = parse_record(PEER_RAW, ISSUERS, START)
    assert isinstance(record, PeerRecord)
    assert record.peer == ANNA.peer
    assert (record.address, record.sequence, record.raw) == (Address("10.1.2.3", 7001), 7, PEER_RAW)
    assert (record.free_bytes, record.capacity_bytes) == (500 * GIB, 1000 * GIB)
    assert (record.issued_s, record.expires_s) == (START, START + 86400)
    assert (record.identity.organisation, record.identity.site) == ("St. Elsewhere", "basement")
    assert key_for(record) == peer_key(ANNA.peer) == ANNA.peer.raw


def test_a_provider_record_says_what_was_put_in() -> None:
    record = parse_record(PROVIDER_RAW, ISSUERS, START)
    assert isinstance(record, ProviderRecord)
    assert record.shards == ((0, 3), (1, 3), (2, 3), (5, 1))
    assert len(record.runs) == 2
    assert key_for(record) == provider_key(an_object(1)) != an_object(1).raw


def test_the_longest_names_still_fit_a_record() -> None:
    longest = person("n" * 64, site="s" * 64)
    host = ".".join(["h" * 63] * 3)
    assert len(longest.record(Address(host, 65535))) <= DHT_RECORD_MAX_BYTES
    scattered = [(extent, 250) for extent in range(60_000, 60_000 + 4 * RUNS_MAX, 2)]
    raw = longest.provides(an_object(1), scattered)
    record = parse_record(raw, ISSUERS, START)
    assert isinstance(record, ProviderRecord)
    assert record.shards == tuple(scattered[:RUNS_MAX])


def test_life_is_bounded_by_both_ends_of_the_clock() -> None:
    parse_record(PEER_RAW, ISSUERS, START - CLOCK_SKEW_MAX_S)
    parse_record(PEER_RAW, ISSUERS, START + 86399)
    for now in (START - CLOCK_SKEW_MAX_S - 1, START + 86400):
        with pytest.raises(StaleRecordError):
            parse_record(PEER_RAW, ISSUERS, now)


def resigned(raw: bytes, **changes: Value) -> bytes:
    """The record with fields replaced, signed anew by its own peer."""
    outer = decode(raw, max_bytes=DHT_RECORD_MAX_BYTES)
    assert isinstance(outer, dict)
    body = decode(outer["body"], max_bytes=DHT_RECORD_MAX_BYTES)
    assert isinstance(body, dict)
    new = encode({**body, **changes})
    domain = PeerRecord.DOMAIN if outer["kind"] == "peer" else ProviderRecord.DOMAIN
    return encode({"kind": outer["kind"], "body": new, "signature": sign(ANNA.key, domain, new)})


@pytest.mark.parametrize(
    "changes",
    [
        {"expires": int(START) + DHT_RECORD_LIFE_MAX_S + 1},
        {"expires": int(START)},
        {"expires": -1},
        {"port": 0},
        {"port": 65536},
        {"port": True},
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"host": "224.0.0.1"},
        {"host": "fe80::1%eth0"},
        {"host": "ex ample.org"},
        {"host": "10.1"},
        {"host": ""},
        {"free": -1},
        {"draining": 1},
        {"sequence": 2**63},
        {"v": 2},
        {"unknown": 1},
        {"certificate": b""},
    ],
)
def test_a_well_signed_record_with_an_impossible_field_is_refused(changes: dict[str, Value]) -> None:
    with pytest.raises((MalformedError, PeerRefusedError)):
        parse_record(resigned(PEER_RAW, **changes), ISSUERS, START)


@pytest.mark.parametrize(
    "runs",
    [
        [[1, 0, 1], [0, 0, 1]],
        [[0, 0, 0]],
        [[256, 0, 1]],
        [[0, 65535, 2]],
        [[0, 0, 9000]],
        [[0, 0]],
        [[0, 0, True]],
        [0],
        [[n, 0, 1] for n in range(RUNS_MAX + 1)],
        "runs",
    ],
)
def test_runs_of_shards_are_checked(runs: Value) -> None:
    with pytest.raises(MalformedError):
        parse_record(resigned(PROVIDER_RAW, runs=runs), ISSUERS, START)


def test_a_record_of_one_kind_is_not_one_of_another() -> None:
    outer = decode(PEER_RAW, max_bytes=DHT_RECORD_MAX_BYTES)
    assert isinstance(outer, dict)
    for kind in ("provider", "other"):
        with pytest.raises(MalformedError):
            parse_record(encode({**outer, "kind": kind}), ISSUERS, START)


def test_strangers_and_clients_cannot_publish() -> None:
    stranger = person("zoe", at="Nowhere General")
    assert hospital("Nowhere General").name not in ISSUERS
    for publisher in (stranger, person("carl", role="client")):
        with pytest.raises(PeerRefusedError):
            parse_record(publisher.record(), ISSUERS, START)


def test_nobody_signs_for_another() -> None:
    bert = person("bert")
    with pytest.raises(BadSignatureError):
        parse_record(resigned(PEER_RAW, certificate=bert.certificate), ISSUERS, START)


def test_of_two_records_of_a_peer_one_is_the_newer() -> None:
    old, new, other = (
        parse_record(ANNA.record(Address("10.0.0.1", port), sequence=sequence), ISSUERS, START)
        for port, sequence in ((1, 1), (1, 2), (2, 2))
    )
    assert supersedes(new, old)
    assert not supersedes(old, new)
    assert supersedes(new, other) != supersedes(other, new)


@settings(max_examples=300, deadline=None)
@given(
    raw=st.sampled_from([PEER_RAW, PROVIDER_RAW]),
    at=st.integers(0, 2000),
    flip=st.integers(1, 255),
    cut=st.integers(0, 2) | st.integers(0, 1200),
)
@example(raw=PEER_RAW, at=0, flip=1, cut=0)
def test_no_byte_of_a_record_can_be_changed(raw: bytes, at: int, flip: int, cut: int) -> None:
    changed = bytearray(raw)
    changed[at % len(raw)] ^= flip
    with pytest.raises(MoorageError):
        parse_record(bytes(changed)[: len(changed) - cut], ISSUERS, START)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=1300))
def test_noise_is_malformed(noise: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_record(noise, ISSUERS, START)


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=3), st.integers(0, 10_000))
def test_a_damaged_certificate_is_refused_whatever_it_decodes_to(patch: bytes, at: int) -> None:
    certificate = bytearray(ANNA.certificate)
    at %= len(certificate) - len(patch)
    certificate[at : at + len(patch)] = patch
    if bytes(certificate) != ANNA.certificate:
        with pytest.raises((PeerRefusedError, BadSignatureError)):
            parse_record(resigned(PEER_RAW, certificate=bytes(certificate)), ISSUERS, START)


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "127.0.0.1", "::1", "2001:db8::7", "nas-3.radiology.example", "localhost"]
)
def test_an_address_that_others_can_reach_passes(host: str) -> None:
    check_address(Address(host, 7000))

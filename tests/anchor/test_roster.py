"""Rosters: what the pool's key signed comes back, and nothing else passes for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchor.roster import ROSTER_DOMAIN, Organisation, Roster, parse_roster, sign_roster
from core.encoding import Value, decode, encode
from core.errors import BadSignatureError, MalformedError, MoorageError, NewerVersionError
from core.identity import key_from_seed, public_bytes
from core.ids import PoolId
from core.limits import ROSTER_MAX_BYTES
from core.ports import Address
from core.signing import sign
from tests.core.test_encoding import values

KEY = key_from_seed(b"p" * 32)
VECTOR = json.loads((Path(__file__).parent.parent / "vectors" / "roster.json").read_text())
A = Organisation("Hospital A", b"issuer a", b"a" * 32, b"sealing a", "log a\n")
B = Organisation("Klinik für Ä & B", b"issuer b", b"b" * 32, b"sealing b", "log b\n")
SAMPLE = Roster("pool.example", 3, public_bytes(KEY), (A, B), (Address("192.0.2.1", 7711), Address("2001:db8::1", 1)))

names = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), max_size=64)
organisations = st.builds(
    Organisation,
    name=names,
    issuer=st.binary(max_size=60),
    manifest_key=st.binary(min_size=32, max_size=32),
    sealing_key=st.binary(max_size=60),
    policy=st.text(st.characters(exclude_categories=["Cs"]), max_size=100),
)
distinct = st.lists(organisations, max_size=3, unique_by=(lambda item: item.name, lambda item: item.manifest_key))
seeds = st.builds(Address, names, st.integers(1, 65535))


def file_of(roster: Roster) -> bytes:
    return sign_roster(
        KEY, pool_name=roster.pool_name, epoch=roster.epoch, organisations=roster.organisations, seeds=roster.seeds
    )


def signed(body: Value) -> bytes:
    packed = encode(body)
    return encode({"body": packed, "signature": sign(KEY, ROSTER_DOMAIN, packed)})


def body_of(roster: Roster) -> dict[str, Any]:
    outer: Any = decode(file_of(roster), max_bytes=ROSTER_MAX_BYTES)
    body: dict[str, Any] = cast(Any, decode(outer["body"], max_bytes=ROSTER_MAX_BYTES))
    return body


@given(names, st.integers(0, 2**31), distinct, st.lists(seeds, max_size=3))
def test_what_is_signed_comes_back(name: str, epoch: int, members: list[Organisation], doors: list[Address]) -> None:
    data = sign_roster(KEY, pool_name=name, epoch=epoch, organisations=members, seeds=doors)
    assert parse_roster(data) == Roster(name, epoch, public_bytes(KEY), tuple(members), tuple(doors))


def test_a_roster_of_this_version_is_understood_for_ever() -> None:
    data = bytes.fromhex(VECTOR["file"])
    assert parse_roster(data) == SAMPLE
    assert str(parse_roster(data).pool) == VECTOR["pool"]
    assert file_of(SAMPLE) == data


def test_a_roster_answers_who_is_who() -> None:
    assert SAMPLE.pool == PoolId.of_key(public_bytes(KEY))
    assert SAMPLE.issuers == {"Hospital A": b"issuer a", "Klinik für Ä & B": b"issuer b"}
    assert SAMPLE.organisation_of_key(b"b" * 32) is B
    assert SAMPLE.organisation_of_key(b"c" * 32) is None


def test_another_s_signature_does_not_pass() -> None:
    packed = encode(body_of(SAMPLE))
    other = key_from_seed(b"x" * 32)
    for signature in (sign(other, ROSTER_DOMAIN, packed), sign(KEY, "moorage 2026 manifest v1", packed), bytes(64)):
        with pytest.raises(BadSignatureError):
            parse_roster(encode({"body": packed, "signature": signature}))


def test_a_later_version_is_called_that_even_with_fields_unknown_here() -> None:
    with pytest.raises(NewerVersionError, match="version 2"):
        parse_roster(signed(body_of(SAMPLE) | {"v": 2, "hologram": b"x"}))


MEMBER: dict[str, Any] = body_of(SAMPLE)["organisations"][0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("v", True),
        ("pool", "x" * 65),
        ("pool", "pool\x1b[2J"),
        ("pool", b"pool"),
        ("epoch", True),
        ("epoch", -1),
        ("key", bytes(31)),
        ("organisations", [MEMBER] * 65),
        ("organisations", [MEMBER | {"name": "x" * 65}]),
        ("organisations", [MEMBER | {"name": "two\nlines"}]),
        ("organisations", [MEMBER | {"issuer": bytes(1001)}]),
        ("organisations", [MEMBER | {"manifest_key": bytes(31)}]),
        ("organisations", [MEMBER | {"sealing_key": bytes(2049)}]),
        ("organisations", [MEMBER | {"policy": "x" * 16_385}]),
        ("organisations", [MEMBER | {"extra": 1}]),
        ("organisations", [MEMBER, MEMBER | {"manifest_key": b"z" * 32}]),
        ("organisations", [MEMBER, MEMBER | {"name": "Hospital Z"}]),
        ("organisations", [{"name": "A"}]),
        ("seeds", [["192.0.2.1", True]]),
        ("seeds", [["192.0.2.1", 0]]),
        ("seeds", [["192.0.2.1", 65536]]),
        ("seeds", [["x" * 256, 1]]),
        ("seeds", [[b"192.0.2.1", 1]]),
        ("seeds", [["192.0.2.1"]]),
        ("seeds", ["192.0.2.1:1"]),
        ("seeds", [["192.0.2.1", 1]] * 65),
    ],
)
def test_an_impossible_field_is_malformed_even_when_well_signed(field: str, value: Value) -> None:
    body = body_of(SAMPLE)
    assert field in body
    with pytest.raises(MalformedError):
        parse_roster(signed(body | {field: value}))


@pytest.mark.parametrize("field", sorted(body_of(SAMPLE)))
def test_no_field_may_be_missing_and_none_unknown(field: str) -> None:
    body = body_of(SAMPLE)
    with pytest.raises(MalformedError, match="unknown field 'x'"):
        parse_roster(signed(body | {"x": 1}))
    del body[field]
    with pytest.raises(MalformedError, match="missing"):
        parse_roster(signed(body))


@settings(max_examples=60)
@given(st.sampled_from(sorted(body_of(SAMPLE))), values)
def test_any_value_of_a_field_is_taken_or_refused(field: str, value: Value) -> None:
    try:
        parse_roster(signed(body_of(SAMPLE) | {field: value}))
    except MoorageError:
        return


@given(values)
def test_any_other_structure_is_malformed(value: Value) -> None:
    for data in (encode(value), signed(value)):
        with pytest.raises(MalformedError):
            parse_roster(data)


@given(st.data())
def test_a_changed_byte_is_refused(data: st.DataObject) -> None:
    whole = bytearray.fromhex(VECTOR["file"])
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(MoorageError):
        parse_roster(bytes(whole))

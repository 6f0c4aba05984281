"""Manifests: what is signed comes back, and nothing else passes for one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchor.manifest import (
    MANIFEST_DOMAIN,
    Extent,
    KeySlot,
    Manifest,
    check_extents_fit,
    object_id,
    parse_manifest,
    sign_manifest,
)
from core.encoding import Value, decode, encode
from core.errors import (
    BadSignatureError,
    CorruptError,
    MalformedError,
    MoorageError,
    NewerVersionError,
    UsageError,
)
from core.identity import key_from_seed, public_bytes
from core.ids import PeerId, PoolId, ShardRoot
from core.limits import CHUNK_BYTES, EXTENT_BYTES, EXTENT_CHUNKS, MANIFEST_MAX_BYTES, SEALED_CHUNK_MAX_BYTES
from core.sealing import SLOT_MAX_BYTES
from core.signing import sign
from erasure.scheme import Scheme
from tests.core.test_encoding import values

KEY = key_from_seed(b"m" * 32)
VECTOR = json.loads((Path(__file__).parent.parent / "vectors" / "manifest.json").read_text())


def digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


def roots(start: int, count: int) -> tuple[ShardRoot, ...]:
    return tuple(ShardRoot(digest(start + number)) for number in range(count))


def holders(start: int, count: int) -> tuple[PeerId, ...]:
    return tuple(PeerId(digest(start + number)) for number in range(count))


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    total = draw(st.integers(2, 12))
    groups = tuple(holders(1000 * number, total) for number in range(draw(st.integers(1, 3))))
    index_bytes = draw(st.integers(1, 3 * CHUNK_BYTES))
    chunks = -(-index_bytes // CHUNK_BYTES)
    lengths = draw(st.lists(st.integers(17, SEALED_CHUNK_MAX_BYTES), min_size=chunks, max_size=chunks))
    group = st.integers(0, len(groups) - 1)

    def extent(number: int) -> Extent:
        count = draw(st.integers(1, EXTENT_CHUNKS))
        sealed = draw(st.integers(count, count * SEALED_CHUNK_MAX_BYTES))
        return Extent(count, sealed, draw(group), roots(100 * number, total))

    return Manifest(
        pool=PoolId(draw(st.binary(min_size=32, max_size=32))),
        epoch=draw(st.integers(0, 2**31)),
        owner_key=public_bytes(KEY),
        created_s=draw(st.integers(0, 2**40)),
        scheme=Scheme(draw(st.integers(1, total - 1)), total),
        degraded=draw(st.booleans()),
        groups=groups,
        extents=tuple(extent(number) for number in range(draw(st.integers(0, 3)))),
        index=(Extent(chunks, sum(lengths), draw(group), roots(7, total)),),
        index_lengths=tuple(lengths),
        index_codecs=bytes(draw(st.lists(st.integers(0, 2), min_size=chunks, max_size=chunks))),
        index_bytes=index_bytes,
        listing=draw(st.binary(min_size=32, max_size=32)),
        slots=tuple(KeySlot(digest(number), draw(st.binary(max_size=40))) for number in range(draw(st.integers(0, 3)))),
    )


SAMPLE = Manifest(
    pool=PoolId(digest(1)),
    epoch=3,
    owner_key=public_bytes(KEY),
    created_s=1_790_000_000,
    scheme=Scheme(4, 6),
    degraded=False,
    groups=(holders(10, 6), holders(20, 6)),
    extents=(Extent(256, 60_000_000, 0, roots(100, 6)), Extent(3, 700_000, 1, roots(200, 6))),
    index=(Extent(2, 262_160 + 116, 1, roots(300, 6)),),
    index_lengths=(262_160, 116),
    index_codecs=b"\x00\x01",
    index_bytes=CHUNK_BYTES + 100,
    listing=digest(4),
    slots=(KeySlot(digest(5), b"w" * 1168),),
)


def signed(body: Value) -> bytes:
    packed = encode(body)
    return encode({"body": packed, "signature": sign(KEY, MANIFEST_DOMAIN, packed)})


def body_of(manifest: Manifest) -> dict[str, Any]:
    outer: Any = decode(sign_manifest(KEY, manifest), max_bytes=MANIFEST_MAX_BYTES)
    body: dict[str, Any] = cast(Any, decode(outer["body"], max_bytes=MANIFEST_MAX_BYTES))
    return body


def parse(data: bytes) -> Manifest:
    return parse_manifest(data, expected=object_id(data))


@given(manifests())
def test_what_is_signed_comes_back(manifest: Manifest) -> None:
    data = sign_manifest(KEY, manifest)
    assert parse(data) == manifest
    assert sign_manifest(KEY, parse(data)) == data


def test_a_manifest_of_this_version_is_understood_for_ever() -> None:
    data = bytes.fromhex(VECTOR["file"])
    manifest = parse(data)
    assert str(object_id(data)) == VECTOR["object"]
    assert manifest == SAMPLE
    assert sign_manifest(KEY, manifest) == data


def test_shards_and_holders_are_counted_through_data_and_index() -> None:
    shards = list(SAMPLE.shards())
    assert len(shards) == 3 * 6
    assert shards[0] == (0, 0, ShardRoot(digest(100)), PeerId(digest(10)))
    assert shards[-1] == (2, 5, ShardRoot(digest(305)), PeerId(digest(25)))
    assert SAMPLE.all_extents() == SAMPLE.extents + SAMPLE.index
    assert SAMPLE.holders() == holders(10, 6) + holders(20, 6)


def test_the_name_is_the_bytes() -> None:
    data = sign_manifest(KEY, SAMPLE)
    with pytest.raises(CorruptError, match="do not match its name"):
        parse_manifest(data, expected=object_id(data + b"\0"))


def test_another_s_signature_does_not_pass() -> None:
    packed = encode(body_of(SAMPLE))
    wrong = [
        sign(key_from_seed(b"x" * 32), MANIFEST_DOMAIN, packed),
        sign(KEY, "moorage 2026 roster v1", packed),
        bytes(64),
    ]
    for signature in wrong:
        with pytest.raises(BadSignatureError, match="not signed by the owner"):
            parse(encode({"body": packed, "signature": signature}))


def test_a_later_version_is_called_that_even_with_fields_unknown_here() -> None:
    with pytest.raises(NewerVersionError, match="version 2"):
        parse(signed(body_of(SAMPLE) | {"v": 2, "hologram": b"x"}))


ONE_EXTENT: dict[str, Any] = {"chunks": 1, "sealed": 100, "group": 0, "roots": b"".join(map(digest, range(6)))}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("v", True),
        ("v", -1),
        ("pool", bytes(31)),
        ("epoch", True),
        ("owner", bytes(33)),
        ("created", -1),
        ("needed", 6),
        ("needed", 0),
        ("needed", True),
        ("total", 5),
        ("total", 257),
        ("degraded", 0),
        ("groups", []),
        ("groups", [bytes(32 * 5)]),
        ("groups", [digest(1) * 6] * 1025),
        ("extents", [ONE_EXTENT | {"group": 2}]),
        ("extents", [ONE_EXTENT | {"chunks": 0}]),
        ("extents", [ONE_EXTENT | {"chunks": 257}]),
        ("extents", [ONE_EXTENT | {"chunks": True}]),
        ("extents", [ONE_EXTENT | {"sealed": SEALED_CHUNK_MAX_BYTES + 1}]),
        ("extents", [ONE_EXTENT | {"sealed": 0}]),
        ("extents", [ONE_EXTENT | {"roots": bytes(32)}]),
        ("extents", [ONE_EXTENT | {"extra": 1}]),
        ("extents", [[1, 100, 0]]),
        ("index", []),
        ("index", [ONE_EXTENT]),
        ("index_lengths", b""),
        ("index_lengths", bytes(7)),
        ("index_lengths", bytes(8)),
        ("index_lengths", (2**32 - 1).to_bytes(4, "big") * 2),
        ("index_lengths", (262_160).to_bytes(4, "big") + (115).to_bytes(4, "big")),
        ("index_codecs", b"\0"),
        ("index_bytes", 0),
        ("index_bytes", 2 * CHUNK_BYTES + 1),
        ("index_bytes", CHUNK_BYTES),
        ("index_bytes", 2**40),
        ("listing", b""),
        ("slots", [{"key": digest(1)}]),
        ("slots", [{"key": digest(1), "wrapped": bytes(2049)}]),
        ("slots", [{"key": digest(1), "wrapped": b""}] * 65),
    ],
)
def test_an_impossible_field_is_malformed_even_when_well_signed(field: str, value: Value) -> None:
    body = body_of(SAMPLE)
    assert field in body
    with pytest.raises(MalformedError):
        parse(signed(body | {field: value}))


def test_an_index_in_two_extents_fills_the_first() -> None:
    full = Extent(EXTENT_CHUNKS, EXTENT_CHUNKS * 100, 0, roots(1, 6))
    rest = Extent(1, 100, 0, roots(9, 6))
    lengths, codecs = (100,) * 257, bytes(257)
    good = replace(SAMPLE, index=(full, rest), index_lengths=lengths, index_codecs=codecs, index_bytes=EXTENT_BYTES + 1)
    assert parse(sign_manifest(KEY, good)) == good
    with pytest.raises(MalformedError):
        parse(sign_manifest(KEY, replace(good, index=(rest, full))))


@pytest.mark.parametrize("field", sorted(body_of(SAMPLE)))
def test_no_field_may_be_missing(field: str) -> None:
    body = body_of(SAMPLE)
    del body[field]
    with pytest.raises(MalformedError, match="missing"):
        parse(signed(body))


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(MalformedError, match="unknown field 'x'"):
        parse(signed(body_of(SAMPLE) | {"x": 1}))
    data = sign_manifest(KEY, SAMPLE)
    outer: Any = decode(data, max_bytes=MANIFEST_MAX_BYTES)
    with pytest.raises(MalformedError, match="unknown field 'x'"):
        parse(encode(outer | {"x": 1}))


@settings(max_examples=60)
@given(st.sampled_from(sorted(body_of(SAMPLE))), values)
def test_any_value_of_a_field_is_taken_or_refused(field: str, value: Value) -> None:
    try:
        found = parse(signed(body_of(SAMPLE) | {field: value}))
    except MoorageError:
        return
    assert repr(body_of(found)[field]) == repr(value)


@given(values)
def test_any_other_structure_is_malformed(value: Value) -> None:
    for data in (encode(value), signed(value)):
        with pytest.raises(MalformedError):
            parse(data)


@given(st.data())
def test_a_changed_byte_is_refused_whatever_the_file_is_called(data: st.DataObject) -> None:
    whole = bytearray.fromhex(VECTOR["file"])
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(MoorageError):
        parse(bytes(whole))


def test_an_object_too_large_for_one_manifest_is_refused_with_advice() -> None:
    many = tuple(Extent(256, 60_000_000, 0, roots(1000 * number, 6)) for number in range(5000))
    with pytest.raises(UsageError, match="several objects"):
        sign_manifest(KEY, replace(SAMPLE, extents=many))


def fits(extents: int, scheme: Scheme) -> bool:
    try:
        check_extents_fit(extents, scheme)
    except UsageError:
        return False
    return True


@pytest.mark.parametrize("scheme", [Scheme(1, 2), Scheme(4, 6), Scheme(10, 16), Scheme(17, 20)], ids=str)
def test_as_many_extents_as_a_put_begins_to_send_can_be_signed(scheme: Scheme) -> None:
    most = next(count for count in range(16_384, 0, -1) if fits(count, scheme))
    extent = Extent(EXTENT_CHUNKS, EXTENT_CHUNKS * SEALED_CHUNK_MAX_BYTES, 1000, roots(0, scheme.total))
    manifest = Manifest(
        pool=PoolId(digest(1)),
        epoch=2**31,
        owner_key=public_bytes(KEY),
        created_s=2**40,
        scheme=scheme,
        degraded=False,
        groups=(holders(0, scheme.total),) * -(-most // 64),
        extents=(extent,) * most,
        index=(extent,) * 4,
        index_lengths=(SEALED_CHUNK_MAX_BYTES,) * 1000,
        index_codecs=bytes(1000),
        index_bytes=1000 * CHUNK_BYTES,
        listing=digest(2),
        slots=(KeySlot(digest(3), bytes(SLOT_MAX_BYTES)),),
    )
    size_bytes = len(sign_manifest(KEY, manifest))
    assert 0.98 * MANIFEST_MAX_BYTES < size_bytes <= MANIFEST_MAX_BYTES

"""A client's own notes: a convenience that must never mislead a later put."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from client.home import load_home
from client.memory import (
    CatalogueEntry,
    ClientMemory,
    StoredExtent,
    encode_entry,
    encode_extent_record,
    extent_record_name,
    parse_entry,
    parse_extent_record,
)
from client.provision import Provisioner
from core.durable import write_file
from core.encoding import Value, decode, encode
from core.errors import (
    AmbiguousObjectError,
    CorruptError,
    MalformedError,
    MalformedIdError,
    MoorageError,
    UnknownObjectError,
)
from core.ids import ObjectId, PeerId, ShardRoot
from core.limits import SEALED_CHUNK_MAX_BYTES
from core.ports import Disk
from erasure.scheme import Scheme
from tests.core.test_encoding import values
from tests.sim.chance import SimChance
from tests.sim.clock import SimClock
from tests.sim.disk import SimDisk
from tests.sim.drive import SimDrive

SCHEME = Scheme(2, 3)
KEY = b"k" * 32
NAME = extent_record_name(KEY, SCHEME)
LIMIT = 1 << 16
EXTENT = StoredExtent(
    roots=tuple(ShardRoot(bytes([number]) * 32) for number in range(3)),
    holders=tuple(PeerId(bytes([16 + number]) * 32) for number in range(3)),
    sealed_lengths=(SEALED_CHUNK_MAX_BYTES, 17),
    codecs=b"\x00\x02",
)
VECTOR = json.loads((Path(__file__).parent.parent / "vectors" / "extent-record.json").read_text())


@cache
def new_home() -> Disk:
    disk = SimDisk(SimDrive(1, "maker"))
    Provisioner(disk, SimChance(1, "maker"), SimClock(), "pool.example").make("/pool", peers=2, sites=1)
    return disk


def memory() -> tuple[ClientMemory, Disk]:
    home = load_home(new_home(), "/pool/client", SimClock())
    disk = SimDisk(SimDrive(2, "client"))
    return ClientMemory(disk, home, SimChance(1, "client")), disk


def entry(number: int, content: int = 1) -> CatalogueEntry:
    return CatalogueEntry(
        object=ObjectId(number.to_bytes(32, "big")),
        content=bytes([content]) * 32,
        name=f"study {number} \udcff",
        files=3,
        plain_bytes=1000,
        stored_bytes=1600,
        created_s=1_790_000_000 + number,
    )


# --- extent records ---------------------------------------------------------------------------

extents = st.integers(1, 4).flatmap(
    lambda chunks: st.builds(
        StoredExtent,
        roots=st.lists(st.binary(min_size=32, max_size=32).map(ShardRoot), min_size=3, max_size=3).map(tuple),
        holders=st.lists(st.binary(min_size=32, max_size=32).map(PeerId), min_size=3, max_size=3).map(tuple),
        sealed_lengths=st.lists(st.integers(17, SEALED_CHUNK_MAX_BYTES), min_size=chunks, max_size=chunks).map(tuple),
        codecs=st.binary(min_size=chunks, max_size=chunks),
    )
)


@given(extents)
def test_a_record_comes_back_as_it_went(extent: StoredExtent) -> None:
    assert parse_extent_record(encode_extent_record(extent, NAME), NAME, SCHEME) == extent


def test_a_mark_that_outlived_its_record_s_writer_goes_when_the_record_is_read() -> None:
    found, disk = memory()
    found.begin_extent(KEY, SCHEME)
    (folder,) = (f"/pool/client/state/extents/{name}" for name in disk.list_folder("/pool/client/state/extents"))
    (mark,) = disk.list_folder(folder)
    found.remember_extent(KEY, SCHEME, EXTENT)
    write_file(disk, f"{folder}/{mark}", b"", token="x")
    assert found.extent(KEY, SCHEME) == EXTENT
    assert mark not in disk.list_folder(folder)


def test_a_record_of_this_release_is_understood_for_ever() -> None:
    assert extent_record_name(KEY, SCHEME).hex() == VECTOR["name"]
    assert parse_extent_record(bytes.fromhex(VECTOR["file"]), NAME, SCHEME) == EXTENT


@given(st.data())
def test_any_changed_byte_makes_the_record_void(data: st.DataObject) -> None:
    whole = bytearray(encode_extent_record(EXTENT, NAME))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CorruptError):
        parse_extent_record(bytes(whole), NAME, SCHEME)
    with pytest.raises(CorruptError):
        parse_extent_record(bytes(whole[: data.draw(st.integers(0, len(whole) - 1))]), NAME, SCHEME)


def test_a_record_under_another_s_name_is_void() -> None:
    for key, scheme in ((b"j" * 32, SCHEME), (KEY, Scheme(1, 3))):
        with pytest.raises(CorruptError):
            parse_extent_record(encode_extent_record(EXTENT, NAME), extent_record_name(key, scheme), scheme)


@given(values, st.sampled_from(["", "roots", "holders", "lengths", "codecs"]))
def test_other_values_under_a_right_digest_are_taken_or_refused(value: Value, field: str) -> None:
    good: dict[str, Any] = cast(Any, decode(encode_extent_record(EXTENT, NAME)[:-32], max_bytes=LIMIT))
    body = encode(good | {field: value} if field else value)
    data = body + blake3(body, key=NAME).digest()
    try:
        taken = parse_extent_record(data, NAME, SCHEME)
    except MoorageError:
        return
    assert encode_extent_record(taken, NAME) == data


@pytest.mark.parametrize(
    "extent",
    [
        replace(EXTENT, sealed_lengths=(), codecs=b""),
        replace(EXTENT, sealed_lengths=(16, 17)),
        replace(EXTENT, sealed_lengths=(SEALED_CHUNK_MAX_BYTES + 1, 17)),
        replace(EXTENT, sealed_lengths=(17,)),
        replace(EXTENT, roots=EXTENT.roots[:2]),
        replace(EXTENT, holders=(*EXTENT.holders, EXTENT.holders[0])),
        replace(EXTENT, sealed_lengths=(17,) * 257, codecs=bytes(257)),
    ],
)
def test_an_impossible_record_is_malformed(extent: StoredExtent) -> None:
    with pytest.raises(MalformedError):
        parse_extent_record(encode_extent_record(extent, NAME), NAME, SCHEME)


def test_a_damaged_record_is_no_record() -> None:
    notes, disk = memory()
    assert notes.extent(KEY, SCHEME) is None
    notes.remember_extent(KEY, SCHEME, EXTENT)
    assert notes.extent(KEY, SCHEME) == EXTENT
    assert notes.extent(KEY, Scheme(1, 3)) is None
    folder = "/pool/client/state/extents"
    (group,) = disk.list_folder(folder)
    (name,) = disk.list_folder(f"{folder}/{group}")
    assert KEY.hex() not in name
    write_file(disk, f"{folder}/{group}/{name}", b"torn", token="x")
    assert notes.extent(KEY, SCHEME) is None


# --- the catalogue ----------------------------------------------------------------------------


def test_objects_are_remembered_with_their_papers() -> None:
    notes, _ = memory()
    assert list(notes.objects()) == []
    for number in (2, 1):
        notes.remember_object(entry(number), b"manifest %d" % number, b"receipt %d" % number)
    assert list(notes.objects()) == [entry(1), entry(2)]
    assert notes.manifest_file(entry(1).object) == b"manifest 1"
    assert notes.receipt_file(entry(2).object) == b"receipt 2"
    assert notes.receipt_file(ObjectId(b"x" * 32)) is None
    assert notes.find_content(b"\x01" * 32) == [entry(1), entry(2)]
    assert notes.find_content(b"\x09" * 32) == []


def test_a_damaged_entry_hides_itself_only() -> None:
    notes, disk = memory()
    for number in (1, 2, 3):
        notes.remember_object(entry(number), b"", b"")
    write_file(disk, f"/pool/client/catalogue/{entry(2).object}", b"\x81", token="x")
    write_file(disk, "/pool/client/catalogue/README", b"not an object", token="x")
    assert list(notes.objects()) == [entry(1), entry(3)]
    assert notes.damaged() == [entry(2).object]
    assert notes.count() == 3
    assert notes.find_content(b"\x01" * 32) == [entry(1), entry(3)]


def test_a_content_is_found_without_reading_the_catalogue_and_in_a_home_older_than_the_index() -> None:
    notes, disk = memory()
    for number in (1, 2):
        notes.remember_object(entry(number), b"", b"")
    contents = "/pool/client/state/contents"
    for bucket in disk.list_folder(contents):
        for name in disk.list_folder(f"{contents}/{bucket}"):
            disk.unlink(f"{contents}/{bucket}/{name}")
    for _ in range(2):
        assert notes.find_content(b"\x01" * 32) == [entry(1), entry(2)]
    disk.unlink(f"/pool/client/catalogue/{entry(1).object}")
    assert notes.find_content(b"\x01" * 32) == [entry(2)]
    notes.remember_object(entry(3), b"", b"")
    write_file(disk, contents + "/010/" + "01" * 32 + "-x", b"", token="x")
    assert notes.find_content(b"\x01" * 32) == [entry(2), entry(3)]
    # What the index does not name is not looked for in the catalogue.
    write_file(disk, f"/pool/client/catalogue/{entry(4).object}", encode_entry(entry(4)), token="x")
    assert notes.find_content(b"\x01" * 32) == [entry(2), entry(3)]


def test_a_damaged_manifest_is_none_since_every_holder_has_a_copy() -> None:
    notes, _ = memory()
    notes.remember_object(entry(1), b"no manifest", b"")
    assert notes.manifest(entry(1).object) is None
    assert notes.manifest(entry(2).object) is None


@given(values, st.sampled_from(["", "content", "name", "files", "bytes", "stored", "created", "more"]))
def test_an_entry_of_any_value_is_taken_or_malformed(value: Value, field: str) -> None:
    good: dict[str, Value] = {
        "content": bytes(32),
        "name": b"study",
        "files": 1,
        "bytes": 2,
        "stored": 3,
        "created": 4,
    }
    data = encode(good | {field: value} if field else value)
    try:
        found = parse_entry(ObjectId(bytes(32)), data)
    except MalformedError:
        return
    assert isinstance(found.name, str)
    assert field != "more"


@given(st.binary(max_size=60))
def test_an_entry_of_any_bytes_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_entry(ObjectId(bytes(32)), data)


def test_an_object_is_named_by_its_first_digits() -> None:
    notes, _ = memory()
    one, other = "ab" * 31 + "01", "ab" * 31 + "02"
    for text in (one, other, "cdef" * 16):
        notes.remember_object(entry(1)._replace(object=ObjectId.parse(text)), b"", b"")
    assert notes.resolve("cdef") == notes.resolve("CDEF" * 8) == ObjectId.parse("cdef" * 16)
    assert notes.resolve(one) == ObjectId.parse(one)
    assert notes.resolve("ef" * 32) == ObjectId.parse("ef" * 32)
    for text in ("abab", one[:63], "cde", "c"):
        with pytest.raises(AmbiguousObjectError):
            notes.resolve(text)
    with pytest.raises(UnknownObjectError):
        notes.resolve("1234")
    for text in ("", "xyz1", "cdef" * 16 + "0", "../../x", "cd ef", "²³¹¹", "0x1234"):
        with pytest.raises(MalformedIdError):
            notes.resolve(text)

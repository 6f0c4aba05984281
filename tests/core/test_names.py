"""Ids and paths: what cannot be made wrong need not be checked again."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import MalformedError, MalformedIdError
from core.ids import ObjectId, PeerId, PoolId, ShardRoot, derived_digest
from core.limits import NAME_MAX_BYTES, PATH_MAX_BYTES
from core.listing import RelativePath


@given(st.binary(min_size=32, max_size=32))
def test_an_id_is_its_64_digits(raw: bytes) -> None:
    assert ObjectId.parse(str(ObjectId(raw))) == ObjectId(raw)
    assert str(ObjectId(raw)).startswith(ObjectId(raw).short)


@given(st.text(max_size=70) | st.text("0123456789abcdefABCDEF \n_", max_size=70))
@example("AA" * 32)
@example("aa " * 32)
@example(" " + "aa" * 32)
@example("aa" * 32 + "\n")
@example("aa" * 31)
@example("٠" * 64)
def test_any_other_text_is_no_id(text: str) -> None:
    try:
        assert str(ObjectId.parse(text)) == text
    except MalformedIdError:
        return


@pytest.mark.parametrize("size", [0, 31, 33])
def test_an_id_has_32_bytes(size: int) -> None:
    with pytest.raises(MalformedIdError):
        ShardRoot(bytes(size))


def test_ids_of_different_things_are_never_equal() -> None:
    raw = bytes(32)
    names = [ObjectId(raw), ShardRoot(raw), PeerId(raw), PoolId(raw)]
    assert all((one == other) is (one is other) for one in names for other in names)
    assert PeerId.of_key(b"k" * 32).raw != PoolId.of_key(b"k" * 32).raw
    assert derived_digest("a", b"x") != derived_digest("b", b"x")


names = st.binary(min_size=1, max_size=20).filter(
    lambda name: b"\0" not in name and b"/" not in name and name not in (b".", b"..")
)


@given(st.lists(names, min_size=1, max_size=6))
def test_any_names_joined_make_a_path(parts: list[bytes]) -> None:
    path = RelativePath(b"/".join(parts))
    assert path.parent == b"/".join(parts[:-1])
    assert str(path).encode("utf-8", "surrogateescape") == path.raw


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"/",
        b"/etc",
        b"a/",
        b"a//b",
        b".",
        b"..",
        b"a/../b",
        b"a/.",
        b"./a",
        b"a\0b",
        b"x" * (NAME_MAX_BYTES + 1),
        b"a/" * (PATH_MAX_BYTES // 2) + b"a",
    ],
)
def test_a_path_cannot_climb_hide_or_overflow(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        RelativePath(raw)


@given(st.binary(max_size=60) | st.lists(st.sampled_from([b".", b"..", b"", b"a", b"\0"])).map(b"/".join))
def test_no_bytes_make_a_path_that_leaves_its_folder(raw: bytes) -> None:
    try:
        path = RelativePath(raw)
    except MalformedError:
        return
    assert not {b"", b".", b".."} & set(path.raw.split(b"/"))


def test_the_longest_names_are_names() -> None:
    assert RelativePath(b"\xff" * NAME_MAX_BYTES).raw == b"\xff" * NAME_MAX_BYTES
    assert RelativePath(b"...").raw == b"..."
    assert RelativePath(b"-rf").raw == b"-rf"

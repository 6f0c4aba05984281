"""The shard file: what is written is found again, and no changed byte goes unseen."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import CorruptError, MalformedError, MoorageError, NewerVersionError
from core.ids import ShardRoot
from core.limits import CHUNK_BYTES, EXTENT_CHUNKS, MIB, SEALED_CHUNK_MAX_BYTES
from erasure import shardfile
from erasure.codec import encode_chunk
from erasure.merkle import check_share, leaf_digest, merkle_path, root_of_leaves
from erasure.scheme import Scheme
from erasure.shardfile import (
    HEAD_BYTES,
    ShardHasher,
    ShardHead,
    ShardReport,
    foot_bytes,
    pack_foot,
    pack_head,
    parse_foot,
    parse_head,
    read_layout,
    scan_shard,
    shard_file_bytes,
    share_max_bytes,
)

FOUR_TWO = Scheme(4, 6)
VECTOR = Path(__file__).parent / "vectors" / "shard.json"


def vector_shares(index: int) -> list[bytes]:
    """Share ``index`` of three chunks of 5, 16 and 9 bytes whose bytes count up from 0, 5 and 21."""
    chunks = [bytes(range(5)), bytes(range(5, 21)), bytes(range(21, 30))]
    return [bytes(encode_chunk(chunk, FOUR_TWO)[index]) for chunk in chunks]


def shard_of(shares: list[bytes], scheme: Scheme = FOUR_TWO, index: int = 4) -> tuple[ShardRoot, bytes]:
    hasher = ShardHasher(scheme, index)
    for share in shares:
        hasher.add(share)
    return hasher.root(), hasher.head() + b"".join(shares) + hasher.foot()


def reader(data: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, length: data[offset : offset + length]


def scan(data: bytes, root: ShardRoot) -> ShardReport:
    return scan_shard(reader(data), len(data), root)


def test_the_format_is_frozen() -> None:
    """The vector is never written anew: a format that no longer makes these bytes needs another version number."""
    vector = json.loads(VECTOR.read_text())
    root, data = shard_of(vector_shares(4))
    assert data.hex() == vector["file"]
    assert str(root) == vector["root"]
    report = scan(bytes.fromhex(vector["file"]), ShardRoot.parse(vector["root"]))
    assert report.whole
    assert report.head == ShardHead(FOUR_TWO, 4, 3, root)


def test_every_flipped_byte_shows() -> None:
    shares = vector_shares(4)
    root, data = shard_of(shares)
    foot_at = len(data) - foot_bytes(3)
    for place in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            changed = bytearray(data)
            changed[place] ^= flip
            report = scan(bytes(changed), root)
            assert not report.whole, (place, flip)
            assert not report.newer_version
            with_shares_only = HEAD_BYTES <= place < foot_at
            assert bool(report.problem) != with_shares_only, (place, flip)
            if with_shares_only:
                assert len(report.bad_chunks) == 1


def test_every_truncation_and_every_extension_shows() -> None:
    root, data = shard_of(vector_shares(4))
    for length in range(len(data)):
        assert scan(data[:length], root).problem, length
        assert scan(data[len(data) - length :], root).problem, length
    for extra in (b"\0", b"\xff", data, data[-16:]):
        assert scan(data + extra, root).problem
        assert scan(extra + data, root).problem


def test_every_removed_or_added_byte_shows() -> None:
    root, data = shard_of(vector_shares(4))
    for place in range(len(data)):
        assert not scan(data[:place] + data[place + 1 :], root).whole
        assert not scan(data[:place] + b"\0" + data[place:], root).whole


def test_a_flip_in_a_share_names_its_chunk_and_the_computed_leaves() -> None:
    shares = vector_shares(4)
    root, data = shard_of(shares)
    changed = bytearray(data)
    changed[HEAD_BYTES + len(shares[0])] ^= 1
    report = scan(bytes(changed), root)
    assert report.bad_chunks == (1,)
    assert report.problem == ""
    good = [leaf_digest(share) for share in shares]
    assert [leaf == was for leaf, was in zip(report.leaves, good, strict=True)] == [True, False, True]


def test_a_damaged_leaf_in_the_foot_is_told_from_a_damaged_share() -> None:
    root, data = shard_of(vector_shares(4))
    changed = bytearray(data)
    changed[-20] ^= 1
    report = scan(bytes(changed), root)
    assert report.bad_chunks == ()
    assert "foot" in report.problem
    assert root_of_leaves(FOUR_TWO, 4, report.leaves) == root


def test_when_share_and_foot_are_both_damaged_no_chunk_counts_as_good() -> None:
    root, data = shard_of(vector_shares(4))
    changed = bytearray(data)
    changed[HEAD_BYTES] ^= 1
    changed[-20] ^= 1
    report = scan(bytes(changed), root)
    assert report.bad_chunks == (0, 1, 2)
    assert report.problem


def test_another_shards_file_under_this_name_is_a_problem() -> None:
    root, _ = shard_of(vector_shares(4))
    other_root, other = shard_of(vector_shares(5), index=5)
    report = scan(other, root)
    assert other_root.short in report.problem
    assert not report.whole


def test_swapped_shares_and_compensating_lengths_show() -> None:
    shares = [b"a" * 8, b"b" * 8, b"c" * 9]
    root, data = shard_of(shares)
    leaves = [leaf_digest(share) for share in shares]
    head = data[:HEAD_BYTES]
    assert scan(head + b"b" * 8 + b"a" * 8 + b"c" * 9 + pack_foot([8, 8, 9], leaves), root).bad_chunks == (0, 1)
    assert scan(head + b"".join(shares) + pack_foot([8, 9, 8], leaves), root).bad_chunks == (1, 2)
    swapped = head + b"b" * 8 + b"a" * 8 + b"c" * 9 + pack_foot([8, 8, 9], [leaves[1], leaves[0], leaves[2]])
    assert scan(swapped, root).problem


def test_a_file_of_a_newer_release_is_not_called_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    root, data = shard_of(vector_shares(4))
    monkeypatch.setattr(shardfile, "SHARD_VERSION", 2)
    newer = pack_head(ShardHead(FOUR_TWO, 4, 3, root)) + data[HEAD_BYTES:]
    monkeypatch.undo()
    with pytest.raises(NewerVersionError, match="version 2"):
        parse_head(newer[:HEAD_BYTES])
    report = scan(newer, root)
    assert report.newer_version
    assert "upgrade" in report.problem


def test_a_file_cut_short_while_it_is_read_is_reported() -> None:
    shares = [bytes([at]) * 40 for at in range(8)]
    root, data = shard_of(shares)
    foot_at = len(data) - foot_bytes(8)

    def shrinking(offset: int, length: int) -> bytes:
        return data[offset : offset + length] if offset in (0, foot_at) else data[offset : HEAD_BYTES + 100]

    report = scan_shard(shrinking, len(data), root)
    assert report.bad_chunks == (2, 3, 4, 5, 6, 7)


def test_the_disks_own_errors_pass_through() -> None:
    root, data = shard_of(vector_shares(4))

    def failing(offset: int, length: int) -> bytes:
        if HEAD_BYTES <= offset < len(data) - foot_bytes(3):
            raise OSError(5, "Input/output error")
        return data[offset : offset + length]

    with pytest.raises(OSError, match="Input/output"):
        scan_shard(failing, len(data), root)


@given(st.integers(2, 12), st.data())
@settings(max_examples=40, deadline=None)
def test_any_shard_is_found_again(total: int, data: st.DataObject) -> None:
    scheme = Scheme(data.draw(st.integers(1, total - 1)), total)
    index = data.draw(st.integers(0, total - 1))
    shares = data.draw(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=EXTENT_CHUNKS))
    root, file = shard_of(shares, scheme, index)
    assert len(file) == shard_file_bytes(len(shares), sum(map(len, shares)))
    assert scan(file, root).whole
    head, layout = read_layout(reader(file), len(file), root)
    assert head == ShardHead(scheme, index, len(shares), root)
    for at, share in enumerate(shares):
        start, length = layout.run(at, 1)
        assert file[start : start + length] == share
        check_share(root, scheme, index, len(shares), at, share, merkle_path(layout.leaves, at))
    assert layout.run(0, len(shares)) == (HEAD_BYTES, sum(map(len, shares)))


def test_a_full_extent_is_read_in_runs_of_a_mebibyte() -> None:
    share = random.Random(3).randbytes(CHUNK_BYTES // 4 + 4)
    root, data = shard_of([share] * EXTENT_CHUNKS)
    reads: list[int] = []

    def counting(offset: int, length: int) -> bytes:
        reads.append(length)
        return data[offset : offset + length]

    assert scan_shard(counting, len(data), root).whole
    assert sum(reads) == len(data)
    assert max(reads) <= MIB
    assert len(reads) == 2 + -(-EXTENT_CHUNKS // (MIB // len(share)))


def test_layout_with_a_damaged_foot_is_never_used() -> None:
    root, data = shard_of(vector_shares(4))
    for place in [*range(HEAD_BYTES), *range(len(data) - foot_bytes(3), len(data))]:
        changed = bytearray(data)
        changed[place] ^= 0x10
        with pytest.raises((CorruptError, MalformedError)):
            read_layout(reader(bytes(changed)), len(data), root)


@given(st.binary(max_size=400), st.booleans())
@settings(max_examples=200, deadline=None)
def test_no_bytes_break_the_parsers(data: bytes, with_head: bool) -> None:
    root, file = shard_of([b"x"])
    data = file[:HEAD_BYTES] + data if with_head else data
    assert data == file or not scan(data, root).whole
    for parse in (
        lambda: parse_head(data),
        lambda: parse_foot(data, ShardHead(FOUR_TWO, 0, 2, root), 400),
        lambda: read_layout(reader(data), len(data), root),
    ):
        try:
            parse()
        except MoorageError:
            continue


@given(st.binary(min_size=12, max_size=12))
@settings(max_examples=200, deadline=None)
def test_a_head_with_a_fitting_check_and_hostile_numbers_parses_or_is_malformed(numbers: bytes) -> None:
    root = ShardRoot(bytes(32))
    raw = bytearray(pack_head(ShardHead(FOUR_TWO, 4, 3, root)))
    raw[10:22] = numbers
    raw[24:32] = shardfile._head_check(raw)
    try:
        head = parse_head(bytes(raw))
    except MalformedError:
        return
    assert pack_head(head) == bytes(raw)


@pytest.mark.parametrize(
    ("needed", "total", "index", "chunks", "reserved"),
    [
        (0, 6, 0, 1, 0),
        (6, 6, 0, 1, 0),
        (4, 257, 0, 1, 0),
        (4, 6, 6, 1, 0),
        (4, 6, 0, 0, 0),
        (4, 6, 0, 257, 0),
        (4, 6, 0, 1, 1),
    ],
)
def test_impossible_heads_are_malformed(needed: int, total: int, index: int, chunks: int, reserved: int) -> None:
    raw = bytearray(64)
    struct.pack_into(">8sHHHHII", raw, 0, b"MOORSHRD", 1, needed, total, index, chunks, reserved)
    raw[24:32] = shardfile._head_check(raw)
    with pytest.raises(MalformedError):
        parse_head(bytes(raw))


def test_hasher_refuses_what_no_shard_can_hold() -> None:
    hasher = ShardHasher(FOUR_TWO, 0)
    for share in (b"", bytes(share_max_bytes(FOUR_TWO) + 1)):
        with pytest.raises(MalformedError):
            hasher.add(share)
    hasher.add(bytes(share_max_bytes(FOUR_TWO)))
    assert hasher.chunks == 1
    assert share_max_bytes(Scheme(1, 2)) == SEALED_CHUNK_MAX_BYTES
    for _ in range(EXTENT_CHUNKS - 1):
        hasher.add(b"x")
    with pytest.raises(MalformedError, match="at most 256"):
        hasher.add(b"x")

"""Compression: what goes in comes out, in no more room than it had, and no frame fills the memory."""

from __future__ import annotations

import random
import struct
import sys
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.compression import COMPRESSOR, ChunkCompressor, Codec, decompress
from core.errors import CorruptError, NewerVersionError
from core.limits import CHUNK_BYTES, MIB

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

NOISE = random.Random(1).randbytes(CHUNK_BYTES)


def ct_like(size: int) -> bytes:
    """16-bit samples near one level: the low bytes are noise, the high ones hardly change."""
    chance = random.Random(2)
    return struct.pack(f"<{size // 2}h", *(1000 + chance.randrange(-60, 60) for _ in range(size // 2)))


TEXT = (b"GATTACA-" * CHUNK_BYTES)[:CHUNK_BYTES]
SAMPLES = {
    "text": (TEXT, Codec.ZSTD),
    "zeros": (bytes(CHUNK_BYTES), Codec.ZSTD),
    "noise": (NOISE, Codec.STORED),
    "pixels": (ct_like(CHUNK_BYTES), Codec.PLANES),
    "short pixels": (ct_like(20_000), Codec.PLANES),
    "odd pixels": (ct_like(20_000) + b"\x01", Codec.PLANES),
    "one byte": (b"x", Codec.STORED),
    "two bytes": (b"xy", Codec.STORED),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_each_kind_of_data_comes_back_from_its_codec(name: str) -> None:
    chunk, expected = SAMPLES[name]
    codec, packed = ChunkCompressor().compress(chunk)
    assert codec is expected
    assert bytes(decompress(codec, packed, chunk_bytes=len(chunk))) == chunk


def test_incompressible_data_is_kept_as_it_is_and_not_copied() -> None:
    _, packed = ChunkCompressor().compress(NOISE)
    assert packed is NOISE


def test_planes_pay_on_16_bit_pixels() -> None:
    _, packed = ChunkCompressor().compress(ct_like(CHUNK_BYTES))
    assert len(packed) < 0.9 * len(zstd.compress(ct_like(CHUNK_BYTES), 1))


@given(
    st.binary(min_size=1, max_size=300),
    st.integers(1, 400),
    st.binary(max_size=40),
)
@example(b"\0", 1, b"")
@example(b"ab", 400, b"c")
def test_any_chunk_comes_back_and_never_takes_more_room(piece: bytes, times: int, tail: bytes) -> None:
    chunk = piece * times + tail
    codec, packed = ChunkCompressor().compress(chunk)
    assert len(packed) <= len(chunk)
    assert bytes(decompress(codec, packed, chunk_bytes=len(chunk))) == chunk


def test_a_saving_that_is_not_worth_the_time_is_not_made() -> None:
    for zeros in range(0, 64 * 1024, 4096):
        chunk = NOISE[: 128 * 1024 - zeros] + bytes(zeros)
        codec, packed = ChunkCompressor().compress(chunk)
        assert (codec is Codec.STORED) == (len(packed) > len(chunk) * 15 // 16)


def test_one_compressor_gives_the_same_bytes_whatever_it_packed_before() -> None:
    """Two messages under one key and nonce would betray each other: equal chunks must pack equally."""
    used = ChunkCompressor()
    for chunk, _ in SAMPLES.values():
        assert used.compress(chunk) == ChunkCompressor().compress(chunk)
    for chunk, _ in reversed(SAMPLES.values()):
        assert used.compress(memoryview(chunk)) == ChunkCompressor().compress(bytearray(chunk))


def test_the_compressor_s_name_tells_library_and_level() -> None:
    assert COMPRESSOR.startswith(f"zstd-{zstd.zstd_version}-1-")


@pytest.mark.parametrize("codec", [3, 4, 127, 255])
def test_a_codec_of_a_later_release_is_called_that(codec: int) -> None:
    with pytest.raises(NewerVersionError, match=f"codec {codec}"):
        decompress(codec, b"x", chunk_bytes=1)


@pytest.mark.parametrize("codec", list(Codec))
@given(data=st.binary(max_size=60), size=st.integers(1, 100))
def test_any_bytes_decompress_to_the_size_or_are_corrupt(codec: Codec, data: bytes, size: int) -> None:
    try:
        assert len(decompress(codec, data, chunk_bytes=size)) == size
    except CorruptError:
        return


@pytest.mark.parametrize("codec", [Codec.ZSTD, Codec.PLANES])
@given(data=st.data())
def test_a_frame_that_was_cut_or_changed_gives_the_right_size_or_is_corrupt(codec: Codec, data: st.DataObject) -> None:
    frame = bytearray(zstd.compress(b"moorage " * 40, 1))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert len(decompress(codec, bytes(frame[: data.draw(st.integers(0, len(frame)))]), chunk_bytes=320)) == 320
    except CorruptError:
        return


@pytest.mark.parametrize("size", [1, 100, CHUNK_BYTES])
@pytest.mark.parametrize("codec", [Codec.ZSTD, Codec.PLANES])
def test_a_bomb_is_refused_before_it_unfolds(codec: Codec, size: int) -> None:
    bomb = zstd.compress(bytes(200 * MIB), 1)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptError):
            decompress(codec, bomb, chunk_bytes=size)
        assert tracemalloc.get_traced_memory()[1] < 2 * MIB
    finally:
        tracemalloc.stop()


def test_a_frame_that_asks_for_a_large_window_is_refused() -> None:
    """The window is allocated before the first byte; a chunk never needs more than its own size."""
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.compression_level: 1}
    packer = zstd.ZstdCompressor(options=options)
    frame = packer.compress(b"a") + packer.flush()
    with pytest.raises(CorruptError):
        decompress(Codec.ZSTD, frame, chunk_bytes=1)

"""Per-chunk compression, where it pays. The codec used is recorded for each chunk."""

from __future__ import annotations

import sys
from enum import IntEnum

from core.errors import CorruptError, MalformedError, NewerVersionError
from core.limits import CHUNK_BYTES, KIB
from core.ports import Buffer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ZSTD_LEVEL = 1
# Below one part in 16 saved, the reader's time costs more than the space is worth.
WORTH_SAVING = 16
# Three pieces tell whether the chunk shrinks at all, and the middle one whether its bytes come in pairs.
PROBE_BYTES = 4 * KIB
# A frame may ask for a window of 128 MiB before its first byte; one that packs a chunk needs the chunk's size.
_UNPACKING: dict[int, int] = {zstd.DecompressionParameter.window_log_max: CHUNK_BYTES.bit_length() - 1}
# Names the exact bytes that ``ChunkCompressor`` makes: part of the key derivation (core.sealing). Change the
# number at its end with anything that changes a choice made here.
COMPRESSOR = f"zstd-{zstd.zstd_version}-{ZSTD_LEVEL}-2"


class Codec(IntEnum):
    """How a chunk's bytes are held before sealing. Values are part of the format.

    ``PLANES`` holds all bytes at even places, then all at odd places, compressed with Zstandard: the high bytes of
    16-bit pixels are nearly constant, and a real CT takes a quarter less room so.
    """

    STORED = 0
    ZSTD = 1
    PLANES = 2


def _split_planes(chunk: Buffer) -> bytes:
    data = bytes(chunk)
    return data[0::2] + data[1::2]


def _join_planes(planes: Buffer) -> bytearray:
    half = (len(planes) + 1) // 2
    chunk = bytearray(len(planes))
    chunk[0::2] = planes[:half]
    chunk[1::2] = planes[half:]
    return chunk


class ChunkCompressor:
    """Compresses one chunk after another with one working memory, which costs more to get than a chunk to pack.

    Not shared between threads.
    """

    def __init__(self) -> None:
        self._zstd = zstd.ZstdCompressor(ZSTD_LEVEL)

    def _pack(self, data: Buffer) -> bytes:
        return self._zstd.compress(data, mode=zstd.ZstdCompressor.FLUSH_FRAME)

    def _shrinks(self, probe: memoryview) -> bool:
        return len(self._pack(probe)) <= len(probe) - len(probe) // WORTH_SAVING

    def compress(self, chunk: Buffer) -> tuple[Codec, Buffer]:
        """The chunk in its cheapest form. What looks incompressible in three places comes back as it is."""
        view = memoryview(chunk)
        last = max(0, len(view) - PROBE_BYTES)
        first, middle, end = (view[at : at + PROBE_BYTES] for at in (0, last // 4 * 2, last))
        if not any(self._shrinks(probe) for probe in (middle, first, end)):
            return Codec.STORED, chunk
        if len(self._pack(_split_planes(middle))) < len(self._pack(middle)):
            codec, packed = Codec.PLANES, self._pack(_split_planes(chunk))
        else:
            codec, packed = Codec.ZSTD, self._pack(chunk)
        if len(packed) <= len(chunk) - len(chunk) // WORTH_SAVING:
            return codec, packed
        return Codec.STORED, chunk


def _unpack(packed: Buffer, chunk_bytes: int) -> bytes:
    try:
        # A bound on the output: a hostile frame must not fill the memory.
        return zstd.ZstdDecompressor(options=_UNPACKING).decompress(packed, chunk_bytes + 1)
    except zstd.ZstdError as error:
        raise CorruptError(f"chunk does not decompress: {error}") from error


def decompress(codec: int, packed: Buffer, *, chunk_bytes: int) -> Buffer:
    """The chunk of ``chunk_bytes`` bytes.

    Raises:
        CorruptError: it does not decompress to exactly that many bytes.
        NewerVersionError: the codec is unknown.
    """
    assert 0 < chunk_bytes <= CHUNK_BYTES, chunk_bytes
    match codec:
        case Codec.STORED:
            chunk = packed
        case Codec.ZSTD:
            chunk = _unpack(packed, chunk_bytes)
        case Codec.PLANES:
            chunk = _join_planes(_unpack(packed, chunk_bytes))
        case _:
            raise NewerVersionError(f"chunk codec {codec} is unknown to this release: upgrade moorage")
    if len(chunk) != chunk_bytes:
        raise CorruptError(f"chunk has {len(chunk)} bytes where {chunk_bytes} are expected")
    return chunk


def pack_document(data: Buffer) -> bytes:
    """A small document that is written once and kept for decades: packed as hard as can be."""
    return zstd.compress(data, 19)


def unpack_document(packed: Buffer, *, max_bytes: int) -> bytes:
    """What ``pack_document`` packed. Raises MalformedError, also for what would be larger than ``max_bytes``."""
    unpacker = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: max_bytes.bit_length()})
    try:
        data = unpacker.decompress(packed, max_length=max_bytes + 1)
    except zstd.ZstdError as error:
        raise MalformedError(f"not packed with Zstandard: {error}") from error
    if not unpacker.eof or unpacker.unused_data or len(data) > max_bytes:
        raise MalformedError(f"not one packed document of at most {max_bytes} bytes")
    return data

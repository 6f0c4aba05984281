"""Per-chunk compression, where it pays. The codec used is recorded for each chunk."""

from __future__ import annotations

import sys
from enum import IntEnum

from core.errors import CorruptError, NewerVersionError
from core.limits import CHUNK_BYTES
from core.ports import Buffer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ZSTD_LEVEL = 1
# Below one part in 16 saved, the reader's time costs more than the space is worth.
WORTH_SAVING = 16


# Names the exact bytes that ``compress`` makes: part of the key derivation (core.sealing).
COMPRESSOR = f"zstd-{zstd.zstd_version}-{ZSTD_LEVEL}-{WORTH_SAVING}"


class Codec(IntEnum):
    """How a chunk's bytes are held before sealing. Values are part of the format."""

    STORED = 0
    ZSTD = 1


def compress(chunk: Buffer) -> tuple[Codec, Buffer]:
    """The chunk in its cheaper form. Incompressible data comes back as it is, after one quick look."""
    packed = zstd.compress(chunk, ZSTD_LEVEL)
    if len(packed) <= len(chunk) - len(chunk) // WORTH_SAVING:
        return Codec.ZSTD, packed
    return Codec.STORED, chunk


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
            # A bound on the output: a hostile frame must not fill the memory.
            decompressor = zstd.ZstdDecompressor()
            try:
                chunk = decompressor.decompress(packed, chunk_bytes + 1)
            except zstd.ZstdError as error:
                raise CorruptError(f"chunk does not decompress: {error}") from error
        case _:
            raise NewerVersionError(f"chunk codec {codec} is unknown to this release: upgrade moorage")
    if len(chunk) != chunk_bytes:
        raise CorruptError(f"chunk has {len(chunk)} bytes where {chunk_bytes} are expected")
    return chunk

"""The CPU work of a put: chunks are compressed, sealed, coded and hashed, a batch of chunks per job."""

from __future__ import annotations

from dataclasses import dataclass

from core.compression import ChunkCompressor
from core.limits import CHUNK_BYTES, FRAME_BODY_MAX_BYTES, READ_CHUNKS_MAX, SEALED_CHUNK_MAX_BYTES, TAG_BYTES
from core.ports import Buffer
from core.sealing import ChunkSealer
from erasure.codec import encode_into, share_bytes
from erasure.merkle import leaf_digest
from erasure.scheme import Scheme


@dataclass(frozen=True, slots=True)
class CodedBatch:
    """Consecutive chunks of one extent, coded.

    ``bodies[i]`` are the shares i of the batch laid end to end, ``leaves[i]`` their digests; ``share_lengths``
    hold for every i. ``sealed_lengths`` and ``codecs`` say how to undo it.
    """

    bodies: tuple[memoryview, ...]
    leaves: tuple[tuple[bytes, ...], ...]
    share_lengths: tuple[int, ...]
    sealed_lengths: tuple[int, ...]
    codecs: bytes


def chunks_per_batch(scheme: Scheme) -> int:
    """As many chunks as fit one frame per holder, 16 at most: larger batches only cost memory."""
    return min(READ_CHUNKS_MAX, FRAME_BODY_MAX_BYTES // share_bytes(SEALED_CHUNK_MAX_BYTES, scheme.needed))


def code_batch(plain: Buffer, first: int, count: int, key: bytes, scheme: Scheme) -> CodedBatch:
    """Code chunks ``first`` to ``first + count - 1`` of the extent whose plain bytes are ``plain``.

    Each chunk is sealed in one and the same place and its shares written where they stay: what is copied is still in
    the processor's cache, and no memory is asked for anew.
    """
    sealer = ChunkSealer(key)
    compressor = ChunkCompressor()
    view = memoryview(plain)
    place = memoryview(bytearray(SEALED_CHUNK_MAX_BYTES))
    room_bytes = count * share_bytes(SEALED_CHUNK_MAX_BYTES, scheme.needed)
    bodies = [memoryview(bytearray(room_bytes)) for _ in range(scheme.total)]
    leaves: list[list[bytes]] = [[] for _ in range(scheme.total)]
    sealed_lengths: list[int] = []
    lengths: list[int] = []
    codecs = bytearray()
    at = 0
    for chunk in range(first, first + count):
        codec, packed = compressor.compress(view[chunk * CHUNK_BYTES : (chunk + 1) * CHUNK_BYTES])
        sealed = place[: len(packed) + TAG_BYTES]
        sealer.seal_into(chunk, codec, packed, sealed)
        end = at + share_bytes(len(sealed), scheme.needed)
        shares = [body[at:end] for body in bodies]
        encode_into(sealed, scheme, shares)
        for column, share in zip(leaves, shares, strict=True):
            column.append(leaf_digest(share))
        lengths.append(end - at)
        sealed_lengths.append(len(sealed))
        codecs.append(codec)
        at = end
    return CodedBatch(
        bodies=tuple(body[:at] for body in bodies),
        leaves=tuple(tuple(column) for column in leaves),
        share_lengths=tuple(lengths),
        sealed_lengths=tuple(sealed_lengths),
        codecs=bytes(codecs),
    )

"""The CPU work of a put: chunks are compressed, sealed, coded and hashed, a batch of chunks per job."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from core.buffers import unfilled
from core.compression import ChunkCompressor
from core.limits import CHUNK_BYTES, FRAME_BODY_MAX_BYTES, READ_CHUNKS_MAX, SEALED_CHUNK_MAX_BYTES, TAG_BYTES
from core.ports import Buffer
from core.sealing import ChunkSealer
from erasure.codec import check_into, share_bytes, split_into
from erasure.merkle import leaf_digest
from erasure.scheme import Scheme


class CodedBatch(NamedTuple):
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
    """As many chunks as fit one frame per holder, READ_CHUNKS_MAX at most: larger batches only cost memory."""
    return min(READ_CHUNKS_MAX, FRAME_BODY_MAX_BYTES // share_bytes(SEALED_CHUNK_MAX_BYTES, scheme.needed))


def code_batch(plain: Buffer, first: int, count: int, key: bytes, scheme: Scheme) -> CodedBatch:
    """Code chunks ``first`` to ``first + count - 1`` of the extent whose plain bytes are ``plain``.

    Each chunk is sealed in one and the same place and its shares written where they stay: what is copied is still in
    the processor's cache, and no memory is asked for anew. The check shares of all chunks are computed as one.
    """
    sealer = ChunkSealer(key)
    compressor = ChunkCompressor()
    view = memoryview(plain)
    place = memoryview(unfilled(SEALED_CHUNK_MAX_BYTES))
    room_bytes = count * share_bytes(SEALED_CHUNK_MAX_BYTES, scheme.needed)
    rooms = [memoryview(unfilled(room_bytes)) for _ in range(scheme.total)]
    sealed_lengths: list[int] = []
    ends = [0]
    codecs = bytearray()
    for chunk in range(first, first + count):
        codec, packed = compressor.compress(view[chunk * CHUNK_BYTES : (chunk + 1) * CHUNK_BYTES])
        sealed = place[: len(packed) + TAG_BYTES]
        sealer.seal_into(chunk, codec, packed, sealed)
        ends.append(ends[-1] + share_bytes(len(sealed), scheme.needed))
        split_into(sealed, scheme, [room[ends[-2] : ends[-1]] for room in rooms[: scheme.needed]])
        sealed_lengths.append(len(sealed))
        codecs.append(codec)
    bodies = tuple(room[: ends[-1]] for room in rooms)
    check_into(bodies[: scheme.needed], scheme, bodies[scheme.needed :])
    spans = list(pairwise(ends))
    return CodedBatch(
        bodies=bodies,
        leaves=tuple(tuple(leaf_digest(body[at:end]) for at, end in spans) for body in bodies),
        share_lengths=tuple(end - at for at, end in spans),
        sealed_lengths=tuple(sealed_lengths),
        codecs=bytes(codecs),
    )

"""The shard file (docs/format.md, "Shard file"): share ``index`` of every chunk of one extent, laid end to end.

All numbers are unsigned and big-endian. The file's name is its root; N is the number of chunks.

| offset | size | field | what betrays a changed byte |
|---|---|---|---|
| 0 | 8 | magic ``MOORSHRD`` | its value |
| 8 | 2 | version, 1 | head check |
| 10 | 2 | needed | head check |
| 12 | 2 | total | head check |
| 14 | 2 | index of the share, 0 to total - 1 | head check |
| 16 | 4 | chunks N, 1 to 256 | head check |
| 20 | 4 | reserved, zero | head check |
| 24 | 8 | head check: keyed BLAKE3 of bytes 0 to 23 and 32 to 63, first 8 bytes | itself |
| 32 | 32 | root | head check, the file's name |
| 64 | | N shares | their leaves |
| | 36 N | foot: N times share length (4), leaf (32) | lengths: the file's size; leaves: the root |
| | 4 | foot length: 36 N + 16 | its value |
| | 4 | reserved, zero | its value |
| | 8 | magic ``MOORFOOT`` | its value |

Magic and head check keep their place and meaning in every later version, so that a file of a newer release is told
apart from a damaged one. Share lengths are bound to the root through the leaves: a share of another length is
another leaf. So whoever knows the name can tell whether any byte of the file has changed, and a file without its
name still says what it claims to be.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple

from blake3 import blake3

from core.errors import CorruptError, MalformedError, MoorageError, NewerVersionError, UsageError
from core.ids import ShardRoot, derived_digest
from core.limits import EXTENT_CHUNKS, MIB, SEALED_CHUNK_MAX_BYTES
from core.ports import Buffer
from erasure.codec import share_bytes
from erasure.merkle import SHARD_VERSION, ShareTree, leaf_digest, root_of_leaves, shard_root
from erasure.scheme import Scheme

HEAD_BYTES = 64
HEAD_MAGIC = b"MOORSHRD"
FOOT_MAGIC = b"MOORFOOT"
CHECK_BYTES = 8
# Long runs are what disks are good at; more than this only costs memory.
SCAN_RUN_BYTES = 1 * MIB

_HEAD: Final = struct.Struct(">8sHHHHII8s32s")
_ENTRY: Final = struct.Struct(">I32s")
_TAIL: Final = struct.Struct(">II8s")
_CHECK_AT = 24
_CHECK_KEY: Final = derived_digest("moorage 2026 shard head check v1", b"")
assert _HEAD.size == HEAD_BYTES

ReadAt = Callable[[int, int], bytes]
"""(offset, length) -> that many bytes, fewer only at the file's end. Raises OSError."""


@dataclass(frozen=True, slots=True)
class ShardHead:
    """What the file claims to be."""

    scheme: Scheme
    index: int
    chunks: int
    root: ShardRoot


class ShardLayout(NamedTuple):
    """Where each share lies. Share j is bytes ``offsets[j]`` to ``offsets[j + 1]`` of the file."""

    lengths: tuple[int, ...]
    tree: ShareTree
    offsets: tuple[int, ...]

    @property
    def leaves(self) -> tuple[bytes, ...]:
        return self.tree.leaves

    def root(self, head: ShardHead) -> ShardRoot:
        """The name that the leaves make."""
        return shard_root(head.scheme, head.index, len(self.lengths), self.tree.top)

    def run(self, first: int, count: int) -> tuple[int, int]:
        """(offset, length) of ``count`` shares from ``first`` on: they lie end to end."""
        assert 0 <= first <= first + count <= len(self.lengths), (first, count)
        return self.offsets[first], self.offsets[first + count] - self.offsets[first]


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What a scan saw. The shard is whole when ``problem`` is empty and ``bad_chunks`` too.

    ``head`` is None when it is damaged or another shard's. ``leaves`` are computed from the shares just read; they are
    empty when head or foot no longer say where the shares lie. A share outside ``bad_chunks`` is good if ``head`` is
    there. ``newer_version``: the file is of a later release and nothing is known to be wrong with it.
    """

    head: ShardHead | None
    leaves: tuple[bytes, ...]
    bad_chunks: tuple[int, ...]
    problem: str
    newer_version: bool = False

    @property
    def whole(self) -> bool:
        return not self.problem and not self.bad_chunks


def share_max_bytes(scheme: Scheme) -> int:
    """The longest share that a scheme can have."""
    return share_bytes(SEALED_CHUNK_MAX_BYTES, scheme.needed)


def foot_bytes(chunks: int) -> int:
    return chunks * _ENTRY.size + _TAIL.size


def shard_file_bytes(chunks: int, shares_bytes: int) -> int:
    """The size of the file that holds ``chunks`` shares of ``shares_bytes`` bytes together."""
    return HEAD_BYTES + shares_bytes + foot_bytes(chunks)


def _head_check(head: Buffer) -> bytes:
    rest = bytes(head[:_CHECK_AT]) + bytes(head[_CHECK_AT + CHECK_BYTES : HEAD_BYTES])
    return blake3(rest, key=_CHECK_KEY).digest(length=CHECK_BYTES)


def pack_head(head: ShardHead) -> bytes:
    """The file's first 64 bytes."""
    scheme = head.scheme
    fields = (HEAD_MAGIC, SHARD_VERSION, scheme.needed, scheme.total, head.index, head.chunks, 0)
    check = _head_check(_HEAD.pack(*fields, bytes(CHECK_BYTES), head.root.raw))
    return _HEAD.pack(*fields, check, head.root.raw)


def parse_head(data: Buffer) -> ShardHead:
    """The head in a file's first 64 bytes. Raises MalformedError, NewerVersionError."""
    if len(data) != HEAD_BYTES:
        raise MalformedError(f"shard head: {len(data)} bytes, not {HEAD_BYTES}")
    magic, version, needed, total, index, chunks, reserved, check, root = _HEAD.unpack(data)
    if magic != HEAD_MAGIC:
        raise MalformedError("shard head: not a shard file")
    if check != _head_check(data):
        raise MalformedError("shard head: damaged, its check does not fit")
    if version > SHARD_VERSION:
        raise NewerVersionError(f"shard file of version {version}; this release knows {SHARD_VERSION}: upgrade moorage")
    if version != SHARD_VERSION or reserved:
        raise MalformedError("shard head: impossible version or reserved bytes in use")
    try:
        scheme = Scheme(needed, total)
    except UsageError as error:
        raise MalformedError(f"shard head: {error}") from error
    if index >= total or not 1 <= chunks <= EXTENT_CHUNKS:
        raise MalformedError(f"shard head: share {index} of {chunks} chunks is impossible at {scheme}")
    return ShardHead(scheme, index, chunks, ShardRoot(root))


def pack_foot(lengths: Sequence[int], leaves: Sequence[bytes]) -> bytes:
    """The file's last ``foot_bytes(len(lengths))`` bytes."""
    entries = b"".join(_ENTRY.pack(length, leaf) for length, leaf in zip(lengths, leaves, strict=True))
    return entries + _TAIL.pack(foot_bytes(len(lengths)), 0, FOOT_MAGIC)


def parse_foot(foot: Buffer, head: ShardHead, size: int) -> ShardLayout:
    """The layout of a shard file of ``size`` bytes from its last ``foot_bytes(head.chunks)`` bytes.

    Lengths are checked against the file's size; leaves are not yet checked against the root.

    Raises:
        MalformedError
    """
    if len(foot) != foot_bytes(head.chunks):
        raise MalformedError(f"shard foot: {len(foot)} bytes, not {foot_bytes(head.chunks)}")
    entries, tail = memoryview(foot)[: -_TAIL.size], memoryview(foot)[-_TAIL.size :]
    if _TAIL.unpack(tail) != (len(foot), 0, FOOT_MAGIC):
        raise MalformedError("shard foot: its last 16 bytes are wrong: cut off or damaged")
    pairs: list[tuple[int, bytes]] = list(_ENTRY.iter_unpack(entries))
    lengths = tuple(length for length, _ in pairs)
    if min(lengths) < 1 or max(lengths) > share_max_bytes(head.scheme):
        raise MalformedError("shard foot: a share of impossible length")
    if shard_file_bytes(head.chunks, sum(lengths)) != size:
        raise MalformedError(f"shard foot: the shares' lengths do not add up to a file of {size} bytes")
    return ShardLayout(
        lengths, ShareTree.over([leaf for _, leaf in pairs]), tuple(accumulate(lengths, initial=HEAD_BYTES))
    )


class ShardHasher:
    """Gathers lengths and leaves while shares pass by, first chunk to last. 36 bytes of memory a share."""

    def __init__(self, scheme: Scheme, index: int) -> None:
        assert 0 <= index < scheme.total, (index, scheme)
        self._scheme = scheme
        self._index = index
        self._max_bytes = share_max_bytes(scheme)
        self._lengths: list[int] = []
        self._leaves: list[bytes] = []

    @property
    def chunks(self) -> int:
        """How many shares were added."""
        return len(self._lengths)

    @property
    def leaves(self) -> tuple[bytes, ...]:
        return tuple(self._leaves)

    def add(self, share: Buffer) -> None:
        """Take the next chunk's share. Raises MalformedError when no shard can hold it."""
        if len(self._lengths) == EXTENT_CHUNKS:
            raise MalformedError(f"a shard holds at most {EXTENT_CHUNKS} shares")
        if not 1 <= len(share) <= self._max_bytes:
            raise MalformedError(
                f"a share of {len(share)} bytes: at {self._scheme} it has 1 to {self._max_bytes} bytes"
            )
        self._leaves.append(leaf_digest(share))
        self._lengths.append(len(share))

    def root(self) -> ShardRoot:
        """The shard's name. At least one share must have been added."""
        return root_of_leaves(self._scheme, self._index, self._leaves)

    def head(self) -> bytes:
        """The file's first 64 bytes."""
        return pack_head(ShardHead(self._scheme, self._index, self.chunks, self.root()))

    def foot(self) -> bytes:
        """The file's end."""
        return pack_foot(self._lengths, self._leaves)


def _read_head(read_at: ReadAt, size: int, expected: ShardRoot) -> ShardHead:
    if size < HEAD_BYTES:
        raise MalformedError(f"shard file of {size} bytes is shorter than its head")
    head = parse_head(read_at(0, HEAD_BYTES))
    if head.root != expected:
        raise CorruptError(f"shard head: this is shard {head.root.short}, not {expected.short}")
    return head


def _read_foot(read_at: ReadAt, size: int, head: ShardHead) -> ShardLayout:
    length = foot_bytes(head.chunks)
    if size < HEAD_BYTES + length:
        raise MalformedError(f"shard file of {size} bytes is shorter than its head and foot")
    return parse_foot(read_at(size - length, length), head, size)


def read_layout(read_at: ReadAt, size: int, expected: ShardRoot) -> tuple[ShardHead, ShardLayout]:
    """Head and foot of a shard file of ``size`` bytes, checked against its name; shares are not read.

    A share that hashes to its leaf here is the right one.

    Raises:
        MalformedError, NewerVersionError: head or foot do not parse.
        CorruptError: they are not those of ``expected``.
        OSError: from ``read_at``.
    """
    head = _read_head(read_at, size, expected)
    layout = _read_foot(read_at, size, head)
    if layout.root(head) != expected:
        raise CorruptError(f"shard foot: its leaves do not make shard {expected.short}")
    return head, layout


def _runs(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first, end) of neighbouring shares that together have at most SCAN_RUN_BYTES, or are one."""
    first = held = 0
    for at, length in enumerate(lengths):
        if at > first and held + length > SCAN_RUN_BYTES:
            yield first, at
            first, held = at, 0
        held += length
    yield first, len(lengths)


def _read_leaves(read_at: ReadAt, layout: ShardLayout) -> Iterator[bytes]:
    """The leaf of every share as it lies on the disk."""
    for first, end in _runs(layout.lengths):
        start, length = layout.run(first, end - first)
        # A file that was cut short meanwhile yields short shares, whose leaves do not fit.
        data = memoryview(read_at(start, length))
        for at in range(first, end):
            yield leaf_digest(data[layout.offsets[at] - start : layout.offsets[at + 1] - start])


def scan_shard(read_at: ReadAt, size: int, expected: ShardRoot) -> ShardReport:
    """Read every byte of a shard file of ``size`` bytes and compare it with the file's name.

    Shares are read in runs of about 1 MiB. Damage is reported, never raised; only ``read_at``'s OSError passes through.
    """
    head: ShardHead | None = None
    try:
        head = _read_head(read_at, size, expected)
        layout = _read_foot(read_at, size, head)
    except MoorageError as error:
        every = tuple(range(head.chunks)) if head else ()
        return ShardReport(head, (), every, str(error), isinstance(error, NewerVersionError))
    leaves = tuple(_read_leaves(read_at, layout))
    differ = tuple(at for at, leaf in enumerate(leaves) if leaf != layout.leaves[at])
    if layout.root(head) == expected:
        return ShardReport(head, leaves, differ, "")
    if root_of_leaves(head.scheme, head.index, leaves) == expected:
        return ShardReport(head, leaves, (), "shard foot: damaged, all shares are good")
    # Neither makes the name: no share can be told to be good.
    problem = f"shard foot: its leaves do not make shard {expected.short}"
    return ShardReport(head, leaves, tuple(range(head.chunks)), problem)

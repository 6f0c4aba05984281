"""Sealed chunks to shares and back: systematic Reed-Solomon over GF(2^8) (docs/format.md, "Shares").

zfec defines the code: field polynomial 0x11D, a Vandermonde matrix made systematic (L. Rizzo, "Effective erasure
codes for reliable computer communication protocols", CCR 1997). A chunk is padded with zeros to a multiple of
``needed`` bytes; shares 0 to ``needed - 1`` are its slices, the others are check shares.

The code restores from any ``needed`` shares, but it cannot tell a wrong share from a right one: shares are compared
with the shard's root first (``erasure.merkle``). Share numbers come from peers, and the libraries below loop for
ever, crash or read foreign memory when they repeat or lie outside the scheme, so everything is checked here
before one is called. All functions are safe to run in several threads at once; the arithmetic releases the GIL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.buffers import unfilled
from core.errors import MalformedError, NotEnoughSharesError
from core.limits import SEALED_CHUNK_MAX_BYTES
from core.ports import Buffer
from erasure.kernel import Kernel
from erasure.kernels import best_kernel
from erasure.scheme import Scheme

# Many times as fast as zfec (docs/decisions/0011).
FAST_KERNEL = "ISA-L"


def kernel_name() -> str:
    """What computes shares here: ``FAST_KERNEL`` or ``zfec``."""
    return best_kernel().name


def share_bytes(chunk_bytes: int, needed: int) -> int:
    """The length of each share of a sealed chunk of ``chunk_bytes``."""
    return -(-chunk_bytes // needed)


def _slices(sealed: Buffer, needed: int) -> list[Buffer]:
    """The chunk as ``needed`` slices of one length; only the end, where it must be padded, is copied."""
    view = memoryview(sealed).cast("B")
    size = share_bytes(len(view), needed)
    whole = len(view) // size
    blocks: list[Buffer] = [view[at : at + size] for at in range(0, whole * size, size)]
    if whole < needed:
        tail = memoryview(bytes(view[whole * size :]).ljust((needed - whole) * size, b"\0"))
        blocks += [tail[at : at + size] for at in range(0, len(tail), size)]
    return blocks


def encode_chunk(sealed: Buffer, scheme: Scheme, kernel: Kernel | None = None) -> tuple[Buffer, ...]:
    """All ``total`` shares of a sealed chunk of at least 1 byte, each of ``share_bytes`` bytes.

    The first ``needed`` are views of ``sealed`` itself (its memory must stay as it is while they are used).
    """
    assert len(sealed), "a sealed chunk has at least its tag"
    blocks = _slices(sealed, scheme.needed)
    checks = _room(scheme.spare, memoryview(blocks[0]).nbytes)
    _encode(blocks, checks, scheme, kernel)
    return (*blocks, *checks)


def split_into(sealed: Buffer, scheme: Scheme, targets: Sequence[memoryview]) -> None:
    """Write the first ``needed`` shares of a sealed chunk to as many targets of ``share_bytes`` bytes each."""
    assert len(sealed), "a sealed chunk has at least its tag"
    assert {target.nbytes for target in targets} == {share_bytes(len(sealed), scheme.needed)}
    for target, block in zip(targets, _slices(sealed, scheme.needed), strict=True):
        target[:] = block


def check_into(
    data: Sequence[Buffer], scheme: Scheme, targets: Sequence[memoryview], kernel: Kernel | None = None
) -> None:
    """Write the ``spare`` check shares that belong to the first ``needed`` shares, all of one length.

    The code works on each byte by itself: shares of many chunks laid end to end are coded as one.
    """
    assert len(data) == scheme.needed, (len(data), scheme)
    assert len({memoryview(item).nbytes for item in (*data, *targets)}) == 1
    _encode(data, targets, scheme, kernel)


def _encode(blocks: Sequence[Buffer], checks: Sequence[memoryview], scheme: Scheme, kernel: Kernel | None) -> None:
    data, rest = range(scheme.needed), range(scheme.needed, scheme.total)
    (kernel or best_kernel()).combine(scheme, data, blocks, rest, checks)


def _room(count: int, size: int) -> list[memoryview]:
    """``count`` pieces of ``size`` bytes."""
    whole = memoryview(unfilled(count * size))
    return [whole[at : at + size] for at in range(0, len(whole), size)]


def _checked(shares: Mapping[int, Buffer], scheme: Scheme) -> int:
    """The common length of the shares. Raises NotEnoughSharesError, MalformedError."""
    for number in shares:
        if not 0 <= number < scheme.total:
            raise MalformedError(f"share number {number} is not within {scheme}")
    if len(shares) < scheme.needed:
        raise NotEnoughSharesError(f"{scheme}: {len(shares)} good shares are there, {scheme.needed} are needed")
    lengths = {memoryview(share).nbytes for share in shares.values()}
    if len(lengths) > 1 or 0 in lengths:
        raise MalformedError(f"shares of one chunk are of {sorted(lengths)} bytes: they must be of one length")
    return lengths.pop()


def _chosen(shares: Mapping[int, Buffer], scheme: Scheme) -> tuple[list[int], list[Buffer]]:
    """The lowest ``needed`` numbers, hence as many slices of the chunk as there are, and their shares."""
    have = sorted(shares)[: scheme.needed]
    return have, [shares[number] for number in have]


def join_shares(
    shares: Mapping[int, Buffer], sealed_bytes: int, scheme: Scheme, kernel: Kernel | None = None
) -> bytearray:
    """The sealed chunk of ``sealed_bytes`` bytes from any ``needed`` of its shares (more are ignored).

    Raises as ``join_into``.
    """
    if sealed_bytes < 1 or sealed_bytes > SEALED_CHUNK_MAX_BYTES:
        raise MalformedError(f"no chunk has {sealed_bytes} bytes")
    joined = unfilled(sealed_bytes)
    join_into(shares, memoryview(joined), scheme, kernel)
    return joined


def join_into(shares: Mapping[int, Buffer], target: memoryview, scheme: Scheme, kernel: Kernel | None = None) -> None:
    """Write a sealed chunk, which has the length of ``target``, from any ``needed`` of its shares.

    With all of the first ``needed`` shares this is one copy; otherwise the missing slices are computed in place.

    Raises:
        NotEnoughSharesError: fewer than ``needed``.
        MalformedError: a number outside the scheme, or lengths that do not belong to such a chunk.
    """
    length = _checked(shares, scheme)
    if length != share_bytes(len(target), scheme.needed):
        raise MalformedError(f"shares of {length} bytes do not make a chunk of {len(target)} bytes at {scheme}")
    have, chosen = _chosen(shares, scheme)
    places = {number: target[number * length : (number + 1) * length] for number in range(scheme.needed)}
    missing = [number for number in places if number not in have]
    for number, share in zip(have, chosen, strict=True):
        if number < scheme.needed:
            places[number][:] = memoryview(share).cast("B")[: len(places[number])]
    if missing:
        # The last slices may be longer than what the chunk has left for them.
        whole = {number: _room(1, length)[0] for number in missing if len(places[number]) < length}
        targets = [whole.get(number, places[number]) for number in missing]
        (kernel or best_kernel()).combine(scheme, have, chosen, missing, targets)
        for number, share in whole.items():
            places[number][:] = share[: len(places[number])]


def rebuild_shares(
    shares: Mapping[int, Buffer], wanted: Sequence[int], scheme: Scheme, kernel: Kernel | None = None
) -> dict[int, bytes]:
    """The shares numbered ``wanted``, from any ``needed`` others, by number.

    ``wanted`` holds each number once, none outside the scheme and none that ``shares`` has.

    Raises:
        NotEnoughSharesError: fewer than ``needed``.
        MalformedError: a number of ``shares`` outside the scheme, or shares of unequal or no length.
    """
    numbers = sorted(wanted)
    assert len(set(numbers)) == len(numbers), numbers
    assert not numbers or 0 <= numbers[0] <= numbers[-1] < scheme.total, (numbers, scheme)
    assert not any(number in shares for number in numbers), "a share is not rebuilt from itself"
    _checked(shares, scheme)
    if not numbers:
        return {}
    have, chosen = _chosen(shares, scheme)
    made = _room(len(numbers), memoryview(chosen[0]).nbytes)
    (kernel or best_kernel()).combine(scheme, have, chosen, numbers, made)
    return {number: bytes(share) for number, share in zip(numbers, made, strict=True)}

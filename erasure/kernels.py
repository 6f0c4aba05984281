"""Which kernel computes: the first that loads and computes what zfec computes, else zfec (docs/decisions/0011)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from blake3 import blake3

from core.ports import Buffer
from erasure.kernel import Kernel, ZfecKernel
from erasure.scheme import Scheme

# Lengths around the widths of vector instructions, whose loops have ends of their own.
TRIAL_BYTES = (1, 63, 64, 257, 4099)
TRIAL_SCHEMES = (Scheme(1, 2), Scheme(4, 6), Scheme(10, 16), Scheme(17, 40))


def _bytes(kernel: Kernel, scheme: Scheme, have: Sequence[int], shares: Sequence[Buffer]) -> list[bytes]:
    wanted = [number for number in range(scheme.total) if number not in have]
    made = [bytearray(len(shares[0])) for _ in wanted]
    kernel.combine(scheme, have, shares, wanted, [memoryview(share) for share in made])
    return [bytes(share) for share in made]


def agrees(kernel: Kernel, scheme: Scheme, share_bytes: int) -> bool:
    """Whether it makes zfec's check shares of ``share_bytes`` bytes, and the first shares from the last ones."""
    needed = scheme.needed
    data = memoryview(blake3(f"trial {scheme}".encode()).digest(length=needed * share_bytes))
    slices = [data[at : at + share_bytes] for at in range(0, len(data), share_bytes)]
    checks = _bytes(ZfecKernel(), scheme, range(needed), slices)
    shares = [*map(bytes, slices), *checks]
    last = range(scheme.total - needed, scheme.total)
    return (
        _bytes(kernel, scheme, range(needed), slices) == checks
        and _bytes(kernel, scheme, last, shares[last.start :]) == shares[: last.start]
    )


def choose(candidates: Iterable[Kernel]) -> Kernel:
    """The first that agrees with zfec in every trial; zfec when none does."""
    for kernel in candidates:
        if all(agrees(kernel, scheme, size) for scheme in TRIAL_SCHEMES for size in TRIAL_BYTES):
            return kernel
    return ZfecKernel()


@cache
def best_kernel() -> Kernel:
    """This machine's, chosen when it is first asked for: what never codes a share loads no library."""
    from erasure.isal import load_isal

    return choose(load_isal())

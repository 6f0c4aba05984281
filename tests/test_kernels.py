from __future__ import annotations

import ctypes
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.ports import Buffer
from erasure import isal
from erasure.codec import check_into, encode_chunk, join_shares, kernel_name, rebuild_shares, split_into
from erasure.galois import factors
from erasure.isal import IsalKernel, load_isal
from erasure.kernel import Kernel, ZfecKernel
from erasure.kernels import agrees, best_kernel, choose
from erasure.scheme import Scheme

ISAL = next(load_isal(), None)
needs_isal = pytest.mark.skipif(ISAL is None, reason="ISA-L is not installed (extra `fast`)")
FOUR_TWO = Scheme(4, 6)


class Liar(ZfecKernel):
    """Wrong in the last byte of long shares."""

    def combine(
        self,
        scheme: Scheme,
        have: Sequence[int],
        shares: Sequence[Buffer],
        wanted: Sequence[int],
        targets: Sequence[memoryview],
    ) -> None:
        super().combine(scheme, have, shares, wanted, targets)
        targets[-1][-1] ^= len(targets[-1]) > 4000


def check_same_bytes(kernel: Kernel, scheme: Scheme, size: int, chance: random.Random) -> None:
    chunk = chance.randbytes(size)
    shares = encode_chunk(chunk, scheme, ZfecKernel())
    assert encode_chunk(chunk, scheme, kernel) == shares
    places = [memoryview(bytearray(len(share))) for share in shares]
    split_into(chunk, scheme, places[: scheme.needed])
    check_into(places[: scheme.needed], scheme, places[scheme.needed :], kernel)
    assert places == list(shares)
    kept = chance.sample(range(scheme.total), scheme.needed)
    lost = [number for number in range(scheme.total) if number not in kept]
    wanted = chance.sample(lost, chance.randint(1, len(lost)))
    have = {number: shares[number] for number in kept}
    assert rebuild_shares(have, wanted, scheme, kernel) == {number: bytes(shares[number]) for number in wanted}
    assert join_shares(have, size, scheme, kernel) == chunk


schemes = st.integers(2, 40).flatmap(lambda total: st.builds(Scheme, st.integers(1, total - 1), st.just(total)))
sizes = st.one_of(st.integers(1, 2000), st.sampled_from([4096, 65_540, 262_160]))


@needs_isal
@given(schemes, sizes, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_isal_makes_the_bytes_that_zfec_makes(scheme: Scheme, size: int, chance: random.Random) -> None:
    assert ISAL is not None
    check_same_bytes(ISAL, scheme, size, chance)


@needs_isal
@pytest.mark.parametrize("scheme", [Scheme(29, 80), Scheme(16, 255), Scheme(100, 256), Scheme(255, 256)], ids=str)
def test_isal_makes_the_bytes_that_zfec_makes_at_the_largest_schemes(scheme: Scheme) -> None:
    assert ISAL is not None
    check_same_bytes(ISAL, scheme, 30_000, random.Random(scheme.total))


@needs_isal
def test_isal_is_chosen_where_it_can_be_loaded() -> None:
    assert isinstance(best_kernel(), IsalKernel)
    assert kernel_name() == "ISA-L"


@needs_isal
def test_threads_share_a_kernel_and_its_tables() -> None:
    assert ISAL is not None
    kernel = ISAL

    def trip(seed: int) -> None:
        check_same_bytes(kernel, Scheme(5, 12), 5000, random.Random(seed))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(trip, range(2 * isal.TABLES_MAX)))


@needs_isal
def test_shares_that_cannot_be_written_to_and_slices_of_others_are_read_in_place() -> None:
    assert ISAL is not None
    data = random.Random(5).randbytes(4000)
    views = [memoryview(data)[at : at + 1000] for at in range(0, 4000, 1000)]
    copies = [bytearray(view) for view in views]
    made = [memoryview(bytearray(1000)) for _ in range(4)]
    ISAL.combine(FOUR_TWO, range(4), views, [4, 5], made[:2])
    ISAL.combine(FOUR_TWO, range(4), copies, [4, 5], made[2:])
    assert made[:2] == made[2:]


@needs_isal
def test_a_share_that_does_not_lie_in_one_piece_is_refused() -> None:
    assert ISAL is not None
    scattered = memoryview(bytes(2000))[::2]
    with pytest.raises(BufferError):
        ISAL.combine(Scheme(1, 2), [0], [scattered], [1], [memoryview(bytearray(1000))])


def test_a_kernel_that_differs_in_one_byte_is_not_used() -> None:
    assert not agrees(Liar(), FOUR_TWO, 4099)
    assert isinstance(choose([Liar()]), ZfecKernel)


def test_zfec_computes_where_nothing_else_loads() -> None:
    assert choose([]).name == "zfec"


def test_libraries_that_are_missing_or_are_others_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isal, "PACKAGE", "no_such_package_anywhere")
    for name in ("libno-such-library-anywhere.so.7", ctypes.CDLL(None)._name or "libc.so.6"):
        monkeypatch.setattr(isal, "SYSTEM_LIBRARY", name)
        assert list(load_isal()) == []


@given(schemes, st.randoms(use_true_random=False))
def test_factors_make_a_share_from_any_others(scheme: Scheme, chance: random.Random) -> None:
    """Shares of one byte each, summed up by a multiplication that is written out here."""
    shares = [bytes(share)[0] for share in encode_chunk(chance.randbytes(scheme.needed), scheme, ZfecKernel())]
    numbers = chance.sample(range(scheme.total), scheme.total)
    have, wanted = numbers[: scheme.needed], numbers[scheme.needed :]
    rows = factors(have, wanted)
    for row, number in enumerate(wanted):
        total = 0
        for factor, other in zip(rows[row * len(have) :], have, strict=False):
            total ^= _product(factor, shares[other])
        assert total == shares[number]


def _product(a: int, b: int) -> int:
    product = 0
    while b:
        if b & 1:
            product ^= a
        a = a << 1 ^ (0x11D if a & 0x80 else 0)
        b >>= 1
    return product

"""Chunks to shares and back, whatever shares are lost and whatever a peer calls them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import pytest
import zfec
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import MalformedError, NotEnoughSharesError
from core.limits import CHUNK_BYTES, SEALED_CHUNK_MAX_BYTES
from core.ports import Buffer
from erasure.codec import encode_chunk, join_shares, rebuild_shares, share_bytes
from erasure.scheme import Scheme

FOUR_TWO = Scheme(4, 6)


def some_bytes(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def gf_product(a: int, b: int) -> int:
    """Multiplication in GF(2^8) modulo 0x11D, bit by bit: independent of the library under test."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a = a << 1 ^ (0x11D if a & 0x80 else 0)
        b >>= 1
    return product


schemes = st.integers(2, 40).flatmap(lambda total: st.builds(Scheme, st.integers(1, total - 1), st.just(total)))
edge_sizes = st.sampled_from([1, 2, 3, 39, 40, 41, 4096, CHUNK_BYTES - 1, CHUNK_BYTES, SEALED_CHUNK_MAX_BYTES])
sizes = st.one_of(st.integers(1, 300), st.integers(1, SEALED_CHUNK_MAX_BYTES), edge_sizes)


@given(schemes, sizes, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_any_needed_shares_restore_and_rebuild_all_others(scheme: Scheme, size: int, chance: random.Random) -> None:
    chunk = chance.randbytes(size)
    shares = encode_chunk(chunk, scheme)
    assert len(shares) == scheme.total
    assert {len(share) for share in shares} == {share_bytes(size, scheme.needed)}
    kept = chance.sample(range(scheme.total), scheme.needed)
    have = {number: shares[number] for number in kept}
    assert join_shares(have, size, scheme) == chunk
    lost = [number for number in range(scheme.total) if number not in have]
    chance.shuffle(lost)
    assert rebuild_shares(have, lost, scheme) == {number: bytes(shares[number]) for number in lost}


@pytest.mark.parametrize("size", [1, 3, 4, 5, 1000, CHUNK_BYTES, SEALED_CHUNK_MAX_BYTES])
def test_every_choice_of_shares_restores_at_4_2(size: int) -> None:
    chunk = some_bytes(size)
    shares = encode_chunk(chunk, FOUR_TWO)
    for count in (4, 5, 6):
        for kept in combinations(range(6), count):
            assert join_shares({number: shares[number] for number in reversed(kept)}, size, FOUR_TWO) == chunk


def test_first_shares_are_views_of_the_chunk_and_the_end_is_padded_with_zeros() -> None:
    chunk = bytearray(some_bytes(10))
    shares = encode_chunk(chunk, FOUR_TWO)
    assert b"".join(shares[:4]) == bytes(chunk) + b"\0\0"
    first = shares[0]
    assert isinstance(first, memoryview)
    assert first.obj is chunk


def test_shares_of_a_chunk_shorter_than_needed_restore_it() -> None:
    scheme = Scheme(10, 16)
    shares = encode_chunk(b"ab", scheme)
    assert {len(share) for share in shares} == {1}
    assert join_shares({number: shares[number] for number in range(6, 16)}, 2, scheme) == b"ab"


def test_check_shares_are_those_of_the_documented_matrix() -> None:
    """Rows of a Vandermonde matrix times the inverse of its top: here by Lagrange's formula instead."""
    scheme = Scheme(4, 9)
    power = [1]
    for _ in range(254):
        power.append(gf_product(power[-1], 2))
    points = [0, *power[: scheme.total - 1]]
    inverse = {a: b for a in range(1, 256) for b in range(1, 256) if gf_product(a, b) == 1}
    chunk = some_bytes(4 * 17)
    shares = encode_chunk(chunk, scheme)
    for row in range(4, 9):
        expected = bytearray(17)
        for column in range(4):
            factor = 1
            for other in range(4):
                if other != column:
                    numerator = points[row] ^ points[other]
                    factor = gf_product(factor, gf_product(numerator, inverse[points[column] ^ points[other]]))
            for at, byte in enumerate(shares[column]):
                expected[at] ^= gf_product(factor, byte)
        assert shares[row] == bytes(expected)


def test_shares_are_those_that_zfec_makes() -> None:
    chunk = some_bytes(4000)
    blocks = [chunk[at : at + 400] for at in range(0, 4000, 400)]
    assert list(encode_chunk(chunk, Scheme(10, 16))) == zfec.Encoder(10, 16).encode(blocks)


def test_too_few_shares_are_refused() -> None:
    shares = dict(enumerate(encode_chunk(b"x" * 100, FOUR_TWO)))
    few = {number: shares[number] for number in (0, 2, 5)}
    with pytest.raises(NotEnoughSharesError, match="3 good shares are there, 4 are needed"):
        join_shares(few, 100, FOUR_TWO)
    with pytest.raises(NotEnoughSharesError):
        rebuild_shares(few, [1], FOUR_TWO)
    with pytest.raises(NotEnoughSharesError):
        join_shares({}, 100, FOUR_TWO)


@pytest.mark.parametrize("number", [-1, 6, 255, 2**40])
def test_share_numbers_outside_the_scheme_never_reach_the_library(number: int) -> None:
    shares = dict(enumerate(encode_chunk(b"x" * 100, FOUR_TWO)))
    hostile = {0: shares[0], 1: shares[1], 2: shares[2], number: shares[3]}
    with pytest.raises(MalformedError, match="not within"):
        join_shares(hostile, 100, FOUR_TWO)
    with pytest.raises(MalformedError, match="not within"):
        rebuild_shares(hostile, [4], FOUR_TWO)


@pytest.mark.parametrize("bad", [b"", b"y" * 24, b"y" * 26])
def test_shares_of_unequal_length_are_refused(bad: bytes) -> None:
    shares: dict[int, Buffer] = dict(enumerate(encode_chunk(b"x" * 100, FOUR_TWO)))
    shares[1] = bad
    with pytest.raises(MalformedError, match="one length"):
        join_shares(shares, 100, FOUR_TWO)
    with pytest.raises(MalformedError, match="one length"):
        rebuild_shares({number: shares[number] for number in (0, 1, 2, 3)}, [4], FOUR_TWO)


@pytest.mark.parametrize("size", [-1, 0, 96, 101, 2**40])
def test_shares_that_do_not_make_such_a_chunk_are_refused(size: int) -> None:
    with pytest.raises(MalformedError):
        join_shares(dict(enumerate(encode_chunk(b"x" * 100, FOUR_TWO))), size, FOUR_TWO)


def test_empty_shares_are_refused() -> None:
    empty = dict.fromkeys(range(4), b"")
    with pytest.raises(MalformedError):
        join_shares(empty, 0, FOUR_TWO)
    with pytest.raises(MalformedError):
        rebuild_shares(empty, [4], FOUR_TWO)


@pytest.mark.parametrize("wanted", [[4, 4], [6], [-1], [0]])
def test_asking_for_impossible_shares_is_a_bug(wanted: Sequence[int]) -> None:
    shares = dict(enumerate(encode_chunk(b"x" * 100, FOUR_TWO)[:4]))
    with pytest.raises(AssertionError):
        rebuild_shares(shares, wanted, FOUR_TWO)


def test_nothing_wanted_is_nothing_rebuilt() -> None:
    shares = dict(enumerate(encode_chunk(b"x" * 100, FOUR_TWO)))
    assert rebuild_shares(shares, [], FOUR_TWO) == {}


def test_the_callers_mapping_is_left_as_it_was() -> None:
    chunk = some_bytes(1000)
    shares = encode_chunk(chunk, FOUR_TWO)
    have = {number: shares[number] for number in (5, 3, 1, 4)}
    before = list(have.items())
    assert join_shares(have, 1000, FOUR_TWO) == chunk
    assert list(have.items()) == before


def test_threads_do_not_disturb_one_another() -> None:
    def trip(seed: int) -> bool:
        chunk = some_bytes(20_000 + seed, seed)
        shares = encode_chunk(chunk, FOUR_TWO)
        return join_shares({n: shares[n] for n in (1, 3, 4, 5)}, len(chunk), FOUR_TWO) == chunk

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(trip, range(60)))


def test_the_largest_scheme_restores() -> None:
    scheme = Scheme(200, 256)
    chunk = some_bytes(1000)
    shares = encode_chunk(chunk, scheme)
    assert join_shares({number: shares[number] for number in range(56, 256)}, 1000, scheme) == chunk

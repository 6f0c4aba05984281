"""Every byte is doubted: flipped, cut off, followed, spliced, and never believed to be what it is not."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.doubt.targets import Target, allowed, targets

# Of each sample, in the fast tests; the slow ones take them all.
FLIPS = 60
CUTS = 30
SPLICES = 20
# Deep copies of the same structure: hundreds of samples bring nothing more.
by_name = pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)


def flipped(data: bytes, *, every: int, masks: tuple[int, ...]) -> Iterator[bytes]:
    for at in range(0, len(data), every):
        for mask in masks:
            yield data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def cut(data: bytes, *, every: int) -> Iterator[bytes]:
    yield from (data[:at] for at in range(0, len(data), every))


def grown(data: bytes) -> Iterator[bytes]:
    yield from (data + more for more in (b"\0", b"\n", b"\xff", b"\xc0", b" ", data[:1], data))
    yield from (more + data for more in (b"\0", b"\n", b" "))


def spliced(data: bytes, other: bytes, *, count: int, seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    for _ in range(count):
        yield data[: chance.randint(0, len(data))] + other[chance.randint(0, len(other)) :]


def doubt(target: Target, changes: Iterator[bytes]) -> int:
    """How many were accepted. Those of a sealed structure must be samples."""
    accepted = 0
    for data in changes:
        if allowed(target, data):
            accepted += 1
            assert not target.sealed or data in target.samples, f"{target.name}: accepted {data!r}"
    return accepted


@by_name
def test_the_samples_are_good(target: Target) -> None:
    for data in target.samples:
        assert allowed(target, data)
        assert target.read(data) == data or target.fixed


@by_name
def test_no_change_is_believed(target: Target) -> None:
    for number, data in enumerate(target.samples):
        stride = max(1, len(data) * len(target.samples) // FLIPS)
        doubt(target, flipped(data, every=stride, masks=(1 << number % 8, 0x80)))
        doubt(target, cut(data, every=max(1, len(data) * len(target.samples) // CUTS)))
        doubt(target, grown(data))
        doubt(target, spliced(data, target.samples[number - 1], count=SPLICES // len(target.samples) + 1, seed=number))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@by_name
def test_no_change_of_any_byte_is_believed(target: Target) -> None:
    masks = (*(1 << bit for bit in range(8)), 0xFF)
    for number, data in enumerate(target.samples):
        doubt(target, flipped(data, every=1, masks=masks))
        doubt(target, cut(data, every=1))
        doubt(target, spliced(data, target.samples[number - 1], count=500, seed=number))

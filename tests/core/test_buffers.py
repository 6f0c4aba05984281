"""Memory that is not cleared."""

from __future__ import annotations

import pytest

from core.buffers import unfilled


@pytest.mark.parametrize("size_bytes", [0, 1, 4096, 2**21 + 1])
def test_a_buffer_has_the_length_asked_for_and_keeps_what_is_written(size_bytes: int) -> None:
    buffer = unfilled(size_bytes)
    assert type(buffer) is bytearray
    assert len(buffer) == size_bytes
    memoryview(buffer)[:] = b"\xa5" * size_bytes
    assert buffer == b"\xa5" * size_bytes


def test_two_buffers_share_no_memory() -> None:
    first, second = unfilled(64), unfilled(64)
    first[:], second[:] = bytes(64), b"\1" * 64
    assert first == bytes(64)


def test_more_than_there_is_raises() -> None:
    with pytest.raises(MemoryError):
        unfilled(2**62)

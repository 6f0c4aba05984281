"""Memory for bytes that are about to be written."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Final, cast

# The block of nearly every disk, and the page of nearly every processor (open(2), O_DIRECT).
ALIGNED_BYTES: Final = 4096


def _allocator() -> Callable[[int], bytearray]:
    try:
        make = ctypes.pythonapi.PyByteArray_FromStringAndSize
    except AttributeError:  # another Python than CPython
        return bytearray
    make.argtypes = (ctypes.c_char_p, ctypes.c_ssize_t)
    make.restype = ctypes.py_object
    return lambda size_bytes: cast(bytearray, make(None, size_bytes))


_allocate = _allocator()


def unfilled(size_bytes: int) -> bytearray:
    """So many bytes of any content, for whoever writes all of them before anybody reads one.

    ``bytearray(n)`` clears its memory first, which for what every share passes through is a twentieth of the processor
    time of a put. Raises MemoryError. Source: the C interface of CPython, ``PyByteArray_FromStringAndSize`` without a
    string.
    """
    assert size_bytes >= 0, size_bytes
    return _allocate(size_bytes)


def unfilled_aligned(size_bytes: int) -> memoryview:
    """As ``unfilled``, beginning at a multiple of ALIGNED_BYTES, as a disk wants it that reads it without a copy."""
    place = unfilled(size_bytes + ALIGNED_BYTES)
    start = -_address(place) % ALIGNED_BYTES
    return memoryview(place)[start : start + size_bytes]


def is_aligned(data: memoryview) -> bool:
    """Whether writable bytes begin at a multiple of ALIGNED_BYTES; of others nobody can tell."""
    return not data.readonly and _address(data) % ALIGNED_BYTES == 0


def _address(data: bytearray | memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(data))

"""Memory for bytes that are about to be written."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import cast


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

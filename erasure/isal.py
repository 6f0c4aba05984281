"""Intel's ISA-L, fed with zfec's factors: the same bytes, twenty times as fast (docs/decisions/0011).

Only two functions are called: ``ec_init_tables``, which expands each factor to 32 bytes, and ``ec_encode_data``, the
product. Both trust their caller; ``erasure.codec`` and the kernel's contract stand before them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path

from core.ports import Buffer
from erasure.galois import factors
from erasure.scheme import Scheme

# The system's, which its distribution keeps fresh, and then the copy in the wheel of this package, in the folder beside
# it where auditwheel puts libraries; their file names are its own affair.
SYSTEM_LIBRARY = "libisal.so.2"
PACKAGE = "pyeclib"
PACKAGE_LIBRARIES = "pyeclib.libs"
PACKAGE_LIBRARY_PREFIX = "libisal"
# Loss comes in few patterns at a time. At 128+128 a table takes 512 KiB, at 4+2 256 bytes.
TABLES_MAX = 64
# erasure_code.h: every factor becomes a table of so many bytes.
TABLE_BYTES_PER_FACTOR = 32


class _View(ctypes.Structure):
    """``Py_buffer`` of the stable ABI (PEP 688): how a read-only buffer's address is got without a copy."""

    # ctypes itself declares the attribute so that no assignment fits it.
    _fields_ = [  # type: ignore[mutable-override]
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    ]


@contextmanager
def _addresses(buffers: Sequence[Buffer]) -> Generator[ctypes.Array[ctypes.c_void_p]]:
    """Where contiguous buffers lie; they stay there inside the context. Raises BufferError."""
    views = (_View * len(buffers))()
    got = 0
    try:
        for view, buffer in zip(views, buffers, strict=True):
            ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(buffer), ctypes.byref(view), 0)
            got += 1
        yield (ctypes.c_void_p * len(buffers))(*(view.buf for view in views))
    finally:
        for view in views[:got]:
            ctypes.pythonapi.PyBuffer_Release(ctypes.byref(view))


class IsalKernel:
    """An ``erasure.kernel.Kernel``. Keeps the tables of the last TABLES_MAX patterns of shares."""

    name = "ISA-L"

    def __init__(self, library: ctypes.CDLL) -> None:
        """Raises AttributeError when it is another library."""
        self._init_tables = library.ec_init_tables
        self._init_tables.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p)
        self._init_tables.restype = None
        self._encode = library.ec_encode_data
        self._encode.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_void_p) + (ctypes.c_void_p,) * 2
        self._encode.restype = None
        self._tables = lru_cache(maxsize=TABLES_MAX)(self._make_tables)

    def _make_tables(self, have: tuple[int, ...], wanted: tuple[int, ...]) -> ctypes.Array[ctypes.c_char]:
        tables = ctypes.create_string_buffer(TABLE_BYTES_PER_FACTOR * len(have) * len(wanted))
        self._init_tables(len(have), len(wanted), factors(have, wanted), tables)
        return tables

    def combine(
        self,
        scheme: Scheme,
        have: Sequence[int],
        shares: Sequence[Buffer],
        wanted: Sequence[int],
        targets: Sequence[memoryview],
    ) -> None:
        del scheme
        tables = self._tables(tuple(have), tuple(wanted))
        with _addresses(shares) as sources, _addresses(targets) as places:
            self._encode(targets[0].nbytes, len(shares), len(targets), tables, sources, places)


def _paths() -> Iterator[str]:
    yield SYSTEM_LIBRARY
    # Not through the package's metadata, whose reader takes longer to load than all that is read here.
    package = PathFinder.find_spec(PACKAGE)
    if package is None or package.origin is None:
        return
    folder = Path(package.origin).parent.parent / PACKAGE_LIBRARIES
    yield from sorted(str(path) for path in folder.glob(f"{PACKAGE_LIBRARY_PREFIX}*"))


def load_isal() -> Iterator[IsalKernel]:
    """A kernel for each copy of the library that loads; what it computes is still to be checked."""
    for path in _paths():
        try:
            yield IsalKernel(ctypes.CDLL(path))
        except (OSError, AttributeError):
            # Not there, for another machine, or without the functions.
            continue

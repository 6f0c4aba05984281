from __future__ import annotations

import ctypes
import sys

import pytest

from host import memory
from host.memory import keep_freed_memory


class _Calls:
    def __init__(self) -> None:
        self.made: list[tuple[int, int]] = []

    def mallopt(self, option: int, value: int) -> int:
        self.made.append((option, value))
        return 1


def test_the_allocator_is_told_to_keep_what_buffers_give_back(monkeypatch: pytest.MonkeyPatch) -> None:
    library = _Calls()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    keep_freed_memory()
    assert library.made == [(-3, memory.KEPT_BLOCK_BYTES), (-1, memory.KEPT_FREE_BYTES), (-8, memory.ARENAS_MAX)]


def test_a_c_library_without_such_options_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    keep_freed_memory()


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's and musl's names")
def test_it_works_with_the_real_library() -> None:
    keep_freed_memory()

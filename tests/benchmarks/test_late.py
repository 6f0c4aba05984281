"""A late holder answers as before, only later: whole answers, in order, without becoming a thin line."""

from __future__ import annotations

import trio
from trio.testing import MockClock, memory_stream_pair

from benchmarks.late import keep_back
from benchmarks.uncompressed import NoCompressor
from core.compression import Codec


async def test_each_answer_comes_as_much_later_as_was_asked(autojump_clock: MockClock) -> None:
    holder, inner = memory_stream_pair()
    outer, caller = memory_stream_pair()

    async def answer() -> None:
        await holder.send_all(b"one")
        await trio.sleep(0.1)
        await holder.send_all(b"two")
        await holder.send_eof()

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_back, inner, outer, 0.3)
        nursery.start_soon(answer)
        arrivals = [(round(trio.current_time() - began, 6), bytes(data)) async for data in caller]
    assert arrivals == [(0.3, b"one"), (0.4, b"two")]


def test_a_client_without_compression_stores_what_could_be_compressed() -> None:
    assert NoCompressor().compress(bytes(1000)) == (Codec.STORED, bytes(1000))

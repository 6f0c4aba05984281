"""A holder that answers late: a relay in front of it keeps back whatever it says, by so long, at full rate.

    python -m benchmarks.late TARGET_PORT DELAY_S

Listens on a port of 127.0.0.1, which it prints, and relays to TARGET_PORT until it is killed.
"""

from __future__ import annotations

import functools
import math
import subprocess
import sys
from contextlib import suppress

import trio
from trio.abc import HalfCloseableStream as Stream

COPY_BYTES = 1 << 18


async def _forward(source: Stream, target: Stream) -> None:
    # One side of a connection that ends does not end the other before its last words were passed on.
    with suppress(trio.BrokenResourceError):
        async for data in source:
            await target.send_all(data)
        await target.send_eof()


async def keep_back(source: Stream, target: Stream, delay_s: float) -> None:
    """What arrives together leaves together, ``delay_s`` later: a long line, not a thin one."""
    send, receive = trio.open_memory_channel[tuple[float, bytes]](math.inf)

    async def take() -> None:
        async with send:
            with suppress(trio.BrokenResourceError):
                while data := await source.receive_some(COPY_BYTES):
                    await send.send((trio.current_time() + delay_s, bytes(data)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        with suppress(trio.BrokenResourceError):
            async for due_s, data in receive:
                await trio.sleep_until(due_s)
                await target.send_all(data)
            await target.send_eof()


async def _relay(caller: trio.SocketStream, target_port: int, delay_s: float) -> None:
    with suppress(OSError, trio.BrokenResourceError):
        holder = await trio.open_tcp_stream("127.0.0.1", target_port)
        async with holder, trio.open_nursery() as nursery:
            nursery.start_soon(_forward, caller, holder)
            nursery.start_soon(keep_back, holder, caller, delay_s)


async def relay(target_port: int, delay_s: float) -> None:
    """Until cancelled."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(listener.socket.getsockname()[1], flush=True)
    await trio.serve_listeners(functools.partial(_relay, target_port=target_port, delay_s=delay_s), [listener])


class LateLines:
    """Relays of one benchmark; ``stop`` ends them all."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._processes: list[subprocess.Popen[str]] = []

    def to(self, port: int) -> int:
        """The port at which whoever listens on ``port`` is reached late."""
        command = [sys.executable, "-m", "benchmarks.late", str(port), str(self._delay_s)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._processes.append(process)
        assert process.stdout is not None
        return int(process.stdout.readline())

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()
        self._processes.clear()


def main() -> int:
    target_port, delay_s = sys.argv[1:]
    trio.run(relay, int(target_port), float(delay_s))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A client that stays open and reads one range after another: a process of its own, for ``benchmarks.reads``.

    python -m benchmarks.open_client HOME < REQUEST

REQUEST is JSON: ``object``, ``path``, ``offsets``, ``bytes``, ``met``. Prints the seconds of each range, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TypedDict, cast

import trio

from cli.clients import open_home
from client.context import open_client
from client.get import cat


class Request(TypedDict):
    """What is read: ``bytes`` from each of the ``offsets``. Unless ``met``, the first one has its holders dialled."""

    object: str
    path: str
    offsets: list[int]
    bytes: int
    met: bool


async def _forget(_: memoryview) -> None:
    await trio.lowlevel.checkpoint()


async def read_ranges(home_folder: str, request: Request) -> list[float]:
    """Seconds of each. The first one's begin with the opening of the home, unless the peers were met before it."""
    seconds: list[float] = []
    began = time.perf_counter()
    home, ports = open_home(home_folder)
    async with open_client(ports, home) as client:
        if request["met"]:
            await client.live_peers()
            began = time.perf_counter()
        object_id = client.memory.resolve(request["object"])
        for offset in request["offsets"]:
            words = f"{offset}-{offset + request['bytes'] - 1}"
            count = await cat(client, object_id, request["path"].encode(), words, _forget)
            seconds.append(time.perf_counter() - began)
            began = time.perf_counter()
            if count != request["bytes"]:
                raise SystemExit(f"{count} bytes came, not {request['bytes']}")
    return seconds


def main() -> int:
    (home,) = sys.argv[1:]
    print(json.dumps(trio.run(read_ranges, home, cast(Request, json.load(sys.stdin)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())

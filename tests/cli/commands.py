"""Commands that end as a test wants: ``cli.main`` is pointed here."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from client.tasks import open_crew


@dataclass
class Script:
    """What the next command does, and the arguments that it got."""

    act: Callable[[], int] = lambda: 0
    seen: list[argparse.Namespace] = field(default_factory=list[argparse.Namespace])


SCRIPT = Script()


def run(arguments: argparse.Namespace) -> int:
    SCRIPT.seen.append(arguments)
    return SCRIPT.act()


def raising(error: BaseException) -> Callable[[], int]:
    def act() -> int:
        raise error

    return act


def raising_in_tasks(*errors: BaseException) -> Callable[[], int]:
    """As commands do: inside trio, below a crew and a nursery."""

    async def fail(error: BaseException) -> None:
        raise error

    async def main() -> int:
        async with open_crew(), trio.open_nursery() as nursery:
            for error in errors:
                nursery.start_soon(fail, error)
        return 0

    return lambda: trio.run(main)

"""A nursery whose expected errors come out as themselves."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from core.errors import MoorageError, leaves_of


@asynccontextmanager
async def open_crew() -> AsyncGenerator[trio.Nursery]:
    """A nursery; when children fail with MoorageErrors only, the first of them is raised instead of a group."""
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        expected, others = group.split(MoorageError)
        if expected is None or others is not None:
            raise
        raise first_error(expected) from expected


def first_error(group: BaseExceptionGroup[MoorageError]) -> MoorageError:
    """The leftmost error of a group of expected errors."""
    error = leaves_of(group)[0]
    assert isinstance(error, MoorageError)
    return error

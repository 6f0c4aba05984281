"""A command that the agent was asked to run, and how its process becomes like the one that asked.

Text of Python literals between processes of one user and one installation: nothing else may connect.
"""

from __future__ import annotations

import ast
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar, cast

from cli.front import STREAMS
from core.errors import MalformedError

T = TypeVar("T")


class Request(NamedTuple):
    """What `cli.front.describe` tells."""

    told: Mapping[str, str]
    """What `cli.likeness.told_of_itself` says there."""
    words: Sequence[str]
    environment: Mapping[bytes, bytes]
    encodings: Sequence[tuple[str, str]]
    """Encoding and error handler of each of STREAMS."""
    ignored: Sequence[int]
    """Numbers of signals."""
    limits: Mapping[int, tuple[int, int]]
    """Soft and hard, by their numbers."""
    cpus: Sequence[int]
    niceness: int
    umask: int

    @staticmethod
    def parse(data: bytes) -> Request:
        """Raises MalformedError."""
        try:
            told, words, environment, encodings, ignored, limits, cpus, niceness, umask = ast.literal_eval(
                data.decode()
            )
            triples = _grouped(_list(limits, int), 3)
            pairs = _grouped(_list(encodings, str), 2)
            return Request(
                told=_dict(told, str),
                words=_list(words, str),
                environment=_dict(environment, bytes),
                encodings=[(encoding, errors) for encoding, errors in pairs],
                ignored=_list(ignored, int),
                limits={number: (soft, hard) for number, soft, hard in triples},
                cpus=_list(cpus, int),
                niceness=_one(niceness, int),
                umask=_one(umask, int),
            )
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
            raise MalformedError(f"a request to the agent: {error}") from error

    def take_on(self, descriptors: Sequence[int], folder: int) -> None:
        """Make this process like the one that asked; ``descriptors`` become its STREAMS. Raises OSError, ValueError."""
        os.setsid()  # no terminal of the agent's: reading from one in the background would stop this process
        os.fchdir(folder)
        os.close(folder)
        os.umask(self.umask)
        if self.niceness != os.getpriority(os.PRIO_PROCESS, 0):
            os.setpriority(os.PRIO_PROCESS, 0, self.niceness)
        os.sched_setaffinity(0, self.cpus)
        for number, bounds in self.limits.items():
            if resource.getrlimit(number) != bounds:
                resource.setrlimit(number, bounds)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN if number in self.ignored else signal.SIG_DFL)
        self._take_environment()
        self._open_streams(descriptors)

    def _take_environment(self) -> None:
        for name in os.environb.keys() - self.environment.keys():
            del os.environb[name]
        for name, value in self.environment.items():
            if os.environb.get(name) != value:
                os.environb[name] = value
        time.tzset()

    def _open_streams(self, descriptors: Sequence[int]) -> None:
        """As Python itself does when it starts (create_stdio in its Python/pylifecycle.c)."""
        for number, (descriptor, name, how) in enumerate(zip(descriptors, STREAMS, self.encodings, strict=True)):
            os.dup2(descriptor, number)
            os.close(descriptor)
            encoding, errors = how
            if name == "stdin":
                stream = open(number, encoding=encoding, errors=errors, closefd=False)  # noqa: SIM115 - never closed
            else:
                stream = open(number, "w", -1, encoding, errors, "\n", closefd=False)  # noqa: SIM115 - never closed
                at_once = getattr(sys, name).write_through  # PYTHONUNBUFFERED is the same here as there
                by_lines = not at_once and (name == "stderr" or stream.isatty())
                stream.reconfigure(write_through=at_once, line_buffering=by_lines)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def _one(value: object, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} in place of {kind.__name__}")
    return value


def _list(value: object, kind: type[T]) -> list[T]:
    return [_one(item, kind) for item in cast("list[object]", _one(value, list))]


def _dict(value: object, kind: type[T]) -> dict[T, T]:
    items = cast("dict[object, object]", _one(value, dict)).items()
    return {_one(name, kind): _one(item, kind) for name, item in items}


def _grouped(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]

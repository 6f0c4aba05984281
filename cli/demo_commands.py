"""Run moorage's own commands as the user would, each a process of its own, and stop in an orderly way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from cli.background import launcher
from cli.owner import OWNER_VARIABLE
from core.encoding import Value
from core.errors import EXIT_OK, MoorageError

# The longest that any step may take on a slow and busy machine.
COMMAND_DEADLINE_S = 180.0
# How long a command that was asked to end may take; what it was doing is of no use any more.
END_DEADLINE_S = 5.0
POLL_S = 0.02
ERROR_TAIL_CHARACTERS = 600
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class Interruption:
    """Whether somebody asked the demo to stop. Looked at between moments, so that nothing is left half begun."""

    asked: bool = False

    def check(self) -> None:
        """Raises KeyboardInterrupt."""
        if self.asked:
            raise KeyboardInterrupt

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True

    @contextmanager
    def watched(self) -> Generator[None]:
        """Note SIGINT, SIGTERM and SIGHUP (the terminal went away) instead of dying of them."""
        before = {number: signal.signal(number, self._note) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said. ``value`` is its JSON, empty when it printed none."""

    status: int
    output: bytes
    value: dict[str, Value] = field(default_factory=dict[str, Value])


class Commands:
    """Starts commands with ``--home`` and ``--json``, and waits for them."""

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption

    def check(self) -> None:
        """Raises KeyboardInterrupt when the demo was told to stop."""
        self._interruption.check()

    def run(self, home: str, *words: str, expect: Sequence[int] = (EXIT_OK,), must_end: bool = False) -> Answer:
        """The answer of one command. ``must_end``: it is never cut short, for it starts or stops others.

        Raises:
            MoorageError: it ended with another status than expected, or did not end; the text has what it said.
            KeyboardInterrupt: the demo was told to stop.
        """
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            child = subprocess.Popen(  # noqa: S603 - our own program, no shell
                [*launcher(), "--home", home, "--json", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                # Ctrl-C in the terminal is ours to handle: a command must not vanish in the middle of starting daemons.
                start_new_session=True,
                # Daemons that it starts must not outlive us, also when we are killed.
                env={**os.environ, "NO_COLOR": "1", OWNER_VARIABLE: str(os.getpid())},
            )
            try:
                self._wait(child, must_end=must_end)
            finally:
                _end(child)
            output.seek(0)
            errors.seek(0)
            said, complained = output.read(), errors.read().decode("utf-8", "replace").strip()
        if child.returncode not in expect:
            raise MoorageError(
                f"`moorage {' '.join(words)}` ended with status {child.returncode}: "
                f"{complained[-ERROR_TAIL_CHARACTERS:] or said[-ERROR_TAIL_CHARACTERS:].decode('utf-8', 'replace')}"
            )
        return Answer(child.returncode, said, _parse(said))

    def _wait(self, child: subprocess.Popen[bytes], *, must_end: bool) -> None:
        deadline = time.monotonic() + COMMAND_DEADLINE_S
        while child.poll() is None:
            if not must_end:
                self._interruption.check()
            if time.monotonic() > deadline:
                raise MoorageError(f"a command did not end within {COMMAND_DEADLINE_S:.0f} s")
            time.sleep(POLL_S)


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(END_DEADLINE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _parse(output: bytes) -> dict[str, Value]:
    try:
        value: Value = json.loads(output)
    except ValueError:
        return {}
    return dict(value) if isinstance(value, Mapping) else {}

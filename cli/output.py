"""What the user sees: data on standard output, progress and notes on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

JSON_SCHEMA = 1
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size_text(size_bytes: int) -> str:
    """``1,536`` bytes as ``1.5 KiB``."""
    value = float(size_bytes)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            return f"{size_bytes} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError


def print_json(fields: Mapping[str, object]) -> None:
    """One JSON object; bytes that are no UTF-8 appear as surrogate escapes."""
    print(json.dumps({"schema": JSON_SCHEMA, **fields}, default=_plain))


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{type(value).__name__} in JSON output")


def print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        # A file's name may hold bytes that the terminal's encoding does not know.
        sys.stdout.buffer.write(line.encode("utf-8", "surrogateescape") + b"\n")
    sys.stdout.flush()


class TerminalProgress:
    """Bars on standard error when it is a terminal, notes always, nothing when ``quiet``."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bars: RichProgress | None = None
        self._task: TaskID | None = None

    def begin(self, stage: str, total_bytes: int) -> None:
        if self._quiet or not sys.stderr.isatty():
            return
        bars = self._bars or self._start()
        if self._task is not None:
            bars.remove_task(self._task)
        self._task = bars.add_task(stage, total=total_bytes or None)

    def _start(self) -> RichProgress:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bars.start()
        return self._bars

    def advance(self, amount_bytes: int) -> None:
        if self._bars is not None and self._task is not None:
            self._bars.advance(self._task, amount_bytes)

    def note(self, text: str) -> None:
        if not self._quiet:
            print(f"moorage: {text}", file=sys.stderr)

    def close(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

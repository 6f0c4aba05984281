"""The daemon's log: one line an event, for people (``text``) or for programs (``json``)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from core.ports import Clock
from daemon.journal import Fact
from daemon.settings import LogLevel, LogSettings

_ORDER: Final[tuple[LogLevel, ...]] = ("debug", "info", "warning", "error")


class EventLog:
    """``write`` takes one line without its end; it must not block for long."""

    def __init__(self, settings: LogSettings, clock: Clock, write: Callable[[str], None], *, peer: str) -> None:
        self._lowest = _ORDER.index(settings.level)
        self._as_json = settings.format == "json"
        self._clock = clock
        self._write = write
        self._peer = peer

    def log(self, level: LogLevel, event: str, text: str = "", **facts: Fact) -> None:
        """``event`` is a stable word; ``text`` is for people; ``facts`` are for programs."""
        if _ORDER.index(level) < self._lowest:
            return
        stamp = datetime.fromtimestamp(self._clock.now(), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if self._as_json:
            line = json.dumps(
                {"time": stamp, "level": level, "peer": self._peer, "event": event, "text": text, **facts}
            )
        else:
            pairs = "".join(f" {key}={value}" for key, value in facts.items())
            line = f"{stamp} {level:<7} {self._peer} event={event}{pairs}{' ' + json.dumps(text) if text else ''}"
        self._write(line)

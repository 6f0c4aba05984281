"""What ``client.peers`` remembers of the ways to peers."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from client.session import Session
from core.errors import MoorageError


@dataclass(slots=True)
class Line:
    """What is known of the way to one address: a session, a dial in progress, or a recent failure."""

    lock: trio.Lock = field(default_factory=trio.Lock)
    session: Session | None = None
    greeting_s: float = 0.0
    dialled_at: float | None = None
    """Since when it is being dialled."""
    failed_at: float = float("-inf")
    failure: MoorageError | None = None


@dataclass(slots=True)
class Search:
    """For a peer that is not where it was."""

    lock: trio.Lock = field(default_factory=trio.Lock)
    ended_at: float = float("-inf")


@dataclass(slots=True)
class Greetings:
    """How many of the peers that are dialled have neither answered nor failed; ``news`` tells when one did."""

    left: int
    news: trio.Event = field(default_factory=trio.Event)

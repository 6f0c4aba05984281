"""How long peers that are late are waited for, once others are enough."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import trio

# Where enough peers have answered, each of the others has so long since it was dialled: five trips over a line of
# 300 ms, and half of what one that is not there would cost.
LATE_PATIENCE_S = 1.5


class Patience:
    """With those that are dialled: without end, until ``limit`` leaves each LATE_PATIENCE_S since it was dialled."""

    def __init__(self) -> None:
        self.limited = False
        self._scopes: dict[trio.CancelScope, float] = {}

    @contextmanager
    def since(self, dialled_at: float | None) -> Generator[None]:
        """What is awaited inside is given up, silently, when the patience with it ends. None: since now."""
        with trio.CancelScope() as scope:
            self._scopes[scope] = (trio.current_time() if dialled_at is None else dialled_at) + LATE_PATIENCE_S
            if self.limited:
                scope.deadline = self._scopes[scope]
            try:
                yield
            finally:
                del self._scopes[scope]

    def limit(self) -> None:
        self.limited = True
        for scope, deadline_s in self._scopes.items():
            scope.deadline = deadline_s

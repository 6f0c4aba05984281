"""How a flow tells its caller how far it is. The command line draws bars from it; tests count."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    def begin(self, stage: str, total_bytes: int) -> None:
        """A new stage begins; ``total_bytes`` is 0 when its size is not known."""
        ...

    def advance(self, amount_bytes: int) -> None: ...

    def note(self, text: str) -> None:
        """Something the user should know: a peer that failed, a holder that was replaced."""
        ...


class Silent:
    """Progress that nobody watches."""

    def begin(self, stage: str, total_bytes: int) -> None: ...

    def advance(self, amount_bytes: int) -> None: ...

    def note(self, text: str) -> None: ...

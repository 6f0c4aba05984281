"""How many shares there are and how many restore: ``4+2`` is 4 needed, 6 in total."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from core.errors import UsageError
from core.limits import TOTAL_SHARES_MAX


@dataclass(frozen=True, slots=True, order=True)
class Scheme:
    """Any ``needed`` of ``total`` shares restore a chunk. 1 <= needed < total <= 256."""

    needed: int
    total: int

    def __post_init__(self) -> None:
        if not 1 <= self.needed < self.total <= TOTAL_SHARES_MAX:
            raise UsageError(
                f"scheme {self}: at least 1 share must be needed and 1 spare, at most {TOTAL_SHARES_MAX} in total"
            )

    @property
    def spare(self) -> int:
        """How many shares may be lost."""
        return self.total - self.needed

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``needed+spare``, such as ``10+6``. Raises UsageError."""
        match = re.fullmatch(r"([0-9]{1,3})\+([0-9]{1,3})", text)
        if match is None:
            raise UsageError(f"scheme {text!r} is not NEEDED+SPARE, such as 4+2")
        needed, spare = int(match[1]), int(match[2])
        return cls(needed, needed + spare)

    def __str__(self) -> str:
        return f"{self.needed}+{self.total - self.needed}"

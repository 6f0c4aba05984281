"""A checkpoint: the log's name, size and root, in three lines (c2sp.org/tlog-checkpoint@v1.0.0).

Extension lines are refused: ML-DSA cosignatures do not cover them, so nobody could say who vouches for them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from anchor.note import HASH_BYTES, KEY_NAME_MAX_BYTES, decode_hash, encode_base64
from core.errors import MalformedError

# Sizes and times are signed 64-bit in most readers; the specifications stay below that too.
INTEGER_MAX = 2**63 - 1

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


def parse_decimal(text: str) -> int:
    """0 to 2**63 - 1 in its one form: no sign, no leading zero. Raises MalformedError."""
    if _DECIMAL.fullmatch(text) is None or int(text) > INTEGER_MAX:
        raise MalformedError(f"{text[:30]!r} is not a decimal number below 2**63")
    return int(text)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``size`` leaves have the RFC 6962 root ``root`` (32 bytes) in the log named ``origin``."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        assert len(self.root) == HASH_BYTES, "a root is a SHA-256"
        assert 0 <= self.size <= INTEGER_MAX, "no log is that large"

    @property
    def text(self) -> str:
        """The note's text, which the log signs."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """From a note's text. Raises MalformedError, also for extension lines."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0]:
        raise MalformedError("checkpoint: not exactly an origin, a size and a root")
    if len(lines[0].encode()) > KEY_NAME_MAX_BYTES:
        raise MalformedError(f"checkpoint: its origin is longer than {KEY_NAME_MAX_BYTES} bytes")
    return Checkpoint(lines[0], parse_decimal(lines[1]), decode_hash(lines[2]))

"""The lines of a leaf as typed values: each a word and a value, taken in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anchor.checkpoint import parse_decimal
from core.errors import MalformedError, UsageError
from core.ids import Digest, ObjectId, PeerId, ShardRoot
from erasure.scheme import Scheme

_T = TypeVar("_T")


class Lines:
    """A cursor over a leaf's lines. Methods raise MalformedError that names the line at fault."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._at = 0

    def text(self, word: str) -> str:
        line = self._lines[self._at] if self._at < len(self._lines) else ""
        if not line.startswith(word + " "):
            raise MalformedError(f"leaf: {line[:60]!r} where a line {word!r} should be")
        self._at += 1
        return line.removeprefix(word + " ")

    def has(self, word: str) -> bool:
        return self._at < len(self._lines) and self._lines[self._at].startswith(word + " ")

    def number(self, word: str) -> int:
        return parse_decimal(self.text(word))

    def object_id(self, word: str) -> ObjectId:
        return self._typed(word, ObjectId.parse)

    def peer(self, word: str) -> PeerId:
        return self._typed(word, PeerId.parse)

    def root(self, word: str) -> ShardRoot:
        return self._typed(word, ShardRoot.parse)

    def scheme(self, word: str) -> Scheme:
        return self._typed(word, Scheme.parse)

    def digest(self, word: str) -> bytes:
        return self._typed(word, Digest.parse).raw

    def _typed(self, word: str, parse: Callable[[str], _T]) -> _T:
        try:
            return parse(self.text(word))
        except UsageError as error:
            raise MalformedError(f"leaf: {error}") from error

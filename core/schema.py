"""Checked access to decoded maps: the one place where a peer's bytes become typed values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Self, TypeVar

from core.encoding import Value, decode_checked
from core.errors import MalformedError

E = TypeVar("E", bound=StrEnum)


class Fields:
    """A decoded map whose fields are taken one by one; what is left at the end may be refused.

    Every method raises MalformedError that names the structure and the field.
    """

    def __init__(self, value: Value, *, what: str) -> None:
        if not isinstance(value, Mapping):
            raise MalformedError(f"{what}: not a map")
        self._left: dict[str, Value] = dict(value)
        self._what = what

    @classmethod
    def checked(cls, data: bytes, *, max_bytes: int, what: str) -> Self:
        """The map that ``core.encoding.encode_checked`` made into at most ``max_bytes`` bytes."""
        return cls(decode_checked(data, max_bytes=max_bytes, what=what), what=what)

    def _take(self, key: str) -> Value:
        if key not in self._left:
            raise MalformedError(f"{self._what}: field {key!r} is missing")
        return self._left.pop(key)

    def _wrong(self, key: str, why: str) -> MalformedError:
        return MalformedError(f"{self._what}: field {key!r} {why}")

    def has(self, key: str) -> bool:
        return key in self._left

    def integer(self, key: str, *, low: int = 0, high: int) -> int:
        value = self._take(key)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._wrong(key, f"is not an integer from {low} to {high}")
        return value

    def flag(self, key: str) -> bool:
        value = self._take(key)
        if not isinstance(value, bool):
            raise self._wrong(key, "is not true or false")
        return value

    def text(self, key: str, *, max_characters: int) -> str:
        value = self._take(key)
        if not isinstance(value, str) or len(value) > max_characters:
            raise self._wrong(key, f"is not text of at most {max_characters} characters")
        return value

    def member(self, key: str, kinds: type[E], *, max_characters: int) -> E:
        """The one of ``kinds`` that the text names."""
        word = self.text(key, max_characters=max_characters)
        try:
            return kinds(word)
        except ValueError as error:
            raise self._wrong(key, f"is {word!r}, which no {kinds.__name__} is called") from error

    def member_or_none(self, key: str, kinds: type[E], *, max_characters: int) -> E | None:
        """The same; None for the empty text."""
        if self._left.get(key) == "":
            del self._left[key]
            return None
        return self.member(key, kinds, max_characters=max_characters)

    def blob(self, key: str, *, min_bytes: int = 0, max_bytes: int) -> bytes:
        value = self._take(key)
        if not isinstance(value, bytes) or not min_bytes <= len(value) <= max_bytes:
            raise self._wrong(key, f"is not {min_bytes} to {max_bytes} bytes")
        return value

    def exact(self, key: str, size_bytes: int) -> bytes:
        return self.blob(key, min_bytes=size_bytes, max_bytes=size_bytes)

    def items(self, key: str, *, max_items: int) -> Sequence[Value]:
        value = self._take(key)
        if isinstance(value, str | bytes) or not isinstance(value, Sequence) or len(value) > max_items:
            raise self._wrong(key, f"is not a list of at most {max_items} items")
        return value

    def blobs(self, key: str, *, max_items: int, size_bytes: int) -> tuple[bytes, ...]:
        """A list of byte strings of one size."""
        found: list[bytes] = []
        for item in self.items(key, max_items=max_items):
            if not isinstance(item, bytes) or len(item) != size_bytes:
                raise self._wrong(key, f"is not a list of {size_bytes}-byte strings")
            found.append(item)
        return tuple(found)

    def byte_strings(self, key: str, *, max_items: int) -> tuple[bytes, ...]:
        """A list of byte strings of any sizes."""
        items = self.items(key, max_items=max_items)
        found = tuple(item for item in items if isinstance(item, bytes))
        if len(found) != len(items):
            raise self._wrong(key, "is not a list of byte strings")
        return found

    def texts(self, key: str, *, max_items: int, max_characters: int) -> tuple[str, ...]:
        found: list[str] = []
        for item in self.items(key, max_items=max_items):
            if not isinstance(item, str) or len(item) > max_characters:
                raise self._wrong(key, f"is not a list of texts of at most {max_characters} characters")
            found.append(item)
        return tuple(found)

    def raw(self, key: str) -> Value:
        """The field's value unchecked, for a structure that is checked by its own parser."""
        return self._take(key)

    def end(self) -> None:
        """Refuse fields that nobody took."""
        if self._left:
            raise MalformedError(f"{self._what}: unknown field {min(self._left)!r}")


def split_column(blob: bytes, item_bytes: int, *, what: str) -> tuple[bytes, ...]:
    """A packed column (values of one size laid end to end) as single values."""
    if len(blob) % item_bytes:
        raise MalformedError(f"{what}: {len(blob)} bytes are not a multiple of {item_bytes}")
    return tuple(blob[at : at + item_bytes] for at in range(0, len(blob), item_bytes))

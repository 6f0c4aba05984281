"""TOML tables read key by key: each value checked, each unknown key refused with the nearest one that exists."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, TypeVar, cast

from core.errors import SettingsError
from core.limits import GIB, KIB, MIB
from core.ports import Address

T = TypeVar("T")
Plain: TypeAlias = "str | int | float | Sequence[str]"

TIB = 1024 * GIB
PIB = 1024 * TIB
# Larger than any one file system in sight; a slip of the unit is caught.
SIZE_MAX_BYTES = 1024 * PIB
HOST_MAX_CHARACTERS = 255

UNITS: Mapping[str, int] = {
    "B": 1,
    "KiB": KIB,
    "MiB": MIB,
    "GiB": GIB,
    "TiB": TIB,
    "PiB": PIB,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "PB": 10**15,
}
_SIZE = re.compile(r"([0-9]{1,18})(\.[0-9]{1,6})? *([A-Za-z]+)")


class Table:
    """One table of a TOML document. Every method raises SettingsError that names file, table and key."""

    def __init__(self, name: str, values: Mapping[str, object], *, source: str) -> None:
        self._left = dict(values)
        self._known: list[str] = []
        self._name = name
        self._source = source

    def _label(self, key: str) -> str:
        return f"{self._source}: [{self._name}] {key}" if self._name else f"{self._source}: [{key}]"

    def wrong(self, key: str, why: str) -> SettingsError:
        return SettingsError(f"{self._label(key)} {why}")

    def _take(self, key: str) -> object:
        """The value, or None when the key is absent (TOML has no null)."""
        self._known.append(key)
        return self._left.pop(key, None)

    def table(self, key: str, read: Callable[[Table], T]) -> T:
        """A table inside this one, empty when absent, read to its end."""
        value = self._take(key)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise SettingsError(f"{self._source}: {key} must be a table: write [{key}] on a line of its own")
        inner = Table(key, cast("dict[str, object]", value), source=self._source)
        found = read(inner)
        inner.end()
        return found

    def number(self, key: str, default: float, *, low: float, high: float) -> float:
        value = self._take(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.wrong(key, f"= {_shown(value)} is not a number from {low:g} to {high:g}")
        return float(value)

    def integer(self, key: str, default: int, *, low: int, high: int) -> int:
        value = self._take(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(key, f"= {_shown(value)} is not a whole number from {low} to {high}")
        return value

    def choice(self, key: str, default: T, choices: Sequence[T]) -> T:
        value = self._take(key)
        if value is None:
            return default
        for choice in choices:
            if value == choice:
                return choice
        raise self.wrong(key, f"= {_shown(value)} is not one of {', '.join(str(choice) for choice in choices)}")

    def _text(self, key: str) -> str:
        value = self._take(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.wrong(key, f"= {_shown(value)} is not a text in quotes")
        return value

    def matched(self, key: str, pattern: str, *, example: str) -> re.Match[str] | None:
        """A text of this shape; None when it is absent or empty."""
        text = self._text(key)
        if not text:
            return None
        match = re.fullmatch(pattern, text)
        if match is None:
            raise self.wrong(key, f"= {_shown(text)} is not of the form {example!r}")
        return match

    def optional_size(self, key: str, *, low_bytes: int) -> int | None:
        """Bytes, from a text such as ``"500 GiB"``; None when it is absent or empty."""
        value = self._take(key)
        if value is None or value == "":
            return None
        match = _SIZE.fullmatch(value) if isinstance(value, str) else None
        if match is None or match[3] not in UNITS:
            raise self.wrong(key, f'= {_shown(value)} is not an amount with a unit, such as "500 GiB" or "4 TB"')
        unit = UNITS[match[3]]
        # Fractions as integers: 0.1 TiB must not depend on floating point.
        fraction = match[2][1:] if match[2] else ""
        size_bytes: int = int(match[1]) * unit + int(fraction or "0") * unit // 10 ** len(fraction)
        if not low_bytes <= size_bytes <= SIZE_MAX_BYTES:
            raise self.wrong(key, f"= {_shown(value)} is not from {low_bytes} B to {format_size(SIZE_MAX_BYTES)}")
        return size_bytes

    def size(self, key: str, default: int, *, low_bytes: int) -> int:
        found = self.optional_size(key, low_bytes=low_bytes)
        return default if found is None else found

    def _address(self, key: str, text: object, low_port: int) -> Address:
        host, colon, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        bare_ipv6 = ":" in host and isinstance(text, str) and not text.startswith("[")
        number = int(port) if re.fullmatch("[0-9]{1,5}", port) else -1
        if not colon or not 0 < len(host) <= HOST_MAX_CHARACTERS or bare_ipv6 or not low_port <= number < 65536:
            raise self.wrong(key, f'= {_shown(text)} is not HOST:PORT, such as "127.0.0.1:7711" or "[::1]:7711"')
        return Address(host, number)

    def address(self, key: str, default: Address, *, low_port: int = 1) -> Address:
        """``HOST:PORT``; port 0 lets the system choose, where ``low_port`` allows it."""
        text = self._text(key)
        return self._address(key, text, low_port) if text else default

    def optional_address(self, key: str) -> Address | None:
        text = self._text(key)
        return self._address(key, text, 1) if text else None

    def addresses(self, key: str, *, max_items: int) -> tuple[Address, ...]:
        value = self._take(key)
        if value is None:
            return ()
        items = cast("list[object]", value) if isinstance(value, list) else None
        if items is None or len(items) > max_items:
            raise self.wrong(key, f"is not a list of at most {max_items} addresses")
        return tuple(self._address(key, item, 1) for item in items)

    def end(self) -> None:
        """Refuse what nobody took, naming the nearest thing that could have been meant."""
        if not self._left:
            return
        # Loaded only for a file with a mistake in it.
        import difflib

        key = min(self._left)
        # Cut-off 0: some key is always nearest, and an operator is better served by a wide guess than by none.
        nearest = difflib.get_close_matches(key, self._known, n=1, cutoff=0.0)[0]
        kind, guess = ("key", nearest) if self._name else ("table", f"[{nearest}]")
        known = ", ".join(self._known)
        raise self.wrong(key, f"is no known {kind}; did you mean {guess}? (there are: {known})")


def _shown(value: object) -> str:
    """A value as it may stand in an error, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def format_size(size_bytes: int) -> str:
    """The amount in the largest binary unit that leaves a whole number."""
    for unit in ("PiB", "TiB", "GiB", "MiB", "KiB"):
        if size_bytes and size_bytes % UNITS[unit] == 0:
            return f"{size_bytes // UNITS[unit]} {unit}"
    return f"{size_bytes} B"


def _quoted(text: str) -> str:
    escaped = "".join(
        f"\\{character}" if character in '"\\' else character if character.isprintable() else f"\\u{ord(character):04x}"
        for character in text
    )
    return f'"{escaped}"'


def _literal(value: Plain) -> str:
    match value:
        case str():
            return _quoted(value)
        case int() | float():
            return repr(value)
        case _:
            return "[" + ", ".join(_quoted(item) for item in value) + "]"


def toml_text(tables: Mapping[str, Mapping[str, Plain]]) -> str:
    """A TOML document of plain tables, in the order given."""
    blocks = [
        "\n".join([f"[{name}]", *(f"{key} = {_literal(value)}" for key, value in values.items())])
        for name, values in tables.items()
    ]
    return "\n\n".join(blocks) + "\n"

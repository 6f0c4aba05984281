"""Canonical MessagePack: one value has one encoding, so digests and signatures of it are stable.

Maps have text keys in ascending order, integers and lengths take their shortest form, and floats and
extension types do not occur. ``decode`` accepts nothing else: it encodes again and compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

import msgpack
from blake3 import blake3

from core.errors import MalformedError

Value: TypeAlias = "bool | int | str | bytes | Sequence[Value] | Mapping[str, Value] | None"

# Our deepest structure (a manifest's extents) has four levels; eight leaves room and stops recursion bombs.
DEPTH_MAX = 8
CHECK_BYTES = 32


# Most items of a listing are one of these; asking for their exact type is several times quicker than matching.
_PLAIN = frozenset({type(None), bool, int, str, bytes})


def _ordered(value: object, depth: int) -> object:
    if depth > DEPTH_MAX:
        raise MalformedError(f"nested deeper than {DEPTH_MAX} levels")
    if type(value) in _PLAIN:
        return value
    match value:
        case list() | tuple():
            items = cast(Sequence[object], value)
            if _PLAIN.issuperset(map(type, items)) and depth < DEPTH_MAX:
                # As a list, whatever it was: an extension type is a tuple, too.
                return list(items)
            return [_ordered(item, depth + 1) for item in items]
        case int() | str() | bytes():
            return value
        case bytearray() | memoryview():
            return bytes(cast(bytearray, value))
        case Mapping():
            return _ordered_map(cast(Mapping[object, object], value), depth)
        case Sequence():
            return [_ordered(item, depth + 1) for item in cast(Sequence[object], value)]
        case _:
            raise TypeError(f"{type(value).__name__} has no encoding")


def _ordered_map(value: Mapping[object, object], depth: int) -> dict[str, object]:
    keys: list[str] = []
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"a map's key is {type(key).__name__}, not text")
        keys.append(key)
    return {key: _ordered(value[key], depth + 1) for key in sorted(keys)}


def encode(value: Value) -> bytes:
    """The canonical bytes of ``value``. Raises MalformedError when it is nested too deep.

    A TypeError or ValueError is a bug: the value is of no type, size or text that occurs in the format.
    """
    return msgpack.packb(_ordered(value, 0), use_bin_type=True)


def decode(data: bytes | memoryview, *, max_bytes: int) -> Value:
    """The value of canonical bytes.

    Raises:
        MalformedError: longer than ``max_bytes``, not MessagePack, trailing bytes, or not canonical.
    """
    if len(data) > max_bytes:
        raise MalformedError(f"{len(data)} bytes where at most {max_bytes} are allowed")
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=True)
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise MalformedError(f"not MessagePack: {error}") from error
    try:
        again = encode(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise MalformedError(f"not canonical MessagePack: {error}") from error
    if again != data:
        raise MalformedError("not canonical MessagePack")
    return cast(Value, value)


def _digest(body: bytes, key: bytes) -> bytes:
    return (blake3(body, key=key) if key else blake3(body)).digest()


def with_digest(body: bytes, *, key: bytes = b"") -> bytes:
    """``body``, then CHECK_BYTES of BLAKE3 of it, keyed by the 32 bytes of ``key`` if it is given."""
    return body + _digest(body, key)


def without_digest(data: bytes, *, key: bytes = b"") -> bytes | None:
    """The body of what ``with_digest`` made; None when a byte was changed or is missing."""
    body, digest = data[:-CHECK_BYTES], data[-CHECK_BYTES:]
    return body if _digest(body, key) == digest else None


def encode_checked(value: Value) -> bytes:
    """``encode``, with its digest: for small files that nothing else vouches for, so that no flip is believed."""
    return with_digest(encode(value))


def decode_checked(data: bytes, *, max_bytes: int, what: str) -> Value:
    """What ``encode_checked`` made, of at most ``max_bytes`` bytes in all. Raises MalformedError."""
    body = without_digest(data) if len(data) <= max_bytes else None
    if body is None:
        raise MalformedError(f"{what}: its bytes do not match the digest at their end")
    return decode(body, max_bytes=max_bytes)

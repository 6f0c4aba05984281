"""Planners order an object's bytes into one stream and cut it into extents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from core.limits import CHUNK_BYTES, EXTENT_BYTES, GROUP_BYTES
from core.listing import Entry, Kind, Span


class Piece(NamedTuple):
    """``length`` bytes of entry number ``entry`` from ``offset``, at ``at`` in its extent."""

    entry: int
    offset: int
    at: int
    length: int


class PlannedExtent(NamedTuple):
    """A part of the stream that is coded and placed on its own."""

    number: int
    plain_bytes: int
    pieces: tuple[Piece, ...]
    group: int

    @property
    def chunks(self) -> int:
        return -(-self.plain_bytes // CHUNK_BYTES)


class Plan(NamedTuple):
    """``entries`` with their spans, and the extents that their bytes fill, in stream order."""

    entries: tuple[Entry, ...]
    extents: tuple[PlannedExtent, ...]

    @property
    def stream_bytes(self) -> int:
        return sum(extent.plain_bytes for extent in self.extents)


def plan_plain(entries: Sequence[Entry]) -> Plan:
    """Files end to end in the order given; extents of 64 MiB, so that small files share chunks."""
    placed: list[Entry] = []
    extents: list[PlannedExtent] = []
    pieces: list[Piece] = []
    filled = stream = 0

    def close() -> None:
        nonlocal filled
        if filled:
            start = stream - filled
            extents.append(PlannedExtent(len(extents), filled, tuple(pieces), start // GROUP_BYTES))
            pieces.clear()
            filled = 0

    for number, entry in enumerate(entries):
        if entry.kind is not Kind.FILE or entry.size_bytes == 0:
            placed.append(entry)
            continue
        placed.append(replace(entry, spans=(Span(stream, entry.size_bytes),)))
        offset = 0
        while offset < entry.size_bytes:
            length = min(entry.size_bytes - offset, EXTENT_BYTES - filled)
            pieces.append(Piece(number, offset, filled, length))
            offset += length
            filled += length
            stream += length
            if filled == EXTENT_BYTES:
                close()
    close()
    return Plan(tuple(placed), tuple(extents))

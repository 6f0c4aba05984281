"""What happened on this peer, oldest first, kept through crashes: findings, repairs, starts and stops.

HOME/journal holds files ``00000001.log``, ``00000002.log``, ...; only the last is written. A line is an event:

    <crc32 of the rest, 8 hexadecimal digits> <JSON object>\\n

A line whose check does not fit is skipped. A file is never written again after a crash or a failed
write: the next one is begun, so a torn tail can not swallow what follows it. The oldest files are deleted when there
are more than ``files_max``.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self, cast

from core.encoding import Value
from core.errors import MalformedError
from core.findings import Finding
from core.limits import MIB
from core.ports import Clock, Disk
from core.schema import Fields
from daemon.faults import write_fault
from daemon.mutex import new_mutex

# About 20,000 events a file: read in one piece without being felt.
FILE_MAX_BYTES = 4 * MIB
# 64 MiB in all: years of a healthy peer, weeks of a very sick one.
FILES_MAX = 16
KIND_MAX_CHARACTERS = 40
TEXT_MAX_CHARACTERS = 1000
FACTS_MAX = 32
FACT_TEXT_MAX_CHARACTERS = 200
INTEGER_MAX = 2**63 - 1
SUFFIX = ".log"
CRC_CHARACTERS = 8

Fact = str | int | bool


@dataclass(frozen=True, slots=True)
class Note:
    """An event before it is written: its kind is a stable word, its text is for people, its facts are for programs."""

    kind: str
    text: str = ""
    finding: Finding | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict[str, Fact])

    @classmethod
    def of(cls, finding: Finding) -> Self:
        return cls(kind=finding.kind.value, finding=finding)


@dataclass(frozen=True, slots=True)
class Event:
    """A note with its place in the journal. Numbers rise by one; times may jump."""

    number: int
    time_ms: int
    kind: str
    text: str
    finding: Finding | None
    facts: Mapping[str, Fact]

    def to_value(self) -> dict[str, Value]:
        """A plain map for JSON and MessagePack; what is empty is left out."""
        value: dict[str, Value] = {"number": self.number, "time_ms": self.time_ms, "kind": self.kind}
        if self.text:
            value["text"] = self.text[:TEXT_MAX_CHARACTERS]
        if self.finding is not None:
            value["finding"] = self.finding.to_value()
        if self.facts:
            value["facts"] = dict(self.facts)
        return value

    @classmethod
    def from_value(cls, value: Value) -> Self:
        """Raises MalformedError."""
        fields = Fields(value, what="event")
        event = cls(
            number=fields.integer("number", high=INTEGER_MAX),
            time_ms=fields.integer("time_ms", high=INTEGER_MAX),
            kind=fields.text("kind", max_characters=KIND_MAX_CHARACTERS),
            text=fields.text("text", max_characters=TEXT_MAX_CHARACTERS) if fields.has("text") else "",
            finding=Finding.from_value(fields.raw("finding")) if fields.has("finding") else None,
            facts=_facts(fields.raw("facts")) if fields.has("facts") else {},
        )
        fields.end()
        return event


def _facts(value: Value) -> dict[str, Fact]:
    if not isinstance(value, Mapping) or len(value) > FACTS_MAX:
        raise MalformedError(f"event: facts are not a map of at most {FACTS_MAX} items")
    facts: dict[str, Fact] = {}
    for key, fact in value.items():
        if isinstance(fact, str):
            fact = fact[:FACT_TEXT_MAX_CHARACTERS]
        elif not isinstance(fact, int) or not -INTEGER_MAX <= fact <= INTEGER_MAX:
            raise MalformedError(f"event: fact {key!r} is neither text nor a whole number nor true nor false")
        facts[key] = fact
    return facts


def pack_event(event: Event) -> bytes:
    """The event's line, its end included."""
    body = json.dumps(event.to_value(), separators=(",", ":"), sort_keys=True).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(body), body)


def parse_event(line: bytes) -> Event:
    """The event of a line without its end. Raises MalformedError."""
    check, body = line[:CRC_CHARACTERS], line[CRC_CHARACTERS + 1 :]
    if check != b"%08x" % zlib.crc32(body) or line[CRC_CHARACTERS : CRC_CHARACTERS + 1] != b" ":
        raise MalformedError("event: its check does not fit")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"event: not JSON: {error}") from error
    return Event.from_value(cast(Value, value))


class Journal:
    """All methods are jobs for ``Threads.disk``, safe to run in several threads at once."""

    def __init__(
        self,
        disk: Disk,
        folder: str,
        clock: Clock,
        *,
        file_max_bytes: int = FILE_MAX_BYTES,
        files_max: int = FILES_MAX,
    ) -> None:
        assert files_max >= 1, files_max
        self._disk = disk
        self._folder = folder
        self._clock = clock
        self._file_max_bytes = file_max_bytes
        self._files_max = files_max
        self._mutex = new_mutex()
        self._file = 0
        self._end: int | None = None
        """Where the next line goes in the last file; None: begin a new file first."""
        self._next_number = 1

    def start(self) -> None:
        """Find the last event's number. Damaged or unreadable files are passed over. Raises StoreReadOnlyError."""
        try:
            self._disk.make_folders(self._folder)
        except OSError as error:
            raise write_fault(error) from error
        self._file = max(self._files(), default=0)
        self._end = None
        newest = self.newest(1)
        self._next_number = newest[-1].number + 1 if newest else 1

    def append(self, notes: Sequence[Note]) -> list[Event]:
        """Write the notes in one go; they survive a power cut when this returns.

        Raises:
            StoreFullError, StoreReadOnlyError: they were not written.
        """
        if not notes:
            return []
        with self._mutex:
            time_ms = int(self._clock.now() * 1000)
            events = [
                Event(number, time_ms, note.kind, note.text, note.finding, note.facts)
                for number, note in enumerate(notes, self._next_number)
            ]
            data = b"".join(pack_event(event) for event in events)
            try:
                self._write(data)
            except OSError as error:
                # How much of it arrived is unknown, so nothing may be written behind it.
                self._end = None
                raise write_fault(error) from error
            self._next_number += len(events)
            return events

    def newest(self, count: int) -> list[Event]:
        """The last ``count`` events, oldest of them first."""
        found: list[Event] = []
        for file in reversed(self._files()):
            events = list(self._read(file))
            found = events[-(count - len(found)) :] + found
            if len(found) >= count:
                break
        return found

    def after(self, number: int) -> Iterator[Event]:
        """Every event of a higher number that is still there, oldest first."""
        for file in self._files():
            for event in self._read(file):
                if event.number > number:
                    yield event

    def _files(self) -> list[int]:
        stems = [name.removesuffix(SUFFIX) for name in self._disk.list_folder(self._folder) if name.endswith(SUFFIX)]
        return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit())

    def _path(self, file: int) -> str:
        return f"{self._folder}/{file:08}{SUFFIX}"

    def _read(self, file: int) -> Iterator[Event]:
        """The good events of a file. An unreadable file has none: the journal must not stop a peer from starting."""
        try:
            with self._disk.open(self._path(file), "read") as opened:
                data = opened.read_at(0, opened.size())
        except OSError:
            return
        for line in data.split(b"\n"):
            try:
                yield parse_event(line)
            except MalformedError:
                continue

    def _write(self, data: bytes) -> None:
        if self._end is not None and self._end + len(data) <= self._file_max_bytes:
            with self._disk.open(self._path(self._file), "update") as opened:
                opened.write_at(self._end, data)
                opened.sync()
            self._end += len(data)
            return
        # Counted up before it is made: after a failure in between, the next try takes another name.
        self._file += 1
        with self._disk.open(self._path(self._file), "create") as opened:
            opened.write_at(0, data)
            opened.sync()
        self._disk.sync_folder(self._folder)
        self._end = len(data)
        # The event is safe already; an old file that cannot be deleted costs only room.
        with contextlib.suppress(OSError):
            for old in self._files()[: -self._files_max]:
                self._disk.unlink(self._path(old))

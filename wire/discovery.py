"""Messages of the DHT: find and store signed records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from core.encoding import Value
from core.errors import MalformedError
from core.ids import DIGEST_BYTES
from core.limits import DHT_RECORD_MAX_BYTES
from core.ports import Buffer
from core.schema import Fields
from wire.message import Message, bounded, no_body, split_body

# As many closest peers as Kademlia's k.
RECORDS_MAX = 20


@dataclass(frozen=True, slots=True)
class DhtFind(Message):
    """Ask for the records under ``key`` and the peer records closest to it. Answered by DhtFound."""

    KIND = "dht-find"
    key: bytes

    def head(self) -> dict[str, Value]:
        return {"key": self.key}

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        no_body(body)
        return cls(fields.exact("key", DIGEST_BYTES))


@dataclass(frozen=True, slots=True)
class DhtFound(Message):
    """``records``: what is stored under the key; ``closest``: signed peer records, nearest first.

    The body is the records laid end to end; the head holds their lengths.
    """

    KIND = "dht-found"
    records: tuple[bytes, ...]
    closest: tuple[bytes, ...]

    def head(self) -> dict[str, Value]:
        return {
            "records": [len(record) for record in self.records],
            "closest": [len(record) for record in self.closest],
        }

    def body_of(self) -> Buffer:
        return b"".join(self.records + self.closest)

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        lengths = [
            [bounded(item, DHT_RECORD_MAX_BYTES, "record length") for item in fields.items(key, max_items=RECORDS_MAX)]
            for key in ("records", "closest")
        ]
        parts = split_body(body, lengths[0] + lengths[1])
        return cls(tuple(parts[: len(lengths[0])]), tuple(parts[len(lengths[0]) :]))


@dataclass(frozen=True, slots=True)
class DhtStore(Message):
    """Keep this record if it is valid and not older than what is held. Answered by Done."""

    KIND = "dht-store"
    record: bytes

    def body_of(self) -> Buffer:
        return self.record

    @classmethod
    def parse(cls, fields: Fields, body: Buffer) -> Self:
        del fields
        if not 0 < len(body) <= DHT_RECORD_MAX_BYTES:
            raise MalformedError(f"record of {len(body)} bytes, at most {DHT_RECORD_MAX_BYTES} allowed")
        return cls(bytes(body))

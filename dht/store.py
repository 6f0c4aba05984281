"""The records a peer keeps: its own, those it learned, and those others asked it to keep.

One key holds one record of each publisher, the newest (``records.supersedes``). Only records that were believed
get in (``RecordReader``), and quotas bound them: no peer can fill the store alone. Nor can an organisation that
certifies thousands of peers: where there is no more room, whoever has fewest peers takes it from whoever has most. For
this peer's own record there is always room.

The file is canonical MessagePack ``{"v": 1, "records": [bytes, ...]}``, replaced by rename. Each record in it
is believed again when it is read, so a damaged or foreign file costs its bad records and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from kademlia.storage import IStorage

from core.encoding import decode, encode
from core.errors import MalformedError, MoorageError, NewerVersionError, RefusedError
from core.ids import PeerId
from core.limits import DHT_RECORD_MAX_BYTES
from core.ports import Clock, Disk
from core.schema import Fields
from dht.reader import RecordReader
from dht.records import PeerRecord, ProviderRecord, Record, key_for, peer_key, supersedes

STORE_VERSION = 1
_PART_SUFFIX = ".part"


@dataclass(frozen=True, slots=True)
class Quotas:
    """How many records are kept. A record takes about 2 KiB of memory and 0.7 KiB of disk."""

    peers: int = 10_000
    providers: int = 20_000
    providers_per_key: int = 64
    """More holders of one object than any scheme in use has shares."""
    providers_per_publisher: int = 2_000
    """A peer that repaired this many objects moves on to a new placement instead."""

    @property
    def file_max_bytes(self) -> int:
        return (self.peers + 1 + self.providers) * (DHT_RECORD_MAX_BYTES + 8) + 1024


class Offer(Enum):
    """What became of a record that was offered."""

    NEW = auto()
    SAME = auto()
    OLDER = auto()


class RecordStore(IStorage):
    """Believed records by key and publisher, in memory. See ``read_store`` and ``write_store`` for the file."""

    def __init__(self, reader: RecordReader, clock: Clock, quotas: Quotas | None = None) -> None:
        self.reader = reader
        self.quotas = quotas or Quotas()
        self.me: PeerId | None = None
        """Whose peer record is kept whatever the quotas say."""
        self._clock = clock
        self._of: dict[bytes, dict[PeerId, Record]] = {}
        self._provided_by: dict[PeerId, set[bytes]] = {}
        """The keys of each publisher's provider records."""
        self._peers_of: dict[str, dict[bytes, PeerRecord]] = {}
        """The peer records of each organisation by key, in the order in which they were admitted."""
        self.peer_count = 0
        self.provider_count = 0
        self.changes = 0
        """Rises with every change: whether the file is behind."""

    def offer(self, record: Record) -> Offer:
        """Keep a believed record unless a newer one is held. Raises RefusedError when a quota is full."""
        key = key_for(record)
        old = self._of.get(key, {}).get(record.peer)
        if old is not None:
            if old.raw == record.raw:
                return Offer.SAME
            if not supersedes(record, old):
                return Offer.OLDER
            self._of[key][record.peer] = record
            if isinstance(old, PeerRecord) and isinstance(record, PeerRecord):
                if old.identity.organisation != record.identity.organisation:
                    self._strike(key, old)
                self._enter(key, record)
        else:
            self._admit(key, record)
            self._of.setdefault(key, {})[record.peer] = record
        self.changes += 1
        return Offer.NEW

    def _admit(self, key: bytes, record: Record) -> None:
        match record:
            case PeerRecord():
                if record.peer != self.me and self.peer_count >= self.quotas.peers:
                    self._make_room(record.identity.organisation)
                self._enter(key, record)
                self.peer_count += 1
            case ProviderRecord():
                mine = len(self._provided_by.get(record.peer, ()))
                if len(self._of.get(key, {})) >= self.quotas.providers_per_key:
                    raise RefusedError(f"{self.quotas.providers_per_key} peers provide this object already")
                if mine >= self.quotas.providers_per_publisher:
                    raise RefusedError(f"{mine} provider records of one peer are held; no room for another")
                if self.provider_count >= self.quotas.providers:
                    raise RefusedError(f"{self.provider_count} provider records are held; no room for another")
                self._provided_by.setdefault(record.peer, set()).add(key)
                self.provider_count += 1

    def _make_room(self, organisation: str) -> None:
        """Drop the latest record of the organisation that has most, if ``organisation`` has fewer even with one more.

        Raises RefusedError. Those that came first stay: a flood washes itself away.
        """
        most = max(self._peers_of, key=lambda name: (len(self._peers_of[name]), name), default=organisation)
        if len(self._peers_of.get(organisation, ())) + 1 >= len(self._peers_of.get(most, ())):
            raise RefusedError(f"{self.quotas.peers} peer records are held; no room for another of {organisation}")
        # There is another than our own: it has two at least.
        latest = reversed(self._peers_of[most].items())
        key, record = next(item for item in latest if item[1].peer != self.me)
        self._drop(key, record)

    def _enter(self, key: bytes, record: PeerRecord) -> None:
        self._peers_of.setdefault(record.identity.organisation, {})[key] = record

    def _strike(self, key: bytes, record: PeerRecord) -> None:
        organisation = record.identity.organisation
        del self._peers_of[organisation][key]
        if not self._peers_of[organisation]:
            del self._peers_of[organisation]

    def _drop(self, key: bytes, record: Record) -> None:
        del self._of[key][record.peer]
        if not self._of[key]:
            del self._of[key]
        match record:
            case PeerRecord():
                self._strike(key, record)
                self.peer_count -= 1
            case ProviderRecord():
                self.provider_count -= 1
                self._provided_by[record.peer].remove(key)
                if not self._provided_by[record.peer]:
                    del self._provided_by[record.peer]
        self.changes += 1

    def records(self, key: bytes) -> list[Record]:
        """The unexpired records under ``key``, one of each publisher."""
        now = self._clock.now()
        return [record for record in self._of.get(key, {}).values() if now < record.expires_s]

    def peer(self, peer: PeerId) -> PeerRecord | None:
        """The newest unexpired record of this peer."""
        for record in self.records(peer_key(peer)):
            if isinstance(record, PeerRecord):
                return record
        return None

    def peers(self) -> list[PeerRecord]:
        """All unexpired peer records, by ascending peer id."""
        now = self._clock.now()
        found = [item for held in self._peers_of.values() for item in held.values() if now < item.expires_s]
        # By bytes: ids themselves take ten times as long to compare, 40 ms for ten thousand.
        return sorted(found, key=lambda record: record.peer.raw)

    def provided_by(self, peer: PeerId) -> list[ProviderRecord]:
        """The unexpired provider records of one publisher, by ascending object id."""
        now = self._clock.now()
        found = [self._of[key][peer] for key in self._provided_by.get(peer, ())]
        kept = [item for item in found if isinstance(item, ProviderRecord) and now < item.expires_s]
        return sorted(kept, key=lambda record: record.object.raw)

    def _all(self) -> list[Record]:
        return [record for held in self._of.values() for record in held.values()]

    def expire(self) -> int:
        """Drop what has expired; how many."""
        now = self._clock.now()
        gone = [record for record in self._all() if now >= record.expires_s]
        for record in gone:
            self._drop(key_for(record), record)
        return len(gone)

    def forget(self, peer: PeerId) -> int:
        """Drop everything this peer published; how many."""
        gone = [record for record in self._all() if record.peer == peer]
        for record in gone:
            self._drop(key_for(record), record)
        return len(gone)

    def load(self, raws: Iterable[bytes]) -> int:
        """Believe and keep records read from a file; how many were kept. Bad ones are left out."""
        kept = 0
        for raw in raws:
            try:
                kept += self.offer(self.reader.read(raw)) is Offer.NEW
            except MoorageError:
                continue
        return kept

    # --- kademlia.storage.IStorage: the values of a key are the raw records -------------------------

    def __setitem__(self, key: bytes, value: bytes) -> None:
        """Raises as ``RecordReader.read`` and ``offer`` do, and MalformedError when the record's key differs."""
        record = self.reader.read(value)
        if key_for(record) != key:
            raise MalformedError("the record belongs under another key")
        self.offer(record)

    def __getitem__(self, key: bytes) -> list[bytes]:
        found = self.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def get(self, key: bytes, default: list[bytes] | None = None) -> list[bytes] | None:
        return [record.raw for record in self.records(key)] or default

    def iter_older_than(self, seconds_old: float) -> list[tuple[bytes, bytes]]:
        """(key, record) of those issued at least so long ago."""
        edge = self._clock.now() - seconds_old
        return [(key_for(record), record.raw) for record in self._all() if record.issued_s <= edge]

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter([(key_for(record), record.raw) for record in self._all()])

    def __bool__(self) -> bool:
        # The package takes an empty storage for a missing one.
        return True

    def raws(self) -> tuple[bytes, ...]:
        """Every record's bytes, for ``write_store``."""
        return tuple(record.raw for record in self._all())


def write_store(disk: Disk, path: str, raws: Sequence[bytes]) -> None:
    """Replace the file at ``path`` durably. One disk job; raises OSError."""
    folder, _, _ = path.rpartition("/")
    part = path + _PART_SUFFIX
    disk.make_folders(folder)
    if disk.stat(part) is not None:
        disk.unlink(part)
    with disk.open(part, "create") as file:
        file.write_at(0, encode({"v": STORE_VERSION, "records": list(raws)}))
        file.sync()
    disk.rename(part, path)
    disk.sync_folder(folder)


def read_store(disk: Disk, path: str, quotas: Quotas) -> tuple[bytes, ...]:
    """The records in the file, not yet believed; none when it does not exist. One disk job.

    Raises:
        OSError
        MalformedError: not a store file, or larger than the quotas allow. It may be replaced: peers re-announce.
    """
    stat = disk.stat(path)
    if stat is None:
        return ()
    if stat.size_bytes > quotas.file_max_bytes:
        raise MalformedError(f"{path}: {stat.size_bytes} bytes, at most {quotas.file_max_bytes} allowed")
    with disk.open(path, "read") as file:
        data = file.read_at(0, stat.size_bytes)
    fields = Fields(decode(data, max_bytes=quotas.file_max_bytes), what="dht store")
    version = fields.integer("v", low=1, high=2**31)
    if version > STORE_VERSION:
        raise NewerVersionError(f"{path}: of version {version}; this release knows {STORE_VERSION}")
    found: list[bytes] = []
    for item in fields.items("records", max_items=quotas.peers + quotas.providers):
        if not isinstance(item, bytes):
            raise MalformedError(f"{path}: a record is not bytes")
        found.append(item)
    fields.end()
    return tuple(found)

"""Answers what other peers ask. Everything here is plain functions of what is held: no answer waits for anybody."""

from __future__ import annotations

import trio

from core.errors import MoorageError, RefusedError, StaleRecordError
from core.ids import PeerId
from core.ports import Clock
from dht.asker import Asker
from dht.config import DhtConfig
from dht.records import PeerRecord, Record
from dht.routing import Table
from dht.store import Offer, RecordStore
from wire.messages import RECORDS_MAX, DhtFind, DhtFound, DhtStore, Done, Failure, Message

# A record signed so recently shows that its peer is alive.
FRESH_S = 120.0


class Desk:
    """The serving side of one ``Dht``."""

    def __init__(
        self, *, me: PeerId | None, clock: Clock, asker: Asker, table: Table, records: RecordStore, config: DhtConfig
    ) -> None:
        self._me = me
        self._clock = clock
        self._asker = asker
        self._table = table
        self._records = records
        self._config = config
        self.served = 0

    def find(self, message: DhtFind, own: PeerRecord | None) -> DhtFound:
        """What is held under the key, and the peers closest to it, ``own`` among them."""
        self.served += 1
        target = int.from_bytes(message.key)
        now = self._clock.now()
        near = self._table.closest(message.key, self._config.k, trusted_min=self._config.trusted_min)
        peers = [contact.record for contact in near if now < contact.record.expires_s]
        if own is not None:
            peers.append(own)
        peers.sort(key=lambda record: int.from_bytes(record.peer.raw) ^ target)
        records = self._records.records(message.key)
        if len(records) > RECORDS_MAX and self._me is not None:
            # Each holder shows another part, so that a reader who asks several sees them all.
            here = int.from_bytes(self._me.raw)
            records.sort(key=lambda record: int.from_bytes(record.peer.raw) ^ here)
        return DhtFound(
            tuple(record.raw for record in records[:RECORDS_MAX]),
            tuple(record.raw for record in peers[: self._config.k]),
        )

    def store(self, message: DhtStore) -> Message:
        """Done when the record is held now; else a Failure that says why not."""
        self.served += 1
        try:
            self._take(message.record)
        except MoorageError as error:
            self._asker.count(f"store/{error.code}")
            return Failure.of(error)
        return Done()

    def _take(self, raw: bytes) -> None:
        record = self._records.reader.read(raw)
        if record.peer == self._me:
            self._asker.own_sequence = max(self._asker.own_sequence, record.sequence)
            return
        try:
            offer = self._records.offer(record)
        except RefusedError:
            # The list of peers is full; who is near must still be known: whoever has just come tells nobody else.
            self._meet(record)
            raise
        if offer is Offer.OLDER:
            raise StaleRecordError("a newer record of this publisher is held")
        self._meet(record)

    def _meet(self, record: Record) -> None:
        if isinstance(record, PeerRecord):
            contact = self._table.learned(record)
            # Signed just now, so alive; whether it can be reached there is seen when it is asked.
            if contact is not None and not contact.fails and self._clock.now() - record.issued_s < FRESH_S:
                contact.heard_s = trio.current_time()

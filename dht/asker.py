"""Asks peers and believes only what checks out: the one place where the answers of others come in."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio

from core.errors import (
    BadSignatureError,
    MalformedError,
    MoorageError,
    NewerVersionError,
    PeerRefusedError,
    PeerUnavailableError,
    RefusedError,
)
from core.ids import PeerId
from core.ports import Address, Identity
from dht.config import DhtConfig, Messenger
from dht.drive import Answer, Drive
from dht.lookup import Search
from dht.records import PeerRecord, Record, key_for
from dht.routing import Table
from dht.store import Offer, RecordStore
from wire.messages import DhtFind, DhtFound, DhtStore, Done, Failure, Message

# A liar costs up to half a millisecond of checking a record; after three the rest of its answer is not read.
BAD_PER_ANSWER_MAX = 3
OFFENDERS_MAX = 1000


class Asker:
    """Questions, answers and searches of one ``Dht``; learns peers into its table and store on the way."""

    def __init__(
        self, *, me: PeerId | None, messenger: Messenger, table: Table, store: RecordStore, config: DhtConfig
    ) -> None:
        self._me = me
        self._messenger = messenger
        self._table = table
        self._store = store
        self._config = config
        self._searches = trio.CapacityLimiter(config.searches_max)
        self.asked = 0
        self.counts: dict[str, int] = {}
        self.offenders: dict[PeerId, int] = {}
        self._offences = 0
        self.own_sequence = 0
        """The highest sequence number that any record of our own was seen with."""

    # --- believing ----------------------------------------------------------------------------

    def count(self, reason: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1

    def _offended(self, source: PeerId | None, reason: str) -> None:
        self.count(reason)
        self._offences += 1
        if source is not None and (source in self.offenders or len(self.offenders) < OFFENDERS_MAX):
            self.offenders[source] = self.offenders.get(source, 0) + 1

    def believe(self, raw: bytes, source: PeerId | None) -> Record | None:
        """The record if it checks out; else it is counted, against ``source`` where no honest peer would pass it on.

        A peer that follows an older roster, or whose clock is a little behind, passes on records that we refuse.
        """
        try:
            record = self._store.reader.read(raw)
        except NewerVersionError as error:
            self.count(error.code)
        except (MalformedError, BadSignatureError) as error:
            self._offended(source, error.code)
        except MoorageError as error:
            self.count(error.code)
        else:
            return self.keep(record) if isinstance(record, PeerRecord) else record
        return None

    def keep(self, record: PeerRecord) -> PeerRecord:
        """Remember a believed peer record. Returns the newest that is known of this peer."""
        if record.peer == self._me:
            self.own_sequence = max(self.own_sequence, record.sequence)
            return record
        try:
            offer = self._store.offer(record)
        except RefusedError:
            # The list of peers is full; who is near must still be known, or searches end elsewhere.
            self.count("store-quota")
            contact = self._table.learned(record)
            return record if contact is None else contact.record
        if offer is Offer.OLDER:
            return self._store.peer(record.peer) or record
        self._table.learned(record)
        return record

    def _read(self, found: DhtFound, key: bytes, source: PeerId) -> Answer:
        records: list[Record] = []
        closest: list[PeerRecord] = []
        patience = self._offences + BAD_PER_ANSWER_MAX
        for raw in found.records:
            record = self.believe(raw, source) if self._offences < patience else None
            if record is not None and key_for(record) == key:
                records.append(record)
            elif record is not None:
                self._offended(source, "wrong-key")
        for raw in found.closest[: self._config.k]:
            near = self.believe(raw, source) if self._offences < patience else None
            if isinstance(near, PeerRecord):
                closest.append(near)
            elif near is not None:
                self._offended(source, "wrong-kind")
        return Answer(tuple(records), tuple(closest))

    # --- asking -------------------------------------------------------------------------------

    async def _exchange(self, address: Address, expect: PeerId | None, message: Message) -> tuple[Identity, Message]:
        """Raises PeerUnavailableError when the peer is not there, another MoorageError when it refuses."""
        self.asked += 1
        try:
            with trio.fail_after(self._config.ask_deadline_s):
                identity, answer = await self._messenger.ask(address, expect, message)
        except trio.TooSlowError as error:
            raise PeerUnavailableError(f"{address} did not answer in {self._config.ask_deadline_s} s") from error
        except PeerRefusedError as error:
            # Another peer took over the address, or this one's certificate ran out: ours is not there.
            raise PeerUnavailableError(str(error)) from error
        if expect is not None and identity.peer != expect:
            raise PeerUnavailableError(f"{address} is {identity.peer.short} now, not {expect.short}")
        if isinstance(answer, Failure):
            raise answer.error()
        return identity, answer

    async def _ask(self, record: PeerRecord, message: Message) -> Message | None:
        """The answer of a known peer, or None; its standing in the table follows."""
        try:
            _, answer = await self._exchange(record.address, record.peer, message)
        except PeerUnavailableError as error:
            self.count(error.code)
            contact = self._table.contact(record.peer)
            # A failure at an address that it has left says nothing about the new one.
            if contact is not None and contact.record.address == record.address:
                self._table.failed(record.peer, trio.current_time())
            return None
        except MoorageError as error:
            self.count(f"refused-by-peer/{error.code}")
            return None
        self._table.heard(self._store.peer(record.peer) or record, trio.current_time())
        return answer

    async def find(self, record: PeerRecord, key: bytes) -> Answer | None:
        """What this peer knows about ``key``; None when it does not answer, or not with an answer."""
        answer = await self._ask(record, DhtFind(key))
        if isinstance(answer, DhtFound):
            return self._read(answer, key, record.peer)
        if answer is not None:
            self._offended(record.peer, "wrong-answer")
        return None

    async def store(self, record: PeerRecord, raw: bytes) -> bool:
        """Whether this peer now holds ``raw``."""
        return isinstance(await self._ask(record, DhtStore(raw)), Done)

    async def knock(self, address: Address, key: bytes) -> bool:
        """Ask whoever listens at ``address``; whether a peer of this pool did, other than ourselves."""
        try:
            identity, found = await self._exchange(address, None, DhtFind(key))
            if identity.peer == self._me or not isinstance(found, DhtFound):
                return False
            self._read(found, key, identity.peer)
            if self._store.peer(identity.peer) is None:
                _, itself = await self._exchange(address, identity.peer, DhtFind(identity.peer.raw))
                if isinstance(itself, DhtFound):
                    self._read(itself, identity.peer.raw, identity.peer)
        except MoorageError as error:
            self.count(error.code)
            return False
        record = self._store.peer(identity.peer)
        if record is not None:
            self._table.heard(record, trio.current_time())
        return True

    # --- searching ----------------------------------------------------------------------------

    def seeds(self, key: bytes) -> list[PeerRecord]:
        """Whom a search for ``key`` asks first."""
        near = self._table.closest(key, self._config.k, trusted_min=self._config.trusted_min)
        return [contact.record for contact in near]

    async def drive(
        self,
        search: Search,
        key_of: Callable[[PeerRecord], bytes],
        *,
        take: Callable[[PeerRecord, Answer], None] | None = None,
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        """Run a search until it is done, ``enough()`` says so, or its deadline passes.

        A hung peer costs ``slow_s`` of its place and once ``late_s`` at the end; a suspect costs nothing, but its
        answer counts when it comes in time. When nobody answers at all, the questions' own deadlines end it.
        """

        async def ask(record: PeerRecord) -> Answer | None:
            answer = await self.find(record, key_of(record))
            if answer is not None and take is not None:
                take(record, answer)
            return answer

        drive = Drive(search, ask, self.is_suspect, self._config)
        with trio.move_on_after(self._config.search_deadline_s):
            async with self._searches:
                await drive.run(enough)
        for peer in drive.overdue():
            self._table.suspect(peer, trio.current_time())

    def is_suspect(self, peer: PeerId) -> bool:
        contact = self._table.contact(peer)
        return contact.fails > 0 if contact is not None else self._table.is_dead(peer)

    async def store_all(self, holders: Iterable[PeerRecord], raw: bytes) -> list[PeerId]:
        """Ask all of these to keep ``raw``; those that do, in order of their answers."""
        held: list[PeerId] = []
        limit = trio.CapacityLimiter(self._config.stores_parallel)

        async def store_one(holder: PeerRecord) -> None:
            async with limit:
                if await self.store(holder, raw):
                    held.append(holder.peer)

        with trio.move_on_after(self._config.publish_deadline_s):
            async with trio.open_nursery() as nursery:
                for holder in holders:
                    nursery.start_soon(store_one, holder)
        return held

"""The discovery layer of one peer or client: announces itself, finds peers and providers, serves others.

Kademlia (Maymounkov and Mazières, 2002) over authenticated connections, with signed records in place of bare
contacts: what a peer says about others counts only as far as those others signed it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import trio

from core.errors import RefusedError
from core.ids import ObjectId, PeerId
from core.ports import Address, Chance, Clock
from dht.asker import Asker
from dht.config import DhtConfig, DhtStatistics, Messenger
from dht.crawl import crawl
from dht.desk import Desk
from dht.drive import Answer
from dht.lookup import Lookup, RollCall
from dht.reader import RecordReader
from dht.records import PeerRecord, ProviderRecord, Record, key_for, peer_key, provider_key, supersedes
from dht.routing import Table
from dht.store import RecordStore
from dht.upkeep import Keep, Upkeep
from wire.messages import RECORDS_MAX, DhtFind, DhtFound, DhtStore, Message

# The roster's own bound on seeds.
DOORS_MAX = 64
# Records that a holder was found to lack or to have in an older version; the rest is left to republication.
REPAIRS_MAX = 64


class Dht:
    """See the methods. Nothing raises because of what other peers do, say or fail to do.

    ``me`` is None for a client, which looks up and serves nobody. ``store`` may be shared with its file's loader;
    load it before this is made. ``store.reader`` must use the same ``issuers``.
    """

    def __init__(
        self,
        *,
        me: PeerId | None,
        messenger: Messenger,
        issuers: Callable[[], Mapping[str, bytes]],
        clock: Clock,
        chance: Chance,
        config: DhtConfig,
        store: RecordStore | None = None,
    ) -> None:
        self.me = me
        self.config = config
        self.store = store or RecordStore(RecordReader(issuers, clock), clock)
        self.store.me = me
        self.random = chance.stream("dht")
        self.clock = clock
        # A client has no place among the peers: any id will do, and one of its own leaves keys to be spread.
        self.table = Table(peer_key(me) if me else chance.token(32), ksize=config.k)
        self.asker = Asker(me=me, messenger=messenger, table=self.table, store=self.store, config=config)
        self.own: PeerRecord | None = None
        """What this peer announced last."""
        self.doors: tuple[Address, ...] = ()
        """Where ``bootstrap`` knocked."""
        self.repairs: deque[tuple[PeerRecord, bytes]] = deque(maxlen=REPAIRS_MAX)
        """(holder, record) that upkeep will send."""
        self.wake = trio.Event()
        self._desk = Desk(me=me, clock=clock, asker=self.asker, table=self.table, records=self.store, config=config)
        for record in self.store.peers():
            if record.peer != me:
                self.table.learned(record)
        if me is not None and (last := self.store.peer(me)) is not None:
            self.asker.own_sequence = last.sequence

    # --- joining and announcing ------------------------------------------------------------------

    async def bootstrap(self, addresses: Sequence[Address]) -> int:
        """Knock at these addresses (the first 64), and find this peer's neighbours. The number of contacts.

        Waits for the first answer and less than a second for others. The addresses are kept for upkeep, which knocks
        again where nobody answered.
        """
        self.doors = tuple(dict.fromkeys(addresses))[:DOORS_MAX]
        await self.knock(self.doors)
        return len(self.table.contacts())

    async def knock(self, addresses: Sequence[Address]) -> None:
        """``bootstrap`` without keeping the addresses."""
        key = peer_key(self.me) if self.me else self.random.randbytes(32)
        order = [address for address in addresses if self.own is None or address != self.own.address]
        self.random.shuffle(order)
        limit = trio.CapacityLimiter(self.config.stores_parallel)
        news = trio.Event()
        waiting = len(order)

        async def knock_one(address: Address) -> None:
            nonlocal waiting
            async with limit:
                opened = await self.asker.knock(address, key)
            waiting -= 1
            if opened or not waiting:
                news.set()

        with trio.move_on_after(self.config.search_deadline_s):
            async with trio.open_nursery() as nursery:
                for address in order:
                    nursery.start_soon(knock_one, address)
                if order:
                    await news.wait()
                # The slower doors get a little longer while we look around; a hung one does not hold us up.
                nursery.cancel_scope.deadline = trio.current_time() + self.config.slow_s + self.config.late_s
                if self.table.contacts():
                    await self.nearest(key)

    def adopt(self, raw: bytes) -> PeerRecord:
        """Take ``raw`` as this peer's own record, for answers, without telling anybody.

        Raises as ``parse_record`` does, when others would refuse it too.
        """
        record = self.store.reader.read(raw)
        assert isinstance(record, PeerRecord), record
        assert record.peer == self.me, record
        self.store.offer(record)
        self.asker.own_sequence = max(self.asker.own_sequence, record.sequence)
        self.own = record
        return record

    async def announce(self, raw: bytes) -> int:
        """Have the k closest peers hold this peer's own record; how many hold it now.

        After a change of address every contact is told. Raises as ``parse_record`` does.
        """
        own = self.adopt(raw)
        holders = {record.peer: record for record in await self.nearest(key_for(own))}
        holders |= {item.peer: item.record for item in self.table.contacts() if item.told != own.address}
        told = await self.asker.store_all(holders.values(), raw)
        for peer in told:
            contact = self.table.contact(peer)
            if contact is not None:
                contact.told = own.address
        return len(told)

    def announce_soon(self) -> None:
        """Make ``run_upkeep`` announce at once: the address, free space or draining flag changed."""
        self.wake.set()

    def next_sequence(self) -> int:
        """For this peer's next record: milliseconds since 1970, and above every sequence it was ever seen with."""
        return max(int(self.clock.now() * 1000), self.asker.own_sequence + 1)

    async def provide(self, raw: bytes) -> int:
        """Have the k closest peers to the object's provider key hold this peer's provider record; how many do.

        Upkeep repeats it until the record expires; ``own_providers`` tells what to sign anew before that.
        Raises RefusedError when this peer has too many of its own, and as ``parse_record`` does.
        """
        record = self.store.reader.read(raw)
        assert isinstance(record, ProviderRecord), record
        assert record.peer == self.me, record
        self.store.offer(record)
        return await self.spread(record)

    async def spread(self, record: Record) -> int:
        """Send a record to the k peers closest to its key; how many hold it now."""
        return len(await self.asker.store_all(await self.nearest(key_for(record)), record.raw))

    def own_providers(self) -> list[ProviderRecord]:
        """The unexpired provider records of this peer."""
        return self.store.provided_by(self.me) if self.me else []

    # --- finding ------------------------------------------------------------------------------

    async def nearest(self, key: bytes) -> list[PeerRecord]:
        """The k live peers closest to ``key``, without this one."""
        search = self._lookup(key, widen=True)
        await self.asker.drive(search, lambda _: key)
        return search.result()

    def _lookup(self, key: bytes, *, widen: bool, also: Sequence[PeerRecord] = ()) -> Lookup:
        self.table.searched(key, trio.current_time())
        seeds = [*also, *self.asker.seeds(key)]
        return Lookup(key, seeds, k=self.config.k, alpha=self.config.alpha, me=self.me, widen=widen)

    async def resolve(self, peer: PeerId, *, max_age_s: float) -> PeerRecord | None:
        """The newest record of ``peer``: one issued at most ``max_age_s`` ago, or what peers know of it now.

        With 0 the network is asked in any case. None when nobody knows it.
        """
        if peer == self.me:
            return self.own
        known = newest = self._held(peer)
        if known is not None and max_age_s > 0 and self.clock.now() - known.issued_s <= max_age_s:
            return known
        holders, itself = 0, False

        def take(holder: PeerRecord, answer: Answer) -> None:
            nonlocal holders, itself, newest
            holders += bool(answer.records)
            itself = itself or holder.peer == peer
            # The list of peers may be too full to keep it.
            for record in (self._held(peer), *answer.records, *answer.closest):
                if isinstance(record, PeerRecord) and record.peer == peer:
                    newest = record if newest is None or supersedes(record, newest) else newest

        def enough() -> bool:
            # Several others suffice for news; that it is where it was, only the peer itself can say.
            news = newest is not None and (known is None or newest.address != known.address)
            return itself or (news and holders >= self.config.resolve_quorum)

        key = peer_key(peer)
        search = self._lookup(key, widen=False, also=() if known is None else (known,))
        await self.asker.drive(search, lambda _: key, take=take, enough=enough)
        return self._held(peer) or newest

    def _held(self, peer: PeerId) -> PeerRecord | None:
        """The newest unexpired record of ``peer`` that is held, be it as a neighbour's only."""
        contact = self.table.contact(peer)
        near = None if contact is None or self.clock.now() >= contact.record.expires_s else contact.record
        return self.store.peer(peer) or near

    async def all_peers(self) -> list[PeerRecord]:
        """Everybody in the pool who is not found dead, this peer too; by ascending peer id.

        Asks a few in a pool smaller than k, about 3 lookups for every k peers in a larger one, and stops when it has
        ``peers_max`` or more.
        """
        config = self.config
        seeds = self.store.peers()
        call = RollCall(seeds, k=config.k, parallel=config.crawl_parallel, quiet=config.crawl_quiet, me=self.me)
        await self.asker.drive(call, lambda record: record.peer.raw)
        found = {record.peer: record for record in call.result()}
        if not call.complete:
            found |= await crawl(self.nearest, config)
        if self.own is not None:
            found[self.own.peer] = self.own
        ascending = sorted(found, key=lambda peer: peer.raw)
        return [found[peer] for peer in ascending if not self.table.is_dead(peer)][: config.peers_max]

    def known_peers(self) -> list[PeerRecord]:
        """All unexpired peer records held, this peer's too, by ascending peer id. Asks nobody; some may be dead."""
        return self.store.peers()

    async def providers(self, object_id: ObjectId) -> list[ProviderRecord]:
        """The newest provider record of each peer that provides ``object_id``, by ascending peer id.

        Holders that lack one or hold an older one are sent it by upkeep.
        """
        key = provider_key(object_id)
        best: dict[PeerId, ProviderRecord] = {}
        had: dict[PeerId, set[bytes]] = {}

        def consider(found: Sequence[object]) -> None:
            for record in found:
                if isinstance(record, ProviderRecord) and record.object == object_id:
                    held = best.get(record.peer)
                    if held is None or supersedes(record, held):
                        best[record.peer] = record

        def take(holder: PeerRecord, answer: Answer) -> None:
            consider(answer.records)
            had[holder.peer] = {record.raw for record in answer.records}

        consider(self.store.records(key))
        search = self._lookup(key, widen=False)
        await self.asker.drive(search, lambda _: key, take=take)
        found = [best[peer] for peer in sorted(best)]
        for holder in search.result():
            missing = [record.raw for record in found if record.raw not in had.get(holder.peer, set())]
            # A full page may hide records that the holder does have.
            if len(had.get(holder.peer, ())) < RECORDS_MAX:
                self.repairs.extend((holder, raw) for raw in missing)
        return found

    # --- serving ------------------------------------------------------------------------------

    def handle_find(self, message: DhtFind) -> DhtFound:
        """What is held under the key, and the peers closest to it, this one among them."""
        return self._desk.find(message, self.own)

    def handle_store(self, message: DhtStore) -> Message:
        """Keep the record: Done. Or a Failure that says why not; counted by its code."""
        return self._desk.store(message)

    # --- the rest -----------------------------------------------------------------------------

    async def run_upkeep(self, make_record: Callable[[], bytes], *, keep: Keep | None = None) -> None:
        """Keep this peer announced, its contacts alive and its records stored. Runs until cancelled.

        ``make_record`` signs this peer's record as of now (with ``next_sequence``); ``keep`` saves the store.
        """
        if self.me is None:
            raise RefusedError("a client has no record to announce")
        await Upkeep(self, make_record, keep).run()

    def learn(self, raw: bytes) -> PeerRecord | None:
        """Remember a peer record that came by another way; None when it does not check out."""
        record = self.asker.believe(raw, None)
        return record if isinstance(record, PeerRecord) else None

    def forget(self, peer: PeerId) -> None:
        """Drop all contacts and records of a peer that left the pool."""
        self.table.forget(peer)
        self.store.forget(peer)

    def statistics(self) -> DhtStatistics:
        contacts = self.table.contacts()
        return DhtStatistics(
            contacts=len(contacts),
            suspects=sum(1 for contact in contacts if contact.fails),
            peers=self.store.peer_count,
            providers=self.store.provider_count,
            asked=self.asker.asked,
            served=self._desk.served,
            signatures_checked=self.store.reader.checked,
            counts=tuple(sorted(self.asker.counts.items())),
            offenders=tuple(sorted(self.asker.offenders.items())),
        )

"""A pool of up to 10,000 peers for the directory: production ``Dht``s, of which only those that are asked exist.

Records are signed and checked for real. A peer's table is filled as a long life would: all peers of its nearest
ranges, and of each farther range k at random. So a node can be made when it is asked, and forgotten again.
"""

from __future__ import annotations

import random
import time
from bisect import bisect_left
from collections import OrderedDict

import trio

from core.errors import PeerUnavailableError
from core.ids import PeerId
from core.ports import Address, Identity
from dht.config import DhtConfig
from dht.node import Dht
from dht.reader import RecordReader
from dht.records import PeerRecord
from dht.routing import NODE_ID_BYTES
from dht.store import RecordStore
from tests.dht.net import SeededChance
from tests.dht.people import GIB, ISSUERS, FixedClock, person
from wire.frames import frame_prefix
from wire.messages import DhtFind, DhtStore, Done, Message, message_head

NODES_KEPT = 512
BITS = 8 * NODE_ID_BYTES


def frame_bytes(message: Message) -> int:
    """What a message takes on the wire, below TLS."""
    body = message.body_of()
    return len(frame_prefix(message_head(1, message), len(body))) + len(body)


class CountedDht(Dht):
    """Counts its searches for the nearest."""

    searches = 0

    async def nearest(self, key: bytes) -> list[PeerRecord]:
        self.searches += 1
        return await super().nearest(key)


class Crowd:
    """``Messenger`` too. Counts what is asked of its peers: ``messages`` are questions and answers."""

    def __init__(self, count: int, *, sites: int = 50) -> None:
        self.config = DhtConfig()
        self.clock = FixedClock()
        self.reader = RecordReader(
            lambda: ISSUERS, self.clock, records_max=2 * count + 1024, certificates_max=2 * count + 1024
        )
        self.records = sorted((self._record(number, sites) for number in range(count)), key=lambda one: one.peer)
        self.at = {record.address: number for number, record in enumerate(self.records)}
        self._ids = [int.from_bytes(record.peer.raw[:NODE_ID_BYTES]) for record in self.records]
        self._nodes: OrderedDict[int, CountedDht] = OrderedDict()
        self.messages = 0
        self.moved_bytes = 0
        self.made_s = 0.0
        """Time spent on making nodes, which a real pool has already."""

    def _record(self, number: int, sites: int) -> PeerRecord:
        who = person(f"scale-{number}", site=f"site-{number % sites}")
        address = Address(f"10.{1 + number // 60_000}.{number // 240 % 250}.{number % 240 + 1}", 7000)
        record = self.reader.read(who.record(address, free_bytes=(400 + number % 200) * GIB))
        assert isinstance(record, PeerRecord)
        return record

    def client(self, name: str = "client") -> CountedDht:
        """A directory that knows nobody yet, as a command has; it checks every signature itself."""
        reader = RecordReader(lambda: ISSUERS, self.clock)
        return self._dht(None, name, RecordStore(reader, self.clock))

    def _dht(self, me: PeerId | None, name: str, store: RecordStore) -> CountedDht:
        return CountedDht(
            me=me,
            messenger=self,
            issuers=lambda: ISSUERS,
            clock=self.clock,
            chance=SeededChance(name),
            config=self.config,
            store=store,
        )

    def node(self, number: int) -> CountedDht:
        """The directory of one peer."""
        found = self._nodes.get(number)
        if found is None:
            begun_s = time.process_time()
            me = self.records[number]
            found = self._nodes[number] = self._dht(me.peer, f"scale-{number}", RecordStore(self.reader, self.clock))
            for other in self.neighbours(number):
                found.asker.keep(self.records[other])
            found.adopt(me.raw)
            if len(self._nodes) > NODES_KEPT:
                self._nodes.popitem(last=False)
            self.made_s += time.process_time() - begun_s
        self._nodes.move_to_end(number)
        return found

    def neighbours(self, number: int) -> list[int]:
        """Whom this peer knows."""
        chance = random.Random(number)
        mine = self._ids[number]
        found: list[int] = []
        for bits in range(1, BITS + 1):
            near_low, near_high = self._range(mine >> (BITS - bits), bits)
            low, high = self._range((mine >> (BITS - bits)) ^ 1, bits)
            found += chance.sample(range(low, high), min(self.config.k, high - low))
            if near_high - near_low <= self.config.k:
                found += [other for other in range(near_low, near_high) if other != number]
                break
        return found

    def _range(self, prefix: int, bits: int) -> tuple[int, int]:
        low = prefix << (BITS - bits)
        return bisect_left(self._ids, low), bisect_left(self._ids, low + (1 << (BITS - bits)))

    # --- dht.config.Messenger -------------------------------------------------------------------

    async def ask(self, address: Address, expect: PeerId | None, message: Message) -> tuple[Identity, Message]:
        await trio.lowlevel.checkpoint()
        number = self.at.get(address)
        if number is None or (expect is not None and self.records[number].peer != expect):
            raise PeerUnavailableError(f"nobody listens at {address}")
        dht = self.node(number)
        match message:
            case DhtFind():
                answer: Message = dht.handle_find(message)
            case DhtStore():
                answer = dht.handle_store(message)
            case _:
                answer = Done()
        self.messages += 2
        self.moved_bytes += frame_bytes(message) + frame_bytes(answer)
        return self.records[number].identity, answer

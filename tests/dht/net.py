"""A network of discovery layers in one process, without sockets, on trio's (virtual) clock."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from core.encoding import decode, encode
from core.errors import PeerRefusedError, PeerUnavailableError
from core.identity import read_certificate
from core.ids import PeerId
from core.limits import FRAME_HEAD_MAX_BYTES
from core.ports import Address, Identity
from dht.config import DhtConfig
from dht.node import Dht
from dht.reader import RecordReader
from dht.store import RecordStore
from tests.dht.people import ISSUERS, START, Person, person, seed_of
from wire.frames import Frame
from wire.messages import DhtFind, DhtStore, Message, Ping, message_head, parse_message

Handler = Callable[[Message], Message]


class NetClock:
    """Wall time that runs with trio's clock, from START, plus one peer's error."""

    def __init__(self, wrong_by_s: float = 0.0) -> None:
        self.wrong_by_s = wrong_by_s

    def now(self) -> float:
        return START + trio.current_time() + self.wrong_by_s


class SeededChance:
    def __init__(self, seed: str) -> None:
        self._seed = seed

    def token(self, size_bytes: int) -> bytes:
        return (seed_of(self._seed) * 4)[:size_bytes]

    def stream(self, name: str) -> random.Random:
        return random.Random(f"{self._seed} {name}")


def through_the_wire(message: Message) -> Message:
    head = decode(encode(message_head(1, message)), max_bytes=FRAME_HEAD_MAX_BYTES)
    return parse_message(Frame(head, bytes(message.body_of())))[1]


@dataclass
class Node:
    person: Person
    address: Address
    dht: Dht
    handler: Handler
    hung: bool = False
    clock: NetClock = field(default_factory=NetClock)

    def record(self, **changes: int) -> bytes:
        return self.person.record(
            self.address, **{"sequence": self.dht.next_sequence(), "now": int(self.clock.now()), **changes}
        )

    async def join(self, *seeds: Address) -> None:
        """What a daemon does first: be known, knock, announce."""
        self.dht.adopt(self.record())
        await self.dht.bootstrap(seeds)
        await self.dht.announce(self.record())


@dataclass
class Wire:
    """One node's way out: a ``Messenger``."""

    net: Net

    async def ask(self, address: Address, expect: PeerId | None, message: Message) -> tuple[Identity, Message]:
        net = self.net
        net.asked += 1
        await trio.sleep(net.random.uniform(0.005, 0.015))
        there = net.at.get(address)
        if there is None:
            raise PeerUnavailableError(f"nobody listens at {address}")
        if there.hung:
            await trio.sleep_forever()
        if expect is not None and there.person.peer != expect:
            raise PeerRefusedError(f"{address} is somebody else")
        answer = through_the_wire(there.handler(through_the_wire(message)))
        return net.identity(there.person), answer


class Net:
    def __init__(self, *, seed: int = 1, share_reader: bool = False, config: DhtConfig | None = None) -> None:
        self.random = random.Random(seed)
        self.at: dict[Address, Node] = {}
        self.asked = 0
        self.config = config or DhtConfig()
        self._identities: dict[bytes, Identity] = {}
        # Readers keep what they checked; sharing one keeps large nets fast in tests.
        self._reader = RecordReader(lambda: ISSUERS, NetClock()) if share_reader else None

    def identity(self, who: Person) -> Identity:
        if who.certificate not in self._identities:
            self._identities[who.certificate] = read_certificate(who.certificate, ISSUERS, now=START)[0]
        return self._identities[who.certificate]

    def dht(self, me: PeerId | None, name: str, clock: NetClock | None = None) -> Dht:
        clock = clock or NetClock()
        reader = self._reader or RecordReader(lambda: ISSUERS, clock)
        return Dht(
            me=me,
            messenger=Wire(self),
            issuers=lambda: ISSUERS,
            clock=clock,
            chance=SeededChance(name),
            config=self.config,
            store=RecordStore(reader, clock),
        )

    def add(self, name: str, address: Address | None = None, *, clock: NetClock | None = None) -> Node:
        who, clock = person(name), clock or NetClock()
        address = address or Address(f"10.1.{len(self.at) // 250}.{len(self.at) % 250 + 1}", 7000)
        dht = self.dht(who.peer, name, clock)
        node = Node(who, address, dht, serve(dht), clock=clock)
        self.at[address] = node
        return node

    def kill(self, node: Node) -> None:
        del self.at[node.address]

    async def pool(self, count: int) -> list[Node]:
        """``count`` peers, each of which knew only the first when it came."""
        nodes: list[Node] = []
        for number in range(count):
            node = self.add(f"peer-{number}")
            await node.join(*(first.address for first in nodes[:1]))
            nodes.append(node)
        return nodes


def serve(dht: Dht) -> Handler:
    def handler(message: Message) -> Message:
        match message:
            case DhtFind():
                return dht.handle_find(message)
            case DhtStore():
                return dht.handle_store(message)
            case _:
                return Ping()

    return handler

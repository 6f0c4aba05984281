"""One client and one peer: uploads, many questions at once of which some are given up, and a peer that falls silent.

Promises: a shard is durable when its commit is acknowledged; an answer is that to its own question; a peer that hangs
costs a known patience.
"""

from __future__ import annotations

import random
from contextlib import suppress

import trio

from client.context import Client
from client.session import Session
from core.errors import PeerUnavailableError
from core.ids import PeerId, ShardRoot
from core.limits import HANDSHAKE_DEADLINE_S, SILENCE_MAX_S
from tests.daemon.shards import Sample, sample
from tests.sim.chance import derive
from tests.sim.determinism import run_seeded
from tests.sim.fabric import NetFaults
from tests.sim.planted.put_bench import Bench
from tests.sim.planted.put_story import within
from tests.sim.planted.store_story import is_whole
from tests.sim.world import World
from wire.messages import Done, Have, Held, Read, Shares, UploadBegin, UploadCommit, UploadData

ABSENT = ShardRoot(b"\x11" * 32)
ASKERS = 9
QUESTIONS = 3


class TalkStory:
    def __init__(self, seed: int, world: World) -> None:
        self.chance = derive(seed, "talk")
        self.world = world
        self.bench = Bench(world, peers=1)
        self.name, self.node = next(iter(self.bench.peers.items()))
        self.peer: PeerId = self.node.person.identity.peer
        self.held: list[Sample] = []

    async def tell(self) -> None:
        await self.bench.heal()
        for _ in range(2):
            async with self.bench.client() as client:
                await self.upload(client)
                await self.ask_much(client)
            if self.chance.random() < 0.5:
                self.node.crash()
                await self.bench.heal()
        await self.chance.choice([self.hang, self.hang_before_greeting])()

    async def upload(self, client: Client) -> None:
        """The peer's disk may be slow; what it acknowledges is on its platters all the same."""
        cost_s = self.chance.choice([(0.0005, 0.02), (0.05, 0.5)])
        self.node.threads.disk_cost_s = cost_s
        item = sample(len(self.held), chunks=2)
        plan, root = item.plan, item.root
        session = await client.peers.session(self.peer)
        number = session.next_upload()
        scheme = plan.scheme
        begin = UploadBegin(number, scheme.needed, scheme.total, plan.index, plan.chunks, plan.expected_bytes)
        await session.request(begin)
        await session.request(UploadData(number, item.lengths, item.data))
        assert await session.request(UploadCommit(number, root)) == Done()
        data = self.bench.durable(self.peer, self.bench.folders(self.peer).shard(root))
        assert data is not None, "a commit was acknowledged, and its shard is not durable"
        assert is_whole(data, root), "a commit was acknowledged, and its shard is not whole"
        self.held.append(item)

    async def ask_much(self, client: Client) -> None:
        session = await client.peers.session(self.peer)
        async with trio.open_nursery() as nursery:
            for _ in range(ASKERS):
                nursery.start_soon(self.ask, session, random.Random(self.chance.random()))

    async def ask(self, session: Session, chance: random.Random) -> None:
        """A few questions, one after the other; patience for each may end before its answer comes."""
        for _ in range(QUESTIONS):
            item = chance.choice(self.held)
            with trio.move_on_after(chance.choice([0.01, 0.05, 60.0, 60.0])):
                if chance.random() < 0.5:
                    roots = (item.root, ABSENT) if chance.random() < 0.5 else (ABSENT, item.root)
                    answer = await session.request(Have(roots))
                    assert answer == Held(tuple(root != ABSENT for root in roots)), "an answer to another question"
                else:
                    chunk = chance.randrange(len(item.lengths))
                    shares = await session.request(Read(item.root, chunk, 1))
                    at = sum(item.lengths[:chunk])
                    wanted = item.data[at : at + item.lengths[chunk]]
                    assert isinstance(shares, Shares), "an answer to another question"
                    assert bytes(shares.body) == wanted, "an answer to another question"

    # --- silence --------------------------------------------------------------------------------

    async def hang(self) -> None:
        """Amid a conversation."""
        async with self.bench.client() as client:
            await client.peers.session(self.peer)
            self.world.fabric.pause(self.name)
            await self.ask_in_vain(client, SILENCE_MAX_S + 1.0)

    async def hang_before_greeting(self) -> None:
        """It takes the connection, and does not greet."""
        self.bench.tricks[self.name] = "mute"
        async with self.bench.client() as client:
            await self.ask_in_vain(client, HANDSHAKE_DEADLINE_S + 1.0)

    async def ask_in_vain(self, client: Client, seconds: float) -> None:
        async with within(seconds, "a request to a silent peer"):
            with suppress(PeerUnavailableError):
                await client.peers.request(self.peer, Have((ABSENT,)))
                raise AssertionError("a silent peer has answered")


async def _talk(seed: int) -> None:
    async with World(seed, net=NetFaults(latency_s=(0.001, 0.02))).running() as world:
        await TalkStory(seed, world).tell()


def talk(seed: int) -> None:
    run_seeded(seed, _talk, seed)

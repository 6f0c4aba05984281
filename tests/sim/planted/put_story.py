"""Puts, the same put again, and a get, while holders crash, forget, rot, lie, hang and get stuck.

Promises: when a leaf is anchored, every holder has the manifest durably; when a put is acknowledged, its shards are
whole on the platters of as many distinct holders, all of which have the manifest, and more than may be lost the
receipt. What is put again is as good, whatever became of it meanwhile. A get gives the very bytes, whatever one holder
does. No command waits for a peer that hangs, or that is busy with something else for ever.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import trio

from anchor.manifest import Manifest, parse_manifest
from client.get import get
from client.progress import Silent
from client.put import PutResult
from client.put import put as put_files
from core.errors import MoorageError
from core.ids import ObjectId, PeerId
from erasure.scheme import Scheme
from erasure.shardfile import HEAD_BYTES
from tests.sim.chance import derive
from tests.sim.determinism import run_seeded
from tests.sim.fabric import NetFaults
from tests.sim.planted.put_bench import Bench
from tests.sim.planted.store_story import is_whole
from tests.sim.trees import MemorySource, MemoryTarget
from tests.sim.world import World
from wire.messages import Message, StoreManifest, StoreReceipt

SCHEME = Scheme(2, 3)
PEERS = 5
# A hung peer costs a get one patience for its connection and one for its silence; others are asked meanwhile.
GET_MAX_S = 15.0
# A stuck peer costs a put up to DISK_DEADLINE_S for its manifest, and one more for its receipt.
PUT_MAX_S = 600.0
NEMESES = ("crash", "vanish", "few receipts", "few receipts", "manifest lost", "full", "hung", "stuck", "calm")
# No shard of these stories has fewer bytes of shares.
SHARE_BYTES_MIN = 64


@asynccontextmanager
async def within(seconds: float, what: str) -> AsyncGenerator[None]:
    """Raises AssertionError when it takes longer."""
    with trio.move_on_after(seconds) as scope:
        yield
    assert not scope.cancelled_caught, f"{what} did not end within {seconds:g} s"


class PutStory:
    def __init__(self, seed: int, world: World) -> None:
        self.chance = derive(seed, "put")
        self.bench = Bench(world, peers=PEERS)
        self.files = {f"study/{number}": self.chance.randbytes(self.chance.randint(300, 3000)) for number in range(2)}
        self.manifests: dict[ObjectId, Manifest] = {}
        self.promised: set[ObjectId] = set()
        self.nemesis = ""
        self.victim = ""
        self.struck = False

    async def tell(self) -> None:
        await self.bench.heal()
        stored = await self.store(self.chance.choice(NEMESES))
        if stored is not None:
            self.damage(stored)
        await self.store(self.chance.choice(NEMESES))
        stored = await self.store("calm")
        assert stored is not None, "refused though nothing is wrong"
        await self.read(stored)

    async def store(self, nemesis: str) -> PutResult | None:
        """None when the put was refused; then nothing was promised."""
        self.nemesis, self.struck = nemesis, False
        self.victim = self.chance.choice(sorted(self.bench.peers))
        if nemesis == "crash":
            drive = self.bench.peers[self.victim].drive
            drive.crash_at = drive.operations + self.chance.randint(1, 24)
        if nemesis == "hung":
            self.bench.world.fabric.pause(self.victim)
        result = None
        with suppress(MoorageError):
            async with within(PUT_MAX_S, "a put"), self.bench.client(self.watch) as client:
                source = MemorySource(self.files)
                result = await put_files(
                    client, source, name="x", scheme=SCHEME, allow_degraded=False, progress=Silent()
                )
                # At this very moment, not later.
                self.check_acknowledged(result)
        for node in self.bench.peers.values():
            if node.is_up and self.chance.random() < 0.5:
                node.crash()
        await self.bench.heal()
        return result

    # --- what goes wrong during a put ---------------------------------------------------------

    def watch(self, peer: PeerId, message: Message) -> None:
        if isinstance(message, StoreManifest):
            self.manifests[message.object] = parse_manifest(bytes(message.body), expected=message.object)
            self.strike(peer, self.manifests[message.object])
        elif isinstance(message, StoreReceipt):
            self.check_anchored(message.object)
            self.strike_holders(self.manifests[message.object])

    def strike(self, peer: PeerId, manifest: Manifest) -> None:
        """As a holder is given the manifest."""
        name = self.bench.names[peer]
        drive = self.bench.peers[name].drive
        if self.struck or self.nemesis not in ("vanish", "manifest lost", "full", "stuck"):
            return
        self.struck = True
        match self.nemesis:
            case "vanish":
                # What an earlier upload left is tidied away just before its manifest comes.
                mine = [root for _, _, root, holder in manifest.shards() if holder == peer]
                self.bench.stores[name].remove(self.chance.choice(mine))
            case "stuck":
                self.bench.tricks[name] = "stuck"
            case "full":
                drive.faults.capacity_bytes = drive.used_bytes
            case _:
                drive.crash_at = drive.operations + self.chance.randint(1, 6)

    def strike_holders(self, manifest: Manifest) -> None:
        """Some holders are gone before they have the receipt."""
        if self.nemesis == "few receipts" and not self.struck:
            self.struck = True
            holders = manifest.holders()
            for peer in self.chance.sample(holders, self.chance.randint(0, len(holders))):
                self.bench.peers[self.bench.names[peer]].crash()

    def damage(self, stored: PutResult) -> None:
        """Between two puts of the same files a share rots, a shard is gone, or nothing happens."""
        manifest = self.manifests[stored.object]
        kind = self.chance.choice(["rot", "loss", "index lost", "nothing"])
        if kind == "nothing":
            return
        extent = manifest.index[0] if kind == "index lost" else manifest.extents[0]
        share = self.chance.randrange(SCHEME.total)
        root, peer = extent.roots[share], manifest.groups[extent.group][share]
        path, drive = self.bench.folders(peer).shard(root), self.bench.peers[self.bench.names[peer]].drive
        if kind == "rot":
            drive.flip_bit(path, HEAD_BYTES + self.chance.randrange(SHARE_BYTES_MIN))
        else:
            drive.remove(path)

    # --- what must hold -----------------------------------------------------------------------

    def check_anchored(self, name: ObjectId) -> None:
        assert name in self.manifests, "anchored, and the manifest was never sent"
        for peer in self.manifests[name].holders():
            paper = self.bench.durable(peer, f"{self.bench.folders(peer).manifests}/{name}")
            assert paper is not None, f"anchored, and {self.bench.names[peer]} does not have the manifest durably"

    def check_acknowledged(self, result: PutResult) -> None:
        self.check_anchored(result.object)
        manifest = self.manifests[result.object]
        for group in manifest.groups:
            assert len(set(group)) == SCHEME.total, "one peer counts twice"
        for _, _, root, peer in manifest.shards():
            if result.object in self.promised and self.is_silent(peer):
                # It was acknowledged before: silence is not loss, and the sweep decides about it.
                continue
            data = self.bench.durable(peer, self.bench.folders(peer).shard(root))
            assert data is not None, f"acknowledged, and {self.bench.names[peer]} does not have {root.short} durably"
            assert is_whole(data, root), f"acknowledged, and {root.short} is not whole"
        papers = [
            self.bench.durable(peer, f"{self.bench.folders(peer).receipts}/{result.object}")
            for peer in manifest.holders()
        ]
        having = sum(paper is not None for paper in papers)
        assert having > SCHEME.spare, f"acknowledged, and only {having} have the receipt"
        self.promised.add(result.object)

    def is_silent(self, peer: PeerId) -> bool:
        name = self.bench.names[peer]
        return not self.bench.peers[name].is_up or (self.nemesis, self.victim) == ("hung", name)

    async def read(self, stored: PutResult) -> None:
        """One holder is dead, lies or hangs."""
        name = self.bench.names[self.chance.choice(stored.holders)]
        match self.chance.choice(["dead", "liar", "liar", "hung"]):
            case "dead":
                self.bench.peers[name].crash()
            case "hung":
                self.bench.world.fabric.pause(name)
            case trick:
                self.bench.tricks[name] = trick
        target = MemoryTarget()
        async with within(GET_MAX_S, "a get"), self.bench.client() as client:
            await get(client, stored.object, target, paths=[], progress=Silent())
        assert target.files == self.files, "other bytes came back than were put"


async def _put(seed: int) -> None:
    async with World(seed, net=NetFaults(latency_s=(0.001, 0.02))).running() as world:
        await PutStory(seed, world).tell()


def put(seed: int) -> None:
    run_seeded(seed, _put, seed)

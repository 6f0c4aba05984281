"""Shards that this peer took over from others: announced, so that readers find them, until they are not needed here."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import trio

from anchor.manifest import Manifest
from client.challenge import targets_of
from client.home import Home
from core.errors import MoorageError
from core.ids import ObjectId, PeerId, ShardRoot
from core.ports import Clock, Threads
from daemon.naming import Naming, manifest_here
from daemon.store import ShardStore
from dht.records import ProviderRecord, make_provider_record

RECORD_LIFE_S = 36 * 3600
# Signed anew at half its life: one missed round does not unlist a shard.
RENEW_EVERY_S = RECORD_LIFE_S / 4
# The papers arrive before the shards that they are for: so long and so often to look for them.
EXPECT_S = 600.0
LOOK_EVERY_S = 5.0
EXPECTED_MAX = 256


class Publisher(Protocol):
    """``dht.node.Dht``."""

    async def provide(self, raw: bytes, /) -> int: ...

    def own_providers(self) -> list[ProviderRecord]: ...

    def next_sequence(self) -> int: ...


class Guests:
    def __init__(
        self,
        home: Home,
        *,
        publisher: Publisher,
        store: ShardStore,
        threads: Threads,
        clock: Clock,
    ) -> None:
        self._home = home
        self._publisher = publisher
        self._store = store
        self._threads = threads
        self._clock = clock
        self._expected: dict[ObjectId, float] = {}
        self._news = trio.Event()

    def expect(self, name: ObjectId) -> None:
        """Papers of an object have come; if shards follow that are not ours by its manifest, they are announced."""
        if name in self._expected or len(self._expected) < EXPECTED_MAX:
            self._expected[name] = trio.current_time() + EXPECT_S
            self._news.set()

    async def publish(self, name: ObjectId, shards: Collection[tuple[int, int]]) -> None:
        """Announce exactly these (extent, share) of an object, or withdraw the announcement when there are none.

        Raises RefusedError when this peer provides too much.
        """
        now = self._clock.now()
        before = next((item for item in self._publisher.own_providers() if item.object == name), None)
        announced: set[tuple[int, int]] = set()
        if before is not None and before.expires_s - now > RENEW_EVERY_S:
            announced = set(before.shards)
        if announced == set(shards) and (shards or before is None or not before.shards):
            return
        raw = make_provider_record(
            self._home.tls_key,
            self._home.certificate,
            object_id=name,
            shards=shards,
            sequence=self._publisher.next_sequence(),
            now=now,
            life_s=RECORD_LIFE_S,
        )
        await self._publisher.provide(raw)

    async def run(self) -> None:
        """Announce what arrives, and keep announced what stays. Runs until cancelled."""
        renew_at = trio.current_time() + RENEW_EVERY_S
        while True:
            with trio.move_on_at(renew_at):
                await self._announce_expected()
            if trio.current_time() >= renew_at:
                renew_at += RENEW_EVERY_S
                for record in self._publisher.own_providers():
                    await self._publish_or_wait(record.object, record.shards)

    async def _announce_expected(self) -> None:
        while True:
            if not self._expected:
                self._news = trio.Event()
                await self._news.wait()
            await trio.sleep(LOOK_EVERY_S)
            for name in sorted(self._expected):
                if self._expected[name] <= trio.current_time():
                    del self._expected[name]
                await self._announce(name)

    async def _announce(self, name: ObjectId) -> None:
        try:
            found = await self._threads.disk(self._find, name)
        except MoorageError:
            # The papers are gone again, or the disk is away: the next sweep sees to it.
            return
        if found:
            await self._publish_or_wait(name, found)

    async def _publish_or_wait(self, name: ObjectId, shards: Collection[tuple[int, int]]) -> None:
        try:
            await self.publish(name, shards)
        except MoorageError:
            # Readers ask peers directly, too; the next round tries again.
            return

    def _find(self, name: ObjectId) -> list[tuple[int, int]]:
        return guests_here(self._store, manifest_here(self._store.documents, name), self._home.identity.peer)


def guests_here(store: ShardStore, manifest: Manifest, me: PeerId) -> list[tuple[int, int]]:
    """(extent, share) of shards that are here and that the manifest does not name this peer for. Blocks; raises as
    ``ShardStore.have``."""
    targets = targets_of(manifest)
    ours = {target.root for target in targets if target.peer == me}
    others = [target for target in targets if target.root not in ours]
    flags = store.have([target.root for target in others])
    return [(target.number, target.share) for target, held in zip(others, flags, strict=True) if held]


def ours_by_manifests(store: ShardStore, me: PeerId, names: Collection[ObjectId]) -> set[ShardRoot]:
    """Roots of shards that these objects' manifests give to this peer: equal content is stored once. Blocks.

    Raises MoorageError when a manifest cannot be read: then nothing may be removed. Nor when it is gone: it may be on
    its way back, and what is not read now is not read again before the removal.
    """
    found: set[ShardRoot] = set()
    for name in names:
        found.update(root for _, _, root, peer in manifest_here(store.documents, name).shards() if peer == me)
    return found


def remove_unless_named(
    store: ShardStore, naming: Naming, root: ShardRoot, known: Collection[ObjectId] = frozenset()
) -> bool:
    """Remove the shard unless a manifest other than the ``known``, which were read, names it: one that came meanwhile.
    Blocks.

    Its put asks for the shard after it stored the manifest: either it finds the shard gone and sends it again, or we
    find the manifest here. Raises as ``ShardStore.remove``, and when a manifest cannot be read.
    """
    return store.remove(root, unless=lambda: not set(naming.objects(root)) <= set(known))


def remove_damaged(store: ShardStore, root: ShardRoot) -> bool:
    """Delete the shard if it is damaged, looking once more; False when it is whole, or newer. Blocks.

    In one job: what stays in quarantine beside a good copy elsewhere nobody would look at again. Raises as
    ``ShardStore.quarantine``.
    """
    if not store.quarantine(root):
        return False
    store.discard_quarantined(root)
    return True

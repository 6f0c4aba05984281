"""What a repair does besides rebuilding: find out who is there, give holders papers, set damaged shards aside."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

import trio

from client.asker import Asker, Directory
from client.candidates import candidate_of
from client.tasks import open_crew
from core.errors import MoorageError
from core.ids import ObjectId, PeerId, ShardRoot
from core.limits import DISK_DEADLINE_S
from core.ports import Threads
from daemon.store import ShardStore
from daemon.subject import Subject
from dht.records import PeerRecord
from erasure.placement import Candidate, ranked
from wire.messages import Ping, StoreManifest, StoreReceipt

# Peers asked at first whether they are there, for one object's repair: of these the few new holders are chosen.
ASKED_MAX = 64
# Each may need a connection of its own; the usual limit of a process is 1,024 open files.
AT_ONCE = 256


class Hands:
    def __init__(self, asker: Asker, directory: Directory, store: ShardStore, threads: Threads) -> None:
        self._asker = asker
        self._directory = directory
        self._store = store
        self._threads = threads

    def known(self, silent: Collection[PeerId]) -> list[PeerRecord]:
        """Everybody whose record is held, less those that were just found ``silent``."""
        return [record for record in self._directory.known_peers() if record.peer not in silent]

    async def candidates(self, records: Collection[PeerRecord]) -> list[Candidate]:
        """Those of ``records`` that answer now."""
        answered = await who_answers(self._asker, [record.peer for record in records], at_once=AT_ONCE)
        return [candidate_of(record) for record in records if record.peer in answered]

    async def store_papers(self, subject: Subject, peer: PeerId) -> None:
        """Receipt, then manifest, durably at ``peer``: the one may have to vouch for the other. Raises MoorageError."""
        if subject.receipt_file is not None:
            await self.restore(peer, StoreReceipt(subject.object, subject.receipt_file))
        await self.restore(peer, StoreManifest(subject.object, subject.manifest_file))

    async def restore(self, holder: PeerId, message: StoreManifest | StoreReceipt) -> None:
        """Store one paper durably at ``holder``. Raises MoorageError."""
        await self._asker.request(holder, message, deadline_s=DISK_DEADLINE_S)

    async def set_aside(self, root: ShardRoot) -> bool:
        """Quarantine a damaged shard of our own. False when it is whole, or the disk does not let us."""
        try:
            return await self._threads.disk(self._store.quarantine, root)
        except MoorageError:
            # Then the new shard replaces it where it lies.
            return False

    async def discard(self, root: ShardRoot) -> None:
        """Delete what was quarantined of a shard of our own that is whole again."""
        try:
            await self._threads.disk(self._store.discard_quarantined, root)
        except MoorageError:
            # It harms nobody; the next repair of this shard tries again.
            return


async def who_answers(asker: Asker, peers: Collection[PeerId], *, at_once: int) -> set[PeerId]:
    """Those that answer a ping now. Hung ones cost one patience."""
    answered: set[PeerId] = set()
    limit = trio.CapacityLimiter(at_once)

    async def ping(peer: PeerId) -> None:
        # Not to be there is an answer too.
        async with limit:
            with suppress(MoorageError):
                await asker.request(peer, Ping())
                answered.add(peer)

    async with open_crew() as crew:
        for peer in peers:
            crew.start_soon(ping, peer)
    return answered


def nearest_candidates(
    name: ObjectId, records: Collection[PeerRecord], holders: Collection[PeerId]
) -> list[PeerRecord]:
    """Its ``holders`` and the ASKED_MAX best for the object: whoever repairs it asks the same, and not a whole pool."""
    if len(records) <= ASKED_MAX:
        return list(records)
    best = {item.peer for item in ranked(name.raw, [candidate_of(record) for record in records])[:ASKED_MAX]}
    return [record for record in records if record.peer in best or record.peer in holders]

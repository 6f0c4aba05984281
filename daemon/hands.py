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
# Where all are asked, whoever answered so lately is not asked again: after a disaster many objects have no home, and
# each would have the whole pool called. One that died meanwhile fails a repair, which then does without it.
ANSWERED_S = 600.0


class Hands:
    def __init__(self, asker: Asker, directory: Directory, store: ShardStore, threads: Threads) -> None:
        self._asker = asker
        self._directory = directory
        self._store = store
        self._threads = threads
        self._answered: dict[PeerId, float] = {}
        """When each did, less than ANSWERED_S ago."""

    def known(self, silent: Collection[PeerId]) -> list[PeerRecord]:
        """Everybody whose record is held, less those that were just found ``silent``."""
        return [record for record in self._directory.known_peers() if record.peer not in silent]

    async def nearest(
        self, name: ObjectId, records: Collection[PeerRecord], holders: Collection[PeerId]
    ) -> list[PeerRecord]:
        """``nearest_candidates``, which takes a tenth of a second in a pool of ten thousand."""
        return await self._threads.cpu(nearest_candidates, name, records, holders)

    async def candidates(self, records: Collection[PeerRecord], *, anew: bool = True) -> list[Candidate]:
        """Those of ``records`` that answer now; unless ``anew``, those too that did within ANSWERED_S."""
        began = trio.current_time()
        self._answered = {peer: at for peer, at in self._answered.items() if began - at < ANSWERED_S}
        asked = [record.peer for record in records if anew or record.peer not in self._answered]
        answered = await who_answers(self._asker, asked, at_once=AT_ONCE)
        for peer in asked:
            if peer in answered:
                self._answered[peer] = began
            else:
                self._answered.pop(peer, None)
        return [candidate_of(record) for record in records if record.peer in self._answered]

    def doubt(self, peer: PeerId) -> None:
        """It has just failed: it is asked again before it counts as there."""
        self._answered.pop(peer, None)

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
    left = iter(peers)

    async def ping_some() -> None:
        for peer in left:
            # Not to be there is an answer too.
            with suppress(MoorageError):
                await asker.request(peer, Ping())
                answered.add(peer)

    # Not a task for each: thousands that begin at once would hold up all others.
    async with open_crew() as crew:
        for _ in range(min(at_once, len(peers))):
            crew.start_soon(ping_some)
    return answered


def nearest_candidates(
    name: ObjectId, records: Collection[PeerRecord], holders: Collection[PeerId]
) -> list[PeerRecord]:
    """Its ``holders`` and the ASKED_MAX best for the object: whoever repairs it asks the same, and not a whole pool."""
    if len(records) <= ASKED_MAX:
        return list(records)
    best = {item.peer for item in ranked(name.raw, [candidate_of(record) for record in records])[:ASKED_MAX]}
    return [record for record in records if record.peer in best or record.peer in holders]

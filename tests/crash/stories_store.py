"""The daemon's store at work: shards, documents, quarantine, the probe for a disk that takes writes."""

from __future__ import annotations

from blake3 import blake3

from core.errors import MoorageError
from core.ids import ObjectId
from core.ports import Disk
from daemon.census import Stray
from daemon.store import ShardStore
from daemon.uploads import UploadPlan
from tests.crash.enumerate import Story
from tests.daemon.shards import FixedClock, Sample, sample, store_sample

HOME = "/home/peer"
# Longer than the guard leaves a disk alone that refused.
A_WHILE_S = 61.0
FIRST, SECOND, THIRD = (sample(seed, share_bytes=700) for seed in (1, 2, 3))
MANIFEST = b"the bytes of a manifest, checked by their digest alone" * 12
NAME = ObjectId(blake3(MANIFEST).digest())
RECEIPTS = (b"an old receipt" * 50, b"a new receipt, of another length" * 40)


class StoreStory(Story):
    """``held`` must be there and whole, ``gone`` must not be there; others may be, but whole."""

    def __init__(self) -> None:
        self.clock = FixedClock()
        self.held: dict[str, Sample] = {}
        self.gone: set[str] = set()
        self._store: tuple[Disk, ShardStore] | None = None

    def store(self, disk: Disk) -> ShardStore:
        """The one that this process opened."""
        if self._store is None or self._store[0] is not disk:
            store = ShardStore(disk, HOME, quota_bytes=None, reserve_bytes=0, clock=self.clock)
            store.start()
            self._store = disk, store
        return self._store[1]

    def put(self, disk: Disk, item: Sample) -> None:
        store_sample(self.store(disk), item)
        self.gone.discard(str(item.root))
        self.held[str(item.root)] = item

    def prepare(self, disk: Disk) -> None:
        self.put(disk, FIRST)

    def recover(self, disk: Disk) -> None:
        self.store(disk)

    def again(self, disk: Disk) -> None:
        self.clock.time_s += A_WHILE_S
        self.run(disk)

    def check(self, disk: Disk) -> None:
        store = self.store(disk)
        found = {str(root): root for root in store.roots()}
        for name, root in found.items():
            assert store.scan(root).whole, f"shard {name} is torn"
        assert self.held.keys() <= found.keys(), "an acknowledged shard is lost"
        assert not self.gone & found.keys(), "a removed shard came back"
        assert store.have([item.root for item in self.held.values()]) == [True] * len(self.held)
        assert disk.list_folder(f"{HOME}/incoming") == [], "a leftover"
        assert list(store.strays()) == []
        figures = store.statistics()
        assert figures.shards == len(found), "the count is wrong"
        assert (figures.uploads, figures.promised_bytes, figures.read_only) == (0, 0, "")


class ShardCommit(StoreStory):
    """A new shard arrives, and one that is here already."""

    name = "shard: upload and commit"

    def run(self, disk: Disk) -> None:
        self.put(disk, SECOND)
        # Once more what is there, as a put does that was cut short.
        self.put(disk, FIRST)


class ShardReplaced(StoreStory):
    """A damaged shard is replaced by a commit."""

    name = "shard: damaged one replaced"

    def prepare(self, disk: Disk) -> None:
        super().prepare(disk)
        self.put(disk, SECOND)
        _damage(disk, SECOND)
        del self.held[str(SECOND.root)]

    def run(self, disk: Disk) -> None:
        self.put(disk, SECOND)

    def check(self, disk: Disk) -> None:
        if str(SECOND.root) not in self.held:
            # Not replaced yet, hence as damaged as before: that is for the sweep.
            self.put(disk, SECOND)
        super().check(disk)


def _damage(disk: Disk, item: Sample) -> None:
    name = str(item.root)
    with disk.open(f"{HOME}/shards/{name[:2]}/{name[2:4]}/{name}", "update") as file:
        file.write_at(item.offset(1), bytes(100))
        file.sync()


class ShardAborted(StoreStory):
    """Uploads that end badly: given up, damaged on the way, too short."""

    name = "shard: uploads that fail"

    def run(self, disk: Disk) -> None:
        store = self.store(disk)
        upload = store.begin(SECOND.plan)
        upload.write(SECOND.lengths, SECOND.data)
        upload.abort()
        upload = store.begin(SECOND.plan)
        upload.write(SECOND.lengths[:1], SECOND.shares[0])
        self._refused(lambda: upload.commit(SECOND.root))
        wrong = store.begin(UploadPlan(SECOND.plan.scheme, SECOND.plan.index, 3, SECOND.plan.expected_bytes))
        wrong.write(SECOND.lengths, SECOND.data)
        self._refused(lambda: wrong.commit(THIRD.root))

    def _refused(self, commit: object) -> None:
        assert callable(commit)
        try:
            commit()
        except MoorageError:
            return
        raise AssertionError("what is not the shard was committed")

    def check(self, disk: Disk) -> None:
        super().check(disk)
        assert self.store(disk).statistics().shards == 1


class ShardRemoved(StoreStory):
    """One shard is removed; another is to be, and stays after all."""

    name = "shard: remove and put back"

    def prepare(self, disk: Disk) -> None:
        super().prepare(disk)
        self.put(disk, SECOND)
        self.put(disk, THIRD)

    def run(self, disk: Disk) -> None:
        store = self.store(disk)
        self.held.pop(str(SECOND.root), None)
        if store.remove(SECOND.root):
            self.gone.add(str(SECOND.root))
        store.remove(THIRD.root, unless=lambda: True)


class ShardQuarantined(StoreStory):
    """A damaged shard and a stray are set aside, the shard is replaced, the copy discarded."""

    name = "quarantine: shard and stray"
    stray = f"{HOME}/shards/notes.txt"

    def prepare(self, disk: Disk) -> None:
        super().prepare(disk)
        self.put(disk, SECOND)
        _damage(disk, SECOND)
        del self.held[str(SECOND.root)]
        with disk.open(self.stray, "create") as file:
            file.write_at(0, b"an operator's notes")
            file.sync()
        disk.sync_folder(f"{HOME}/shards")

    def _sweep(self, disk: Disk) -> None:
        store = self.store(disk)
        if store.have([SECOND.root]) == [True]:
            store.quarantine(SECOND.root)
        for stray in list(store.strays()):
            store.quarantine_stray(Stray(stray.path, stray.why))

    def run(self, disk: Disk) -> None:
        self._sweep(disk)
        self.put(disk, SECOND)
        self.store(disk).discard_quarantined(SECOND.root)

    def recover(self, disk: Disk) -> None:
        self.store(disk)
        # The sweep comes again after each start.
        self._sweep(disk)

    def check(self, disk: Disk) -> None:
        super().check(disk)
        kept = disk.list_folder(f"{HOME}/quarantine")
        assert [name.partition(".txt")[0] for name in kept if name.startswith("stray")] == ["stray.notes"], kept
        if str(SECOND.root) not in self.held:
            self.put(disk, SECOND)
        self.store(disk).discard_quarantined(SECOND.root)
        assert [name for name in disk.list_folder(f"{HOME}/quarantine") if not name.startswith("stray")] == []


class Documents(StoreStory):
    """A manifest and a receipt come; the receipt is replaced; a damaged one is set aside and replaced."""

    name = "documents: manifest and receipt"

    def __init__(self) -> None:
        super().__init__()
        self.manifest = False
        self.receipts: tuple[bytes, ...] = ()
        """What the receipt may be; empty: there may be none."""

    def run(self, disk: Disk) -> None:
        documents = self.store(disk).documents
        documents.put("manifest", NAME, MANIFEST)
        self.manifest = True
        for receipt in RECEIPTS:
            if self.receipts:
                self.receipts = (*self.receipts, receipt)
            documents.put("receipt", NAME, receipt)
            self.receipts = (receipt,)

    def check(self, disk: Disk) -> None:
        super().check(disk)
        documents = self.store(disk).documents
        if self.manifest or documents.names("manifest"):
            assert documents.get("manifest", NAME) == MANIFEST
        if self.receipts or documents.names("receipt"):
            assert documents.get("receipt", NAME) in (self.receipts or RECEIPTS)
        for kind in ("manifests", "receipts"):
            assert disk.list_folder(f"{HOME}/{kind}") in ([], [str(NAME)]), "a leftover"


class DocumentQuarantined(StoreStory):
    """A document is set aside, restored from another holder, and the damaged copy discarded."""

    name = "quarantine: document"

    def prepare(self, disk: Disk) -> None:
        super().prepare(disk)
        self.store(disk).documents.put("receipt", NAME, RECEIPTS[0])

    def run(self, disk: Disk) -> None:
        documents = self.store(disk).documents
        documents.quarantine("receipt", NAME)
        documents.put("receipt", NAME, RECEIPTS[1])
        documents.discard_quarantined("receipt", NAME)

    def check(self, disk: Disk) -> None:
        super().check(disk)
        documents = self.store(disk).documents
        aside = [name for name in disk.list_folder(f"{HOME}/quarantine") if name.startswith("receipt.")]
        if documents.names("receipt"):
            assert documents.get("receipt", NAME) in RECEIPTS
        else:
            assert len(aside) == 1, "it is nowhere any more"
            documents.put("receipt", NAME, RECEIPTS[1])
        documents.discard_quarantined("receipt", NAME)
        assert disk.list_folder(f"{HOME}/quarantine") == []


class Probe(StoreStory):
    """Does the disk take writes? A small file says so, and is gone afterwards."""

    name = "space: the probe"

    def run(self, disk: Disk) -> None:
        self.store(disk)._guard.probe()


STORIES: tuple[type[Story], ...] = (
    ShardCommit,
    ShardReplaced,
    ShardAborted,
    ShardRemoved,
    ShardQuarantined,
    Documents,
    DocumentQuarantined,
    Probe,
)

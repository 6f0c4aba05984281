"""A store lives several lives on one drive: uploads, papers, damage, removal; power cuts, kills, failing syncs.

Promises: what was acknowledged, or said to be held, is on the platters whole. Under a final name lies a whole shard or
nothing. Nothing wrong is ever served. What is set aside is kept. Every start clears what the last life left half done.
"""

from __future__ import annotations

import posixpath
import random
from contextlib import suppress
from dataclasses import dataclass, field

from anchor.manifest import object_id
from core.errors import CorruptError, MoorageError
from core.ids import ObjectId, ShardRoot
from daemon.folders import Folders, root_of_name
from daemon.store import ShardStore
from erasure.shardfile import scan_shard
from tests.daemon.shards import FixedClock, Sample, sample
from tests.sim.chance import derive
from tests.sim.disk import SimDisk
from tests.sim.drive import DiskFaults, SimDrive
from tests.sim.life import NodeDead

HOME = "/home"
FOLDERS = Folders(HOME)
LIVES = 5
STEPS = 14
SAMPLES = tuple(sample(number, chunks=1 + number % 3, share_bytes=300 + 400 * number) for number in range(6))
BY_ROOT = {item.root: item for item in SAMPLES}
PAPERS = tuple(random.Random(number).randbytes(700 + 900 * number) for number in range(4))


def is_whole(data: bytes, root: ShardRoot) -> bool:
    return scan_shard(lambda at, length: data[at : at + length], len(data), root).whole


@dataclass
class StoreStory:
    seed: int
    drive: SimDrive = field(init=False)
    chance: random.Random = field(init=False)
    store: ShardStore = field(init=False)
    held: set[ShardRoot] = field(default_factory=set[ShardRoot])
    """Promised."""
    rotten: set[ShardRoot] = field(default_factory=set[ShardRoot])
    """Damaged by us; whatever becomes of them, they are not served."""
    papers: set[ObjectId] = field(default_factory=set[ObjectId])
    kept: int = 0
    """Files in quarantine."""

    def __post_init__(self) -> None:
        self.chance = derive(self.seed, "store")
        faults = DiskFaults(names_ordered=self.chance.random() < 0.4, file_lost_p=self.chance.choice([0.0, 0.3, 1.0]))
        self.drive = SimDrive(self.seed, faults=faults)
        SimDisk(self.drive).make_folders(HOME)

    def tell(self) -> None:
        for _ in range(LIVES):
            faults = self.drive.faults
            faults.sync_error_p = 0.0
            self.drive.crash_at = None
            self.boot()
            faults.sync_error_p = self.chance.choice([0.0, 0.0, 0.1])
            self.drive.crash_at = self.drive.operations + self.chance.randint(1, 150)
            killed = self.chance.random() < 0.4
            self.drive.on_crash = self.drive.life.end if killed else None
            with suppress(NodeDead):
                for _ in range(STEPS):
                    self.step()
            if not killed:
                self.drive.crash_at = None
                if not self.drive.life.dead:
                    self.drive.cut_power()
        self.drive.crash_at = None
        self.drive.faults.sync_error_p = 0.0
        self.drive.cut_power()
        self.boot()

    def boot(self) -> None:
        """The next life begins: everything promised is there, nothing half done is."""
        disk = SimDisk(self.drive)
        self.store = ShardStore(disk, HOME, quota_bytes=None, reserve_bytes=0, clock=FixedClock())
        self.store.start()
        for folder in (FOLDERS.incoming, FOLDERS.manifests):
            left = [name for name in disk.list_folder(folder) if "." in name or folder == FOLDERS.incoming]
            assert not left, f"left half done: {left}"
        for root in sorted(self.held):
            report = self.store.scan(root)
            assert report.whole, f"{root.short} was promised: {report}"
        for path in self.drive.durable_paths(FOLDERS.shards):
            named = root_of_name(posixpath.basename(path))
            assert named is not None, path
            if named not in self.rotten:
                data = self.drive.durable_bytes(path)
                assert data is not None, path
                assert is_whole(data, named), f"{path} is neither whole nor absent"
        for name in sorted(self.papers):
            assert object_id(self.store.documents.get("manifest", name)) == name
        for name in self.store.documents.names("manifest"):
            self.store.documents.get("manifest", name)
        assert len(disk.list_folder(FOLDERS.quarantine)) >= self.kept, "what was set aside is gone"
        self.check_figures()

    def check_figures(self) -> None:
        figures = self.store.statistics()
        assert figures.promised_bytes == 0, "room stays promised to nobody"
        assert figures.uploads == 0
        # A failing disk may leave the count behind until the next recount.
        assert self.drive.faults.sync_error_p or figures.shards == len(list(self.store.roots()))

    def check_durable(self, root: ShardRoot) -> None:
        if self.drive.faults.names_ordered:
            # A journal may hold the name already though the simulated folder does not: the next boot looks.
            return
        data = self.drive.durable_bytes(FOLDERS.shard(root))
        assert data is not None, f"{root.short} was promised and is not durable"
        assert is_whole(data, root), f"{root.short} was promised and is torn on the platters"

    def step(self) -> None:
        work = self.chance.choice(
            [self.upload, self.upload, self.two_uploads, self.lie, self.give_up, self.ask, self.read, self.paper,
             self.rot, self.mend, self.remove, self.almost_remove, self.accuse]
        )  # fmt: skip
        # A refusal is no promise.
        with suppress(MoorageError):
            work()

    def send(self, item: Sample, root: ShardRoot) -> None:
        upload = self.store.begin(item.plan)
        upload.write(item.lengths, item.data)
        upload.commit(root)

    def promise(self, root: ShardRoot) -> None:
        self.rotten.discard(root)
        self.check_durable(root)
        self.held.add(root)

    def upload(self) -> None:
        item = self.chance.choice(SAMPLES)
        self.send(item, item.root)
        self.promise(item.root)

    def two_uploads(self) -> None:
        items = self.chance.sample(SAMPLES, 2)
        uploads = [self.store.begin(item.plan) for item in items]
        for turn in range(2):
            for item, upload in zip(items, uploads, strict=True):
                lengths, shares = (
                    (item.lengths[:1], item.shares[:1]) if not turn else (item.lengths[1:], item.shares[1:])
                )
                if lengths and not upload.closed:
                    upload.write(lengths, b"".join(shares))
        for item, upload in zip(items, uploads, strict=True):
            with suppress(MoorageError):
                upload.commit(item.root)
                self.promise(item.root)

    def lie(self) -> None:
        """A client sends something else than it says."""
        item, other = self.chance.sample(SAMPLES, 2)
        if other.root in self.held or other.root in self.rotten:
            return
        try:
            self.send(item, other.root)
        except CorruptError:
            return
        raise AssertionError("bytes were taken under a name that is not theirs")

    def give_up(self) -> None:
        """An upload ends before its commit: nothing is left of it."""
        item = self.chance.choice(SAMPLES)
        upload = self.store.begin(item.plan)
        upload.write(item.lengths[:1], item.shares[0])
        upload.abort()
        assert not self.drive.folder(FOLDERS.incoming).live, "an upload that was given up left its file"
        self.check_figures()

    def ask(self) -> None:
        """Whoever hears that a shard is held does not send it again."""
        roots = sorted(BY_ROOT)
        for root, held in zip(roots, self.store.have(roots), strict=True):
            assert held or root not in self.held
            if held and root not in self.rotten:
                self.promise(root)

    def read(self) -> None:
        item = self.chance.choice(SAMPLES)
        chunk = self.chance.randrange(len(item.shares))
        found = self.store.read(item.root, chunk, len(item.shares) - chunk)
        sent = b"".join(item.shares[chunk : chunk + len(found.lengths)])
        assert bytes(found.body) == sent, "wrong bytes were served"

    def paper(self) -> None:
        data = self.chance.choice(PAPERS)
        self.store.documents.put("manifest", object_id(data), data)
        self.papers.add(object_id(data))

    def rot(self) -> None:
        if self.held and self.chance.random() < 0.5:
            root = self.chance.choice(sorted(self.held))
            item = BY_ROOT[root]
            chunk = self.chance.randrange(len(item.shares))
            self.drive.flip_bit(FOLDERS.shard(root), item.offset(chunk) + self.chance.randrange(item.lengths[chunk]))
            self.held.discard(root)
            self.rotten.add(root)

    def mend(self) -> None:
        """What is damaged is set aside and sent again; then the bad copy may go."""
        for root in sorted(self.rotten):
            if self.store.have([root]) == [True] and self.store.quarantine(root):
                self.kept += 1
                assert len(self.drive.folder(FOLDERS.quarantine).live) >= self.kept, "what was set aside is gone"
                self.check_figures()
                self.rotten.discard(root)
            self.send(BY_ROOT[root], root)
            self.promise(root)

    def accuse(self) -> None:
        """A shard is suspected in vain: it stays."""
        if self.held:
            root = self.chance.choice(sorted(self.held))
            if self.store.quarantine(root):
                raise AssertionError("a whole shard was set aside")
            self.promise(root)

    def remove(self) -> None:
        root = self.chance.choice(sorted(BY_ROOT))
        self.held.discard(root)
        if self.store.remove(root):
            self.rotten.discard(root)
            self.check_figures()

    def almost_remove(self) -> None:
        """A manifest that names it came meanwhile."""
        root = self.chance.choice(sorted(BY_ROOT))
        self.store.remove(root, unless=lambda: True)
        if root in self.held:
            self.check_durable(root)


def store(seed: int) -> None:
    StoreStory(seed).tell()

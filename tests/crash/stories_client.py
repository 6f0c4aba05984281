"""A client's home at work: memory of extents and objects, addresses, a pool's new homes."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace
from typing import ClassVar, cast

from client.bootstrap import KNOWN_FILE, first_addresses, remember_addresses
from client.home import ROSTER_FILE, WORKSHOP_FOLDER, Home, load_home
from client.ledger import open_log
from client.memory import CatalogueEntry, ClientMemory, StoredExtent
from client.provision import Provisioner, is_pool_made
from client.unfinished import Unfinished, UnfinishedPuts, pending_of
from core.durable import clear_workshop
from core.errors import HomeError, MoorageError
from core.ids import ObjectId, PeerId, ShardRoot
from core.ports import Address, Disk
from erasure.scheme import Scheme
from tests.crash.enumerate import Errors, Story
from tests.crash.stories_peer import SmallFile, no_parts
from tests.daemon.shards import FixedClock
from tests.sim.chance import SimChance
from tests.sim.clock import START_S

FOLDER = "/home/client"
HOME = cast(Home, SimpleNamespace(path=lambda *parts: "/".join((FOLDER, *parts)), roster=SimpleNamespace(seeds=())))
SCHEME = Scheme(2, 3)
KEYS = (b"k" * 32, b"l" * 32)
OBJECT = ObjectId(b"o" * 32)


def _extent(number: int) -> StoredExtent:
    roots = tuple(ShardRoot(bytes([number, share] * 16)) for share in range(3))
    holders = tuple(PeerId(bytes([share]) * 32) for share in range(3))
    return StoredExtent(roots, holders, (1000,) * 200, bytes(200))


def _entry(number: int) -> CatalogueEntry:
    return CatalogueEntry(OBJECT, bytes(32), f"study {number}", 1, 2, 3, number)


class ClientMemoryKept(Story):
    """Extents and an object are remembered; the object twice, as when it is put once more."""

    name = "client memory: extents, catalogue"
    slow = 3
    errors: ClassVar[Errors] = (OSError,)

    def __init__(self) -> None:
        self.extents: dict[bytes, StoredExtent] = {}
        self.object = 0
        self._chance = SimChance(1, "client")

    def _memory(self, disk: Disk) -> ClientMemory:
        return ClientMemory(disk, HOME, self._chance)

    def prepare(self, disk: Disk) -> None:
        self._memory(disk).remember_extent(KEYS[0], SCHEME, _extent(0))
        self.extents[KEYS[0]] = _extent(0)

    def run(self, disk: Disk) -> None:
        memory = self._memory(disk)
        for number, key in enumerate(KEYS, start=1):
            memory.begin_extent(key, SCHEME)
            memory.remember_extent(key, SCHEME, _extent(number))
            self.extents[key] = _extent(number)
        for number in (1, 2):
            memory.remember_object(_entry(number), b"manifest" * 100, b"receipt %d" % number * 100)
            self.object = max(self.object, number)

    def recover(self, disk: Disk) -> None:
        self._memory(disk)

    def check(self, disk: Disk) -> None:
        memory = self._memory(disk)
        for number, key in enumerate(KEYS, start=1):
            found = memory.extent(key, SCHEME)
            assert found in (None, _extent(0), _extent(number)), "another extent than was remembered"
            if key in self.extents:
                assert found is not None, "an extent is forgotten"
                assert found in (self.extents[key], _extent(number)), "an older record came back"
        assert memory.damaged() == []
        entries = list(memory.objects())
        assert len(entries) >= bool(self.object), "an object is forgotten"
        for content in sorted({entry.content for entry in entries}):
            same = [entry for entry in entries if entry.content == content]
            assert memory.find_content(content) == same, "an object would be stored again"
            assert memory.find_content(content) == same, "an object would be stored again by the next put"
        for entry in entries:
            assert self.object <= entry.created_s <= 2
            assert memory.manifest_file(OBJECT) == b"manifest" * 100, "an object without its manifest"
            receipt = memory.receipt_file(OBJECT)
            assert receipt in (b"receipt 1" * 100, b"receipt 2" * 100), "an object without its receipt"
        self._check_leftovers(disk, memory)

    def _check_leftovers(self, disk: Disk, memory: ClientMemory) -> None:
        """They go with the next command that writes."""
        for number, key in enumerate(KEYS, start=1):
            memory.remember_extent(key, SCHEME, _extent(number))
            self.extents[key] = _extent(number)
        memory.remember_object(_entry(2), b"manifest" * 100, b"receipt 2" * 100)
        self.object = 2
        for folder in ("manifests", "receipts", "catalogue"):
            no_parts(disk, f"{FOLDER}/{folder}")
        for fan_out in disk.list_folder(f"{FOLDER}/state/extents"):
            no_parts(disk, f"{FOLDER}/state/extents/{fan_out}")
        assert disk.list_folder(f"{FOLDER}/{WORKSHOP_FOLDER}") == [], "a leftover in the workshop"


class PendingKept(Story):
    """A put finds no quorum, and is settled later: at any time it is pending or in the catalogue, and never neither."""

    name = "what is pending"
    errors: ClassVar[Errors] = (OSError,)

    def __init__(self) -> None:
        self.proof = b""
        self.begun = self.anchored = False
        self._lives = 0

    def _open(self, disk: Disk) -> tuple[UnfinishedPuts, ClientMemory]:
        # No two processes draw the same names for their temporary files.
        self._lives += 1
        chance = SimChance(self._lives, "client")
        return UnfinishedPuts(disk, HOME, chance), ClientMemory(disk, HOME, chance)

    def prepare(self, disk: Disk) -> None:
        """An earlier put of the same content that could not be gone on with."""
        self._open(disk)[0].begin(Unfinished(_entry(0)._replace(object=ObjectId(b"e" * 32)), b"manifest"))

    def run(self, disk: Disk) -> None:
        notes, memory = self._open(disk)
        note = Unfinished(_entry(1), b"manifest" * 100)
        notes.begin(note)
        self.begun = True
        notes.update(note._replace(receipt=b"proof" * 100))
        self.proof = b"proof" * 100
        memory.remember_object(note.entry, note.manifest_file, b"receipt" * 100)
        self.anchored = True
        notes.end(OBJECT)

    def recover(self, disk: Disk) -> None:
        clear_workshop(disk, f"{FOLDER}/{WORKSHOP_FOLDER}")

    def check(self, disk: Disk) -> None:
        notes, memory = self._open(disk)
        assert notes.damaged() == []
        entries = list(memory.objects())
        assert len(entries) >= self.anchored, "what is anchored is forgotten"
        pending = {note.entry.object: note for note in pending_of(memory, notes)}
        if entries:
            assert memory.receipt_file(OBJECT) == b"receipt" * 100, "an object without its receipt"
            assert OBJECT not in pending, "what is anchored is called pending"
        elif self.begun:
            assert pending[OBJECT].manifest_file == b"manifest" * 100, "what is pending is forgotten"
            assert pending[OBJECT].receipt in (self.proof, b"proof" * 100)
        else:
            assert pending, "what was pending is forgotten before it begins anew"
        self.run(disk)
        assert notes.all() == []
        assert disk.list_folder(f"{FOLDER}/{WORKSHOP_FOLDER}") == [], "a leftover in the workshop"


class AddressesKept(SmallFile):
    name = "known addresses"
    path = f"{FOLDER}/{KNOWN_FILE}"

    def recover(self, disk: Disk) -> None:
        """As the next command does that writes."""
        clear_workshop(disk, f"{FOLDER}/{WORKSHOP_FOLDER}")

    def write(self, disk: Disk, number: int) -> None:
        remember_addresses(disk, HOME, [(PeerId(bytes(32)), Address("host", number))] * 3, f"{number:08x}")

    def read(self, disk: Disk) -> int:
        found = first_addresses(disk, HOME)
        return found[0].port if found else 0


class PoolMade(Story):
    """The homes of a pool of one peer and its client. What is not finished is refused, never taken for whole."""

    name = "homes: roster, keys, settings, logs"
    errors: ClassVar[Errors] = (MoorageError, OSError)
    slow = 31

    def __init__(self) -> None:
        self.made = False
        self._clock = FixedClock(START_S)

    def run(self, disk: Disk) -> None:
        if not is_pool_made(disk, "/pool"):
            Provisioner(disk, SimChance(1, "pool"), self._clock, "pool").make("/pool", peers=1, sites=1)
        self.made = True

    def again(self, disk: Disk) -> None:
        # It says what to delete; nothing was acknowledged.
        with suppress(HomeError):
            self.run(disk)

    def recover(self, disk: Disk) -> None:
        """`moorage pool up` begins by looking whether the pool is made."""

    def check(self, disk: Disk) -> None:
        if disk.stat(f"/pool/client/{ROSTER_FILE}") is None:
            assert not self.made, "a pool is lost"
            self.again(disk)
            return
        for name in ("client", "peer-1"):
            home = load_home(disk, f"/pool/{name}", self._clock)
            assert (home.organisation is not None) == (name == "client")
            assert open_log(disk, home).size() == 0
            assert disk.stat(f"/pool/{name}/settings.toml") is not None


STORIES: tuple[type[Story], ...] = (ClientMemoryKept, PendingKept, AddressesKept, PoolMade)

"""A drive in memory. What was not synced may be lost, torn or mixed when the power is cut.

Names and contents become durable apart: ``sync`` of a file keeps its bytes, ``sync_folder`` the names in a folder.
On a power cut each name change that is not yet durable is kept or lost on its own (after Pillai et al., "All File
Systems Are Not Created Equal", OSDI 2014) or, with ``names_ordered``, the first few are kept, as a journal would.
Un-synced bytes are kept, lost or torn by sectors.
"""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.sim.chance import derive
from tests.sim.life import Life, NodeDead

SECTOR_BYTES = 512
# A good deal of seeds per fault: a sector is kept, or garbage, or (beyond the old end) zeros, or as before.
SECTOR_KEPT_P = 0.5
SECTOR_GARBAGE_P = 0.05
SECTOR_ZERO_P = 0.25
# The file system's clock: each call takes this long.
TICK_NS = 1_000_000
PLENTY_BYTES = 1 << 40


@dataclass(slots=True)
class DiskFaults:
    """What goes wrong, by probability (``_p``) of each call. May be changed at any time."""

    capacity_bytes: int = PLENTY_BYTES
    read_only: bool = False
    read_error_p: float = 0.0
    write_error_p: float = 0.0
    sync_error_p: float = 0.0
    """As Linux does it: the error comes once, the bytes are forgotten, the next sync succeeds."""
    names_ordered: bool = False
    """A journal: the first few pending name changes survive, and any sync keeps all of them so far (ext4)."""
    name_kept_p: float = 0.6
    file_lost_p: float = 0.3
    """All un-synced bytes of a file are lost."""
    write_torn_p: float = 0.5


@dataclass(eq=False, slots=True)
class File:
    live: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])
    bad_sectors: set[int] = field(default_factory=set[int])
    modified_ns: int = 0


@dataclass(eq=False, slots=True)
class Folder:
    live: dict[str, Node] = field(default_factory=dict[str, "Node"])
    durable: dict[str, tuple[Node | None, int]] = field(default_factory=dict[str, tuple["Node | None", int]])
    """By name: what it names (None: nothing any more), and the number of the change that made it so."""


Node: TypeAlias = File | Folder


@dataclass(eq=False, slots=True)
class NameChange:
    """Names that change together: one for a new or removed name, two for a rename, which is atomic."""

    number: int
    entries: list[tuple[Folder, str, Node | None]]
    awaits: list[Folder]
    """Folders whose sync is still missing."""

    def settle(self) -> None:
        for folder, name, node in self.entries:
            # A later change of the same name may have become durable first.
            if folder.durable.get(name, (None, -1))[1] < self.number:
                folder.durable[name] = (node, self.number)


def failure(code: int, path: str) -> OSError:
    return OSError(code, os.strerror(code), path)


def overwrite(data: bytearray, offset: int, piece: bytes | memoryview) -> None:
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(piece)] = piece


class SimDrive:
    """The drive as the world sees it; ``tests.sim.disk.SimDisk`` is what a node sees, during one life.

    Attributes:
        calls: port calls so far; ``fail_at`` maps the number of a coming call to the errno it fails with.
        operations: those of them that change something or sync; the power is cut amid number ``crash_at``.
        on_crash: called instead of ``cut_power`` when ``crash_at`` comes (a whole node dies, not only its drive).
        on_step: told (kind, path) of every operation.
        misread: makes what a read returns of (path, offset, bytes): a sick controller.
        log: (kind, path) of the last operations.
    """

    def __init__(self, seed: int = 0, name: str = "drive", faults: DiskFaults | None = None) -> None:
        self.faults = faults or DiskFaults()
        self.calls = 0
        self.operations = 0
        self.fail_at: dict[int, int] = {}
        self.crash_at: int | None = None
        self.on_crash: Callable[[], None] | None = None
        self.on_step: Callable[[str, str], None] | None = None
        self.misread: Callable[[str, int, bytes], bytes] | None = None
        self.log: deque[tuple[str, str]] = deque(maxlen=1000)
        self.chance = derive(seed, f"drive/{name}")
        self.life = Life()
        self.locked: set[str] = set()
        self.used_bytes = 0
        self.file_system = "ext4"
        self.root = Folder()
        self._changes: list[NameChange] = []
        self._change_number = 0

    # --- what the world does to it ------------------------------------------------------------

    def attach(self, life: Life) -> None:
        """A new life begins; what earlier ones held is dead."""
        self.life.end()
        self.life = life
        self.locked.clear()

    def cut_power(self) -> None:
        """What was not durable meets its fate; whoever used the drive is dead."""
        self.life.end()
        faults = self.faults
        if faults.names_ordered:
            kept = self._changes[: self.chance.randint(0, len(self._changes))]
        else:
            kept = [change for change in self._changes if self.chance.random() < faults.name_kept_p]
        for change in kept:
            change.settle()
        self._changes.clear()
        self._reboot(self.root)
        self.used_bytes = _live_bytes(self.root)

    def flip_bit(self, path: str, offset: int, bit: int = 0) -> None:
        """Bit rot, in silence: size and time stay."""
        file = self.file(path)
        for data in (file.live, file.durable):
            if offset < len(data):
                data[offset] ^= 1 << bit

    def break_sector(self, path: str, offset: int) -> None:
        """The sector at ``offset`` gives EIO until it is written again."""
        self.file(path).bad_sectors.add(offset // SECTOR_BYTES)

    def plant(self, path: str, data: bytes) -> None:
        """Put a durable file there, and its folders, behind the node's back."""
        folder = self.root
        *parents, name = _parts(path)
        for parent in parents:
            node = folder.live.setdefault(parent, Folder())
            assert isinstance(node, Folder), path
            folder.durable[parent] = (node, self._change_number)
            folder = node
        folder.live[name] = File(bytearray(data), bytearray(data), modified_ns=self.tick_ns)
        folder.durable[name] = (folder.live[name], self._change_number)
        self.used_bytes = _live_bytes(self.root)

    def remove(self, path: str) -> None:
        """Remove a file or a folder with all in it, durably, behind the node's back."""
        folder, name = self.parent(path)
        del folder.live[name]
        folder.durable[name] = (None, self._change_number)
        self.used_bytes = _live_bytes(self.root)

    def wipe(self) -> None:
        """A new, empty drive in its place."""
        self.root = Folder()
        self._changes.clear()
        self.used_bytes = 0

    def durable_bytes(self, path: str) -> bytes | None:
        """What is there for certain after a power cut now; None when absent, unreadable or a folder."""
        node: Node | None = self.root
        for name in _parts(path):
            node = node.durable.get(name, (None, 0))[0] if isinstance(node, Folder) else None
        return bytes(node.durable) if isinstance(node, File) and not node.bad_sectors else None

    def live_bytes(self, path: str) -> bytes | None:
        """What a program would read now; None when absent, unreadable or a folder."""
        node = self.find(path)
        return bytes(node.live) if isinstance(node, File) and not node.bad_sectors else None

    def durable_paths(self, top: str = "/") -> list[str]:
        """All files that are there for certain after a power cut now, below ``top``, in ascending order."""
        below = posixpath.join(posixpath.normpath(top), "")
        return [path for path in sorted(_durable_files(self.root, "/")) if path.startswith(below)]

    def fingerprint(self) -> str:
        """A digest of every name and byte that is there for certain after a power cut now."""
        digest = hashlib.blake2b(digest_size=16)
        for path in self.durable_paths():
            data = self.durable_bytes(path)
            digest.update(f"{path} {-1 if data is None else len(data)}\n".encode() + (data or b""))
        return digest.hexdigest()

    # --- what SimDisk is made of --------------------------------------------------------------

    @property
    def tick_ns(self) -> int:
        return self.calls * TICK_NS

    def call(self, path: str, error_p: float = 0.0) -> None:
        """Every port call begins here. Raises NodeDead, OSError."""
        self.life.check()
        self.calls += 1
        if (code := self.fail_at.pop(self.calls, None)) is not None:
            raise failure(code, path)
        if error_p and self.chance.random() < error_p:
            raise failure(errno.EIO, path)

    def step(self, kind: str, path: str) -> None:
        """An operation is on its way: its effect is pending, and the power may go now."""
        self.operations += 1
        self.log.append((kind, path))
        if self.on_step is not None:
            self.on_step(kind, path)
        if self.operations == self.crash_at:
            (self.on_crash or self.cut_power)()
            raise NodeDead

    def check_writable(self, path: str) -> None:
        if self.faults.read_only:
            raise failure(errno.EROFS, path)

    def find(self, path: str) -> Node | None:
        """Raises NotADirectoryError when a file is used as a folder."""
        node: Node | None = self.root
        for name in _parts(path):
            if isinstance(node, File):
                raise failure(errno.ENOTDIR, path)
            node = node.live.get(name) if node is not None else None
        return node

    def file(self, path: str) -> File:
        match self.find(path):
            case File() as file:
                return file
            case Folder():
                raise failure(errno.EISDIR, path)
            case None:
                raise failure(errno.ENOENT, path)

    def folder(self, path: str) -> Folder:
        match self.find(path):
            case Folder() as folder:
                return folder
            case File():
                raise failure(errno.ENOTDIR, path)
            case None:
                raise failure(errno.ENOENT, path)

    def parent(self, path: str) -> tuple[Folder, str]:
        return self.folder(posixpath.dirname(posixpath.normpath(path))), posixpath.basename(path)

    def change_names(self, *entries: tuple[Folder, str, Node | None]) -> None:
        """Together, now, and durable once all their folders are synced."""
        for folder, name, node in entries:
            replaced = folder.live.pop(name, None)
            if isinstance(replaced, File) and all(replaced is not other for _, _, other in entries):
                self.used_bytes -= len(replaced.live)
            if node is not None:
                folder.live[name] = node
        self._change_number += 1
        self._changes.append(NameChange(self._change_number, list(entries), [folder for folder, _, _ in entries]))

    def settle_names(self, folder: Folder | None) -> None:
        """The names in ``folder`` are durable now; in a journal, all of them."""
        waiting: list[NameChange] = []
        for change in self._changes:
            change.awaits = [other for other in change.awaits if other is not folder and not self.faults.names_ordered]
            if change.awaits:
                waiting.append(change)
            else:
                change.settle()
        self._changes = waiting

    # --- what a power cut does ----------------------------------------------------------------

    def _reboot(self, folder: Folder) -> None:
        folder.durable = {name: entry for name, entry in folder.durable.items() if entry[0] is not None}
        folder.live = {name: node for name, (node, _) in folder.durable.items() if node is not None}
        for name in sorted(folder.live):
            match folder.live[name]:
                case Folder() as inner:
                    self._reboot(inner)
                case File() as file:
                    self._decide(file)

    def _decide(self, file: File) -> None:
        if self.chance.random() >= self.faults.file_lost_p:
            for offset, data in file.pending:
                if self.chance.random() < self.faults.write_torn_p:
                    self._tear(file.durable, offset, data)
                elif self.chance.random() < self.faults.name_kept_p:
                    overwrite(file.durable, offset, data)
        file.pending.clear()
        file.live = bytearray(file.durable)

    def _tear(self, durable: bytearray, offset: int, data: bytes) -> None:
        for start in range(0, len(data), SECTOR_BYTES):
            piece = data[start : start + SECTOR_BYTES]
            luck = self.chance.random()
            if luck < SECTOR_KEPT_P:
                overwrite(durable, offset + start, piece)
            elif luck < SECTOR_KEPT_P + SECTOR_GARBAGE_P:
                overwrite(durable, offset + start, self.chance.randbytes(len(piece)))
            elif luck < SECTOR_KEPT_P + SECTOR_GARBAGE_P + SECTOR_ZERO_P and len(durable) < offset + start + len(piece):
                overwrite(durable, offset + start, bytes(len(piece)))


def _parts(path: str) -> list[str]:
    assert path.startswith("/"), f"{path!r} is not absolute"
    return [part for part in posixpath.normpath(path).split("/") if part]


def _durable_files(folder: Folder, path: str) -> Iterator[str]:
    for name, (node, _) in folder.durable.items():
        inner = posixpath.join(path, name)
        if isinstance(node, Folder):
            yield from _durable_files(node, inner)
        elif node is not None:
            yield inner


def _live_bytes(folder: Folder) -> int:
    return sum(_live_bytes(node) if isinstance(node, Folder) else len(node.live) for node in folder.live.values())

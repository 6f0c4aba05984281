"""A log whose writer lives as long as its daemon: the files of ``anchor.log``, thousands of leaves a second.

``Log`` reads everything anew at each append, for other processes append too. This one holds the log's lock from the
beginning to the end, so that a second process is refused, and keeps in memory what it would read again: the right edge
and which leaves there are. The order of writes is the same: ``add`` makes the commit record durable, ``settle`` the
tiles, and only then may the next ``add`` replace the record; ``publish`` shows what a quorum has cosigned.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from anchor.checkpoint import Checkpoint
from anchor.files import disk_errors, read_file, replace_file
from anchor.knownleaves import KnownLeaves
from anchor.leafindex import LeafIndex
from anchor.log import Anchored
from anchor.logfolder import LogFolder, LogState, by_folder
from anchor.merkle import EMPTY_ROOT, consistency_proof, inclusion_paths, leaf_hash, subtree_root
from anchor.note import Signature
from anchor.policy import Policy, parse_policy
from anchor.stage import check_growth, grow, overlay, take_group
from anchor.tiles import TILE_HEIGHT, TILE_WIDTH, ReadFile, TileTree, bundle_path, tile_path, tile_width
from core.errors import CorruptError, LedgerError, MalformedError, UsageError
from core.limits import LEAF_MAX_BYTES
from core.ports import Disk, FileStat

# One commit of an operator takes this many: one second's at the rate that it is made for.
LEAVES_PER_ADD = 5000


class Commit(NamedTuple):
    """A checkpoint that is durable and signed by the log, and the tree that proves things about it.

    Methods raise LedgerError, StoreReadOnlyError for a tile that is damaged or cannot be read.
    """

    checkpoint: Checkpoint
    log_signature: Signature
    note: bytes
    tree: TileTree
    old_size: int
    """Of the commit before it in this life; its own when there was none."""
    growth: tuple[bytes, ...]
    """``consistency(old_size)``: what nearly everybody asks for."""

    def consistency(self, old_size: int) -> tuple[bytes, ...]:
        """The proof that the tree of ``old_size`` leaves is a prefix. Blocks on the disk for an old one."""
        with _old_tiles():
            return consistency_proof(self.tree.hash_at, old_size, self.checkpoint.size)

    def root_at(self, size: int) -> bytes:
        """The root that this log had at an earlier size."""
        with _old_tiles():
            return subtree_root(self.tree.hash_at, 0, size)

    def prove(self, note: bytes, places: Sequence[tuple[int, bytes]]) -> list[Anchored]:
        """Proofs for leaves with their indices under ``note``, this checkpoint as witnesses cosigned it."""
        hashes: dict[int, bytes] = {}
        with _old_tiles():
            for index, leaf in places:
                name = leaf_hash(leaf)
                if hashes.setdefault(index, name) != name:
                    raise CorruptError(f"two leaves stand at {index}")
            paths = inclusion_paths(self.tree.hash_at, self.checkpoint.size, self.checkpoint.root, hashes)
        return [Anchored(index, leaf, paths[index], note) for index, leaf in places]


@contextlib.contextmanager
def _old_tiles() -> Generator[None]:
    """Raises LedgerError for a tile that is damaged or cannot be read: one proof fails then, not the log."""
    with disk_errors("log"):
        try:
            yield
        except (CorruptError, MalformedError) as error:
            raise LedgerError(f"log: an old tile is damaged: {error}") from error


class LogWriter(LogFolder):
    """One organisation's log, written by one process only. Only ``create`` and ``open`` make one; ``close`` it.

    Methods block on the disk: call them inside ``Threads.disk``, ``add`` and ``settle`` in turn, one at a time but for
    ``settle`` of several folders. They raise LedgerError, StoreFullError or StoreReadOnlyError for the disk; after an
    error of ``add`` nothing is lost, and ``recover`` says what is committed.
    """

    def __init__(self, disk: Disk, folder: str, *, key: Ed25519PrivateKey, policy: str) -> None:
        super().__init__(disk, folder, key=key, policy=policy)
        self._held = ExitStack()
        self._index = LeafIndex(disk, self._path("leaves"))
        self._known = KnownLeaves()
        self._known_size = -1
        self._edge: Mapping[str, bytes] = {}
        self._record: FileStat | None = None
        self._unsettled: dict[str, dict[str, bytes]] = {}
        """Files of the newest commit that are not known to be durable, by folder."""
        self._latest: Commit | None = None

    @classmethod
    def create(cls, disk: Disk, folder: str, *, key: Ed25519PrivateKey, policy: str) -> None:
        """Begin an empty log, which is published once witnesses have cosigned it. Raises LedgerError when it exists."""
        log = cls(disk, folder, key=key, policy=policy)
        with disk_errors("log"):
            disk.make_folders(log.folder)
            with disk.lock(log._path("lock"), wait=False) as held:
                if not held or read_file(disk, log._path("stage")) is not None:
                    raise LedgerError(f"log {log.origin!r} exists in {log.folder}")
                log._write_stage(Checkpoint(log.origin, 0, EMPTY_ROOT), {})

    @classmethod
    def open(cls, disk: Disk, folder: str, *, key: Ed25519PrivateKey, policy: str) -> Self:
        """A log that ``create`` made; what a crash interrupted is finished.

        Raises LedgerError: it is not there (a log that lost its folder must not start again under its old name),
        another process writes it, or its files contradict each other.
        """
        log = cls(disk, folder, key=key, policy=policy)
        with disk_errors("log"), ExitStack() as held:
            if disk.stat(log._path("stage")) is None:
                raise LedgerError(f"no log {log.origin!r} in {folder}: restore it, or create one under a new origin")
            if not held.enter_context(disk.lock(log._path("lock"), wait=False)):
                raise LedgerError(f"log {log.origin!r}: another process writes it: stop that first")
            log.recover()
            log._held = held.pop_all()
        return log

    def close(self) -> None:
        """Let go of the lock. Nothing more may be written."""
        self._latest = None
        self._held.close()

    @property
    def latest(self) -> Commit:
        """The newest commit."""
        assert self._latest is not None, "recover() first"
        return self._latest

    @property
    def policy(self) -> Policy:
        return self._policy

    def use_policy(self, text: str) -> None:
        """From now on publish what this policy accepts: there is a new roster. Raises MalformedError, UsageError."""
        policy = parse_policy(text)
        if self._signer.key not in policy.logs:
            raise UsageError(f"log {self.origin!r}: its key is not in its new policy")
        self._policy = policy

    def recover(self) -> Commit:
        """Read the committed state from the disk and make all its files durable."""
        with disk_errors("log"):
            try:
                self._latest = None
                state, _ = self._recover()
                if self._known_size not in (-1, state.checkpoint.size):
                    # An add that failed after its commit point.
                    self._known_size = -1
                self._unsettled = {}
                size = state.checkpoint.size
                tree = TileTree(self._reader(state), size)
                self._adopt(state, tree, state.stage.files, size, ())
                if subtree_root(tree.hash_at, 0, size) != state.checkpoint.root:
                    raise LedgerError(f"log {self.origin!r}: its tiles do not lead to the root that it signed")
                if self._known_size < 0:
                    self._known, self._known_size = KnownLeaves.of(tree, size), size
            except (CorruptError, MalformedError) as error:
                raise LedgerError(f"log {self.origin!r}: its right edge is damaged: {error}") from error
        return self.latest

    def published(self) -> bytes | None:
        """The cosigned checkpoint that others may see, if it satisfies the policy."""
        with disk_errors("log"):
            found = self._published()
        return found.note if found is not None else None

    def add(self, leaves: Sequence[bytes]) -> dict[bytes, int]:
        """Commit those leaves that are new, in one durable step, and say where each stands, by its hash.

        Takes LEAVES_PER_ADD leaves or fewer, as ``take`` says.

        Raises:
            UsageError: a leaf is too large.
            CorruptError: an old tile cannot tell whether a leaf is there already; nothing was added.
            LedgerError: somebody else wrote the log, or its right edge is damaged; nothing was added.
        """
        if any(len(leaf) > LEAF_MAX_BYTES for leaf in leaves):
            raise UsageError(f"log: a leaf has at most {LEAF_MAX_BYTES} bytes")
        assert not self._unsettled, "the tiles of the last commit are not durable yet"
        with disk_errors("log"):
            by_hash = {leaf_hash(leaf): leaf for leaf in leaves}
            found = self._find(list(by_hash))
            new = {item: leaf for item, leaf in by_hash.items() if item not in found}
            if new:
                first = self.latest.checkpoint.size
                self._commit_all(list(new.values()))
                self._known.add(first, list(new))
                self._known_size = first + len(new)
                found.update(zip(new, range(first, first + len(new)), strict=True))
        return found

    @staticmethod
    def take(leaves: Sequence[bytes]) -> int:
        """How many of the leaves one ``add`` may be given."""
        return take_group(leaves, LEAVES_PER_ADD)

    @property
    def unsettled(self) -> list[str]:
        """Folders whose files of the newest commit are not known to be durable yet."""
        return list(self._unsettled)

    def settle(self, folder: str | None = None) -> None:
        """Write the newest commit's tiles, durably: all, or those of one folder. Harmless when they are there.

        Folders may be settled at the same time in as many threads: a disk syncs several files together sooner than
        one after the other.
        """
        with disk_errors("log"):
            for each in self.unsettled if folder is None else [folder]:
                if (files := self._unsettled.get(each)) is not None:
                    self._write_folder(each, files)
                    del self._unsettled[each]

    def publish(self, note: bytes) -> None:
        """Show a cosigned checkpoint. The caller has checked it; its tiles are durable."""
        with disk_errors("log"):
            # Its name need not be durable: after a power cut the old checkpoint is true too, and is replaced once more.
            replace_file(self._disk, self._path("checkpoint"), note)

    def _find(self, hashes: Sequence[bytes]) -> dict[bytes, int]:
        found, perhaps = self._known.look(hashes)
        if perhaps:
            try:
                with _old_tiles():
                    found |= self._index.find(self._reader_of(self._edge), self.latest.checkpoint.size, perhaps)
            except LedgerError as error:
                raise CorruptError(f"log {self.origin!r}: nothing was added: {error}") from error
        return found

    def _commit_all(self, leaves: Sequence[bytes]) -> None:
        """The commit point. The record that is replaced must be the one that we wrote: nobody else has been here."""
        old, read = self.latest.checkpoint, self._reader_of(self._edge)
        if self._disk.stat(self._path("stage")) != self._record:
            raise LedgerError(f"log {self.origin!r}: somebody else has written its commit record: nothing was added")
        try:
            files = grow(read, old.size, leaves)
            grown = check_growth(overlay(files, read), old.size, old.root, leaves)
        except (CorruptError, MalformedError) as error:
            raise LedgerError(f"log {self.origin!r}: its right edge is damaged, nothing was added: {error}") from error
        # From here on until it is known to be durable, nobody can say what is committed but the disk.
        self._latest = None
        state = self._write_stage(Checkpoint(self.origin, old.size + len(leaves), grown.root), files)
        self._unsettled = by_folder(files)
        self._adopt(state, grown.tree, {**self._edge, **files}, old.size, grown.proof)

    def _adopt(
        self, state: LogState, tree: TileTree, files: Mapping[str, bytes], old_size: int, growth: tuple[bytes, ...]
    ) -> None:
        self._record = self._disk.stat(self._path("stage"))
        size = state.checkpoint.size
        self._edge = {path: files[path] for path in edge_paths(size) if path in files}
        self._latest = Commit(state.checkpoint, state.log_signature, state.stage.checkpoint, tree, old_size, growth)

    def _reader_of(self, files: Mapping[str, bytes]) -> ReadFile:
        return overlay(files, lambda path: read_file(self._disk, self._path(path)))


def edge_paths(size: int) -> list[str]:
    """The partial tiles, and the partial bundle, of a log of so many entries: what its next growth continues."""
    found: list[str] = []
    level = 0
    while count := size >> TILE_HEIGHT * level:
        index, width = divmod(count, TILE_WIDTH)
        if width:
            assert width == tile_width(level, index, size), "a partial tile is the last of its level"
            found.append(tile_path(level, index, width))
            if level == 0:
                found.append(bundle_path(index, width))
        level += 1
    return found

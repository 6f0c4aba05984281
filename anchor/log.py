"""A log in a folder: append leaves, get proofs that witnesses have cosigned (tlog-tiles paths, docs/format.md, "Log").

One append, in this order, so that a crash anywhere loses nothing that was promised and signs nothing twice:

1. ``stage`` (see ``anchor.stage``) by write, sync, rename, sync of the folder: the commit point;
2. the tiles and bundles that the stage lists, synced;
3. witnesses cosign until the policy's quorum is met;
4. ``checkpoint`` is replaced: what is in there is published, and everything of it is durable.

Whoever opens the log next, in whatever process, begins by finishing what a crash left undone. All is read anew from
the folder under its lock, so several processes may append in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from anchor.audit import check_log
from anchor.checkpoint import Checkpoint
from anchor.cosigning import collect_cosignatures
from anchor.files import disk_errors, read_file, replace_file
from anchor.leafindex import LeafIndex
from anchor.logfolder import LogFolder, LogState, Published
from anchor.merkle import EMPTY_ROOT, check_inclusion, inclusion_path, leaf_hash
from anchor.proof import Proof, format_proof
from anchor.stage import take_group
from anchor.tiles import TileTree, read_entries
from anchor.witness import Witness, origin_folder
from core.errors import LedgerError, UsageError
from core.limits import LEAF_MAX_BYTES
from core.ports import Disk


@dataclass(frozen=True, slots=True)
class Anchored:
    """``leaf`` is entry ``index``, since ``proof`` leads from it to the root in ``checkpoint``, a cosigned note."""

    index: int
    leaf: bytes
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def proof_file(self) -> bytes:
        """The c2sp.org/tlog-proof file with the leaf inside, as a ``Receipt`` wants it."""
        return format_proof(Proof(self.index, self.proof, self.checkpoint, self.leaf))


class Log(LogFolder):
    """One organisation's log. Only ``create`` and ``open`` make one.

    Methods block on the disk, on witnesses and on other processes' locks: call them inside ``Threads.disk``. They raise
    LedgerError when the folder contradicts itself or a witness (nothing is signed then), StoreFullError or
    StoreReadOnlyError for the disk.

    Args:
        folder: where logs lie; this one is in ``<folder>/<sha256 of its origin>``. On a local disk.
        key: signs checkpoints; the policy names the log (its origin) that has this key.
        policy: c2sp.org/tlog-policy text, as on the roster; nothing below its quorum is published.
        witnesses: asked in turn for cosignatures.
    """

    def __init__(
        self, disk: Disk, folder: str, *, key: Ed25519PrivateKey, policy: str, witnesses: Sequence[Witness]
    ) -> None:
        super().__init__(disk, folder, key=key, policy=policy)
        self._witnesses = tuple(witnesses)
        self._index = LeafIndex(disk, self._path("leaves"))

    @classmethod
    def create(
        cls, disk: Disk, folder: str, *, key: Ed25519PrivateKey, policy: str, witnesses: Sequence[Witness], now_s: int
    ) -> Self:
        """A new, empty log, cosigned by its witnesses. Raises LedgerError when it exists, here or for a witness."""
        log = cls(disk, folder, key=key, policy=policy, witnesses=witnesses)
        with disk_errors("log"):
            disk.make_folders(log.folder)
            with log._locked():
                if read_file(disk, log._path("stage")) is not None:
                    raise LedgerError(f"log {log.origin!r} exists in {log.folder}")
                state = log._write_stage(Checkpoint(log.origin, 0, EMPTY_ROOT), {})
                log._publish(state, None, now_s)
        return log

    @classmethod
    def open(
        cls, disk: Disk, folder: str, *, key: Ed25519PrivateKey, policy: str, witnesses: Sequence[Witness]
    ) -> Self:
        """A log that ``create`` made. Finishes writing what a crash interrupted; the next append publishes it.

        Raises LedgerError when it is not there: a log that lost its folder must not start again under its old name.
        """
        log = cls(disk, folder, key=key, policy=policy, witnesses=witnesses)
        with disk_errors("log"):
            if disk.stat(log._path("stage")) is None:
                raise LedgerError(f"no log {log.origin!r} in {folder}: restore it, or create one under a new origin")
            with log._locked():
                log._recover()
        return log

    @classmethod
    def exists(cls, disk: Disk, folder: str, origin: str) -> bool:
        """Whether ``create`` made a log of this origin here. Raises as the other methods do for the disk."""
        with disk_errors("log"):
            return disk.stat(f"{origin_folder(folder, origin)}/stage") is not None

    def append(self, leaves: Sequence[bytes], now_s: int) -> list[Anchored]:
        """Anchor leaves and return their proofs, in the order given, under one cosigned checkpoint.

        A leaf that the log has already is not added again: its old index is proved. When it returns, everything is
        durable; when it raises PeerUnavailableError, the leaves are in the log but too few witnesses answered:
        append them again later.

        Args:
            leaves: each at most 65,535 bytes.
            now_s: seconds since 1970, for cosignatures made here.
        """
        if any(len(leaf) > LEAF_MAX_BYTES for leaf in leaves):
            raise UsageError(f"log: a leaf has at most {LEAF_MAX_BYTES} bytes")
        with disk_errors("log"), self._locked():
            state, published = self._recover()
            found = self._index.find(self._reader(state), state.checkpoint.size, [leaf_hash(leaf) for leaf in leaves])
            new = [leaf for leaf in dict.fromkeys(leaves) if leaf_hash(leaf) not in found]
            while new:
                count = take_group(new)
                found |= {leaf_hash(leaf): state.checkpoint.size + at for at, leaf in enumerate(new[:count])}
                state = self._commit(state, new[:count])
                new = new[count:]
            note = self._publish(state, published, now_s)
            return self._prove(state, note, [(found[leaf_hash(leaf)], leaf) for leaf in leaves])

    def publish(self, now_s: int) -> bytes:
        """Have everything that is committed cosigned and published; the cosigned checkpoint. Raises as ``append``."""
        with disk_errors("log"), self._locked():
            return self._publish(*self._recover(), now_s)

    def published(self) -> bytes | None:
        """The cosigned checkpoint that others may see, or None before the first."""
        with disk_errors("log"):
            return read_file(self._disk, self._path("checkpoint"))

    def size(self) -> int:
        """How many leaves are committed."""
        with disk_errors("log"):
            return self._state().checkpoint.size

    def leaves(self, first: int, count: int) -> list[bytes]:
        """Up to ``count`` committed leaves from index ``first``. Raises CorruptError when they cannot be read."""
        with disk_errors("log"):
            state = self._state()
            size = state.checkpoint.size
            return read_entries(self._reader(state), size, min(first, size), min(first + count, size))

    def check(self) -> int:
        """Read every leaf and tile again; how many leaves there are.

        Raises CorruptError or MalformedError naming the first file that does not lead to the signed root.
        """
        with disk_errors("log"):
            state = self._state()
            check_log(self._reader(state), state.checkpoint)
            return state.checkpoint.size

    def _locked(self) -> AbstractContextManager[bool]:
        return self._disk.lock(self._path("lock"), wait=True)

    def _publish(self, state: LogState, published: Published | None, now_s: int) -> bytes:
        """Steps 3 and 4 of an append, unless the published checkpoint is that of ``state`` already."""
        if published is not None and published.checkpoint == state.checkpoint:
            return published.note
        note = collect_cosignatures(
            self._policy,
            self._witnesses,
            state.checkpoint,
            state.log_signature,
            TileTree(self._reader(state), state.checkpoint.size).hash_at,
            last_size=published.checkpoint.size if published else 0,
            now_s=now_s,
        )
        # Its name need not be durable: after a power cut the old checkpoint is true too, and is replaced once more.
        replace_file(self._disk, self._path("checkpoint"), note)
        return note

    def _prove(self, state: LogState, note: bytes, places: Sequence[tuple[int, bytes]]) -> list[Anchored]:
        tree = TileTree(self._reader(state), state.checkpoint.size)
        size, root = state.checkpoint.size, state.checkpoint.root
        found: list[Anchored] = []
        for index, leaf in places:
            path = inclusion_path(tree.hash_at, index, size)
            check_inclusion(index, size, leaf_hash(leaf), path, root)
            found.append(Anchored(index, leaf, path, note))
        return found

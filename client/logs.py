"""Reading logs that lie in folders: a home's own, an exported one, a copy. Needs no keys and takes no lock."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from anchor.audit import check_log
from anchor.checkpoint import Checkpoint
from anchor.digest import Opened, pack_opened
from anchor.files import disk_errors, read_file, replace_file_durably
from anchor.leaf import SweepLeaf, parse_leaf
from anchor.merkle import check_inclusion, inclusion_path, leaf_hash
from anchor.note import NOTE_MAX_BYTES
from anchor.ownerleaves import DigestLeaf
from anchor.policy import CheckedCheckpoint, Policy, parse_policy
from anchor.proof import Proof
from anchor.tiles import TILE_WIDTH, TileTree, bundle_path, read_bundle, read_entries, tile_path, tile_width
from anchor.witness import origin_folder
from client.home import Home
from client.ledger import LOG_FOLDER, home_policy, organisation_origin, origin_of
from core.durable import write_file
from core.errors import LedgerError, MoorageError, TargetError, UnknownObjectError, UsageError
from core.ids import ObjectId
from core.ports import Disk

CHECKPOINT_FILE = "checkpoint"
POLICY_FILE = "policy"
# Where an organisation's ledger peer keeps the log that it operates.
OPERATOR_FOLDER = "ledger/log"


@dataclass(frozen=True, slots=True)
class OpenedLog:
    """A log's folder at the checkpoint that was published when it was opened, which satisfies its policy."""

    disk: Disk
    folder: str
    policy: Policy
    note: bytes
    checked: CheckedCheckpoint

    @property
    def checkpoint(self) -> Checkpoint:
        return self.checked.checkpoint

    def read(self, path: str) -> bytes | None:
        """A file of the log."""
        with disk_errors("log"):
            return read_file(self.disk, posixpath.join(self.folder, path))

    def entries(self, first: int, end: int) -> list[bytes]:
        """Entries ``first`` to ``end``, as far as there are any. Raises CorruptError, MalformedError."""
        size = self.checkpoint.size
        first, end = min(first, size), min(end, size)
        return read_entries(self.read, size, first, end) if first < end else []

    def all_entries(self) -> Iterator[tuple[int, bytes]]:
        """Every entry with its index, one bundle in memory at a time."""
        size = self.checkpoint.size
        for number in range(-(-size // TILE_WIDTH)):
            bundle = read_bundle(self.read, number, tile_width(0, number, size))
            yield from enumerate(bundle, start=number * TILE_WIDTH)

    def prove(self, index: int) -> Proof:
        """That entry ``index`` is in the log; the entry stands in it. Raises UsageError when there is none."""
        size, root = self.checkpoint.size, self.checkpoint.root
        if not 0 <= index < size:
            raise UsageError(f"log {self.checkpoint.origin!r} has no entry {index}: it has {size}")
        (entry,) = self.entries(index, index + 1)
        path = inclusion_path(TileTree(self.read, size).hash_at, index, size)
        check_inclusion(index, size, leaf_hash(entry), path, root)
        return Proof(index, path, self.note, entry)

    def index_of_leaf(self, leaf: bytes) -> int | None:
        return next((index for index, entry in self.all_entries() if entry == leaf), None)

    def index_of_object(self, digits: str) -> int:
        """The newest entry about the object whose id begins so. Raises UnknownObjectError, UsageError (several)."""
        found: dict[ObjectId, int] = {}
        for index, entry in self.all_entries():
            about = _object_of(entry)
            if about is not None and str(about).startswith(digits):
                found[about] = index
        if not found:
            raise UnknownObjectError(f"log {self.checkpoint.origin!r} has no entry about an object {digits}...")
        if len(found) > 1:
            raise UsageError(f"{digits} begins the ids of {len(found)} objects in this log: give more digits")
        return next(iter(found.values()))

    def check(self) -> None:
        """Read everything again. Raises CorruptError or MalformedError naming the first file that is wrong."""
        check_log(self.read, self.checkpoint)


def _object_of(entry: bytes) -> ObjectId | None:
    try:
        leaf = parse_leaf(entry).leaf
    except MoorageError:
        return None
    return None if isinstance(leaf, SweepLeaf | DigestLeaf) else leaf.object


def open_folder(disk: Disk, folder: str, policy: str) -> OpenedLog:
    """The log whose ``checkpoint`` lies in ``folder``.

    Raises:
        LedgerError: there is none.
        BadSignatureError, MalformedError: its checkpoint does not satisfy the policy.
    """
    with disk_errors("log"):
        note = read_file(disk, posixpath.join(folder, CHECKPOINT_FILE))
    if note is None:
        raise LedgerError(f"no log in {folder}: it has no file {CHECKPOINT_FILE!r}")
    parsed = parse_policy(policy)
    return OpenedLog(disk, folder, parsed, note, parsed.check_checkpoint(note))


def keep_policy(disk: Disk, folder: str, policy: str) -> None:
    """Beside a log, by which it is published now: after another log has followed it no roster says so. Durable.

    Raises LedgerError, StoreFullError or StoreReadOnlyError for the disk.
    """
    path = posixpath.join(folder, POLICY_FILE)
    with disk_errors("log"):
        if read_file(disk, path) != policy.encode():
            replace_file_durably(disk, path, policy.encode())


def kept_policy(disk: Disk, folder: str) -> str:
    """Empty when there is none. Raises LedgerError, StoreReadOnlyError for the disk."""
    with disk_errors("log"):
        return (read_file(disk, posixpath.join(folder, POLICY_FILE)) or b"").decode("utf-8", "replace")


class HomeLog(NamedTuple):
    """The log that a home has."""

    origin: str
    folder: str
    policy: str


def home_log(disk: Disk, home: Home) -> HomeLog:
    """The log that the home operates for its organisation, where it is a ledger peer; else its own."""
    origin = organisation_origin(home.roster, home.identity.organisation)
    operated = origin_folder(home.path(OPERATOR_FOLDER), origin)
    if disk.stat(posixpath.join(operated, CHECKPOINT_FILE)) is not None:
        for organisation in home.roster.organisations:
            if organisation.name == home.identity.organisation:
                return HomeLog(origin, operated, organisation.policy)
    return HomeLog(origin_of(home), origin_folder(home.path(LOG_FOLDER), origin_of(home)), home_policy(home))


def open_home_log(disk: Disk, home: Home) -> OpenedLog:
    """The home's log, as others may see it. Raises as ``open_folder``."""
    found = home_log(disk, home)
    return open_folder(disk, found.folder, found.policy)


def origin_of_note(note: bytes) -> str:
    """The first line of a checkpoint or proof that nobody has checked yet; empty when it is not text."""
    return note[:NOTE_MAX_BYTES].split(b"\n", 1)[0].decode("utf-8", "replace")


def log_paths(size: int) -> Iterator[str]:
    """Every file of a log of ``size`` entries but its checkpoint, bundles first (tlog-tiles)."""
    for number in range(-(-size // TILE_WIDTH)):
        yield bundle_path(number, tile_width(0, number, size))
    level = 0
    while width := tile_width(level, 0, size):
        number = 0
        while width:
            yield tile_path(level, number, width)
            number += 1
            width = tile_width(level, number, size)
        level += 1


def export_log(log: OpenedLog, target: Disk, folder: str, policy: str, *, token: str) -> int:
    """Write the log as a folder that any static web server can serve; how many bytes that were.

    What a partial tile's full successor holds is cut to the width that its path says. The checkpoint comes last, so a
    server that serves the folder meanwhile never promises what is not there yet.

    Raises TargetError (the folder has something else in it), CorruptError, MalformedError.
    """
    _check_target(log, target, folder)
    log.check()
    written = 0
    for path in log_paths(log.checkpoint.size):
        data = log.read(path)
        if data is None:
            data = _narrowed(log, path)
        write_file(target, posixpath.join(folder, path), data, token=token)
        written += len(data)
    for name, data in ((POLICY_FILE, policy.encode()), (CHECKPOINT_FILE, log.note)):
        write_file(target, posixpath.join(folder, name), data, token=token)
        written += len(data)
    return written


def _check_target(log: OpenedLog, target: Disk, folder: str) -> None:
    there = target.list_folder(folder)
    if not there:
        return
    old = read_file(target, posixpath.join(folder, CHECKPOINT_FILE))
    if old is None or origin_of_note(old) != log.checkpoint.origin:
        raise TargetError(f"{folder} is not empty, and holds no earlier export of log {log.checkpoint.origin!r}")


def _narrowed(log: OpenedLog, path: str) -> bytes:
    """A partial file whose full successor has replaced it since the checkpoint was read."""
    full_path, _, width = path.rpartition(".p/")
    full = log.read(full_path) if full_path else None
    if full is None:
        raise LedgerError(f"log {log.checkpoint.origin!r}: {path} vanished while it was exported: try again")
    if not path.startswith("tile/entries/"):
        return full[: int(width) * 32]
    end = 0
    for _ in range(int(width)):
        end += 2 + int.from_bytes(full[end : end + 2], "big")
    return full[:end]


def proof_with_salt(proof: Proof, opened: Opened) -> Proof:
    """The proof with what opens its leaf beside it."""
    extra = opened.leaf if opened.salt is None else pack_opened(opened.leaf, opened.salt)
    return Proof(proof.index, proof.path, proof.checkpoint, extra)

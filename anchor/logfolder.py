"""A log's files, and what changes them: the commit record, tiles, the published checkpoint (docs/format.md, "Log").

Whoever writes holds the log's lock: ``anchor.log.Log`` for one append, ``anchor.writer.LogWriter`` as long as it lives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from anchor.checkpoint import Checkpoint, parse_checkpoint
from anchor.cosignature import verifier_of
from anchor.files import folder_of, read_file, replace_file, replace_file_durably
from anchor.note import TYPE_ED25519, Ed25519Signer, NoteKey, Signature, format_note, parse_note, verify_note
from anchor.policy import parse_policy
from anchor.stage import Stage, check_growth, encode_stage, grow, overlay, parse_stage
from anchor.tiles import ReadFile
from anchor.witness import origin_folder
from core.errors import BadSignatureError, CorruptError, LedgerError, MalformedError, UsageError
from core.identity import public_bytes
from core.ports import Disk


class LogState(NamedTuple):
    """What is committed: the stage and the checkpoint that it holds."""

    stage: Stage
    checkpoint: Checkpoint
    log_signature: Signature


class Published(NamedTuple):
    """A cosigned note that satisfies the policy, and its checkpoint."""

    note: bytes
    checkpoint: Checkpoint


def is_begun_with(disk: Disk, folder: str, key: NoteKey) -> bool | None:
    """Whether the log of the key's name that lies in ``folder`` is this key's; None: there is none.

    One whose commit record is damaged is nobody's. Raises OSError.
    """
    data = read_file(disk, f"{origin_folder(folder, key.name)}/stage")
    if data is None:
        return None
    try:
        verify_note(parse_note(parse_stage(data).checkpoint), [verifier_of(key)])
    except (CorruptError, MalformedError, BadSignatureError):
        return False
    return True


class LogFolder:
    """What ``Log`` and ``LogWriter`` share. Raises OSError, which they turn into MoorageErrors.

    Args:
        folder: where logs lie; this one is in ``<folder>/<sha256 of its origin>``. On a local disk.
        key: signs checkpoints; the policy names the log (its origin) that has this key.
        policy: c2sp.org/tlog-policy text, as on the roster.
    """

    def __init__(self, disk: Disk, folder: str, *, key: Ed25519PrivateKey, policy: str) -> None:
        self._disk = disk
        self._policy = parse_policy(policy)
        mine = (TYPE_ED25519, public_bytes(key))
        names = [item.name for item in self._policy.logs if (item.signature_type, item.public) == mine]
        if not names:
            raise UsageError("log: its key is not that of a log in its policy")
        self.origin = names[0]
        self._signer = Ed25519Signer(self.origin, key)
        self.folder = origin_folder(folder, self.origin)

    def _path(self, name: str) -> str:
        return f"{self.folder}/{name}"

    def _reader(self, state: LogState) -> ReadFile:
        return overlay(state.stage.files, lambda path: read_file(self._disk, self._path(path)))

    def _state(self) -> LogState:
        data = read_file(self._disk, self._path("stage"))
        if data is None:
            raise LedgerError(f"log {self.origin!r}: {self.folder} is gone")
        try:
            stage = parse_stage(data)
            note = parse_note(stage.checkpoint)
            verify_note(note, [verifier_of(self._signer.key)])
            checkpoint = parse_checkpoint(note.text)
        except (CorruptError, MalformedError, BadSignatureError) as error:
            raise LedgerError(f"log {self.origin!r}: its commit record is damaged: {error}") from error
        return LogState(stage, checkpoint, note.signatures[0])

    def _published(self) -> Published | None:
        """The published checkpoint; None when there is none or it does not satisfy the policy (any more)."""
        data = read_file(self._disk, self._path("checkpoint"))
        if data is None:
            return None
        try:
            return Published(data, self._policy.check_checkpoint(data).checkpoint)
        except (MalformedError, BadSignatureError):
            # Damaged, or cosigned by witnesses of an earlier roster: it will be made anew.
            return None

    def _recover(self) -> tuple[LogState, Published | None]:
        """The committed state, with all its files durable, and what is published of it."""
        state = self._state()
        published = self._published()
        if published is None or published.checkpoint != state.checkpoint:
            # The stage's name may not be durable yet, and its files may be missing, torn or not synced.
            self._disk.sync_folder(self.folder)
            self._write_files(state.stage)
        return state, published

    def _write_stage(self, checkpoint: Checkpoint, files: Mapping[str, bytes]) -> LogState:
        signature = self._signer.sign(checkpoint.text)
        stage = Stage(format_note(checkpoint.text, [signature]), files)
        replace_file_durably(self._disk, self._path("stage"), encode_stage(stage))
        return LogState(stage, checkpoint, signature)

    def _write_files(self, stage: Stage) -> None:
        for folder, files in by_folder(stage.files).items():
            self._write_folder(folder, files)

    def _write_folder(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Files of one folder, all paths inside the log's; durable then."""
        self._disk.make_folders(self._path(folder))
        for path, data in files.items():
            replace_file(self._disk, self._path(path), data)
        self._disk.sync_folder(self._path(folder))
        for path in files:
            if "." not in path:
                self._remove_partials(self._path(path) + ".p")

    def _remove_partials(self, folder: str) -> None:
        """The full tile is there now: its narrower versions are no longer needed (tlog-tiles, "Partial Tiles")."""
        if self._disk.stat(folder) is not None:
            for name in self._disk.list_folder(folder):
                self._disk.unlink(f"{folder}/{name}")
            self._disk.sync_folder(folder)

    def _commit(self, state: LogState, leaves: Sequence[bytes]) -> LogState:
        """Steps 1 and 2 of an append."""
        old, read = state.checkpoint, self._reader(state)
        try:
            files = grow(read, old.size, leaves)
            root = check_growth(overlay(files, read), old.size, old.root, leaves).root
        except (CorruptError, MalformedError) as error:
            raise LedgerError(f"log {self.origin!r}: its right edge is damaged, nothing was added: {error}") from error
        grown = self._write_stage(Checkpoint(self.origin, old.size + len(leaves), root), files)
        self._write_files(grown.stage)
        return grown


def by_folder(files: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
    """A stage's files, by the folder that they go into."""
    found: dict[str, dict[str, bytes]] = {}
    for path, data in files.items():
        found.setdefault(folder_of(path), {})[path] = data
    return found

"""A witness: remembers the largest tree of each log and cosigns what extends it (c2sp.org/tlog-witness@v1.0.0).

``LocalWitness`` is one that lives in a folder. Its promise is worth as much as that folder: restored from an old
backup it may cosign a second history. ``forgotten`` finds that out from checkpoints that it cosigned itself and
others kept; ``resync`` has it remember them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple, Protocol, Self, TypeAlias

from anchor.checkpoint import Checkpoint, parse_checkpoint, parse_decimal
from anchor.cosignature import Cosigner, verifier_of
from anchor.files import disk_errors, folder_of, read_file, remove_beside, replace_file_durably
from anchor.marker import MARKER_FILE, keep_marker, write_marker
from anchor.merkle import EMPTY_ROOT, PROOF_MAX_HASHES, check_consistency
from anchor.note import Note, NoteKey, Signature, decode_hash, encode_base64, format_note, parse_note, verify_note
from anchor.refused import evidence_paths, keep_evidence
from core.errors import BadSignatureError, CorruptError, LedgerError, MalformedError, WitnessRefusedError
from core.ports import Disk

LogKeys: TypeAlias = Mapping[str, Sequence[NoteKey]]

_LOCK = "lock"


class Witness(Protocol):
    """Whoever cosigns: here, or at another organisation."""

    def add_checkpoint(self, old_size: int, proof: Sequence[bytes], checkpoint: bytes, *, now_s: int) -> str:
        """Cosign ``checkpoint`` (a note signed by its log).

        Args:
            old_size: the largest size of this log that the caller believes the witness has seen.
            proof: consistency from ``old_size`` to the checkpoint; empty from size 0.
            now_s: seconds since 1970, for a witness that has no clock of its own.

        Returns:
            Signature lines, each ending in a newline.

        Raises:
            WitnessRefusedError: with the protocol's status. 409 means ``old_size`` is wrong and tells the right one.
            PeerUnavailableError: it cannot be asked now.
        """
        ...


class AddCheckpoint(NamedTuple):
    """A request as it travels."""

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: bytes


def format_add_checkpoint(request: AddCheckpoint) -> bytes:
    """The body of an ``add-checkpoint`` request."""
    lines = [f"old {request.old_size}", *(encode_base64(item) for item in request.proof)]
    return ("\n".join(lines) + "\n\n").encode() + request.checkpoint


def parse_add_checkpoint(body: bytes) -> AddCheckpoint:
    """Raises WitnessRefusedError (status 400) for anything else than a well-formed request."""
    try:
        head, blank, checkpoint = body.partition(b"\n\n")
        first, *rest = head.decode("ascii").split("\n")
        if not blank or not first.startswith("old ") or len(rest) > PROOF_MAX_HASHES:
            raise MalformedError("not an old size, a proof and a checkpoint")
        old_size = parse_decimal(first.removeprefix("old "))
        return AddCheckpoint(old_size, tuple(decode_hash(line) for line in rest), checkpoint)
    except (MalformedError, UnicodeDecodeError) as error:
        raise WitnessRefusedError(f"add-checkpoint: {error}", status=400) from error


def origin_folder(folder: str, origin: str) -> str:
    """Where things of one log lie: the SHA-256 of its origin in hexadecimal, as tlog-witness serves them."""
    return f"{folder}/{sha256(origin.encode()).hexdigest()}"


class LocalWitness:
    """A ``Witness`` in a folder: one file ``<sha256 of origin>/checkpoint`` for each log, replaced before it answers.

    Methods block on the disk and on other processes' locks: call them inside ``Threads.disk``.

    Args:
        folder: made by ``create``.
        cosigners: all of them sign each checkpoint.
        logs: the logs that it serves, by the origin in their checkpoints.
        former: other keys that it signed with before; it knows their signatures for its own.
    """

    def __init__(
        self, disk: Disk, folder: str, cosigners: Sequence[Cosigner], logs: LogKeys, former: Sequence[NoteKey] = ()
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._cosigners = tuple(cosigners)
        self._former = tuple(former)
        self._logs = {origin: tuple(keys) for origin, keys in logs.items()}

    @classmethod
    def create(cls, disk: Disk, folder: str, cosigners: Sequence[Cosigner], logs: LogKeys) -> Self:
        """A witness that has seen nothing. Does no harm to one that is there already."""
        with disk_errors("witness"):
            disk.make_folders(folder)
            if disk.stat(f"{folder}/{MARKER_FILE}") is None:
                write_marker(disk, f"{folder}/{MARKER_FILE}", cosigners)
        return cls(disk, folder, cosigners, logs)

    @classmethod
    def open(cls, disk: Disk, folder: str, cosigners: Sequence[Cosigner], logs: LogKeys) -> Self:
        """A witness with what it remembers; other ``cosigners`` than before go on from there.

        That they sign from now on is durable before they do, so that an old copy of the folder is known for one by the
        signatures of each. Raises LedgerError when the folder is gone: a witness that forgot must not sign again.
        """
        with disk_errors("witness"):
            if disk.stat(f"{folder}/{MARKER_FILE}") is None:
                raise LedgerError(
                    f"no witness in {folder}: one that forgot must not sign again before it is synchronised "
                    "(docs/ledger/operator.md)"
                )
            former = keep_marker(disk, f"{folder}/{MARKER_FILE}", cosigners)
        return cls(disk, folder, cosigners, logs, former)

    @classmethod
    def resync(
        cls,
        disk: Disk,
        folder: str,
        cosigners: Sequence[Cosigner],
        logs: LogKeys,
        checkpoints: Sequence[bytes],
        own: str = "",
    ) -> Self:
        """A witness that lost its folder, or whose folder is an old one, remembers what others kept.

        Args:
            checkpoints: of all logs that it served, as the logs publish them and other witnesses remember them. The
                largest of each log counts that the log itself has signed; it becomes the least that is cosigned again.
            own: the origin of its own organisation's log, of which there may be nothing yet.

        Raises:
            LedgerError: there is nothing of one of the logs, neither here nor elsewhere; or two of them, or one and
                what it remembers, are of two histories.
        """
        found = cls(disk, folder, cosigners, logs)
        largest: dict[str, tuple[Note, Checkpoint]] = {}
        for data in checkpoints:
            try:
                note, seen, lines = found._read_request(data)
            except WitnessRefusedError:
                continue
            known = largest.get(seen.origin)
            if known is not None and known[1].size == seen.size and known[1].root != seen.root:
                raise LedgerError(f"witness: {seen.origin!r} has signed two histories of {seen.size} entries")
            if known is None or known[1].size < seen.size:
                largest[seen.origin] = Note(note.text, tuple(lines)), seen
        with disk_errors("witness"):
            for origin in logs:
                if origin not in largest and origin != own and found._latest(origin) is None:
                    raise LedgerError(f"witness: nobody tells what it signed for {origin!r}: it is not synchronised")
            for origin, (note, seen) in largest.items():
                with found._held(origin) as path:
                    before = found._latest(origin)
                    if before is not None and before.size == seen.size and before.root != seen.root:
                        raise LedgerError(f"witness: {origin!r} has signed two histories of {seen.size} entries")
                    if before is None or before.size < seen.size:
                        replace_file_durably(disk, path, format_note(note.text, note.signatures))
                    # Whoever named what is there may not have lived to sync its name.
                    disk.sync_folder(folder_of(path))
        # The marker last: until all is remembered, nothing may be signed.
        return cls.create(disk, folder, cosigners, logs)

    def use_logs(self, logs: LogKeys) -> None:
        """From now on serve these: there is a new roster. What it remembers of others stays."""
        self._logs = {origin: tuple(keys) for origin, keys in logs.items()}

    @property
    def keys(self) -> tuple[NoteKey, ...]:
        """Its own, those of before last."""
        return (*(cosigner.key for cosigner in self._cosigners), *self._former)

    def forgotten(self, origin: str, checkpoints: Sequence[bytes]) -> str | None:
        """What it has forgotten, in words, if one of the checkpoints says so by this witness' own signature.

        Args:
            checkpoints: of this log, from wherever they could be had; what is not signed by this witness is ignored.

        Raises:
            LedgerError, StoreReadOnlyError: what it remembers cannot be read now.
        """
        with disk_errors("witness"):
            latest = self._latest(origin)
        seen_size = latest.size if latest is not None else 0
        for data in checkpoints:
            try:
                note = parse_note(data)
                verify_note(note, [verifier_of(key) for key in self.keys])
                signed = parse_checkpoint(note.text)
            except (MalformedError, BadSignatureError):
                continue
            if signed.origin != origin:
                continue
            if signed.size > seen_size or (
                latest is not None and signed.size == seen_size and signed.root != latest.root
            ):
                return (
                    f"witness: it cosigned {signed.size} entries of {origin!r} and remembers {seen_size}: its folder "
                    "is an old copy. It signs nothing more before it is synchronised again (docs/ledger/operator.md)"
                )
        return None

    def add_checkpoint(self, old_size: int, proof: Sequence[bytes], checkpoint: bytes, *, now_s: int) -> str:
        """As ``Witness.add_checkpoint``; also raises LedgerError, StoreFullError or StoreReadOnlyError for its disk."""
        note, wanted, log_lines = self._read_request(checkpoint)
        if old_size > wanted.size:
            raise WitnessRefusedError(f"witness: old size {old_size} of a checkpoint of {wanted.size}", status=400)
        with disk_errors("witness"), self._held(wanted.origin) as path:
            for evidence in evidence_paths(origin_folder(self._folder, wanted.origin)):
                remove_beside(self._disk, evidence)
            self._check_extends(self._latest(wanted.origin), old_size, proof, wanted, checkpoint)
            cosignatures = [cosigner.sign(note.text, time_s=now_s) for cosigner in self._cosigners]
            stored = format_note(note.text, [*log_lines, *cosignatures])
            replace_file_durably(self._disk, path, stored)
        return "".join(cosignature.line for cosignature in cosignatures)

    def remembered(self, folder_name: str) -> bytes | None:
        """The newest checkpoint that it has cosigned, as it is shown to monitors; None when there is none.

        Args:
            folder_name: the SHA-256 of the log's origin in hexadecimal.
        """
        folder = f"{self._folder}/{folder_name}"
        with disk_errors("witness"):
            if self._disk.stat(f"{folder}/checkpoint") is None:
                return None
            # Never one that a power cut may still take: it is replaced and synced under the lock, and whoever did the
            # first may not have lived to do the second.
            with self._disk.lock(f"{folder}/{_LOCK}", wait=True):
                self._disk.sync_folder(folder)
                return read_file(self._disk, f"{folder}/checkpoint")

    def latest(self, origin: str) -> Checkpoint | None:
        """The largest checkpoint that it cosigned for a log that it serves; None when there is none."""
        with disk_errors("witness"):
            return self._latest(origin)

    @contextlib.contextmanager
    def _held(self, origin: str) -> Generator[str]:
        """What it remembers of one log, while nobody else changes it: the path."""
        folder = origin_folder(self._folder, origin)
        self._disk.make_folders(folder)
        with self._disk.lock(f"{folder}/{_LOCK}", wait=True):
            yield f"{folder}/checkpoint"

    def _read_request(self, checkpoint: bytes) -> tuple[Note, Checkpoint, list[Signature]]:
        """The note, its checkpoint, and its verified signature lines by the log."""
        try:
            note = parse_note(checkpoint)
            wanted = parse_checkpoint(note.text)
        except MalformedError as error:
            raise WitnessRefusedError(f"witness: {error}", status=400) from error
        keys = self._logs.get(wanted.origin, ())
        if not keys:
            raise WitnessRefusedError(f"witness: does not serve the log {wanted.origin!r}", status=404)
        try:
            verify_note(note, [verifier_of(key) for key in keys])
        except BadSignatureError as error:
            raise WitnessRefusedError(f"witness: {error}", status=403) from error
        known = {(key.name, key.key_id) for key in keys}
        return note, wanted, [line for line in note.signatures if (line.name, line.key_id) in known]

    def _latest(self, origin: str) -> Checkpoint | None:
        data = read_file(self._disk, f"{origin_folder(self._folder, origin)}/checkpoint")
        if data is None:
            return None
        keys = self._logs.get(origin, ())
        if not keys:
            raise LedgerError(f"witness: {origin!r} is on the roster no more")
        try:
            note = parse_note(data)
            verify_note(note, [verifier_of(key) for key in keys])
            return parse_checkpoint(note.text)
        except (MalformedError, BadSignatureError) as error:
            raise LedgerError(
                f"witness: what it remembers of {origin!r} is damaged, or of another log of that name, which had "
                f"another key and which no second one may follow (docs/ledger/operator.md): {error}"
            ) from error

    def _check_extends(
        self, latest: Checkpoint | None, old_size: int, proof: Sequence[bytes], wanted: Checkpoint, checkpoint: bytes
    ) -> None:
        seen_size, seen_root = (latest.size, latest.root) if latest is not None else (0, EMPTY_ROOT)
        if old_size != seen_size:
            raise WitnessRefusedError(
                f"witness: has seen {seen_size} entries of {wanted.origin!r}, not {old_size}",
                status=409,
                witness_size=seen_size,
            )
        try:
            if old_size:
                check_consistency(old_size, wanted.size, seen_root, wanted.root, proof)
            elif proof or (wanted.size == 0 and wanted.root != EMPTY_ROOT):
                # Every tree extends the empty one, so there is nothing to prove from size 0.
                raise CorruptError("proof: from size 0 it must be empty, and so must the tree of size 0")
        except CorruptError as error:
            if latest is not None and wanted.size == seen_size and wanted.root != seen_root:
                folder = origin_folder(self._folder, wanted.origin)
                keep_evidence(self._disk, folder, self._logs[wanted.origin], checkpoint)
            raise WitnessRefusedError(f"witness: {wanted.origin!r} contradicts itself: {error}", status=422) from error

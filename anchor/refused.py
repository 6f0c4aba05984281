"""What a witness keeps of a log that showed it two histories: two notes that prove it to anybody."""

from __future__ import annotations

from collections.abc import Sequence

from anchor.checkpoint import Checkpoint, parse_checkpoint
from anchor.cosignature import verifier_of
from anchor.files import read_file, replace_file_durably
from anchor.note import NoteKey, parse_note, verify_note
from core.errors import BadSignatureError, MalformedError
from core.ports import Disk


def evidence_paths(folder: str) -> tuple[str, str]:
    """What was refused, and what was remembered then, in the witness' folder for one log."""
    return f"{folder}/refused", f"{folder}/refused-against"


def keep_evidence(disk: Disk, folder: str, keys: Sequence[NoteKey], checkpoint: bytes) -> None:
    """Keep the first log-signed checkpoint of the same size and another root than what is remembered in ``folder``.

    Nothing else: whoever sends a true checkpoint with a proof that is wrong shows nothing about the log. Blocks; the
    caller holds the folder's lock. Raises OSError.
    """
    path, against = evidence_paths(folder)
    if _is_fork(keys, read_file(disk, path), read_file(disk, against)):
        # Whoever named them may not have lived to sync their names.
        disk.sync_folder(folder)
        return
    remembered = read_file(disk, f"{folder}/checkpoint")
    assert remembered is not None, "it contradicts what is remembered"
    replace_file_durably(disk, against, remembered)
    replace_file_durably(disk, path, checkpoint)


def _is_fork(keys: Sequence[NoteKey], refused: bytes | None, against: bytes | None) -> bool:
    one, other = _signed(keys, refused), _signed(keys, against)
    if one is None or other is None:
        return False
    return one.origin == other.origin and one.size == other.size and one.root != other.root


def _signed(keys: Sequence[NoteKey], data: bytes | None) -> Checkpoint | None:
    if data is None:
        return None
    try:
        note = parse_note(data)
        verify_note(note, [verifier_of(key) for key in keys])
        return parse_checkpoint(note.text)
    except (MalformedError, BadSignatureError):
        return None

"""The file that says that a witness was made, and with which keys it has signed: one vkey a line, the oldest first."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from anchor.cosignature import Cosigner
from anchor.files import read_file, replace_file_durably
from anchor.note import NoteKey
from core.errors import MalformedError
from core.ports import Disk

# In the witness' folder.
MARKER_FILE = "witness"


def write_marker(disk: Disk, path: str, cosigners: Sequence[Cosigner]) -> None:
    """Of a witness that has signed nothing. Raises OSError."""
    replace_file_durably(disk, path, "".join(f"{item.key.vkey}\n" for item in cosigners).encode())


def keep_marker(disk: Disk, path: str, cosigners: Sequence[Cosigner]) -> tuple[NoteKey, ...]:
    """Note durably that these sign from now on; with which others it signed before. Raises OSError."""
    text = (read_file(disk, path) or b"").decode("utf-8", "replace")
    vkeys = [item.key.vkey for item in cosigners]
    lines = text.splitlines()
    if missing := [vkey for vkey in vkeys if vkey not in lines]:
        replace_file_durably(disk, path, "".join(f"{line}\n" for line in [*lines, *missing]).encode())
    return tuple(key for key in _keys_of(lines) if key.vkey not in vkeys)


def marked_keys(disk: Disk, folder: str) -> tuple[NoteKey, ...]:
    """With which keys the witness in ``folder`` has signed, as far as it knows. Raises OSError."""
    return _keys_of((read_file(disk, f"{folder}/{MARKER_FILE}") or b"").decode("utf-8", "replace").splitlines())


def _keys_of(lines: Sequence[str]) -> tuple[NoteKey, ...]:
    found: list[NoteKey] = []
    for line in lines:
        # A damaged line is a key whose signatures are not known for its own any more: the others are.
        with suppress(MalformedError):
            found.append(NoteKey.parse(line))
    return tuple(found)

"""That an entry is in a log: one text file that is checked offline (c2sp.org/tlog-proof@v1).

The ``extra`` line carries the entry itself, so that the file needs no other beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from anchor.checkpoint import parse_decimal
from anchor.merkle import PROOF_MAX_HASHES, check_inclusion, leaf_hash
from anchor.note import NOTE_MAX_BYTES, decode_base64, decode_hash, encode_base64
from anchor.policy import CheckedCheckpoint, Policy
from core.errors import MalformedError
from core.limits import LEAF_MAX_BYTES

_HEADER = "c2sp.org/tlog-proof@v1"
# A full note, a full entry as base64, 63 hashes of 45 characters and the two short lines.
PROOF_MAX_BYTES = NOTE_MAX_BYTES + LEAF_MAX_BYTES * 4 // 3 + PROOF_MAX_HASHES * 45 + 200
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True, slots=True)
class Proof:
    """Entry ``index`` leads by ``path`` (sibling hashes, leaf upwards) to the root in ``checkpoint`` (a note)."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def check(self, entry: bytes, policy: Policy) -> CheckedCheckpoint:
        """Believe that ``entry`` is in the log, or raise.

        Raises:
            MalformedError, BadSignatureError: as ``Policy.check_checkpoint``.
            CorruptError: the path does not lead from the entry to the checkpoint's root.
        """
        checked = policy.check_checkpoint(self.checkpoint)
        size, root = checked.checkpoint.size, checked.checkpoint.root
        check_inclusion(self.index, size, leaf_hash(entry), self.path, root)
        return checked


def format_proof(proof: Proof) -> bytes:
    """The text file."""
    lines = [_HEADER]
    if proof.extra is not None:
        lines.append(f"extra {encode_base64(proof.extra)}")
    lines.append(f"index {proof.index}")
    lines += (encode_base64(sibling) for sibling in proof.path)
    return ("\n".join(lines) + "\n\n").encode() + proof.checkpoint


def parse_proof(data: bytes) -> Proof:
    """From the text file; nothing is verified. Raises MalformedError."""
    if len(data) > PROOF_MAX_BYTES:
        raise MalformedError(f"proof: {len(data)} bytes, at most {PROOF_MAX_BYTES} allowed")
    head, blank, checkpoint = data.partition(b"\n\n")
    try:
        text = head.decode("ascii")
    except UnicodeDecodeError as error:
        raise MalformedError("proof: not ASCII before its checkpoint") from error
    if not blank or _CONTROL.search(text) is not None:
        raise MalformedError("proof: no checkpoint, or a control character before it")
    lines = text.split("\n")
    if lines[0] != _HEADER:
        raise MalformedError(f"proof: does not begin with {_HEADER!r}")
    at = 1
    extra: bytes | None = None
    if at < len(lines) and lines[at].startswith("extra "):
        extra = decode_base64(lines[at].removeprefix("extra "))
        at += 1
    if at == len(lines) or not lines[at].startswith("index "):
        raise MalformedError("proof: no index line")
    index = parse_decimal(lines[at].removeprefix("index "))
    path = tuple(decode_hash(line) for line in lines[at + 1 :])
    if len(path) > PROOF_MAX_HASHES:
        raise MalformedError(f"proof: {len(path)} hashes, at most {PROOF_MAX_HASHES} allowed")
    return Proof(index, path, checkpoint, extra)

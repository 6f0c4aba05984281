"""Anchoring any file in the home's own log: ``moorage anchor`` (docs/ledger/monitor.md, "Any file")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from blake3 import blake3

from anchor.digest import Opened, digest_salt, plain_digest, salted_digest
from anchor.leaf import organisation_key_name, peer_key_name, sign_leaf
from anchor.proof import Proof
from client.home import Home
from client.ledger import open_log
from client.logs import proof_with_salt
from core.errors import SourceChangedError, SourceError
from core.ids import derived_digest
from core.limits import MIB
from core.ports import Disk

_KEYED_BY = "moorage 2026 digest secret v1"
_PART_BYTES = 4 * MIB


class AnchoredFile(NamedTuple):
    """``proof`` carries the file's leaf and the salt that opens it; ``origin`` names the log."""

    origin: str
    proof: Proof


def file_parts(disk: Disk, path: str) -> Iterator[bytes]:
    """A file's bytes, in order. Raises SourceError."""
    try:
        with disk.open(path, "read") as file:
            at = 0
            while part := file.read_at(at, _PART_BYTES):
                yield part
                at += len(part)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error


def _watched(parts: Iterator[bytes], hasher: blake3) -> Iterator[bytes]:
    for part in parts:
        hasher.update(part)
        yield part


def opened_leaf(disk: Disk, home: Home, path: str) -> Opened:
    """The leaf that this home anchors a file by: the same each time. Raises SourceError, SourceChangedError."""
    secret = derived_digest(_KEYED_BY, home.ledger.log_seed)
    plain = plain_digest(file_parts(disk, path))
    salt = digest_salt(secret, plain)
    again = blake3()
    leaf = salted_digest(salt, _watched(file_parts(disk, path), again))
    if again.digest() != plain:
        raise SourceChangedError(f"{path} changed while it was read: nothing was anchored; try again")
    if home.organisation is not None:
        name = organisation_key_name(home.identity.organisation)
        return Opened(sign_leaf(home.organisation.manifest_key, name, leaf), salt)
    return Opened(sign_leaf(home.tls_key, peer_key_name(home.identity.peer), leaf), salt)


def anchor_file(disk: Disk, home: Home, path: str, *, now_s: int) -> AnchoredFile:
    """Anchor the file at ``path`` (absolute). Again, it proves the entry that is there. Blocks.

    Raises SourceError, SourceChangedError, and what ``Log.append`` raises.
    """
    opened = opened_leaf(disk, home, path)
    log = open_log(disk, home)
    anchored = log.append([opened.leaf], now_s)[0]
    proof = Proof(anchored.index, anchored.proof, anchored.checkpoint)
    return AnchoredFile(log.origin, proof_with_salt(proof, opened))

"""Anchoring any file in the organisation's log: ``moorage anchor`` (docs/ledger/monitor.md, "Any file")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from blake3 import blake3

from anchor.digest import Opened, digest_salt, plain_digest, salted_digest
from anchor.leaf import organisation_key_name, peer_key_name, sign_leaf
from anchor.policy import CheckedCheckpoint, parse_policy
from anchor.proof import Proof
from client.context import Client
from client.home import Home
from client.ledger import append_to_own_log, home_policy
from client.logs import proof_with_salt
from client.submission import anchor_leaf, once_rosters_agree, operated_policy
from core.errors import SourceChangedError, SourceError
from core.ids import derived_digest
from core.limits import MIB
from core.ports import Disk

_KEYED_BY = "moorage 2026 digest secret v1"
_PART_BYTES = 4 * MIB
ANCHOR_AGAIN = "it is anchored as soon as a quorum has; run the same command again later for its proof"


class AnchoredFile(NamedTuple):
    """``proof`` carries the file's leaf and the salt that opens it; ``checked`` is the checkpoint that it leads to."""

    proof: Proof
    checked: CheckedCheckpoint


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


async def anchor_file(client: Client, path: str) -> AnchoredFile:
    """Anchor the file at ``path``. Again, it proves the entry that is there.

    In a consortium the organisation's ledger peer anchors it, so that all members can check the proof; else the home's
    own log does.

    Raises SourceError, SourceChangedError, PendingError, and what ``Log.append`` and ``anchor_leaf`` raise.
    """
    opened = await client.ports.threads.disk(opened_leaf, client.ports.disk, client.home, path)

    async def anchor() -> AnchoredFile:
        return await _anchor_once(client, opened)

    return await once_rosters_agree(client.home, anchor)


async def _anchor_once(client: Client, opened: Opened) -> AnchoredFile:
    home, threads = client.home, client.ports.threads
    policy = operated_policy(home)
    if policy is None:
        policy = parse_policy(home_policy(home))
        anchored = await threads.disk(append_to_own_log, client, opened.leaf)
    else:
        anchored = await anchor_leaf(client.peers, policy, opened.leaf, advice=ANCHOR_AGAIN)
    proof = Proof(anchored.index, anchored.proof, anchored.checkpoint)
    checked = await threads.cpu(proof.check, opened.leaf, policy)
    return AnchoredFile(proof_with_salt(proof, opened), checked)

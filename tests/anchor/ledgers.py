"""Small ledgers for tests: fixed keys, a witness on a drive of its own, leaves by number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from anchor.cosignature import Ed25519Cosigner, MLDSA44Cosigner
from anchor.log import Anchored, Log
from anchor.note import Ed25519Signer
from anchor.policy import make_policy, parse_policy
from anchor.proof import parse_proof
from anchor.witness import LocalWitness, Witness
from core.errors import PeerUnavailableError
from core.ports import Disk
from tests.sim.disk import SimDisk

ORIGIN = "moorage/log/A/1"
LOG_KEY = Ed25519PrivateKey.from_private_bytes(b"L" * 32)
LOG = Ed25519Signer(ORIGIN, LOG_KEY).key
COSIGNERS = tuple(
    Ed25519Cosigner(f"hospital-{number}.example/witness", Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))
    for number in range(4)
)
POLICY = make_policy(LOG.vkey, [COSIGNERS[0].key.vkey])
FOUR = make_policy(LOG.vkey, [cosigner.key.vkey for cosigner in COSIGNERS])
ALONE = make_policy(LOG.vkey, [])
HYBRID = (COSIGNERS[0], MLDSA44Cosigner(COSIGNERS[0].key.name, MLDSA44PrivateKey.from_seed_bytes(b"q" * 32)))
BOTH_KEYS = make_policy(LOG.vkey, [cosigner.key.vkey for cosigner in HYBRID])
NOW_S = 1_790_000_000


def leaf(number: int) -> bytes:
    return b"leaf %d" % number


def leaves(first: int, end: int) -> list[bytes]:
    return [leaf(number) for number in range(first, end)]


def new_witness(number: int = 0, disk: Disk | None = None) -> LocalWitness:
    return LocalWitness.create(disk or SimDisk(), "/witness", [COSIGNERS[number]], {ORIGIN: [LOG]})


def reopened_witness(number: int, disk: Disk) -> LocalWitness:
    """The one that ``new_witness`` made on ``disk``, in another life."""
    return LocalWitness.open(disk, "/witness", [COSIGNERS[number]], {ORIGIN: [LOG]})


def hybrid_witness() -> LocalWitness:
    """Signs with Ed25519 and ML-DSA-44, as a home's own witness does; for the policy BOTH_KEYS."""
    return LocalWitness.create(SimDisk(), "/witness", HYBRID, {ORIGIN: [LOG]})


def create(disk: Disk, witnesses: Sequence[Witness], policy: str = POLICY) -> Log:
    return Log.create(disk, "/anchor", key=LOG_KEY, policy=policy, witnesses=witnesses, now_s=NOW_S)


def reopen(disk: Disk, witnesses: Sequence[Witness], policy: str = POLICY) -> Log:
    return Log.open(disk, "/anchor", key=LOG_KEY, policy=policy, witnesses=witnesses)


def check_anchored(anchored: Sequence[Anchored], expected: Sequence[tuple[int, bytes]], policy: str = POLICY) -> None:
    """Each is what was expected and convinces by its proof file alone."""
    assert [(item.index, item.leaf) for item in anchored] == list(expected)
    for item in anchored:
        parse_proof(item.proof_file()).check(item.leaf, parse_policy(policy))


@dataclass
class Switched:
    """A witness that can be out of reach."""

    witness: Witness
    on: bool = True

    def add_checkpoint(self, old_size: int, proof: Sequence[bytes], checkpoint: bytes, *, now_s: int) -> str:
        if not self.on:
            raise PeerUnavailableError("no answer")
        return self.witness.add_checkpoint(old_size, proof, checkpoint, now_s=now_s)


def copy_tree(source: Disk, target: Disk, path: str) -> None:
    """Copy a folder from one drive to another: a backup, or its restoration."""
    for name in source.list_folder(path):
        child = f"{path}/{name}"
        found = source.stat(child)
        assert found is not None
        if found.is_folder:
            target.make_folders(child)
            copy_tree(source, target, child)
        else:
            target.make_folders(path)
            with source.open(child, "read") as read, target.open(child, "create") as write:
                write.write_at(0, read.read_at(0, read.size()))
                write.sync()


def overwrite(disk: Disk, path: str, offset: int, data: bytes) -> None:
    with disk.open(path, "update") as file:
        file.write_at(offset, data)


def flip(disk: Disk, path: str, offset: int) -> None:
    with disk.open(path, "update") as file:
        file.write_at(offset, bytes([file.read_at(offset, 1)[0] ^ 1]))

"""The smallest ledger: one log and one witness in one folder, no server (design: "embedded default").

The witness signs with Ed25519 *and* ML-DSA-44 and the policy asks for both. It guards against this machine's own
mistakes (two processes, an old backup, a bug), not against its owner: for that, other organisations' witnesses take
its place in a later policy, and nothing that was anchored changes.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from anchor.cosignature import Cosigner, Ed25519Cosigner, MLDSA44Cosigner, mldsa44_available
from anchor.leaf import escape_name
from anchor.log import Log
from anchor.note import Ed25519Signer
from anchor.policy import make_policy
from anchor.witness import LocalWitness
from core.ports import Disk

_WITNESS_FOLDER = "witness"


@dataclass(frozen=True, slots=True)
class LedgerKeys:
    """Three keys that are used for nothing else. ``witness_mldsa44`` is None where the library has no ML-DSA-44."""

    log: Ed25519PrivateKey
    witness: Ed25519PrivateKey
    witness_mldsa44: MLDSA44PrivateKey | None

    @classmethod
    def from_seeds(cls, log: bytes, witness: bytes, witness_mldsa44: bytes) -> LedgerKeys:
        """From 32 unpredictable bytes each."""
        return cls(
            Ed25519PrivateKey.from_private_bytes(log),
            Ed25519PrivateKey.from_private_bytes(witness),
            MLDSA44PrivateKey.from_seed_bytes(witness_mldsa44) if mldsa44_available() else None,
        )


def log_origin(organisation: str, generation: int = 1) -> str:
    """The name of an organisation's log; ``generation`` grows only when a log is lost and succeeded."""
    return f"moorage/log/{escape_name(organisation)}/{generation}"


def _cosigners(origin: str, keys: LedgerKeys) -> list[Cosigner]:
    name = f"{origin}/witness"
    found: list[Cosigner] = [Ed25519Cosigner(name, keys.witness)]
    if keys.witness_mldsa44 is not None:
        found.append(MLDSA44Cosigner(name, keys.witness_mldsa44))
    return found


def embedded_policy(origin: str, keys: LedgerKeys) -> str:
    """The roster's ``Organisation.policy`` for this ledger."""
    cosigners = _cosigners(origin, keys)
    return make_policy(Ed25519Signer(origin, keys.log).key.vkey, [cosigner.key.vkey for cosigner in cosigners])


def create_ledger(disk: Disk, folder: str, origin: str, keys: LedgerKeys, *, now_s: int) -> Log:
    """Make log and witness in ``folder`` (HOME/anchor). Raises as ``Log.create``, also when they exist."""
    logs = {origin: [Ed25519Signer(origin, keys.log).key]}
    witness = LocalWitness.create(disk, f"{folder}/{_WITNESS_FOLDER}", _cosigners(origin, keys), logs)
    policy = embedded_policy(origin, keys)
    return Log.create(disk, folder, key=keys.log, policy=policy, witnesses=[witness], now_s=now_s)


def open_ledger(disk: Disk, folder: str, origin: str, keys: LedgerKeys) -> Log:
    """What ``create_ledger`` made. Raises as ``Log.open``."""
    logs = {origin: [Ed25519Signer(origin, keys.log).key]}
    witness = LocalWitness.open(disk, f"{folder}/{_WITNESS_FOLDER}", _cosigners(origin, keys), logs)
    return Log.open(disk, folder, key=keys.log, policy=embedded_policy(origin, keys), witnesses=[witness])

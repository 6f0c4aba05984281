"""Getting a checkpoint cosigned: ask witnesses, believe only what verifies, stop when the quorum is met."""

from __future__ import annotations

from collections.abc import Sequence

from anchor.checkpoint import Checkpoint
from anchor.cosignature import verifier_of
from anchor.merkle import HashAt, consistency_proof
from anchor.note import Signature, Verified, format_note, parse_signature_line
from anchor.policy import Policy
from anchor.witness import Witness
from core.errors import BadSignatureError, LedgerError, MalformedError, PeerUnavailableError, WitnessRefusedError

# A witness whose clock is further ahead than this is not believed: its time would outlive the present.
AHEAD_MAX_S = 300
_CONFLICT = 409


def ask_witness(
    witness: Witness, checkpoint: Checkpoint, note: bytes, hash_at: HashAt, *, last_size: int, now_s: int
) -> str:
    """One witness' signature lines, with a proof from the size that it has really seen.

    Raises:
        LedgerError: it has seen more entries than we have, or other ones.
        PeerUnavailableError
    """
    try:
        proof = consistency_proof(hash_at, last_size, checkpoint.size)
        return witness.add_checkpoint(last_size, proof, note, now_s=now_s)
    except WitnessRefusedError as error:
        if error.status != _CONFLICT or error.witness_size is None:
            raise
        seen_size = error.witness_size
    if seen_size > checkpoint.size:
        raise LedgerError(
            f"log {checkpoint.origin!r}: a witness has seen {seen_size} entries, here are only {checkpoint.size}; "
            "was this folder restored from a backup? Nothing more is signed: restore the latest one, or start a log "
            "of a new origin"
        )
    return witness.add_checkpoint(seen_size, consistency_proof(hash_at, seen_size, checkpoint.size), note, now_s=now_s)


def believe(policy: Policy, checkpoint: Checkpoint, lines: str, now_s: int) -> list[tuple[Signature, Verified]]:
    """The lines that are by witnesses of the policy and verify; the rest is dropped, and what is of the future."""
    keys = {(witness.key.name, witness.key.key_id): witness.key for witness in policy.witnesses}
    found: list[tuple[Signature, Verified]] = []
    for line in lines.splitlines():
        try:
            signature = parse_signature_line(line)
            key = keys[signature.name, signature.key_id]
            time_s = verifier_of(key).check(checkpoint.text, signature.blob)
        except (MalformedError, BadSignatureError, KeyError):
            continue
        if time_s <= now_s + AHEAD_MAX_S:
            found.append((signature, Verified(key, time_s)))
    return found


def collect_cosignatures(
    policy: Policy,
    witnesses: Sequence[Witness],
    checkpoint: Checkpoint,
    log_signature: Signature,
    hash_at: HashAt,
    *,
    last_size: int,
    now_s: int,
) -> bytes:
    """The checkpoint's note with enough cosignatures for the policy.

    Args:
        last_size: what the witnesses have probably seen last; each says so when it is wrong.

    Raises:
        PeerUnavailableError: too few witnesses answered.
        LedgerError: a witness contradicts us.
    """
    note = format_note(checkpoint.text, [log_signature])
    found: list[tuple[Signature, Verified]] = []
    silent: list[str] = []
    for witness in witnesses:
        if policy.is_met(verified.key for _, verified in found):
            break
        try:
            lines = ask_witness(witness, checkpoint, note, hash_at, last_size=last_size, now_s=now_s)
        except PeerUnavailableError as error:
            silent.append(str(error))
        else:
            found += believe(policy, checkpoint, lines, now_s)
    if not policy.is_met(verified.key for _, verified in found):
        names = ", ".join(sorted({verified.key.name for _, verified in found})) or "nobody"
        why = f" ({'; '.join(silent)})" if silent else ""
        raise PeerUnavailableError(
            f"log {checkpoint.origin!r}: cosigned by {names}, fewer than its policy asks for{why}; "
            f"{checkpoint.size} entries are written and wait: try again"
        )
    return format_note(checkpoint.text, [log_signature, *(signature for signature, _ in found)])

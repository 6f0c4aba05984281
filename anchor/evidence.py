"""What a monitor keeps when something is wrong: files that others check offline (docs/ledger/monitor.md, "Evidence").

A folder: ``alarm.json`` says what is claimed; ``policy`` and ``roster`` whom it is about; ``first.checkpoint`` and
``second.checkpoint`` are notes; ``prefix`` proves, by the second's own tree, what its first entries were;
``entry-1.tlog-proof`` is a bad entry, ``entry-2.tlog-proof`` an earlier one that shows it to be bad.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, cast

from blake3 import blake3

from anchor.checkpoint import Checkpoint, parse_checkpoint, parse_decimal
from anchor.cosignature import verifier_of
from anchor.merkle import PROOF_MAX_HASHES, check_consistency
from anchor.note import NOTE_MAX_BYTES, Verified, decode_hash, encode_base64, parse_note, verify_note
from anchor.policy import Policy, parse_policy
from anchor.proof import parse_proof
from anchor.roster import parse_roster
from anchor.rules import RULES, Entry, Fault, Signers, judge, state_by
from core.errors import BadSignatureError, CorruptError, MalformedError
from core.limits import ROSTER_MAX_BYTES

FORMAT = "moorage-alarm/1"
ALARM_FILE = "alarm.json"
ALARM_MAX_BYTES = 64 * 1024
EVIDENCE_MAX_BYTES = ROSTER_MAX_BYTES + 8 * NOTE_MAX_BYTES


class AlarmKind(StrEnum):
    """What is wrong with a log (docs/ledger/monitor.md, "Alarms")."""

    FORK = "fork"
    ROLLBACK = "rollback"
    BEHIND = "behind"
    STALL = "stall"
    BAD_ENTRY = "bad-entry"
    BAD_CHECKPOINT = "bad-checkpoint"
    UNREADABLE = "unreadable"

    @property
    def passes(self) -> bool:
        """Whether it ends by itself when the log goes on as it should."""
        return self in (AlarmKind.STALL, AlarmKind.BEHIND, AlarmKind.BAD_CHECKPOINT, AlarmKind.UNREADABLE)


class Prefix(NamedTuple):
    """That the tree of the second checkpoint begins with ``size`` entries of the root ``root``."""

    size: int
    root: bytes
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """An alarm and all that shows it. ``notes`` and ``proofs`` as the module says."""

    kind: AlarmKind
    origin: str
    words: str
    seen_s: int
    policy: str
    roster: bytes = b""
    notes: tuple[bytes, ...] = ()
    prefix: Prefix | None = None
    proofs: tuple[bytes, ...] = field(default=())

    @property
    def name(self) -> str:
        """A folder's name: the same for the same misdeed, whenever it is seen."""
        hasher = blake3(self.origin.encode())
        # Cosignatures differ each time; what is wrong does not.
        for part in (*(parse_note(note).text.encode() for note in self.notes if _is_note(note)), *self.proofs[1:]):
            hasher.update(part)
        for proof in self.proofs[:1]:
            hasher.update(b"%d" % parse_proof(proof).index)
        return f"{self.kind}-{hasher.hexdigest()[:16]}"

    def files(self) -> dict[str, bytes]:
        """What to write, ``alarm.json`` last: a folder without it was not finished."""
        files = {"policy": self.policy.encode()}
        if self.roster:
            files["roster"] = self.roster
        files |= {f"{name}.checkpoint": note for name, note in zip(("first", "second"), self.notes, strict=False)}
        if self.prefix is not None:
            lines = [str(self.prefix.size), *map(encode_base64, (self.prefix.root, *self.prefix.proof))]
            files["prefix"] = ("\n".join(lines) + "\n").encode()
        files |= {f"entry-{number}.tlog-proof": proof for number, proof in enumerate(self.proofs, start=1)}
        claim = {"format": FORMAT, "kind": self.kind, "origin": self.origin, "words": self.words, "seen": self.seen_s}
        return {**files, ALARM_FILE: json.dumps({**claim, "rules": RULES}, indent=1).encode() + b"\n"}


def _is_note(data: bytes) -> bool:
    try:
        parse_note(data)
    except MalformedError:
        return False
    return True


def parse_evidence(files: Mapping[str, bytes]) -> Evidence:
    """From a folder's files; nothing is proved yet. Raises MalformedError."""
    try:
        claim = json.loads(files.get(ALARM_FILE, b"")[:ALARM_MAX_BYTES])
        policy = files.get("policy", b"").decode()
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"evidence: {ALARM_FILE} or policy cannot be read: {error}") from error
    fields = cast(dict[str, object], claim) if isinstance(claim, dict) else {}
    kind, origin, words, seen_s = (fields.get(name) for name in ("kind", "origin", "words", "seen"))
    if fields.get("format") != FORMAT or not (isinstance(origin, str) and isinstance(words, str)):
        raise MalformedError(f"evidence: {ALARM_FILE} is not of the format {FORMAT!r}")
    if not isinstance(seen_s, int) or kind not in list(AlarmKind):
        raise MalformedError(f"evidence: {ALARM_FILE} names no kind of alarm, or no time")
    notes = [files[name] for name in ("first.checkpoint", "second.checkpoint") if name in files]
    proofs = [files[name] for name in ("entry-1.tlog-proof", "entry-2.tlog-proof") if name in files]
    prefix = _parse_prefix(files["prefix"]) if "prefix" in files else None
    roster = files.get("roster", b"")
    return Evidence(AlarmKind(str(kind)), origin, words, seen_s, policy, roster, tuple(notes), prefix, tuple(proofs))


def _parse_prefix(data: bytes) -> Prefix:
    *lines, end = data.decode("ascii", "replace").split("\n")
    if not 2 <= len(lines) <= 2 + PROOF_MAX_HASHES or end:
        raise MalformedError("evidence: prefix is not a size, a root and a proof")
    root, *proof = (decode_hash(line) for line in lines[1:])
    return Prefix(parse_decimal(lines[0]), root, tuple(proof))


class LogSigned(NamedTuple):
    """A checkpoint that its log signed, and who of the policy cosigned it, quorum or not."""

    checkpoint: Checkpoint
    cosigners: tuple[Verified, ...]


def log_signed(policy: Policy, note: bytes) -> LogSigned:
    """Raises MalformedError, BadSignatureError unless the policy's log signed it: what the log answers for."""
    parsed = parse_note(note)
    checkpoint = parse_checkpoint(parsed.text)
    keys = [*policy.logs, *(witness.key for witness in policy.witnesses)]
    verified = verify_note(parsed, [verifier_of(key) for key in keys])
    if not any(item.key in policy.logs and item.key.name == checkpoint.origin for item in verified):
        raise BadSignatureError(f"checkpoint of {checkpoint.origin!r}: not signed by a log of the policy")
    return LogSigned(checkpoint, tuple(item for item in verified if item.key not in policy.logs))


def signers_of(roster: bytes, policy: str) -> Signers:
    """Who may sign in the log of this policy: the organisations that have it on the roster; nobody without one."""
    if not roster:
        return Signers({}, {})
    owners = {item.manifest_key: item.name for item in parse_roster(roster).organisations if item.policy == policy}
    return Signers(owners, {})


def check_evidence(evidence: Evidence) -> list[str]:
    """What the evidence proves, in words, each a thing that its reader need not take on trust.

    Raises:
        CorruptError: it does not show what it claims.
        MalformedError, BadSignatureError: a part of it cannot be believed.
    """
    policy = parse_policy(evidence.policy)
    if evidence.origin not in [key.name for key in policy.logs]:
        raise CorruptError("evidence: its policy is about another log")
    match evidence.kind:
        case AlarmKind.FORK:
            return _check_fork(evidence, policy)
        case AlarmKind.ROLLBACK | AlarmKind.BEHIND:
            return _check_rollback(evidence, policy)
        case AlarmKind.BAD_ENTRY:
            return _check_entry(evidence, policy)
        case AlarmKind.STALL:
            checked = policy.check_checkpoint(_note(evidence, 0))
            return [f"a quorum cosigned {checked.checkpoint.size} entries at {checked.time_s} (seconds since 1970)"]
        case _:
            return []


def _note(evidence: Evidence, number: int) -> bytes:
    if len(evidence.notes) <= number:
        raise MalformedError("evidence: a checkpoint is missing")
    return evidence.notes[number]


def _pair(evidence: Evidence, policy: Policy) -> tuple[LogSigned, LogSigned]:
    first, second = (log_signed(policy, _note(evidence, number)) for number in (0, 1))
    if {first.checkpoint.origin, second.checkpoint.origin} != {evidence.origin}:
        raise CorruptError("evidence: its checkpoints are another log's")
    return first, second


def _check_fork(evidence: Evidence, policy: Policy) -> list[str]:
    first, second = _pair(evidence, policy)
    small, large = first.checkpoint, second.checkpoint
    if small.size == large.size:
        if small.root == large.root:
            raise CorruptError("evidence: both checkpoints are the same")
        proven = f"the log signed two histories of {small.size} entries"
    else:
        prefix = evidence.prefix
        if prefix is None or prefix.size != small.size or prefix.root == small.root:
            raise CorruptError("evidence: nothing shows that the second checkpoint does not extend the first")
        check_consistency(prefix.size, large.size, prefix.root, large.root, prefix.proof)
        proven = f"the log signed {small.size} entries, and then {large.size} that do not begin with them"
    both = {item.key.name for item in first.cosigners} & {item.key.name for item in second.cosigners}
    return [proven, *(f"{name} cosigned both histories" for name in sorted(both))]


def _check_rollback(evidence: Evidence, policy: Policy) -> list[str]:
    first, second = _pair(evidence, policy)
    if second.checkpoint.size >= first.checkpoint.size:
        raise CorruptError("evidence: the second checkpoint is not the smaller one")
    earlier = {item.key.vkey: item.time_s for item in first.cosigners}
    later = {item.key.name for item in second.cosigners if 0 < earlier.get(item.key.vkey, 0) < item.time_s}
    proven = f"the log signed {first.checkpoint.size} entries, and a checkpoint of {second.checkpoint.size}"
    return [proven, *(f"{name} cosigned the smaller one later" for name in sorted(later))]


def _check_entry(evidence: Evidence, policy: Policy) -> list[str]:
    found: list[Entry] = []
    for data in evidence.proofs:
        proof = parse_proof(data)
        checked = proof.check(proof.extra or b"", policy)
        found.append(Entry(proof.index, proof.extra or b"", checked.time_s))
    if not found:
        raise MalformedError("evidence: the entry is missing")
    if any(entry.place >= found[0].place for entry in found[1:]):
        raise CorruptError("evidence: what should show the entry to be bad came after it")
    signers = signers_of(evidence.roster, evidence.policy)
    before = [change for entry in found[1:] if (change := state_by(entry, signers)) is not None]
    fault = judge({change.object: change.state for change in before}, found[0], signers)
    if not isinstance(fault, Fault) or not fault.kind.is_alarming:
        raise CorruptError("evidence: the entry breaks no rule")
    if not fault.shown:
        return [f"entry {found[0].place} is in the log", *(f"and entry {entry.place}" for entry in found[1:])]
    shown = f"entry {found[0].place} of the log breaks {RULES} ({fault.kind}): {fault.words}"
    return [shown, *(f"as entry {entry.place} shows" for entry in found[1:])]

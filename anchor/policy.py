"""Whom to believe about a log: its keys, its witnesses and how many of them it takes (c2sp.org/tlog-policy).

What is written here is what both the specification and the Go parsers accept: URLs on witness lines, comments
on lines of their own, no keyword as a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from anchor.checkpoint import Checkpoint, parse_checkpoint
from anchor.cosignature import is_cosignature_key, verifier_of
from anchor.note import NoteKey, Verified, parse_note, verify_note
from core.errors import BadSignatureError, MalformedError

QUORUM_NONE = "none"
_KEYWORDS = frozenset({"log", "witness", "group", "quorum", "any", "all", QUORUM_NONE})
# The specification asks for at least 32 of each; a pool has at most 64 organisations with two keys each.
LOGS_MAX = 64
WITNESSES_MAX = 128
GROUPS_MAX = 128
_BLANKS = re.compile(r"[ \t]+")
_THRESHOLD = re.compile(r"[1-9][0-9]{0,3}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class PolicyWitness(NamedTuple):
    """One key of a witness under the name that groups use for it. ``url`` may be empty."""

    name: str
    key: NoteKey
    url: str = ""


class PolicyGroup(NamedTuple):
    """Satisfied when at least ``needed`` of ``members`` (witnesses or earlier groups) are."""

    name: str
    needed: int
    members: tuple[str, ...]


class CheckedCheckpoint(NamedTuple):
    """A checkpoint that satisfies a policy. ``time_s`` is when its quorum was complete (0: a quorum of none)."""

    checkpoint: Checkpoint
    log: NoteKey
    cosigners: tuple[Verified, ...]
    time_s: int

    @property
    def cosigner_names(self) -> tuple[str, ...]:
        """Names of the witnesses whose cosignatures were verified, each once, ascending."""
        return tuple(sorted({cosigner.key.name for cosigner in self.cosigners}))


class Policy(NamedTuple):
    """A parsed policy. Made by ``parse_policy`` only, which checks that its names refer to something."""

    logs: tuple[NoteKey, ...]
    witnesses: tuple[PolicyWitness, ...]
    groups: tuple[PolicyGroup, ...]
    quorum: str
    log_urls: tuple[str, ...] = ()
    """Where each of ``logs`` is published, empty where the policy does not say; none at all when it never does."""

    def log_url(self, key: NoteKey) -> str:
        """Where the log is published; empty when the policy does not say."""
        urls = dict(zip(self.logs, self.log_urls, strict=False))
        return urls.get(key, "")

    def is_met(self, cosigners: Iterable[NoteKey]) -> bool:
        """Whether these keys' cosignatures together satisfy the quorum."""
        keys = frozenset(cosigners)
        met = {witness.name for witness in self.witnesses if witness.key in keys} | {QUORUM_NONE}
        for group in self.groups:
            if sum(member in met for member in group.members) >= group.needed:
                met.add(group.name)
        return self.quorum in met

    def met_at_s(self, cosigners: Sequence[Verified]) -> int | None:
        """The earliest time by which enough of the cosignatures had been made; None when they are not enough."""
        for time_s in sorted({0, *(cosigner.time_s for cosigner in cosigners)}):
            if self.is_met(cosigner.key for cosigner in cosigners if cosigner.time_s <= time_s):
                return time_s
        return None

    def check_checkpoint(self, data: bytes) -> CheckedCheckpoint:
        """Believe a cosigned checkpoint (a note), or raise.

        Raises:
            MalformedError: not a note or not a checkpoint.
            BadSignatureError: a known key's signature fails, the log's own is missing, or the quorum is not met.
        """
        note = parse_note(data)
        checkpoint = parse_checkpoint(note.text)
        keys = [*self.logs, *(witness.key for witness in self.witnesses)]
        verified = verify_note(note, [verifier_of(key) for key in keys])
        signers = [item.key for item in verified if item.key in self.logs and item.key.name == checkpoint.origin]
        if not signers:
            raise BadSignatureError(f"checkpoint of {checkpoint.origin!r}: not signed by a log of the policy")
        cosigners = tuple(item for item in verified if item.key not in self.logs)
        time_s = self.met_at_s(cosigners)
        if time_s is None:
            names = ", ".join(sorted({item.key.name for item in cosigners})) or "nobody"
            raise BadSignatureError(
                f"checkpoint of {checkpoint.origin!r}: cosigned by {names}, which does not meet the policy's quorum"
            )
        return CheckedCheckpoint(checkpoint, signers[0], cosigners, time_s)


class _Parser:
    """Collects a policy line by line."""

    def __init__(self) -> None:
        self.logs: list[NoteKey] = []
        self.log_urls: list[str] = []
        self.witnesses: list[PolicyWitness] = []
        self.groups: list[PolicyGroup] = []
        self.quorum: str | None = None
        self._names: dict[str, bool] = {}
        """Every defined name, and whether a group has it already."""

    def _define(self, name: str) -> None:
        if name in _KEYWORDS or name in self._names:
            raise MalformedError(f"policy: the name {name!r} is taken")
        self._names[name] = False

    def log(self, vkey: str, url: str = "") -> None:
        key = NoteKey.parse(vkey)
        verifier_of(key)
        if any(key.public == other.public for other in self.logs):
            raise MalformedError(f"policy: the key of log {key.name!r} occurs twice")
        self.logs.append(key)
        self.log_urls.append(url)

    def witness(self, name: str, vkey: str, url: str = "") -> None:
        self._define(name)
        key = NoteKey.parse(vkey)
        verifier_of(key)
        if not is_cosignature_key(key):
            raise MalformedError(f"policy: the key of witness {name!r} cannot cosign")
        if any(key.public == other.key.public for other in self.witnesses):
            raise MalformedError(f"policy: the key of witness {name!r} occurs twice")
        self.witnesses.append(PolicyWitness(name, key, url))

    def group(self, name: str, threshold: str, *members: str) -> None:
        self._define(name)
        for member in members:
            if member == name or self._names.get(member, True):
                raise MalformedError(f"policy: group {name!r}: member {member!r} is unknown or already in a group")
            self._names[member] = True
        words = {"any": 1, "all": len(members)}
        if threshold not in words and _THRESHOLD.fullmatch(threshold) is None:
            raise MalformedError(f"policy: group {name!r}: {threshold!r} is not a threshold")
        needed = words[threshold] if threshold in words else int(threshold)
        if not 1 <= needed <= len(members):
            raise MalformedError(f"policy: group {name!r} needs {needed} of {len(members)} members")
        self.groups.append(PolicyGroup(name, needed, members))

    def set_quorum(self, name: str) -> None:
        if self.quorum is not None:
            raise MalformedError("policy: two quorums")
        if name != QUORUM_NONE and name not in self._names:
            raise MalformedError(f"policy: its quorum {name!r} is not defined")
        self.quorum = name

    def line(self, words: Sequence[str]) -> None:
        match words:
            case ["log", vkey, *url] if len(url) <= 1:
                self.log(vkey, *url)
            case ["witness", name, vkey, *url] if len(url) <= 1:
                self.witness(name, vkey, *url)
            case ["group", name, threshold, *members] if members:
                self.group(name, threshold, *members)
            case ["quorum", name]:
                self.set_quorum(name)
            case _:
                raise MalformedError(f"policy: cannot read the line {' '.join(words)[:80]!r}")
        if len(self.logs) > LOGS_MAX or len(self.witnesses) > WITNESSES_MAX or len(self.groups) > GROUPS_MAX:
            raise MalformedError(f"policy: more than {LOGS_MAX} logs, {WITNESSES_MAX} witnesses or {GROUPS_MAX} groups")


def parse_policy(text: str) -> Policy:
    """From tlog-policy text. Raises MalformedError naming the line or name at fault."""
    if _CONTROL.search(text) is not None:
        raise MalformedError("policy: contains a control character")
    parser = _Parser()
    for line in text.split("\n"):
        words = [word for word in _BLANKS.split(line) if word]
        if words and not words[0].startswith("#"):
            parser.line(words)
    if parser.quorum is None:
        raise MalformedError("policy: no quorum line")
    urls = tuple(parser.log_urls) if any(parser.log_urls) else ()
    return Policy(tuple(parser.logs), tuple(parser.witnesses), tuple(parser.groups), parser.quorum, urls)


def format_policy(policy: Policy) -> str:
    """The policy's text, one definition a line. ``parse_policy`` gives an equal policy back."""
    return "".join(f"{line}\n" for line in _policy_lines(policy))


def _policy_lines(policy: Policy) -> Iterator[str]:
    for key in policy.logs:
        yield f"log {key.vkey} {policy.log_url(key)}".rstrip()
    for witness in policy.witnesses:
        yield f"witness {witness.name} {witness.key.vkey} {witness.url}".rstrip()
    for group in policy.groups:
        yield f"group {group.name} {group.needed} {' '.join(group.members)}"
    yield f"quorum {policy.quorum}"


def byzantine_quorum(witnesses: int) -> int:
    """How many of n witnesses it takes so that floor((n-1)/3) lying ones cannot make two truths: floor(2n/3)+1."""
    return 2 * witnesses // 3 + 1


def make_policy(
    log_vkey: str, witness_vkeys: Sequence[str], *, log_url: str = "", witness_urls: Mapping[str, str] | None = None
) -> str:
    """A roster's ``Organisation.policy`` for one log.

    Keys of one name belong to one witness, which counts only when it signed with all of them (Ed25519 *and*
    ML-DSA-44). Of n witnesses ``byzantine_quorum(n)`` must cosign; with none the policy says ``quorum none``. A
    witness whose name is not in ``witness_urls`` gets one made of it, since Go's parser insists on some. Raises
    MalformedError.
    """
    owners: dict[str, list[NoteKey]] = {}
    for vkey in witness_vkeys:
        key = NoteKey.parse(vkey)
        owners.setdefault(key.name, []).append(key)
    witnesses: list[PolicyWitness] = []
    groups: list[PolicyGroup] = []
    for number, (owner, keys) in enumerate(owners.items(), start=1):
        names = tuple(f"w{number}-{_KEY_WORDS.get(key.signature_type, 'key')}" for key in keys)
        url = (witness_urls or {}).get(owner, f"https://{owner}/")
        witnesses += (PolicyWitness(name, key, url) for name, key in zip(names, keys, strict=True))
        groups.append(PolicyGroup(f"w{number}", len(keys), names))
    if groups:
        members = tuple(group.name for group in groups)
        groups.append(PolicyGroup("witnesses", byzantine_quorum(len(members)), members))
    quorum = "witnesses" if groups else QUORUM_NONE
    urls = (log_url,) if log_url else ()
    text = format_policy(Policy((NoteKey.parse(log_vkey),), tuple(witnesses), tuple(groups), quorum, urls))
    parse_policy(text)
    return text


_KEY_WORDS: Mapping[int, str] = {0x04: "ed25519", 0x06: "mldsa44"}

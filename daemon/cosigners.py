"""The witnesses of one log, each asked by a task of its own, and what they have signed so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from anchor.checkpoint import Checkpoint, parse_checkpoint
from anchor.cosignature import verifier_of
from anchor.cosigning import believe
from anchor.note import NoteKey, Signature, Verified, format_note, parse_note, verify_note
from anchor.policy import Policy
from anchor.witness import AddCheckpoint
from anchor.writer import Commit
from core.errors import (
    BadSignatureError,
    LedgerError,
    MalformedError,
    MoorageError,
    PeerUnavailableError,
    WitnessRefusedError,
)
from core.ports import Clock, Threads

# A witness that did not answer is asked again after so long, twice as long each time.
RETRY_FIRST_S = 0.1
RETRY_MAX_S = 15.0
# Checkpoints whose cosignatures are collected at the same time: while there is no quorum, commits go on.
COLLECTED_MAX = 8
_CONFLICT = 409
_INCONSISTENT = 422


class AskedWitness(Protocol):
    """A witness, wherever it is: this peer's own, or one asked over HTTP."""

    @property
    def url(self) -> str: ...

    async def add_checkpoint(self, request: AddCheckpoint) -> str:
        """As ``client.witness.WebWitness``."""
        ...

    async def latest(self, origin: str) -> bytes | None:
        """As ``client.witness.WebWitness``."""
        ...


class Collection:
    """A committed checkpoint and the cosignatures that have come for it."""

    def __init__(self, commit: Commit) -> None:
        self.commit = commit
        self._found: dict[NoteKey, tuple[Signature, Verified]] = {}

    def add(self, found: Sequence[tuple[Signature, Verified]]) -> None:
        """A later signature by the same key replaces the earlier."""
        self._found.update((verified.key, (signature, verified)) for signature, verified in found)

    @property
    def keys(self) -> list[NoteKey]:
        return list(self._found)

    def note(self) -> bytes:
        signatures = [signature for signature, _ in self._found.values()]
        return format_note(self.commit.checkpoint.text, [self.commit.log_signature, *signatures])


class Cosigners:
    """Asks all witnesses at once about the newest commit; a slow one delays nobody.

    Args:
        policy: asked anew each time, for rosters change.
        log_key: ours: a witness' claim that it has seen more counts only when our own key signed it.
        say: told in words when a witness begins to fail.
        tell: called when cosignatures have come, or ``contradiction`` is known.
    """

    def __init__(
        self,
        witnesses: Sequence[AskedWitness],
        policy: Callable[[], Policy],
        log_key: NoteKey,
        threads: Threads,
        clock: Clock,
        say: Callable[[str], None],
        tell: Callable[[], None],
    ) -> None:
        self._witnesses = tuple(witnesses)
        self._policy = policy
        self._log_key = log_key
        self._threads = threads
        self._clock = clock
        self._say = say
        self._tell = tell
        self._collections: dict[int, Collection] = {}
        self._newer = trio.Event()
        self.contradiction: LedgerError | None = None
        """Why nothing more may be signed: a witness showed a checkpoint of ours that does not fit."""

    def offer(self, commit: Commit) -> None:
        """From now on ask for cosignatures of this commit, the newest."""
        self._collections.setdefault(commit.checkpoint.size, Collection(commit))
        while len(self._collections) > COLLECTED_MAX:
            del self._collections[min(self._collections)]
        self._newer.set()
        self._newer = trio.Event()

    def forget_below(self, size: int) -> None:
        """Smaller checkpoints need no more cosignatures: a larger one is published."""
        for old in [old for old in self._collections if old < size]:
            del self._collections[old]

    def best(self) -> Collection | None:
        """The largest checkpoint whose cosignatures meet the policy's quorum."""
        policy = self._policy()
        for size in sorted(self._collections, reverse=True):
            if policy.is_met(self._collections[size].keys):
                return self._collections[size]
        return None

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            for witness in self._witnesses:
                nursery.start_soon(self._tend, witness)

    async def _tend(self, witness: AskedWitness) -> None:
        seen_size: int | None = None
        done: Collection | None = None
        failures = 0
        while True:
            while not self._collections or (newest := self._collections[max(self._collections)]) is done:
                await self._newer.wait()
            if seen_size is None:
                seen_size = newest.commit.checkpoint.size
            try:
                seen_size = await self._ask(witness, newest, seen_size)
            except MoorageError as error:
                failures += 1
                if failures == 1:
                    self._say(f"witness {witness.url}: {error}")
                await trio.sleep(min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** min(failures - 1, 20)))
                continue
            failures = 0
            done = newest

    async def _ask(self, witness: AskedWitness, newest: Collection, seen_size: int) -> int:
        """Have one witness sign; the size that it has seen then."""
        commit = newest.commit
        size = commit.checkpoint.size
        for _ in range(3):
            old_size = min(seen_size, size)
            proof = commit.growth
            if old_size != commit.old_size:
                proof = await self._threads.disk(commit.consistency, old_size)
            try:
                lines = await witness.add_checkpoint(AddCheckpoint(old_size, proof, commit.note))
            except WitnessRefusedError as error:
                if error.status == _CONFLICT and error.witness_size is not None and error.witness_size <= size:
                    seen_size = error.witness_size
                    continue
                if error.status in (_CONFLICT, _INCONSISTENT):
                    await self._look_for_contradiction(witness)
                raise
            now_s = int(self._clock.now())
            found = await self._threads.cpu(believe, self._policy(), commit.checkpoint, lines, now_s)
            if not found:
                raise PeerUnavailableError("none of its signatures verifies under a key of the policy and a sane time")
            newest.add(found)
            self._tell()
            return size
        raise PeerUnavailableError("it changes its mind about what it has seen")

    async def _look_for_contradiction(self, witness: AskedWitness) -> None:
        """Its word alone stops nobody: the checkpoint that it remembers must be signed by our own key."""
        data = await witness.latest(self._log_key.name)
        # Not the commit that it was asked about: meanwhile anybody may have shown it a newer one of ours.
        commit = self._collections[max(self._collections)].commit
        seen = _signed_by(self._log_key, data) if data is not None else None
        if seen is None or seen.origin != commit.checkpoint.origin:
            return
        if seen.size > commit.checkpoint.size:
            self._contradict(
                f"witness {witness.url} has seen {seen.size} entries of {seen.origin!r}, here are only "
                f"{commit.checkpoint.size}; was this folder restored from a backup? Nothing more is signed: restore "
                "the latest one, or start a log of a new origin"
            )
        elif await self._threads.disk(commit.root_at, seen.size) != seen.root:
            self._contradict(
                f"witness {witness.url} remembers another history of {seen.origin!r}, signed by its key, at "
                f"{seen.size} entries. Nothing more is signed"
            )

    def _contradict(self, text: str) -> None:
        self.contradiction = self.contradiction or LedgerError(text)
        self._tell()


def _signed_by(key: NoteKey, data: bytes) -> Checkpoint | None:
    try:
        note = parse_note(data)
        verify_note(note, [verifier_of(key)])
        return parse_checkpoint(note.text)
    except (MalformedError, BadSignatureError):
        return None

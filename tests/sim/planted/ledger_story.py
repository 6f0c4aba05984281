"""A log and its two witnesses live several lives: appends, kills, power cuts, witnesses away, liars, second histories.

Promises: a leaf that was anchored stays at its index; whatever was cosigned is a beginning of what is there; nothing is
shown below the quorum; a witness signs one history and never forgets it; a leaf is in the log once.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256

from anchor.checkpoint import Checkpoint, parse_checkpoint
from anchor.cosignature import verifier_of
from anchor.log import Anchored, Log
from anchor.note import Ed25519Signer, format_note, parse_note
from anchor.policy import make_policy
from anchor.witness import LocalWitness
from core.errors import BadSignatureError, MoorageError, PeerUnavailableError, WitnessRefusedError
from tests.anchor.ledgers import COSIGNERS, LOG, LOG_KEY, NOW_S, ORIGIN, create, reopen, reopened_witness
from tests.sim.chance import derive
from tests.sim.disk import SimDisk
from tests.sim.drive import DiskFaults, SimDrive
from tests.sim.life import NodeDead

WITNESSES = 2
POLICY = make_policy(LOG.vkey, [cosigner.key.vkey for cosigner in COSIGNERS[:WITNESSES]])
LIVES = 5
STEPS = 5


def root_of(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1, by the book."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0]).digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + root_of(leaves[:half]) + root_of(leaves[half:])).digest()


@dataclass
class Unreliable:
    """A witness that is away at times, or answers with what is no signature."""

    witness: LocalWitness
    chance: random.Random

    def add_checkpoint(self, old_size: int, proof: Sequence[bytes], checkpoint: bytes, *, now_s: int) -> str:
        luck = self.chance.random()
        if luck < 0.15:
            raise PeerUnavailableError("no answer")
        lines = self.witness.add_checkpoint(old_size, proof, checkpoint, now_s=now_s)
        if luck < 0.3:
            head, _, blob = lines.rstrip("\n").rpartition(" ")
            return f"{head} {blob[:-12]}{'A' * 10}==\n"
        return lines


class DoomedDrive(SimDrive):
    """``doom``: the kind of operation amid which the power goes, and which one of them."""

    doom: tuple[str, int] = ("", 0)

    def step(self, kind: str, path: str) -> None:
        if kind == self.doom[0]:
            self.doom = (kind, self.doom[1] - 1)
            if self.doom[1] == 0:
                self.crash_at = self.operations + 1
        super().step(kind, path)


@dataclass
class LedgerStory:
    seed: int
    chance: random.Random = field(init=False)
    drives: list[DoomedDrive] = field(init=False)
    witnesses: list[LocalWitness] = field(default_factory=list[LocalWitness])
    log: Log = field(init=False)
    log_disk: SimDisk = field(init=False)
    promised: list[Anchored] = field(default_factory=list[Anchored])
    cosigned: list[int] = field(default_factory=lambda: [0] * WITNESSES)
    shown: list[Checkpoint] = field(default_factory=list[Checkpoint])
    leaves: int = 0

    def __post_init__(self) -> None:
        self.chance = derive(self.seed, "ledger")
        ordered, lost = self.chance.random() < 0.4, self.chance.choice([0.0, 0.3, 1.0])
        faults = DiskFaults(names_ordered=ordered, file_lost_p=lost)
        self.drives = [DoomedDrive(self.seed, f"drive-{number}", faults) for number in range(WITNESSES)]

    def disk(self, number: int) -> SimDisk:
        return SimDisk(self.drives[number])

    def tell(self) -> None:
        log_disk, other = self.disk(0), self.disk(1)
        for number, disk in enumerate((log_disk, other)):
            self.witnesses.append(LocalWitness.create(disk, "/witness", [COSIGNERS[number]], {ORIGIN: [LOG]}))
        self.log = create(log_disk, self.witnesses, POLICY)
        if self.chance.random() < 0.5:
            # Its first tile is nearly full: a step later another one begins.
            self.anchor([self._new() for _ in range(self.chance.randint(250, 256))])
        for _ in range(LIVES):
            self.boot()
            killed = self.chance.random() < 0.4
            for drive in self.drives:
                drive.on_crash = drive.life.end if killed else None
            victim = self.chance.choice(self.drives)
            if self.chance.random() < 0.5:
                victim.crash_at = victim.operations + self.chance.randint(1, 70)
            else:
                victim.doom = (self.chance.choice(["rename", "sync", "sync folder"]), self.chance.randint(1, 6))
            with suppress(NodeDead):
                if self.chance.random() < 0.3:
                    # A short life that adds nothing.
                    with suppress(MoorageError):
                        self.show()
                    killed = False
                    raise NodeDead
                for _ in range(self.chance.randint(1, STEPS)):
                    self.step()
            self.end_life(killed=killed)
        for drive in self.drives:
            drive.cut_power()
        self.boot()
        # Everybody is there and nothing fails: now it must go on.
        self.log = reopen(self.log_disk, self.witnesses, POLICY)
        self.anchor([self._new() for _ in range(3)])
        self.check()

    def end_life(self, *, killed: bool) -> None:
        for drive in self.drives:
            drive.crash_at, drive.doom = None, ("", 0)
            if not killed and not drive.life.dead:
                drive.cut_power()

    def boot(self) -> None:
        disks = [self.disk(number) for number in range(WITNESSES)]
        self.witnesses = [reopened_witness(number, disk) for number, disk in enumerate(disks)]
        for witness, cosigned in zip(self.witnesses, self.cosigned, strict=True):
            latest = witness.latest(ORIGIN)
            assert (latest.size if latest else 0) >= cosigned, "a witness forgot what it had signed"
        self.log_disk = disks[0]
        helpers = [Unreliable(witness, self.chance) for witness in self.witnesses]
        self.log = reopen(disks[0], helpers, POLICY)
        self.check()

    def check(self) -> None:
        """Every promise ever made holds of the log as it is."""
        size = self.log.size()
        leaves = self.log.leaves(0, size)
        assert len(leaves) == size
        assert len(set(leaves)) == size, "a leaf is in the log twice"
        assert self.log.check() == size
        for item in self.promised:
            assert leaves[item.index : item.index + 1] == [item.leaf], "a leaf that was anchored is not there"
        for checkpoint in self.shown:
            assert root_of(leaves[: checkpoint.size]) == checkpoint.root, "two histories were signed"

    def step(self) -> None:
        appends = [self.append, self.append, self.append, self.again, self.show, self.show]
        work = self.chance.choice([*appends, self.second_history, self.go_back])
        with suppress(MoorageError):
            work()

    def _new(self) -> bytes:
        self.leaves += 1
        return b"leaf %d of %d" % (self.leaves, self.seed)

    def anchor(self, leaves: Sequence[bytes]) -> None:
        anchored = self.log.append(leaves, NOW_S)
        assert [item.leaf for item in anchored] == list(leaves), "another leaf was proved"
        self.promised += anchored
        self.saw(anchored[0].checkpoint)

    def saw(self, note: bytes) -> None:
        """What others may have seen must stay true."""
        self.check_quorum(note)
        self.shown.append(parse_checkpoint(parse_note(note).text))
        self.cosigned = [max(self.shown[-1].size, cosigned) for cosigned in self.cosigned]

    def show(self) -> None:
        """What is committed is cosigned and shown, with nothing added."""
        self.saw(self.log.publish(NOW_S))

    def check_quorum(self, checkpoint: bytes) -> None:
        note = parse_note(checkpoint)
        signers: set[str] = set()
        for cosigner in COSIGNERS[:WITNESSES]:
            for signature in note.signatures:
                if (signature.name, signature.key_id) == (cosigner.key.name, cosigner.key.key_id):
                    with suppress(BadSignatureError):
                        verifier_of(cosigner.key).check(note.text, signature.blob)
                        signers.add(cosigner.key.name)
        assert len(signers) == WITNESSES, f"shown with {len(signers)} of {WITNESSES} cosignatures"

    def append(self) -> None:
        self.anchor([self._new() for _ in range(self.chance.randint(1, 3))])

    def again(self) -> None:
        """What is anchored already is proved at its old index."""
        if self.promised:
            old = self.chance.choice(self.promised)
            self.anchor([old.leaf, self._new()])
            assert self.promised[-2].index == old.index, "an anchored leaf got another index"

    def _offer(self, size: int, root: bytes, proof: Sequence[bytes]) -> None:
        """The log's key signs something that does not extend what a witness has seen."""
        number = self.chance.randrange(WITNESSES)
        latest = self.witnesses[number].latest(ORIGIN)
        if latest is None or latest.size == 0 or (size >= latest.size and root == latest.root):
            return
        checkpoint = Checkpoint(ORIGIN, size, root)
        note = format_note(checkpoint.text, [Ed25519Signer(ORIGIN, LOG_KEY).sign(checkpoint.text)])
        for old_size in sorted({min(size, latest.size), latest.size}):
            try:
                self.witnesses[number].add_checkpoint(old_size, proof, note, now_s=NOW_S)
            except WitnessRefusedError:
                continue
            raise AssertionError("a witness signed a second history")

    def second_history(self) -> None:
        size = self.log.size() + self.chance.randint(0, 2)
        self._offer(size, sha256(b"another").digest(), [sha256(b"proof").digest()] * self.chance.randint(0, 3))

    def go_back(self) -> None:
        if self.promised:
            size = self.chance.randrange(self.log.size())
            self._offer(size, root_of(self.log.leaves(0, size)), [])


def ledger(seed: int) -> None:
    LedgerStory(seed).tell()

"""A consortium that lives long, and receipts of what its first hospital anchors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256

from anchor.leaf import manifest_leaf
from anchor.log import Log
from anchor.note import Ed25519Signer
from anchor.proof import Proof, format_proof, parse_proof
from anchor.receipt import Receipt, encode_receipt
from anchor.roster import Roster, parse_roster
from anchor.rosterfile import RosterFile, encode_roster_file, roster_of
from anchor.witness import LocalWitness
from core.identity import key_from_seed
from core.ids import ObjectId
from erasure.scheme import Scheme
from tests.anchor.consortium import FOUR, NOW_S, Hospital, unverified, version
from tests.sim.disk import SimDisk

OBJECT = ObjectId(bytes(range(32)))


@cache
def grown() -> RosterFile:
    """A consortium as they come about: founded by one, joined by one after the other."""
    file = version(None, FOUR[:1], FOUR[:1])
    for count in (2, 3, 4):
        file = version(file, FOUR[:count], FOUR[:count][:3] if count == 4 else FOUR[:count])
    return file


def _life() -> list[tuple[list[Hospital], list[Hospital], int]]:
    """Members, who of them and of those before signs, and the last version of which that is so."""
    a, a2, a3 = (Hospital("a", generation) for generation in (1, 2, 3))
    b, c, d = FOUR[1:]
    e, f = Hospital("e"), Hospital("f")
    return [
        ([a, b, c, d], [a, b, c], 20),
        ([a2, b, c, d], [a, a2, b, c], 21),
        ([a2, b, c, d], [b, c, d], 35),
        ([a2, b, c, e], [a2, b, c], 36),
        ([a2, b, c, e], [a2, b, e], 60),
        ([a3, b, c, e], [a2, b, c, e], 61),
        ([a3, c, e, f], [a3, b, c, e], 62),
        ([a3, c, e, f], [a3, c, f], 100),
    ]


@cache
def aged(versions: int) -> RosterFile:
    """Of a hundred versions the first so many, four at least: a, who founded it, changes its admin key twice, two of
    the others leave and two come, and most versions are renewals."""
    file = grown()
    for members, signers, until in _life():
        while file.epoch < min(until, versions):
            file = unverified(file, members, signers)
    return file


def panel_of(file: RosterFile) -> list[Hospital]:
    return [Hospital(item.name) for item in roster_of(file).organisations]


@dataclass(frozen=True)
class Ledger:
    """Hospital a's log; all four hospitals witness it."""

    roster_file: bytes
    roster: Roster
    proof: bytes


def anchored(file: RosterFile, witnesses: Sequence[Hospital], now_s: int = NOW_S) -> Ledger:
    data = encode_roster_file(file)
    roster = parse_roster(data)
    owner = FOUR[0]
    key = key_from_seed(owner.log_seed)
    logs = {owner.origin: [Ed25519Signer(owner.origin, key).key]}
    panel = [LocalWitness.create(SimDisk(), "/witness", item.cosigners(), logs) for item in witnesses]
    policy = roster.organisations[0].policy
    log = Log.create(SimDisk(), "/log", key=key, policy=policy, witnesses=panel, now_s=now_s)
    leaf = manifest_leaf(
        owner.manifest_key, organisation="a", object_id=OBJECT, size_bytes=9, scheme=Scheme.parse("4+2"), time_s=now_s
    )
    (entry,) = log.append([leaf], now_s)
    return Ledger(data, roster, entry.proof_file())


def in_a_long_log(made: Receipt) -> bytes:
    """The receipt as of a log of 131,072 entries: the way to the root has 17 hashes."""
    proof = parse_proof(made.proof)
    path = tuple(sha256(bytes([number])).digest() for number in range(17))
    return encode_receipt(replace(made, proof=format_proof(Proof(1, path, proof.checkpoint, proof.extra))))

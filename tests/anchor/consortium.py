"""Hospitals for tests of rosters: keys from their names, versions signed by whom a test says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from tuf.api.metadata import Metadata
from tuf.api.serialization.json import JSONSerializer

from anchor.cosignature import Ed25519Cosigner, MLDSA44Cosigner
from anchor.draft import draft_of, sign_draft, signature_of, tuf_key
from anchor.organisation import Member, Organisation, Roster, with_policies
from anchor.rootchain import assemble
from anchor.rosterfile import RosterFile
from anchor.rosterparts import witness_keys_of
from core.identity import key_from_seed, make_issuer, public_bytes
from core.ports import Address
from core.sealing import sealing_public_key

NOW_S = 1_790_000_000
YEAR_S = 365 * 86400
POOL = "consortium.example"


def seed(name: str, what: str) -> bytes:
    return sha256(f"{name} {what}".encode()).digest()


@dataclass(frozen=True, order=True)
class Hospital:
    """``generation`` rises when it changes its admin key."""

    name: str
    generation: int = 1

    @property
    def admin(self) -> Ed25519PrivateKey:
        return key_from_seed(seed(self.name, f"admin {self.generation}"))

    @property
    def origin(self) -> str:
        return f"{POOL}/{self.name}/1"

    @property
    def log_seed(self) -> bytes:
        return seed(self.name, "log")

    def cosigners(self) -> tuple[Ed25519Cosigner, MLDSA44Cosigner]:
        name = f"{self.origin}/witness"
        pq = MLDSA44PrivateKey.from_seed_bytes(seed(self.name, "witness pq"))
        return Ed25519Cosigner(name, key_from_seed(seed(self.name, "witness"))), MLDSA44Cosigner(name, pq)

    @property
    def manifest_key(self) -> Ed25519PrivateKey:
        return key_from_seed(seed(self.name, "manifest"))

    def row(self) -> Organisation:
        return _row(self)


@cache
def _row(hospital: Hospital) -> Organisation:
    name = hospital.name
    ed25519, pq = hospital.cosigners()
    member = Member(
        admin_key=public_bytes(hospital.admin),
        log_origin=hospital.origin,
        log_key=public_bytes(key_from_seed(hospital.log_seed)),
        log_url=f"https://{name}.example:7711/log/{sha256(hospital.origin.encode()).hexdigest()}",
        witness_ed25519=ed25519.key.public,
        witness_mldsa44=pq.key.public,
        witness_url=f"https://{name}.example:7711/witness",
    )
    issuer = make_issuer(
        key_from_seed(seed(name, "issuer")), organisation=name, now=NOW_S, valid_s=30 * YEAR_S, serial=bytes([7]) * 19
    )
    sealing = sealing_public_key(seed(name, "sealing") * 3)
    return Organisation(name, issuer, public_bytes(hospital.manifest_key), sealing, "", member)


def hospitals(*names: str) -> list[Hospital]:
    return [Hospital(name) for name in names]


FOUR = hospitals("a", "b", "c", "d")


def roster_of_hospitals(epoch: int, members: Sequence[Hospital], *, expires_s: int = NOW_S + YEAR_S) -> Roster:
    rows = with_policies([member.row() for member in members])
    return Roster(POOL, epoch, b"", rows, (Address("192.0.2.1", 7711),), b"", expires_s)


def version(
    before: RosterFile | None,
    members: Sequence[Hospital],
    signers: Iterable[Hospital],
    *,
    expires_s: int = NOW_S + YEAR_S,
    epoch: int | None = None,
    pool_name: str = POOL,
) -> RosterFile:
    """The next version, with these members, signed by ``signers``. Raises as ``assemble``."""
    number = epoch or (1 if before is None else before.epoch + 1)
    roster = replace(roster_of_hospitals(number, members, expires_s=expires_s), pool_name=pool_name)
    draft = draft_of(roster)
    return assemble(draft, [sign_draft(draft, signer.admin) for signer in signers], before)


def unverified(before: RosterFile, members: Sequence[Hospital], signers: Iterable[Hospital]) -> RosterFile:
    """As ``version``, whoever signs, and fast: nothing is verified."""
    draft = draft_of(roster_of_hospitals(before.epoch + 1, members))
    everybody = sorted(set(signers), key=lambda item: tuf_key(public_bytes(item.admin)).keyid)
    files: list[bytes] = []
    for number, signed in enumerate(draft.signed):
        ballots = [sign_draft(draft, item.admin) for item in everybody if number == 0 or item in members]
        signatures = [signature_of(ballot, number) for ballot in ballots]
        metadata = Metadata(signed, {item.keyid: item for item in signatures})
        files.append(metadata.to_bytes(JSONSerializer(compact=True)))
    keys = witness_keys_of(draft.roster)
    return RosterFile((*before.roots, files[0]), files[1], files[2], files[3], draft.ledger, keys, draft.members)


@cache
def founded() -> RosterFile:
    """Version 1: a, b, c and d."""
    return version(None, FOUR, FOUR[:3])


@cache
def swapped() -> RosterFile:
    """Version 2: a left and e joined; three of the old and three of the new signed."""
    return version(founded(), [*FOUR[1:], Hospital("e")], FOUR[1:4])

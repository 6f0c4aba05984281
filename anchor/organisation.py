"""Who belongs to a pool: a roster's values, and the policy that follows from them.

In a consortium (roster version 2) an organisation is a ``Member``, too: it runs a log, witnesses the logs of the
others, and has a say in who belongs to the pool. Its log's policy is not written down but follows from the members.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from anchor.note import (
    TYPE_ED25519,
    TYPE_ED25519_COSIGNATURE,
    TYPE_MLDSA44_COSIGNATURE,
    NoteKey,
)
from core.ids import PoolId
from core.ports import Address

# Cosignatures of all members would make a large consortium's checkpoints large and slow: a log has at most so many
# witnesses, which tolerate four that lie.
WITNESSES_PER_LOG_MAX = 13


def byzantine_majority(count: int) -> int:
    """How many of n it takes so that any two such groups share an honest one: floor(2n/3)+1."""
    return 2 * count // 3 + 1


@dataclass(frozen=True, slots=True)
class Member:
    """What makes an organisation a member of a consortium. Keys are raw public keys.

    Attributes:
        admin_key: Ed25519; signs rosters.
        log_origin, log_key, log_url: its log, which this Ed25519 key signs, and where others read it.
        witness_ed25519, witness_mldsa44, witness_url: with which it cosigns the others' checkpoints, and where they
            ask it to. The second is empty where the library had no ML-DSA-44.
        is_witness_known: False in a receipt's roster for a witness whose ML-DSA-44 key is left out, since its
            cosignature is, too.
    """

    admin_key: bytes
    log_origin: str
    log_key: bytes
    log_url: str
    witness_ed25519: bytes
    witness_mldsa44: bytes
    witness_url: str
    is_witness_known: bool = True

    @property
    def log_vkey(self) -> str:
        return NoteKey(self.log_origin, TYPE_ED25519, self.log_key).vkey

    @property
    def witness_name(self) -> str:
        return f"{self.log_origin}/witness"

    @property
    def witness_vkeys(self) -> tuple[str, ...]:
        """One or two: Ed25519, and ML-DSA-44 where there is one."""
        keys = [NoteKey(self.witness_name, TYPE_ED25519_COSIGNATURE, self.witness_ed25519)]
        if self.witness_mldsa44:
            keys.append(NoteKey(self.witness_name, TYPE_MLDSA44_COSIGNATURE, self.witness_mldsa44))
        return tuple(key.vkey for key in keys)


@dataclass(frozen=True, slots=True)
class Organisation:
    """A hospital: its certificate issuer (DER), manifest key, HPKE sealing key and its log's policy.

    ``policy`` is c2sp.org/tlog-policy text: the log's verification key, its witnesses and its quorum. ``member`` is
    None in a pool that is no consortium. In a receipt's roster ``issuer`` and ``sealing_key`` are empty.
    """

    name: str
    issuer: bytes
    manifest_key: bytes
    sealing_key: bytes
    policy: str
    member: Member | None = None


@dataclass(frozen=True, slots=True)
class Roster:
    """A pool as its organisations signed it: who belongs to it, and where to knock first.

    In a consortium ``root`` are 32 bytes that name the pool, derived from its first root metadata; ``pool_key`` is
    empty, and nothing new may be signed from ``expires_s`` (seconds since 1970) on. 0: it never expires.
    """

    pool_name: str
    epoch: int
    pool_key: bytes
    organisations: tuple[Organisation, ...]
    seeds: tuple[Address, ...]
    root: bytes = b""
    expires_s: int = 0

    @property
    def pool(self) -> PoolId:
        return PoolId(self.root) if self.root else PoolId.of_key(self.pool_key)

    @property
    def is_consortium(self) -> bool:
        return bool(self.root)

    @property
    def is_whole(self) -> bool:
        """Whether it says how to reach and seal for its members, as a receipt's roster does not."""
        return all(organisation.issuer for organisation in self.organisations)

    @property
    def issuers(self) -> dict[str, bytes]:
        return {organisation.name: organisation.issuer for organisation in self.organisations}

    def organisation(self, name: str) -> Organisation | None:
        return next((item for item in self.organisations if item.name == name), None)

    def organisation_of_key(self, manifest_key: bytes) -> Organisation | None:
        """The organisation that signs manifests with this raw public key."""
        for organisation in self.organisations:
            if organisation.manifest_key == manifest_key:
                return organisation
        return None

    def has_expired(self, now_s: float) -> bool:
        return 0 < self.expires_s <= now_s


def witnesses_of(members: Sequence[Member], owner: int) -> list[Member]:
    """Who cosigns the log of ``members[owner]``: it and those after it, around, WITNESSES_PER_LOG_MAX at most."""
    return [members[(owner + step) % len(members)] for step in range(min(len(members), WITNESSES_PER_LOG_MAX))]


def policy_of_member(members: Sequence[Member], owner: int) -> str:
    """c2sp.org/tlog-policy text of the log of ``members[owner]``.

    A witness counts when it signed with all of its keys; ``byzantine_majority`` of the witnesses must. In a receipt's
    roster those that are not known are left out: the others must be as many all the same, else there is no policy, as
    for the logs of others than the receipt's owner.
    """
    log = members[owner]
    everybody = witnesses_of(members, owner)
    witnesses = [witness for witness in everybody if witness.is_witness_known]
    needed = byzantine_majority(len(everybody))
    if len(witnesses) < needed:
        return ""
    lines = [f"log {log.log_vkey} {log.log_url}"]
    groups: list[str] = []
    for number, witness in enumerate(witnesses, start=1):
        names = (f"w{number}-ed25519", f"w{number}-mldsa44")[: len(witness.witness_vkeys)]
        lines += [
            f"witness {name} {vkey} {witness.witness_url}"
            for name, vkey in zip(names, witness.witness_vkeys, strict=True)
        ]
        groups.append(f"group w{number} all {' '.join(names)}")
    owners = " ".join(f"w{number}" for number in range(1, len(witnesses) + 1))
    groups.append(f"group witnesses {needed} {owners}")
    return "".join(f"{line}\n" for line in [*lines, *groups, "quorum witnesses"])


def with_policies(organisations: Sequence[Organisation]) -> tuple[Organisation, ...]:
    """Members of a consortium, each with the policy that follows from all of them."""
    members = [item.member for item in organisations if item.member is not None]
    assert len(members) == len(organisations), "an organisation of a consortium is a member"
    return tuple(replace(item, policy=policy_of_member(members, number)) for number, item in enumerate(organisations))

"""Which keys a ledger peer works with: those of its seeds that the roster of the day names, and no others.

A seed that is to follow lies beside the one in use before it is proposed. When a roster names it, it takes that one's
place, durably, before anything is signed with it; what it took the place of is gone for good.

A witness remembers with which keys it signed, so that its folder is known for an old copy. Wherever a key may have
signed that the folder does not know of, ``ask_resync`` has it remember first what others kept.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection
from typing import NamedTuple

from anchor.cosignature import Cosigner
from anchor.files import disk_errors, replace_file_durably
from anchor.marker import marked_keys
from anchor.note import Ed25519Signer, NoteKey
from anchor.policy import parse_policy
from anchor.roster import Roster
from client.home import (
    NEXT_SERVICE_LOG_FILE,
    NEXT_SERVICE_WITNESS_FILE,
    SERVICE_LOG_FILE,
    SERVICE_WITNESS_FILE,
    LedgerKeys,
    read_home_file,
)
from client.ledger import cosigners_of, organisation_origin, witness_keys
from client.service import RESYNC_FILE, SERVICE_WITNESS_FOLDER
from core.errors import HomeError, MalformedError
from core.identity import key_from_seed
from core.ports import Disk
from core.sealing import KEY_BYTES


class ServiceSeeds(NamedTuple):
    """Those in use, and those that are to follow (32 bytes; None: there is none)."""

    now: LedgerKeys
    next_log: bytes | None = None
    next_witness: bytes | None = None


class ServiceIdentity(NamedTuple):
    """As whom a ledger peer signs: the log ``origin`` with ``log_key``, the witness with all of ``cosigners``."""

    origin: str
    keys: LedgerKeys
    log_key: NoteKey
    cosigners: tuple[Cosigner, ...]


class Missing(NamedTuple):
    """Whether the roster has another key of our log, or of our witness, than lies here."""

    log: bool = False
    witness: bool = False

    def words(self, origin: str) -> str:
        """Empty when nothing is missing."""
        found = [f"log {origin!r} ({SERVICE_LOG_FILE})"] if self.log else []
        found += [f"witness {origin + '/witness'!r} ({SERVICE_WITNESS_FILE})"] if self.witness else []
        if not found:
            return ""
        return (
            f"the roster has other keys than lie here of {' and '.join(found)}: with those that lie here nothing is "
            "signed. Restore the newest from their backup, or have new ones made: `moorage consortium rotate-key`"
        )


class TakenUp(NamedTuple):
    """``faults``: what is wrong with seeds that lie there, in words."""

    me: ServiceIdentity
    faults: tuple[str, ...]
    missing: Missing


def identity_of(origin: str, keys: LedgerKeys) -> ServiceIdentity:
    log_key = Ed25519Signer(origin, key_from_seed(keys.log_seed)).key
    return ServiceIdentity(origin, keys, log_key, tuple(cosigners_of(origin, keys.witness_seed)))


def identity_by(roster: Roster, organisation: str, seeds: ServiceSeeds) -> ServiceIdentity:
    """By the roster; where it names none of the seeds, those in use, which nobody asks for then."""
    origin = organisation_origin(roster, organisation)
    named = _keys_named(roster)
    found = identity_of(origin, seeds.now)
    for log_seed in (seeds.now.log_seed, seeds.next_log):
        if log_seed and (made := identity_of(origin, LedgerKeys(log_seed, found.keys.witness_seed))).log_key in named:
            found = made
    for witness_seed in (seeds.now.witness_seed, seeds.next_witness):
        if witness_seed and any(item.key in named for item in cosigners_of(origin, witness_seed)):
            found = identity_of(origin, LedgerKeys(found.keys.log_seed, witness_seed))
    return found


def _keys_named(roster: Roster) -> Collection[NoteKey]:
    """Of all logs and witnesses."""
    found: list[NoteKey] = []
    for organisation in roster.organisations:
        try:
            policy = parse_policy(organisation.policy)
        except MalformedError:
            # Whoever goes by the policies says so.
            continue
        found += [*policy.logs, *(witness.key for witness in policy.witnesses)]
    return frozenset(found)


def read_seed(disk: Disk, folder: str, name: str) -> bytes | None:
    """None when there is none. Blocks; raises HomeError for one that is damaged."""
    if disk.stat(posixpath.join(folder, name)) is None:
        return None
    return read_home_file(disk, folder, name, exact_bytes=KEY_BYTES)


def take_up(disk: Disk, folder: str, roster: Roster, organisation: str, now: LedgerKeys) -> TakenUp:
    """The identity by a roster that is durable here; a seed that it names takes its place first. Blocks.

    Call it again after an error, or when something is missing: it goes by what lies on the disk then.

    Args:
        now: those in use, where a seed cannot be read any more.

    Raises LedgerError, StoreFullError or StoreReadOnlyError for its disk.
    """
    with disk_errors("ledger"):
        seeds, faults = _seeds_here(disk, folder, now)
        me = identity_by(roster, organisation, seeds)
        missing = missing_keys(roster, me)
        if missing.witness and not faults:
            # Whoever has that key may sign with it: what this witness remembers is not all that was signed.
            ask_resync(disk, folder)
        if me.keys.witness_seed == seeds.next_witness and not has_signed(disk, folder, seeds.now.witness_seed):
            # What it remembers is from before the key that is replaced now.
            ask_resync(disk, folder)
        for is_new, source, target in (
            (me.keys.log_seed == seeds.next_log, NEXT_SERVICE_LOG_FILE, SERVICE_LOG_FILE),
            (me.keys.witness_seed == seeds.next_witness, NEXT_SERVICE_WITNESS_FILE, SERVICE_WITNESS_FILE),
        ):
            if is_new:
                disk.rename(posixpath.join(folder, source), posixpath.join(folder, target))
        # Also when nothing was renamed now: whoever did it may not have lived to do this.
        if disk.stat(keys := posixpath.join(folder, posixpath.dirname(SERVICE_LOG_FILE))) is not None:
            disk.sync_folder(keys)
    return TakenUp(me, tuple(faults), missing)


def missing_keys(roster: Roster, me: ServiceIdentity) -> Missing:
    """Nothing is where our organisation is on the roster no more."""
    named = _keys_named(roster)
    names = {key.name for key in named}
    return Missing(
        log=me.origin in names and me.log_key not in named,
        witness=f"{me.origin}/witness" in names and not any(item.key in named for item in me.cosigners),
    )


def ask_resync(disk: Disk, folder: str) -> None:
    """The witness signs nothing more, once it is opened anew, before it remembers what others kept. Durable.

    Raises OSError.
    """
    path = posixpath.join(folder, RESYNC_FILE)
    if disk.stat(path) is None:
        disk.make_folders(posixpath.dirname(path))
        replace_file_durably(disk, path, b"")
    else:
        disk.sync_folder(posixpath.dirname(path))


def has_signed(disk: Disk, folder: str, witness_seed: bytes) -> bool:
    """Whether the witness' folder knows of this key, under whichever name. Raises OSError."""
    known = {key.public for key in marked_keys(disk, posixpath.join(folder, SERVICE_WITNESS_FOLDER))}
    return not known.isdisjoint(witness_keys("-", witness_seed))


def _seeds_here(disk: Disk, folder: str, now: LedgerKeys) -> tuple[ServiceSeeds, list[str]]:
    """And what is wrong with them, in words: a damaged one that nobody asks for is no reason to stand still."""
    faults: list[str] = []

    def read(name: str) -> bytes | None:
        try:
            return read_seed(disk, folder, name)
        except HomeError as error:
            faults.append(str(error))
            return None

    log, witness = read(SERVICE_LOG_FILE) or now.log_seed, read(SERVICE_WITNESS_FILE) or now.witness_seed
    following = read(NEXT_SERVICE_LOG_FILE), read(NEXT_SERVICE_WITNESS_FILE)
    return ServiceSeeds(LedgerKeys(log, witness), *following), faults

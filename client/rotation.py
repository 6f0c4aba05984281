"""New keys for an organisation that is on the roster: made where they stay, then proposed, then in use.

What is proposed is its entry with the public side of the new key. Each function may be called again: the key that was
made for a proposal that came to nothing is the one that is proposed next. Blocks: use them in disk jobs.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from itertools import count
from typing import NamedTuple

from anchor.log import Log
from anchor.logfolder import is_begun_with
from anchor.note import Ed25519Signer
from anchor.organisation import Member, Organisation
from anchor.witness import origin_folder
from anchor.writer import LogWriter
from client.adminkey import ADMIN_FILE, NEXT_ADMIN_FILE
from client.home import (
    NEXT_SERVICE_LOG_FILE,
    NEXT_SERVICE_WITNESS_FILE,
    SERVICE_LOG_FILE,
    SERVICE_WITNESS_FILE,
    Home,
    LedgerKeys,
    read_home_certificate,
    read_home_file,
    read_home_roster,
)
from client.ledger import policy_of, witness_keys
from client.service import SERVICE_LOG_FOLDER, check_is_local
from client.servicekeys import ask_resync, has_signed, identity_of, read_seed
from core.durable import write_file
from core.errors import HomeError, RefusedError
from core.identity import key_from_seed, public_bytes, read_old_certificate
from core.ports import Disk
from core.sealing import KEY_BYTES

Token = Callable[[int], bytes]


def _entry(home: Home) -> tuple[Organisation, Member]:
    known = home.roster.organisation(home.identity.organisation)
    if known is None or known.member is None:
        raise RefusedError(f"{home.identity.organisation} is not on the roster")
    return known, known.member


def with_new_admin_key(disk: Disk, home: Home, token: Token) -> Organisation:
    """Raises RefusedError, HomeError, OSError."""
    known, member = _entry(home)
    path = home.path(NEXT_ADMIN_FILE)
    if disk.stat(path) is not None:
        made = key_from_seed(read_home_file(disk, home.folder, NEXT_ADMIN_FILE, exact_bytes=KEY_BYTES))
        if public_bytes(made) == member.admin_key:
            # It counts already: an earlier rotation is over.
            disk.rename(path, home.path(ADMIN_FILE))
            disk.sync_folder(home.path("keys"))
    key = key_from_seed(_made(disk, home.folder, NEXT_ADMIN_FILE, token))
    return replace(known, policy="", member=replace(member, admin_key=public_bytes(key)))


def with_new_witness(disk: Disk, home: Home, peer_home: str, token: Token) -> Organisation:
    """The ledger peer remembers on what it remembers; only what it signs with is new.

    Args:
        peer_home: the ledger peer's home, on this machine.

    Raises RefusedError (the last one is not in use yet), HomeError (not our ledger peer's home), OSError.
    """
    known, member = _entry(home)
    check_ledger_peer(disk, home, peer_home)
    if read_seed(disk, peer_home, SERVICE_WITNESS_FILE) is None:
        # The roster's key may be lost together with the memory of what it signed.
        ask_resync(disk, peer_home)
    seed = _following(disk, peer_home, _witness_key(member), token)
    if has_signed(disk, peer_home, seed):
        raise _retired(peer_home, NEXT_SERVICE_WITNESS_FILE)
    _put_in_place(disk, peer_home, _witness_key(member), seed, token)
    ed25519, mldsa44 = witness_keys(member.log_origin, seed)
    return replace(known, policy="", member=replace(member, witness_ed25519=ed25519, witness_mldsa44=mldsa44))


def with_new_log(disk: Disk, home: Home, peer_home: str, token: Token) -> Organisation:
    """A log of the next number, which is begun here, empty, and nobody writes before the roster names it.

    The one of before may be lost, folder and key. Raises as ``with_new_witness``, and LedgerError.
    """
    known, member = _entry(home)
    check_ledger_peer(disk, home, peer_home)
    folder = posixpath.join(peer_home, SERVICE_LOG_FOLDER)
    disk.make_folders(folder)
    check_is_local(disk, folder)
    witness_seed = read_seed(disk, peer_home, SERVICE_WITNESS_FILE)
    if witness_seed is None:
        raise HomeError(f"{peer_home}/{SERVICE_WITNESS_FILE} is missing: restore it, or rotate the key witness first")
    seed = _following(disk, peer_home, _log_key(member), token)
    origin = _next_origin(disk, peer_home, member.log_origin, seed)
    _put_in_place(disk, peer_home, _log_key(member), seed, token)
    me = identity_of(origin, LedgerKeys(seed, witness_seed))
    if not Log.exists(disk, folder, me.origin):
        policy = policy_of(me.origin, seed, witness_seed)
        LogWriter.create(disk, folder, key=key_from_seed(seed), policy=policy)
    disk.sync_folder(origin_folder(folder, me.origin))
    url = f"{member.log_url.rpartition('/')[0]}/{sha256(me.origin.encode()).hexdigest()}"
    log = replace(member, log_origin=me.origin, log_key=me.log_key.public, log_url=url)
    return replace(known, policy="", member=log)


class _Key(NamedTuple):
    """One of a ledger peer's two: where its seed lies, and which seed the roster names."""

    current: str
    following: str
    is_named: Callable[[bytes], bool]


def _witness_key(member: Member) -> _Key:
    def is_named(seed: bytes) -> bool:
        return witness_keys(member.log_origin, seed)[0] == member.witness_ed25519

    return _Key(SERVICE_WITNESS_FILE, NEXT_SERVICE_WITNESS_FILE, is_named)


def _log_key(member: Member) -> _Key:
    def is_named(seed: bytes) -> bool:
        return public_bytes(key_from_seed(seed)) == member.log_key

    return _Key(SERVICE_LOG_FILE, NEXT_SERVICE_LOG_FILE, is_named)


def check_ledger_peer(disk: Disk, home: Home, peer_home: str) -> None:
    """Raises HomeError unless this is a home of our organisation's ledger peer, with the keys that the roster names.

    Either key may be lost, or both, and another made in its place.
    """
    name = home.identity.organisation
    hint = f"name the home of {name}'s ledger peer with --peer-home (the command works on its machine)"
    marks = (SERVICE_LOG_FILE, SERVICE_WITNESS_FILE, posixpath.dirname(SERVICE_LOG_FOLDER))
    if all(disk.stat(posixpath.join(peer_home, mark)) is None for mark in marks):
        raise HomeError(f"{peer_home} has none of {', '.join(marks)}: {hint}")
    roster = read_home_roster(disk, peer_home).roster
    identity, _ = read_old_certificate(read_home_certificate(disk, peer_home), roster.issuers)
    if (roster.pool, identity.organisation) != (home.roster.pool, name):
        raise HomeError(f"{peer_home} is {identity.organisation}'s, of pool {roster.pool_name}: {hint}")
    _, member = _entry(home)
    for key in (_log_key(member), _witness_key(member)):
        before, made = read_seed(disk, peer_home, key.current), read_seed(disk, peer_home, key.following)
        if before is None or before == made or key.is_named(before) or (made is not None and key.is_named(made)):
            continue
        raise HomeError(
            f"{peer_home}/{key.current} is no key that the roster has: restore it, or delete it if it is lost"
        )


def _following(disk: Disk, peer_home: str, key: _Key, token: Token) -> bytes:
    """The seed that is to follow the one in use. Raises RefusedError when that is what it is to do already."""
    made = read_seed(disk, peer_home, key.following)
    if made is not None and key.is_named(made):
        _put_in_place(disk, peer_home, key, made, token)
        raise RefusedError(
            f"the ledger peer of {peer_home} has not taken up {key.following} yet, which the roster names: start its "
            "daemon"
        )
    return _made(disk, peer_home, key.following, token)


def _put_in_place(disk: Disk, peer_home: str, key: _Key, seed: bytes, token: Token) -> None:
    """Where the seed in use is lost, the one that follows lies in its place, too: a peer starts with it, and the
    roster names neither until it names the new."""
    if read_seed(disk, peer_home, key.current) is None:
        write_file(disk, posixpath.join(peer_home, key.current), seed, token=token(4).hex())


def _retired(peer_home: str, name: str) -> HomeError:
    return HomeError(f"{peer_home}/{name} was in use before, and came back with a backup: delete it, a new one is made")


def _made(disk: Disk, folder: str, name: str, token: Token) -> bytes:
    """The seed of this name, made now if there is none; durable."""
    if disk.stat(posixpath.join(folder, name)) is None:
        write_file(disk, posixpath.join(folder, name), token(KEY_BYTES), token=token(4).hex())
    return read_home_file(disk, folder, name, exact_bytes=KEY_BYTES)


def _next_origin(disk: Disk, peer_home: str, origin: str, seed: bytes) -> str:
    """The log of the next number that is not another key's. Raises HomeError: this key has a log already."""
    folder, key = posixpath.join(peer_home, SERVICE_LOG_FOLDER), key_from_seed(seed)
    base, _, newest = origin.rpartition("/")

    def is_this_keys(number: int) -> bool | None:
        return is_begun_with(disk, folder, Ed25519Signer(f"{base}/{number}", key).key)

    if any(is_this_keys(number) for number in range(1, int(newest) + 1)):
        raise _retired(peer_home, NEXT_SERVICE_LOG_FILE)
    # A log that was begun for a proposal that came to nothing, and whose seed is gone, is nobody's.
    return next(f"{base}/{number}" for number in count(int(newest) + 1) if is_this_keys(number) is not False)

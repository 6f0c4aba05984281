"""A home takes a later roster: verified against the one it has, durable, and then in use without a restart."""

from __future__ import annotations

from anchor.roster import read_roster
from anchor.rosterfile import is_roster_file, parse_roster_file
from client.home import ROSTER_FILE, WORKSHOP_FOLDER, HeldRoster, Home, read_home_file, sync_roster
from core.durable import write_file_in_workshop
from core.errors import RosterError
from core.ports import Disk

LOCK_FILE = "state/roster.lock"


def accept_roster(disk: Disk, home: Home, data: bytes, *, now_s: float, token: str) -> bool:
    """Go by the roster in ``data`` if it is a later one; whether the home's changed. Blocks, for 0.1 s and more.

    Several processes may work in one home: what another accepted meanwhile is used, too.

    Raises:
        HomeError: the disk fails.
        RosterError: another pool's, an older one, a second history of a version, or expired.
        MalformedError, BadSignatureError, CorruptError, OSError
    """
    if not home.roster.is_consortium or not is_roster_file(data):
        raise RosterError("this pool's roster is signed by one key, or that one is: it is not passed on")
    if data == home.held.file:
        return False
    # Only who is told of a roster by others verifies it; its library is not loaded for anything else.
    from anchor.rootchain import check_successor

    offered = parse_roster_file(data)
    disk.make_folders(home.path(WORKSHOP_FOLDER))
    with disk.lock(home.path(LOCK_FILE), wait=True):
        current = read_home_file(disk, home.folder, ROSTER_FILE)
        if check_successor(parse_roster_file(current), offered, now_s=now_s):
            write_file_in_workshop(disk, home.path(WORKSHOP_FOLDER), home.path(ROSTER_FILE), data, token=token)
            current = data
        elif current != home.held.file:
            sync_roster(disk, home.folder)
    return use_roster(home.held, current)


def use_roster(held: HeldRoster, data: bytes) -> bool:
    """Go by a roster that was verified, from now on; whether it is another than before."""
    if data == held.file:
        return False
    held.use(read_roster(data), data)
    return True

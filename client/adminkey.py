"""An organisation's say in the roster: its admin key, and the promise never to sign two histories of one version."""

from __future__ import annotations

import os.path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from anchor.draft import Ballot, Draft, admin_keys, sign_draft
from anchor.organisation import Roster
from client.home import WORKSHOP_FOLDER, read_home_file
from core.durable import read_file, write_file_in_workshop
from core.encoding import Value, encode_checked
from core.errors import HomeError, MalformedError, RefusedError
from core.identity import key_from_seed, public_bytes
from core.ids import DIGEST_BYTES
from core.limits import MIB
from core.ports import Disk
from core.schema import Fields
from core.sealing import KEY_BYTES

ADMIN_FILE = "keys/roster.seed"
# Made by `rotate-key`; it counts from the roster on that names it.
NEXT_ADMIN_FILE = "keys/roster-next.seed"
SIGNED_FILE = "keys/roster.signed"
# What this home proposed last: a signature that was lost on its way can be given again only with these very bytes.
PROPOSED_FILE = "keys/roster.proposed"
SIGNED_MAX_BYTES = 1 * MIB
VERSIONS_MAX = 4096
LOCK_FILE = "state/signed.lock"


def admin_keys_here(disk: Disk, folder: str) -> list[Ed25519PrivateKey]:
    """The home's admin key, and the one that is to follow it. Blocks; raises HomeError when there is none."""
    found = [
        key_from_seed(read_home_file(disk, folder, name, exact_bytes=KEY_BYTES))
        for name in (ADMIN_FILE, NEXT_ADMIN_FILE)
        if disk.stat(os.path.join(folder, name)) is not None
    ]
    if not found:
        raise HomeError(f"{folder} has no {ADMIN_FILE}: rosters are signed in a consortium's client home")
    return found


def sign_once(disk: Disk, folder: str, draft: Draft, before: Roster | None, token: str) -> list[Ballot]:
    """Ballots for ``draft`` by every key here that has a say in it. Blocks.

    That this version was signed, and with which contents, is durable before a signature leaves: by it no two versions
    of one number can both get a quorum. Raises RefusedError (another was signed), HomeError, OSError.
    """
    may_sign = {*admin_keys(draft.roster), *(admin_keys(before) if before is not None else ())}
    keys = [key for key in admin_keys_here(disk, folder) if public_bytes(key) in may_sign]
    if not keys:
        raise HomeError(f"the admin key of {folder} has no say in this: it is not on the roster")
    workshop = os.path.join(folder, WORKSHOP_FOLDER)
    disk.make_folders(workshop)
    path = os.path.join(folder, SIGNED_FILE)
    with disk.lock(os.path.join(folder, LOCK_FILE), wait=True):
        signed = _read(disk, path)
        known = signed.setdefault(draft.roster.epoch, draft.contents)
        if known != draft.contents:
            raise RefusedError(
                f"this home has signed another roster {draft.roster.epoch} before: it never signs a second one. If "
                "that one cannot get its signatures any more, its signers must settle on one of the two"
            )
        rows: list[Value] = [[version, contents] for version, contents in sorted(signed.items())]
        write_file_in_workshop(disk, workshop, path, encode_checked({"signed": rows}), token=token)
    return [sign_draft(draft, key) for key in keys]


def signed_contents(disk: Disk, folder: str, version: int) -> bytes | None:
    """With which contents this home has signed that version; None when it has not. Blocks; raises HomeError."""
    return _read(disk, os.path.join(folder, SIGNED_FILE)).get(version)


def keep_proposed(disk: Disk, folder: str, motion: bytes, token: str) -> None:
    """Durably. Blocks; raises OSError."""
    workshop = os.path.join(folder, WORKSHOP_FOLDER)
    write_file_in_workshop(disk, workshop, os.path.join(folder, PROPOSED_FILE), motion, token=token)


def kept_proposed(disk: Disk, folder: str) -> bytes | None:
    """What ``keep_proposed`` wrote last. Blocks; raises OSError."""
    return read_file(disk, os.path.join(folder, PROPOSED_FILE), max_bytes=MIB)


def _read(disk: Disk, path: str) -> dict[int, bytes]:
    """A damaged table is no empty one: what it held is not known."""
    data = read_file(disk, path, max_bytes=SIGNED_MAX_BYTES)
    if data is None:
        return {}
    try:
        fields = Fields.checked(data, max_bytes=SIGNED_MAX_BYTES, what=path)
        rows = fields.items("signed", max_items=VERSIONS_MAX)
        fields.end()
    except MalformedError as error:
        raise HomeError(f"{error}: restore it from its backup, or rotate the admin key") from error
    found: dict[int, bytes] = {}
    for row in rows:
        match row:
            case [int(version), bytes(contents)] if len(contents) == DIGEST_BYTES:
                found[version] = contents
            case _:
                raise HomeError(f"{path}: a row is not [version, digest]: restore it from its backup")
    return found

"""What makes a peer a ledger peer: two seeds, a log and a witness that remembers (docs/ledger/operator.md)."""

from __future__ import annotations

from typing import NamedTuple

from anchor.files import disk_errors
from anchor.log import Log
from anchor.note import Ed25519Signer
from anchor.witness import LocalWitness, origin_folder
from anchor.writer import LogWriter
from client.home import LedgerKeys
from client.ledger import cosigners_of, policy_of
from core.errors import LedgerError
from core.identity import key_from_seed
from core.ports import Disk

# Inside the home.
SERVICE_LOG_FOLDER = "ledger/log"
SERVICE_WITNESS_FOLDER = "ledger/witness"
# Somebody who has read docs/ledger/operator.md puts this file there, of any content: the witness remembers anew what
# others kept of it, and the file goes.
RESYNC_FILE = "ledger/resync"
# On these, locks and syncs do not promise what a ledger needs (tlog operators' common experience, not only ours).
NETWORK_FILE_SYSTEMS = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs",
        "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs", "virtiofs",
    }
)  # fmt: skip


class ServiceKeys(NamedTuple):
    """Public keys (vkeys) of a ledger peer, for its organisation's entry on a roster."""

    log: str
    witness: tuple[str, ...]


def service_keys(origin: str, keys: LedgerKeys) -> ServiceKeys:
    """Of the organisation whose log is called ``origin`` (``client.ledger.log_origin``)."""
    log = Ed25519Signer(origin, key_from_seed(keys.log_seed)).key.vkey
    return ServiceKeys(log, tuple(cosigner.key.vkey for cosigner in cosigners_of(origin, keys.witness_seed)))


def create_service(disk: Disk, home: str, origin: str, keys: LedgerKeys) -> None:
    """Begin the log and the memory of a new ledger peer, once in the life of its seeds.

    Blocks. What an interrupted call left is finished by the next. Raises LedgerError when the home is on a network's
    file system.
    """
    with disk_errors("ledger"):
        disk.make_folders(f"{home}/{SERVICE_LOG_FOLDER}")
    check_is_local(disk, f"{home}/{SERVICE_LOG_FOLDER}")
    LocalWitness.create(disk, f"{home}/{SERVICE_WITNESS_FOLDER}", cosigners_of(origin, keys.witness_seed), {})
    policy = policy_of(origin, keys.log_seed, keys.witness_seed)
    folder = f"{home}/{SERVICE_LOG_FOLDER}"
    if Log.exists(disk, folder, origin):
        disk.sync_folder(origin_folder(folder, origin))
    else:
        LogWriter.create(disk, folder, key=key_from_seed(keys.log_seed), policy=policy)


def check_home_is_local(disk: Disk, home: str) -> None:
    """Raises LedgerError when something of the ledger is on a network's file system, or would be."""
    for folder in (SERVICE_LOG_FOLDER, SERVICE_WITNESS_FOLDER):
        path = f"{home}/{folder}"
        with disk_errors("ledger"):
            is_there = disk.stat(path) is not None
        check_is_local(disk, path if is_there else home)


def check_is_local(disk: Disk, folder: str) -> None:
    """Raises LedgerError when the folder is on a network's file system."""
    with disk_errors("ledger"):
        kind = disk.file_system(folder)
    if kind in NETWORK_FILE_SYSTEMS:
        raise LedgerError(f"{folder} is on a network file system ({kind}): a ledger needs a local disk")

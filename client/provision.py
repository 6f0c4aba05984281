"""Make the homes of a new pool: keys, certificates, the roster.

Each site is an organisation of its own, as hospitals are. The client's home belongs to the first; it also keeps
the pool's key, which signs rosters, and every organisation's issuing key. In a pool of several real hospitals
each keeps its own.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from anchor.roster import Organisation, sign_roster
from client.certificates import Issuing, issuer_key_file
from client.home import (
    CONVERGENCE_FILE,
    ORGANISATION_FILE,
    ROSTER_FILE,
    SEALING_FILE,
    SETTINGS_FILE,
    LedgerKeys,
)
from client.homewriter import DEFAULT_SETTINGS, PEERS_MAX, HomeWriter, check_name
from client.ledger import log_origin, policy_of
from core.errors import HomeError, UsageError
from core.identity import Role, key_from_seed, private_pem, public_bytes
from core.ports import Chance, Clock, Disk
from core.sealing import KEY_BYTES, SEALING_SEED_BYTES, sealing_public_key

POOL_KEY_FILE = "keys/pool.seed"


@dataclass(frozen=True, slots=True)
class NewHome:
    """``name`` is ``peer-1`` .. or ``client``; ``folder`` its absolute path."""

    name: str
    folder: str
    site: str
    organisation: str


@dataclass(frozen=True, slots=True)
class _Hospital:
    name: str
    site: str
    issuing: Issuing
    manifest_seed: bytes
    sealing_seed: bytes
    log_seed: bytes
    witness_seed: bytes


def is_pool_made(disk: Disk, folder: str) -> bool:
    """Whether the pool in ``folder`` is whole, for good. Blocks; raises OSError.

    Whoever made it may have failed at the last step, when the roster had its name and the folder was not synced.
    """
    client = posixpath.join(folder, "client")
    if disk.stat(posixpath.join(client, ROSTER_FILE)) is None:
        return False
    disk.sync_folder(client)
    return True


class Provisioner:
    """Writes a pool's homes below one folder. Blocks: use it inside a disk job."""

    def __init__(self, disk: Disk, chance: Chance, clock: Clock, pool_name: str) -> None:
        check_name("pool", pool_name)
        self._disk = disk
        self._writer = HomeWriter(disk, chance, clock.now())
        self._pool_name = pool_name

    def make(self, folder: str, *, peers: int, sites: int, client_settings: str = DEFAULT_SETTINGS) -> list[NewHome]:
        """Homes ``client``, ``peer-1`` .. in ``folder``; peer i is at site (i - 1) mod ``sites`` + 1.

        The client's home comes first in the result; its roster is the last file to be written: where it is, the pool
        is whole. Raises UsageError, OSError, HomeError (a pool that was begun there was not finished).
        """
        if not 1 <= sites <= peers <= PEERS_MAX:
            raise UsageError(f"{peers} peers at {sites} sites: there must be 1 to {PEERS_MAX} peers and no empty site")
        hospitals = [self._hospital(number) for number in range(1, sites + 1)]
        pool_seed = self._writer.token(KEY_BYTES)
        roster = sign_roster(
            key_from_seed(pool_seed),
            pool_name=self._pool_name,
            epoch=1,
            organisations=[self._organisation(hospital) for hospital in hospitals],
            seeds=(),
        )
        client = NewHome("client", posixpath.join(folder, "client"), hospitals[0].site, hospitals[0].name)
        homes = [client]
        for number in range(1, peers + 1):
            hospital = hospitals[(number - 1) % sites]
            name = f"peer-{number}"
            homes.append(NewHome(name, posixpath.join(folder, name), hospital.site, hospital.name))
        self._check_empty(folder, homes)
        for home, hospital in zip(homes[1:], (hospitals[i % sites] for i in range(peers)), strict=True):
            self._write_identity(home, hospital, "peer")
            self._write(home, SETTINGS_FILE, DEFAULT_SETTINGS.encode())
            self._write(home, ROSTER_FILE, roster)
            self._writer.write_ledger(
                home.folder, self._writer.new_ledger_keys(), log_origin(self._pool_name, hospital.name, home.name)
            )
        self._write_client(client, hospitals, pool_seed)
        self._write(client, SETTINGS_FILE, client_settings.encode())
        self._write(client, ROSTER_FILE, roster)
        return homes

    def _check_empty(self, folder: str, homes: Sequence[NewHome]) -> None:
        """New keys beside what is left of old ones would make homes that contradict themselves."""
        begun = [home.name for home in homes if self._disk.list_folder(home.folder)]
        if begun:
            raise HomeError(
                f"{folder} holds {', '.join(begun)} of a pool that was never finished: nothing is stored in it; delete "
                "its folders client and peer-* and try again"
            )

    def _hospital(self, number: int) -> _Hospital:
        name, token = f"hospital-{number}", self._writer.token
        issuing = self._writer.new_issuing(name)
        return _Hospital(
            name=name,
            site=f"site-{number}",
            issuing=issuing,
            manifest_seed=token(KEY_BYTES),
            sealing_seed=token(SEALING_SEED_BYTES),
            log_seed=token(KEY_BYTES),
            witness_seed=token(KEY_BYTES),
        )

    def _organisation(self, hospital: _Hospital) -> Organisation:
        return Organisation(
            name=hospital.name,
            issuer=hospital.issuing.certificate,
            manifest_key=public_bytes(key_from_seed(hospital.manifest_seed)),
            sealing_key=sealing_public_key(hospital.sealing_seed),
            policy=policy_of(log_origin(self._pool_name, hospital.name), hospital.log_seed, hospital.witness_seed),
        )

    def _write_identity(self, home: NewHome, hospital: _Hospital, role: Role) -> None:
        self._writer.write_identity(home.folder, hospital.issuing, name=home.name, site=home.site, role=role)

    def _write_client(self, home: NewHome, hospitals: Sequence[_Hospital], pool_seed: bytes) -> None:
        ours = hospitals[0]
        self._write_identity(home, ours, "client")
        self._write(home, ORGANISATION_FILE, ours.manifest_seed)
        self._write(home, SEALING_FILE, ours.sealing_seed)
        self._write(home, CONVERGENCE_FILE, self._writer.token(KEY_BYTES))
        keys = LedgerKeys(ours.log_seed, ours.witness_seed)
        self._writer.write_ledger(home.folder, keys, log_origin(self._pool_name, ours.name))
        self._write(home, POOL_KEY_FILE, pool_seed)
        for hospital in hospitals:
            self._write(home, issuer_key_file(hospital.name), private_pem(hospital.issuing.key))

    def _write(self, home: NewHome, name: str, data: bytes) -> None:
        self._writer.write(home.folder, name, data)

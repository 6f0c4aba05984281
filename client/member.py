"""Make the homes of one organisation of a consortium: its keys are made where they stay, and only public ones leave.

A home without a roster is not ready: the roster is written last, when the organisation is on it.
"""

from __future__ import annotations

import posixpath
from hashlib import sha256
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from anchor.organisation import Member, Organisation
from client.adminkey import ADMIN_FILE
from client.certificates import Issuing, issuer_key_file
from client.home import (
    CONVERGENCE_FILE,
    ORGANISATION_FILE,
    ROSTER_FILE,
    SEALING_FILE,
    SERVICE_LOG_FILE,
    SERVICE_WITNESS_FILE,
    SETTINGS_FILE,
)
from client.homewriter import DEFAULT_SETTINGS, PEERS_MAX, HomeWriter, check_name, peer_settings
from client.ledger import log_origin, witness_keys
from client.service import create_service
from core.durable import read_file
from core.errors import HomeError, UsageError
from core.identity import Role, key_from_seed, private_pem, public_bytes
from core.limits import PROPOSAL_MAX_BYTES
from core.ports import Address, Chance, Clock, Disk
from core.sealing import KEY_BYTES, SEALING_SEED_BYTES, sealing_public_key

# The organisation's entry as it asks to be on the roster; the last file but for the roster.
ENTRY_FILE = "keys/entry"


class MemberPlan(NamedTuple):
    """What an organisation says of itself.

    ``address``: where its ledger peer is reached; ``listen``: what it binds. ``log_number``: of its first log, above
    those that it had when it was a member before.
    """

    pool_name: str
    organisation: str
    site: str
    listen: Address
    address: Address
    peers: int = 1
    scheme: str = ""
    log_number: int = 1


def member_of(address: Address, origin: str, admin: bytes, log_seed: bytes, witness_seed: bytes) -> Member:
    """The public side of an organisation's keys; ``admin`` is a public key, the others are seeds."""
    ed25519, mldsa44 = witness_keys(origin, witness_seed)
    return Member(
        admin_key=admin,
        log_origin=origin,
        log_key=public_bytes(key_from_seed(log_seed)),
        log_url=f"https://{address}/log/{sha256(origin.encode()).hexdigest()}",
        witness_ed25519=ed25519,
        witness_mldsa44=mldsa44,
        witness_url=f"https://{address}/witness",
    )


class MemberMaker:
    """Writes below one folder: ``client``, ``peer-1`` (the ledger peer), .... Blocks: use it in a disk job."""

    def __init__(self, disk: Disk, chance: Chance, clock: Clock, folder: str, plan: MemberPlan) -> None:
        for what, name in (("pool", plan.pool_name), ("organisation", plan.organisation), ("site", plan.site)):
            check_name(what, name)
        if not 1 <= plan.peers <= PEERS_MAX:
            raise UsageError(f"{plan.peers} peers: an organisation has 1 to {PEERS_MAX} in one folder")
        if not plan.address.port:
            raise UsageError(f"{plan.address}: other hospitals need a fixed port to reach this one")
        self._disk = disk
        self._writer = HomeWriter(disk, chance, clock.now())
        self._folder = folder
        self._plan = plan

    @property
    def homes(self) -> list[str]:
        """The client's, then the peers'."""
        names = ["client", *(f"peer-{number}" for number in range(1, self._plan.peers + 1))]
        return [posixpath.join(self._folder, name) for name in names]

    def entry(self) -> bytes | None:
        """What an earlier attempt made; None when it did not come to its end."""
        return read_file(self._disk, posixpath.join(self._folder, "client", ENTRY_FILE), max_bytes=PROPOSAL_MAX_BYTES)

    def make(self) -> Organisation:
        """All keys and certificates. Raises HomeError (another organisation's, or a torn one, is there), OSError."""
        begun = [home for home in self.homes if self._disk.list_folder(home)]
        if begun:
            raise HomeError(
                f"{', '.join(begun)}: there already. A join that was begun goes on with the same words; what "
                "is left of an attempt that was cut off holds nothing yet: delete it"
            )
        plan, token = self._plan, self._writer.token
        origin = log_origin(plan.pool_name, plan.organisation, number=plan.log_number)
        issuing = self._writer.new_issuing(plan.organisation)
        admin, manifest = (key_from_seed(token(KEY_BYTES)) for _ in range(2))
        service = self._writer.new_ledger_keys()
        sealing_seed = token(SEALING_SEED_BYTES)
        for number, home in enumerate(self.homes):
            self._make_home(home, number, issuing)
        client, ledger_peer = self.homes[:2]
        for name, data in (
            (ORGANISATION_FILE, _seed_of(manifest)),
            (SEALING_FILE, sealing_seed),
            (CONVERGENCE_FILE, token(KEY_BYTES)),
            (ADMIN_FILE, _seed_of(admin)),
            (issuer_key_file(plan.organisation), private_pem(issuing.key)),
        ):
            self._write(client, name, data)
        self._write(ledger_peer, SERVICE_LOG_FILE, service.log_seed)
        self._write(ledger_peer, SERVICE_WITNESS_FILE, service.witness_seed)
        create_service(self._disk, ledger_peer, origin, service)
        member = member_of(plan.address, origin, public_bytes(admin), service.log_seed, service.witness_seed)
        sealing = sealing_public_key(sealing_seed)
        return Organisation(plan.organisation, issuing.certificate, public_bytes(manifest), sealing, "", member)

    def write_entry(self, entry: bytes) -> None:
        self._write(self.homes[0], ENTRY_FILE, entry)

    def write_roster(self, roster_file: bytes, seeds: list[Address]) -> None:
        """The homes are ready then. The client's comes last."""
        for home in reversed(self.homes):
            self._write(home, "bootstrap", "".join(f"{seed}\n" for seed in seeds).encode())
            self._write(home, ROSTER_FILE, roster_file)

    def _make_home(self, home: str, number: int, issuing: Issuing) -> None:
        plan, name = self._plan, posixpath.basename(home)
        role: Role = "peer" if number else "client"
        self._writer.write_identity(home, issuing, name=name, site=plan.site, role=role)
        self._write(home, SETTINGS_FILE, self._settings(number).encode())
        # Its own, for what it does itself; the organisation's log is with its ledger peer.
        origin = log_origin(plan.pool_name, plan.organisation, name)
        self._writer.write_ledger(home, self._writer.new_ledger_keys(), origin)

    def _settings(self, number: int) -> str:
        plan = self._plan
        if number == 0:
            return DEFAULT_SETTINGS + (f'[client]\nscheme = "{plan.scheme}"\n' if plan.scheme else "")
        if number == 1:
            return peer_settings(plan.listen, plan.address)
        return peer_settings(Address(plan.listen.host, 0), Address(plan.address.host, 0))

    def _write(self, home: str, name: str, data: bytes) -> None:
        self._writer.write(home, name, data)


def _seed_of(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes_raw()

"""Make the homes of one organisation of a consortium: its keys are made where they stay, and only public ones leave.

A home without a roster is not ready: the roster is written last, when the organisation is on it.
"""

from __future__ import annotations

import posixpath
import re
from hashlib import sha256
from typing import NamedTuple

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from anchor.note import TYPE_MLDSA44_COSIGNATURE
from anchor.organisation import Member, Organisation
from client.adminkey import ADMIN_FILE
from client.home import (
    CONVERGENCE_FILE,
    LOG_FILE,
    ORGANISATION_FILE,
    ROSTER_FILE,
    SEALING_FILE,
    SERVICE_LOG_FILE,
    SERVICE_WITNESS_FILE,
    SETTINGS_FILE,
    TLS_CERTIFICATE_FILE,
    TLS_KEY_FILE,
    WITNESS_FILE,
    LedgerKeys,
    read_home_file,
)
from client.ledger import cosigners_of, create_log, log_origin
from client.provision import CERTIFICATE_VALID_S, DEFAULT_SETTINGS, ISSUER_VALID_S, SERIAL_BYTES
from client.service import create_service
from core.durable import read_file, write_file
from core.errors import HomeError, UsageError
from core.identity import (
    Role,
    certificate_pem,
    issue_certificate,
    key_from_seed,
    make_issuer,
    private_pem,
    public_bytes,
)
from core.limits import PROPOSAL_MAX_BYTES
from core.ports import Address, Chance, Clock, Disk
from core.sealing import KEY_BYTES, SEALING_SEED_BYTES, sealing_public_key

# The organisation's entry as it asks to be on the roster; the last file but for the roster.
ENTRY_FILE = "keys/entry"
PEERS_MAX = 200
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,40}")


class MemberPlan(NamedTuple):
    """What an organisation says of itself. ``address``: where its ledger peer is reached; ``listen``: what it binds."""

    pool_name: str
    organisation: str
    site: str
    listen: Address
    address: Address
    peers: int = 1
    scheme: str = ""


def issuer_key_file(organisation: str) -> str:
    return f"keys/issuers/{organisation}.key"


def read_issuer_key(disk: Disk, home: str, organisation: str) -> Ed25519PrivateKey:
    """The key with which the organisation vouches for its peers. Blocks; raises HomeError."""
    pem = read_home_file(disk, home, issuer_key_file(organisation))
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise HomeError(f"{home}/{issuer_key_file(organisation)} is not an Ed25519 key")
    return key


def member_of(address: Address, origin: str, admin: bytes, log_seed: bytes, witness_seed: bytes) -> Member:
    """The public side of an organisation's keys; ``admin`` is a public key, the others are seeds."""
    witness = {cosigner.key.signature_type: cosigner.key.public for cosigner in cosigners_of(origin, witness_seed)}
    mldsa44 = witness.pop(TYPE_MLDSA44_COSIGNATURE, b"")
    (ed25519,) = witness.values()
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
            if not _NAME.fullmatch(name):
                raise UsageError(f"{what} name {name!r}: use lower-case letters, digits, dots and dashes")
        if not 1 <= plan.peers <= PEERS_MAX:
            raise UsageError(f"{plan.peers} peers: an organisation has 1 to {PEERS_MAX} in one folder")
        if not plan.address.port:
            raise UsageError(f"{plan.address}: other hospitals need a fixed port to reach this one")
        self._disk = disk
        self._chance = chance
        self._now = clock.now()
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
        plan, token = self._plan, self._chance.token
        origin = log_origin(plan.pool_name, plan.organisation)
        issuer_key, admin, manifest = (key_from_seed(token(KEY_BYTES)) for _ in range(3))
        issuer = make_issuer(
            issuer_key,
            organisation=plan.organisation,
            now=self._now,
            valid_s=ISSUER_VALID_S,
            serial=token(SERIAL_BYTES),
        )
        service = LedgerKeys(token(KEY_BYTES), token(KEY_BYTES))
        sealing_seed = token(SEALING_SEED_BYTES)
        for number, home in enumerate(self.homes):
            self._make_home(home, number, issuer_key, issuer)
        client, ledger_peer = self.homes[:2]
        for name, data in (
            (ORGANISATION_FILE, _seed_of(manifest)),
            (SEALING_FILE, sealing_seed),
            (CONVERGENCE_FILE, token(KEY_BYTES)),
            (ADMIN_FILE, _seed_of(admin)),
            (issuer_key_file(plan.organisation), private_pem(issuer_key)),
        ):
            self._write(client, name, data)
        self._write(ledger_peer, SERVICE_LOG_FILE, service.log_seed)
        self._write(ledger_peer, SERVICE_WITNESS_FILE, service.witness_seed)
        create_service(self._disk, ledger_peer, origin, service)
        member = member_of(plan.address, origin, public_bytes(admin), service.log_seed, service.witness_seed)
        sealing = sealing_public_key(sealing_seed)
        return Organisation(plan.organisation, issuer, public_bytes(manifest), sealing, "", member)

    def write_entry(self, entry: bytes) -> None:
        self._write(self.homes[0], ENTRY_FILE, entry)

    def write_roster(self, roster_file: bytes, seeds: list[Address]) -> None:
        """The homes are ready then. The client's comes last."""
        for home in reversed(self.homes):
            self._write(home, "bootstrap", "".join(f"{seed}\n" for seed in seeds).encode())
            self._write(home, ROSTER_FILE, roster_file)

    def _make_home(self, home: str, number: int, issuer_key: Ed25519PrivateKey, issuer: bytes) -> None:
        plan, name = self._plan, posixpath.basename(home)
        role: Role = "peer" if number else "client"
        key = key_from_seed(self._chance.token(KEY_BYTES))
        certificate = issue_certificate(
            issuer_key,
            issuer,
            key.public_key(),
            name=name,
            site=plan.site,
            role=role,
            now=self._now,
            valid_s=CERTIFICATE_VALID_S,
            serial=self._chance.token(SERIAL_BYTES),
        )
        self._write(home, TLS_KEY_FILE, private_pem(key))
        self._write(home, TLS_CERTIFICATE_FILE, certificate_pem(certificate))
        self._write(home, SETTINGS_FILE, self._settings(number).encode())
        keys = LedgerKeys(self._chance.token(KEY_BYTES), self._chance.token(KEY_BYTES))
        self._write(home, LOG_FILE, keys.log_seed)
        self._write(home, WITNESS_FILE, keys.witness_seed)
        # Its own, for what it does itself; the organisation's log is with its ledger peer.
        origin = log_origin(plan.pool_name, plan.organisation, name)
        create_log(self._disk, home, origin, keys, now_s=int(self._now))

    def _settings(self, number: int) -> str:
        plan = self._plan
        if number == 0:
            return DEFAULT_SETTINGS + (f'[client]\nscheme = "{plan.scheme}"\n' if plan.scheme else "")
        listen = plan.listen if number == 1 else Address(plan.listen.host, 0)
        text = f'{DEFAULT_SETTINGS}[network]\nlisten = "{listen}"\n'
        if plan.address != plan.listen:
            text += f'advertise = "{plan.address if number == 1 else Address(plan.address.host, 0)}"\n'
        return text

    def _write(self, home: str, name: str, data: bytes) -> None:
        write_file(self._disk, posixpath.join(home, name), data, token=self._chance.token(4).hex())


def _seed_of(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes_raw()

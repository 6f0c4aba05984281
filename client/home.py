"""A home folder: who we are, whom we trust, and our keys (docs/operations.md, "Homes")."""

from __future__ import annotations

import os.path
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from anchor.roster import Roster, read_roster
from anchor.rosterfile import is_roster_file
from core.errors import HomeError, MoorageError
from core.identity import certificate_of_pem, key_from_seed, public_bytes, read_certificate
from core.limits import MIB
from core.ports import Clock, Disk, Identity
from core.sealing import KEY_BYTES, SEALING_SEED_BYTES, sealing_public_key
from core.version import VERSION
from wire.message import PROTOCOL_VERSION, Hello

ROSTER_FILE = "roster"
SETTINGS_FILE = "settings.toml"
TLS_KEY_FILE = "keys/tls.key"
TLS_CERTIFICATE_FILE = "keys/tls.crt"
ORGANISATION_FILE = "keys/organisation.seed"
SEALING_FILE = "keys/sealing.seed"
CONVERGENCE_FILE = "keys/convergence.secret"
LOG_FILE = "keys/log.seed"
WITNESS_FILE = "keys/witness.seed"
# Of a ledger peer: it runs its organisation's log and is a witness for the others'.
SERVICE_LOG_FILE = "keys/ledger-log.seed"
SERVICE_WITNESS_FILE = "keys/ledger-witness.seed"
# Made by `rotate-key`; they take the place of those above when the roster names them.
NEXT_SERVICE_LOG_FILE = "keys/ledger-log-next.seed"
NEXT_SERVICE_WITNESS_FILE = "keys/ledger-witness-next.seed"
# Where commands and the daemon write files before these get their names; see ``core.durable.clear_workshop``.
WORKSHOP_FOLDER = "state/parts"
FILE_MAX_BYTES = 4 * MIB
NEW_CERTIFICATE = (
    'restore it, or have `moorage certificate renew` make another (docs/operations.md, "A certificate is lost")'
)
# Of a folder beside homes. Whoever makes a home writes its roster last.
NO_ROSTER = (
    "it has no roster: a join that waits, or what is left of an add-peer that was cut off, which holds nothing yet "
    "and may be deleted; if it was a peer, put its roster back, that of any home of the pool"
)
SOFTWARE = f"moorage/{VERSION}"


@dataclass(frozen=True, slots=True)
class OrganisationKeys:
    """What only an organisation's clients have: without it a pool can be cared for, but not read."""

    manifest_key: Ed25519PrivateKey
    sealing_seed: bytes
    convergence_secret: bytes


@dataclass(frozen=True, slots=True)
class LedgerKeys:
    """32-byte seeds of the home's own log and its local witness."""

    log_seed: bytes
    witness_seed: bytes


class HeldRoster:
    """The roster that a home goes by. A later one takes its place while daemon or command run (``client.rosters``)."""

    __slots__ = ("_both",)

    def __init__(self, roster: Roster, file: bytes) -> None:
        self._both = roster, file

    @property
    def roster(self) -> Roster:
        return self._both[0]

    @property
    def file(self) -> bytes:
        return self._both[1]

    @property
    def both(self) -> tuple[Roster, bytes]:
        """A roster and its file, for whoever needs the two to belong together."""
        return self._both

    def use(self, roster: Roster, file: bytes) -> None:
        """From any thread."""
        self._both = roster, file


class HeldCertificate:
    """The certificate (DER) that a home shows. A renewed one takes its place while the daemon runs."""

    __slots__ = ("der",)

    def __init__(self, der: bytes) -> None:
        self.der = der


@dataclass(frozen=True, slots=True)
class Home:
    """A home that was read and found whole. ``organisation`` is None in a peer's home.

    ``identity``: as at the start; ``certificate`` is the newest of it. ``service``: what makes a peer its
    organisation's ledger peer, if it is one.
    """

    folder: str
    held: HeldRoster
    identity: Identity
    tls_key: Ed25519PrivateKey
    ledger: LedgerKeys
    organisation: OrganisationKeys | None
    service: LedgerKeys | None = None
    shown: HeldCertificate = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shown", HeldCertificate(self.identity.certificate))

    @property
    def certificate(self) -> bytes:
        """As of now: ask again rather than keep it."""
        return self.shown.der

    @property
    def roster(self) -> Roster:
        """As of now: ask again rather than keep it."""
        return self.held.roster

    @property
    def roster_file(self) -> bytes:
        return self.held.file

    def path(self, *parts: str) -> str:
        return os.path.join(self.folder, *parts)

    def hello(self) -> Hello:
        return Hello(self.roster.pool, PROTOCOL_VERSION, SOFTWARE, self.roster.epoch)

    def owner_keys(self) -> OrganisationKeys:
        """Raises HomeError when this home has none."""
        if self.organisation is None:
            raise HomeError(
                f"{self.folder} has no organisation keys ({ORGANISATION_FILE}, {SEALING_FILE}, {CONVERGENCE_FILE}): "
                "storing and reading need a client's home; sweep, repair and verify do not"
            )
        return self.organisation


def read_home_file(disk: Disk, folder: str, name: str, *, exact_bytes: int | None = None) -> bytes:
    """A small file of a home. Raises HomeError that names it and says what to do."""
    path = os.path.join(folder, name)
    try:
        with disk.open(path, "read") as file:
            data = file.read_at(0, FILE_MAX_BYTES)
    except FileNotFoundError as error:
        raise HomeError(
            f"{path} is missing: {folder} is not a moorage home; make one with `moorage pool up`, or name another "
            "with --home"
        ) from error
    except OSError as error:
        raise HomeError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) == FILE_MAX_BYTES:
        raise HomeError(f"{path} has {FILE_MAX_BYTES} bytes or more, which no file of a home has: restore it")
    if exact_bytes is not None and len(data) != exact_bytes:
        raise HomeError(f"{path} has {len(data)} bytes, not {exact_bytes}: restore it from its backup")
    return data


def sync_roster(disk: Disk, folder: str) -> None:
    """Whoever wrote it may have died, or failed, before its name was durable: nobody acts by what a cut takes back.

    Raises HomeError.
    """
    try:
        # A rename is durable when both folders are.
        disk.sync_folder(folder)
        if disk.stat(workshop := os.path.join(folder, WORKSHOP_FOLDER)) is not None:
            disk.sync_folder(workshop)
    except OSError as error:
        raise HomeError(f"{folder} cannot be synced: {error.strerror}: look after its disk") from error


def load_tls_key(disk: Disk, folder: str) -> Ed25519PrivateKey:
    """Blocks; raises HomeError."""
    try:
        key = serialization.load_pem_private_key(read_home_file(disk, folder, TLS_KEY_FILE), password=None)
    except (ValueError, TypeError) as error:
        raise HomeError(f"{folder}/{TLS_KEY_FILE} is no private key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise HomeError(f"{folder}/{TLS_KEY_FILE} is not an Ed25519 key")
    return key


def read_home_certificate(disk: Disk, folder: str, name: str = TLS_CERTIFICATE_FILE) -> bytes:
    """DER, not believed yet. Blocks; raises HomeError."""
    path = os.path.join(folder, name)
    if disk.stat(path) is None and disk.stat(os.path.join(folder, TLS_KEY_FILE)) is not None:
        raise HomeError(f"{path} is missing: {NEW_CERTIFICATE}")
    pem = read_home_file(disk, folder, name)
    try:
        return certificate_of_pem(pem)
    except ValueError as error:
        raise HomeError(f"{path} is no certificate ({error}): {NEW_CERTIFICATE}") from error


def read_home_roster(disk: Disk, folder: str) -> HeldRoster:
    """Blocks; raises HomeError."""
    roster_file = read_home_file(disk, folder, ROSTER_FILE)
    try:
        if is_roster_file(roster_file):
            sync_roster(disk, folder)
        roster = read_roster(roster_file)
        _check_whole(roster)
    except MoorageError as error:
        raise HomeError(f"{folder}/{ROSTER_FILE}: {error}") from error
    return HeldRoster(roster, roster_file)


def _load_identity(disk: Disk, folder: str, roster: Roster, key: Ed25519PrivateKey, clock: Clock) -> Identity:
    certificate = read_home_certificate(disk, folder)
    identity, holder_key = read_certificate(certificate, roster.issuers, now=clock.now())
    if holder_key != public_bytes(key):
        raise HomeError(f"{folder}: {TLS_CERTIFICATE_FILE} and {TLS_KEY_FILE} do not belong together")
    return identity


def _load_organisation(disk: Disk, folder: str, roster: Roster, identity: Identity) -> OrganisationKeys:
    """Its keys are those that the roster has: what is sealed for a key with a flipped bit is lost with that home."""
    manifest_key = key_from_seed(read_home_file(disk, folder, ORGANISATION_FILE, exact_bytes=KEY_BYTES))
    sealing_seed = read_home_file(disk, folder, SEALING_FILE, exact_bytes=SEALING_SEED_BYTES)
    known = roster.organisation_of_key(public_bytes(manifest_key))
    if known is None or known.name != identity.organisation:
        raise _not_on_roster(folder, ORGANISATION_FILE, identity.organisation)
    if known.sealing_key != sealing_public_key(sealing_seed):
        raise _not_on_roster(folder, SEALING_FILE, identity.organisation)
    return OrganisationKeys(
        manifest_key=manifest_key,
        sealing_seed=sealing_seed,
        convergence_secret=read_home_file(disk, folder, CONVERGENCE_FILE, exact_bytes=KEY_BYTES),
    )


def _not_on_roster(folder: str, name: str, organisation: str) -> HomeError:
    return HomeError(
        f"{folder}/{name} is not the key that the roster has of {organisation}: restore it from its backup"
    )


def _check_whole(roster: Roster) -> None:
    if not roster.is_whole:
        raise HomeError("this is a receipt's roster, which says nothing of how to reach the members")


def _load_service(disk: Disk, folder: str) -> LedgerKeys | None:
    """None when there is neither seed: one alone is a home that lost something."""
    if all(disk.stat(os.path.join(folder, name)) is None for name in (SERVICE_LOG_FILE, SERVICE_WITNESS_FILE)):
        return None
    return LedgerKeys(
        log_seed=read_home_file(disk, folder, SERVICE_LOG_FILE, exact_bytes=KEY_BYTES),
        witness_seed=read_home_file(disk, folder, SERVICE_WITNESS_FILE, exact_bytes=KEY_BYTES),
    )


def load_home(disk: Disk, folder: str, clock: Clock) -> Home:
    """Read a home.

    Raises:
        HomeError: something is missing or does not fit together.
        PeerRefusedError: its own certificate is expired or not of its roster.
    """
    folder = os.path.abspath(folder)
    held = read_home_roster(disk, folder)
    roster = held.roster
    tls_key = load_tls_key(disk, folder)
    identity = _load_identity(disk, folder, roster, tls_key, clock)
    organisation = None
    if disk.stat(os.path.join(folder, ORGANISATION_FILE)) is not None:
        organisation = _load_organisation(disk, folder, roster, identity)
    return Home(
        folder=folder,
        held=held,
        identity=identity,
        tls_key=tls_key,
        ledger=LedgerKeys(
            log_seed=read_home_file(disk, folder, LOG_FILE, exact_bytes=KEY_BYTES),
            witness_seed=read_home_file(disk, folder, WITNESS_FILE, exact_bytes=KEY_BYTES),
        ),
        organisation=organisation,
        service=_load_service(disk, folder),
    )

"""What every new home has: who it is (TLS key and certificate), and a log of its own. Blocks: use it in a disk job."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable

from client.certificates import ISSUER_VALID_S, SERIAL_BYTES, Issuing, issue
from client.home import LOG_FILE, TLS_CERTIFICATE_FILE, TLS_KEY_FILE, WITNESS_FILE, LedgerKeys
from client.ledger import create_log
from core.durable import write_file
from core.errors import UsageError
from core.identity import Role, certificate_pem, key_from_seed, make_issuer, private_pem
from core.ports import Address, Chance, Disk
from core.sealing import KEY_BYTES

DEFAULT_SETTINGS = '# Every key has a default; see docs/operations.md, "Settings".\n'
PEERS_MAX = 200
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,40}")


def check_name(what: str, name: str) -> None:
    """Raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{what} name {name!r}: use lower-case letters, digits, dots and dashes")


def peer_settings(listen: Address, address: Address) -> str:
    """Of a peer that binds ``listen`` and is reached at ``address``."""
    text = f'{DEFAULT_SETTINGS}[network]\nlisten = "{listen}"\n'
    return text if address == listen else f'{text}advertise = "{address}"\n'


class HomeWriter:
    """``now_s``: seconds since 1970, when the homes are made."""

    def __init__(self, disk: Disk, chance: Chance, now_s: float) -> None:
        self.disk = disk
        self.now_s = now_s
        self.token: Callable[[int], bytes] = chance.token

    def write(self, folder: str, name: str, data: bytes) -> None:
        write_file(self.disk, posixpath.join(folder, name), data, token=self.token(4).hex())

    def new_issuing(self, organisation: str) -> Issuing:
        """A new organisation's key and certificate, which are written nowhere yet."""
        key = key_from_seed(self.token(KEY_BYTES))
        serial = self.token(SERIAL_BYTES)
        issuer = make_issuer(key, organisation=organisation, now=self.now_s, valid_s=ISSUER_VALID_S, serial=serial)
        return Issuing(organisation, issuer, key)

    def write_identity(self, folder: str, issuing: Issuing, *, name: str, site: str, role: Role) -> None:
        """A new key, and the organisation's word for it."""
        key = key_from_seed(self.token(KEY_BYTES))
        serial = self.token(SERIAL_BYTES)
        certificate = issue(issuing, key.public_key(), name=name, site=site, role=role, now=self.now_s, serial=serial)
        self.write(folder, TLS_KEY_FILE, private_pem(key))
        self.write(folder, TLS_CERTIFICATE_FILE, certificate_pem(certificate))

    def new_ledger_keys(self) -> LedgerKeys:
        return LedgerKeys(self.token(KEY_BYTES), self.token(KEY_BYTES))

    def write_ledger(self, folder: str, keys: LedgerKeys, origin: str) -> None:
        """The home's own log, which is empty, and its witness."""
        self.write(folder, LOG_FILE, keys.log_seed)
        self.write(folder, WITNESS_FILE, keys.witness_seed)
        create_log(self.disk, folder, origin, keys, now_s=int(self.now_s))

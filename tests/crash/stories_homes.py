"""Homes: a certificate is renewed, a peer is added."""

from __future__ import annotations

from typing import ClassVar

from client.certificates import (
    BEFORE_FILE,
    CERTIFICATE_VALID_S,
    DAY_S,
    SERIAL_BYTES,
    install_certificate,
    read_certificate_of,
    read_issuing,
    successor,
)
from client.home import WORKSHOP_FOLDER, load_home, read_home_certificate, read_home_roster
from client.newpeer import PeerPlan, add_peer, homes_beside
from client.provision import Provisioner
from core.durable import clear_workshop
from core.errors import MoorageError
from core.ports import Disk
from tests.crash.enumerate import Errors, Story
from tests.sim.chance import SimChance
from tests.sim.clock import START_S, SimClock

CLIENT, PEER = "/pool/client", "/pool/peer-1"
LATER = SimClock(start_s=START_S + CERTIFICATE_VALID_S - 30 * DAY_S)


def make_pool(disk: Disk) -> None:
    Provisioner(disk, SimChance(1), SimClock(), "pool.example").make("/pool", peers=1, sites=1)


class CertificateRenewed(Story):
    """Whatever is cut, the home has a whole certificate for its key: the new one once that was said."""

    name = "home: a certificate renewed"
    errors: ClassVar[Errors] = (MoorageError, OSError)
    slow = 9

    def __init__(self) -> None:
        self.installed = b""
        self._serial = 0

    def prepare(self, disk: Disk) -> None:
        make_pool(disk)
        clear_workshop(disk, f"{PEER}/{WORKSHOP_FOLDER}")

    def run(self, disk: Disk) -> None:
        self._serial += 1
        roster = read_home_roster(disk, PEER).roster
        found = read_certificate_of(disk, PEER, roster)
        if not found.is_due(LATER.now(), 90):
            return
        issuing = read_issuing(disk, CLIENT, roster, found.identity.organisation)
        serial = bytes([self._serial]) * SERIAL_BYTES
        made = successor(issuing, found.identity.certificate, now=LATER.now(), serial=serial)
        install_certificate(disk, PEER, roster, made, now=LATER.now(), token=f"t{self._serial}")
        self.installed = made

    def recover(self, disk: Disk) -> None:
        clear_workshop(disk, f"{PEER}/{WORKSHOP_FOLDER}")

    def check(self, disk: Disk) -> None:
        home = load_home(disk, PEER, LATER)
        if self.installed:
            assert home.certificate == self.installed, "a renewed certificate is gone"
        if disk.stat(f"{PEER}/{BEFORE_FILE}") is not None:
            assert read_home_certificate(disk, PEER, BEFORE_FILE), "what is kept is torn"
        assert disk.list_folder(f"{PEER}/{WORKSHOP_FOLDER}") == []
        assert not [name for name in disk.list_folder(f"{PEER}/keys") if name.endswith(".part")]


class PeerAdded(Story):
    """Whatever is cut, there is a whole home or none, and the next one can be made."""

    name = "home: a peer added"
    errors: ClassVar[Errors] = (MoorageError, OSError)
    slow = 31

    def __init__(self) -> None:
        self.made: list[str] = []
        self._lives = 1

    def prepare(self, disk: Disk) -> None:
        make_pool(disk)

    def _add(self, disk: Disk) -> str:
        self._lives += 1
        home = load_home(disk, CLIENT, SimClock())
        return add_peer(disk, SimChance(self._lives), SimClock(), home, PeerPlan(), ()).folder

    def run(self, disk: Disk) -> None:
        self.made.append(self._add(disk))

    def recover(self, disk: Disk) -> None:
        homes_beside(disk, load_home(disk, CLIENT, SimClock()))

    def check(self, disk: Disk) -> None:
        found = [item.folder for item in homes_beside(disk, load_home(disk, CLIENT, SimClock()))]
        for folder in found:
            assert load_home(disk, folder, SimClock()).folder == folder, "half a home passes for one"
        assert set(self.made) <= set(found), "a peer that was made is gone"
        folder = self._add(disk)
        assert folder not in found
        assert load_home(disk, folder, SimClock()).identity.name == folder.removeprefix("/pool/")


STORIES: tuple[type[Story], ...] = (CertificateRenewed, PeerAdded)

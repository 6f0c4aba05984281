"""Four hospitals with a ledger peer each, on a simulated network or a real one."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from anchor.policy import make_policy
from anchor.roster import Organisation, Roster, parse_roster, sign_roster
from anchor.witness import origin_folder
from client.home import HeldRoster, Home, LedgerKeys
from client.ledger import log_origin
from client.service import create_service, service_keys
from core.identity import key_from_seed
from core.ports import Address, Connection, Disk, Ports
from daemon.eventlog import EventLog
from daemon.ledger import LedgerPeer
from daemon.settings import LogSettings
from tests.sim.people import Organisation as Hospital
from tests.sim.people import Person, make_organisation

POOL_NAME = "valley"
POOL_KEY = key_from_seed(b"p" * 32)


@dataclass
class Member:
    """One hospital and its ledger peer."""

    number: int
    hospital: Hospital
    person: Person
    address: Address
    keys: LedgerKeys
    said: list[str] = field(default_factory=list[str])
    peer: LedgerPeer | None = None
    roster: Roster | None = None
    """As it goes by it; may be replaced while it runs, and is kept when it is started again."""

    @property
    def name(self) -> str:
        return self.hospital.name

    @property
    def origin(self) -> str:
        return log_origin(POOL_NAME, self.name)

    @property
    def ledger(self) -> LedgerPeer:
        assert self.peer is not None, "not running"
        return self.peer

    def home(self, folder: str, roster_file: bytes) -> Home:
        return Home(
            folder=folder,
            held=HeldRoster(parse_roster(roster_file), roster_file),
            identity=self.person.identity,
            tls_key=self.person.key,
            ledger=self.keys,
            organisation=None,
            service=self.keys,
        )

    def create(self, disk: Disk, folder: str) -> None:
        create_service(disk, folder, self.origin, self.keys)

    async def run(self, ports: Ports, folder: str, roster_file: bytes) -> None:
        """Serve and operate until cancelled."""
        home = self.home(folder, roster_file)
        log = EventLog(LogSettings(), ports.clock, self.said.append, peer=self.name)
        self.roster = self.roster or home.roster
        self.peer = LedgerPeer(ports, home, self.keys, lambda: self.roster or home.roster, log)
        async with trio.open_nursery() as nursery:
            web = await nursery.start(self.peer.run)

            async def serve(connection: Connection) -> None:
                await web.serve_connection(connection)

            await nursery.start(ports.net.serve, self.address, serve)


def make_members(count: int = 4, *, now: float, first_port: int = 7000, host: str = "10.0.0.1") -> list[Member]:
    found: list[Member] = []
    for number in range(count):
        hospital = make_organisation(f"hospital-{number}", now=now)
        person = hospital.admit(f"ledger-{number}", now=now)
        keys = LedgerKeys(bytes([65 + number]) * 32, bytes([97 + number]) * 32)
        found.append(Member(number, hospital, person, Address(host, first_port + number), keys))
    return found


def roster_of(members: list[Member], *, hybrid: bool = True, epoch: int = 1) -> bytes:
    """All are witnesses of all logs."""
    service = [service_keys(member.origin, member.keys) for member in members]
    vkeys = [vkey for item in service for vkey in (item.witness if hybrid else item.witness[:1])]
    urls = {f"{member.origin}/witness": f"https://{member.address}/witness" for member in members}
    organisations: list[Organisation] = []
    for member, item in zip(members, service, strict=True):
        log_url = f"https://{member.address}/log/{folder_name(member.origin)}"
        organisations.append(
            Organisation(
                name=member.name,
                issuer=member.hospital.issuer,
                manifest_key=bytes([member.number]) * 32,
                sealing_key=bytes([member.number]) * 32,
                policy=make_policy(item.log, vkeys, log_url=log_url, witness_urls=urls),
            )
        )
    return sign_roster(POOL_KEY, pool_name=POOL_NAME, epoch=epoch, organisations=organisations, seeds=[])


def folder_name(origin: str) -> str:
    """Its hash, as URLs name it."""
    return origin_folder("", origin).strip("/")

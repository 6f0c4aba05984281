"""A daemon takes up a renewed certificate while it runs, and says in its log when the end is near."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from client.certificates import (
    CERTIFICATE_VALID_S,
    DAY_S,
    SERIAL_BYTES,
    install_certificate,
    issue_for_home,
    read_issuing,
    successor,
)
from client.home import TLS_CERTIFICATE_FILE, Home, load_home
from client.provision import Provisioner
from core.durable import read_file, write_file
from core.errors import PeerRefusedError
from core.identity import certificate_pem
from core.ports import Address, Disk, Ports
from daemon.certificate import LOOK_EVERY_S, CertificateKeeper
from daemon.eventlog import EventLog
from daemon.settings import LogSettings
from dht.records import PeerRecord, make_peer_record, parse_record
from tests.sim.chance import SimChance
from tests.sim.clock import START_S, SimClock
from tests.sim.disk import SimDisk
from tests.sim.threads import SimThreads

CLIENT, PEER, OTHER = "/pool/client", "/pool/peer-1", "/pool/peer-2"
END_S = START_S + CERTIFICATE_VALID_S
A_MONTH_BEFORE = SimClock(start_s=END_S - 30 * DAY_S)


@dataclass
class Kept:
    disk: Disk
    home: Home
    said: list[str] = field(default_factory=list[str])
    changes: int = 0

    def changed(self) -> None:
        self.changes += 1

    def renew(self, now: float) -> None:
        issuing = read_issuing(self.disk, CLIENT, self.home.roster, "hospital-1")
        made = successor(issuing, self.home.certificate, now=now, serial=b"s" * SERIAL_BYTES)
        install_certificate(self.disk, PEER, self.home.roster, made, now=now, token="n")

    def record(self, now: float) -> PeerRecord:
        """As another peer reads it."""
        raw = make_peer_record(
            self.home.tls_key,
            self.home.certificate,
            address=Address("127.0.0.1", 7000),
            free_bytes=1,
            capacity_bytes=1,
            version=1,
            draining=False,
            sequence=1,
            now=now,
            life_s=3600,
        )
        record = parse_record(raw, self.home.roster.issuers, now)
        assert isinstance(record, PeerRecord)
        return record


@asynccontextmanager
async def kept(clock: SimClock = A_MONTH_BEFORE) -> AsyncGenerator[Kept]:
    disk = SimDisk()
    Provisioner(disk, SimChance(1), SimClock(), "pool.example").make("/pool", peers=2, sites=2)
    made = Kept(disk, load_home(disk, PEER, SimClock()))
    ports = Ports(disk, cast(Any, None), SimThreads(), clock, SimChance(1))
    log = EventLog(LogSettings(), clock, made.said.append, peer="peer-1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(CertificateKeeper(ports, made.home, log, made.changed).run)
        await trio.sleep(1)
        yield made
        nursery.cancel_scope.cancel()


async def test_a_renewed_certificate_is_used_without_a_restart_and_believed_after_the_old_end(
    autojump_clock: MockClock,
) -> None:
    async with kept() as peer:
        assert any("certificate-ends" in line and "ends in 30 days" in line for line in peer.said)
        with pytest.raises(PeerRefusedError, match="`moorage certificate renew`"):
            peer.record(END_S + 1)
        before = peer.home.certificate
        peer.renew(A_MONTH_BEFORE.now())
        await trio.sleep(LOOK_EVERY_S + 1)
        assert peer.changes == 1
        assert peer.home.certificate != before
        assert peer.record(END_S + 1).peer == peer.home.identity.peer
        assert load_home(peer.disk, PEER, SimClock(start_s=END_S + 1)).identity.peer == peer.home.identity.peer


async def test_one_that_is_not_for_this_home_or_damaged_is_complained_of_once(autojump_clock: MockClock) -> None:
    async with kept(SimClock()) as peer:
        assert peer.said == []
        own = read_file(peer.disk, f"{PEER}/{TLS_CERTIFICATE_FILE}", max_bytes=10_000)
        other = read_file(peer.disk, f"{OTHER}/{TLS_CERTIFICATE_FILE}", max_bytes=10_000)
        assert own is not None
        assert other is not None
        for number, data in enumerate((other, own[:100]), start=1):
            write_file(peer.disk, f"{PEER}/{TLS_CERTIFICATE_FILE}", data, token="x")
            await trio.sleep(5 * LOOK_EVERY_S)
            assert sum("certificate-refused" in line for line in peer.said) == number, peer.said
        write_file(peer.disk, f"{PEER}/{TLS_CERTIFICATE_FILE}", own, token="x")
        await trio.sleep(2 * LOOK_EVERY_S)
        assert peer.changes == 0
        assert len(peer.said) == 2


@pytest.mark.slow
async def test_the_end_is_announced_once_a_day_from_two_months_before(autojump_clock: MockClock) -> None:
    async with kept(SimClock(start_s=END_S - 61 * DAY_S)) as peer:
        await trio.sleep(4 * DAY_S)
        assert [line.count("certificate-ends") for line in peer.said] == [1, 1, 1, 1][: len(peer.said)]
        assert 3 <= len(peer.said) <= 4


async def test_one_that_calls_the_peer_otherwise_is_not_shown(autojump_clock: MockClock) -> None:
    async with kept() as peer:
        before = peer.home.certificate
        made = issue_for_home(
            peer.disk,
            PEER,
            read_issuing(peer.disk, CLIENT, peer.home.roster, "hospital-1"),
            name="peer-1",
            site="site-9",
            role="peer",
            now=A_MONTH_BEFORE.now(),
            serial=b"t" * SERIAL_BYTES,
        )
        write_file(peer.disk, f"{PEER}/{TLS_CERTIFICATE_FILE}", certificate_pem(made), token="x")
        await trio.sleep(LOOK_EVERY_S + 1)
        assert any("its site is site-9, and this home's is site-1" in line for line in peer.said), peer.said
        assert peer.home.certificate == before

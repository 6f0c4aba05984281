"""Homes: whole, or refused with the file's name and what to do."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from client.candidates import candidate_of
from client.certificates import CERTIFICATE_VALID_S
from client.home import (
    CONVERGENCE_FILE,
    LOG_FILE,
    ORGANISATION_FILE,
    ROSTER_FILE,
    SEALING_FILE,
    TLS_CERTIFICATE_FILE,
    TLS_KEY_FILE,
    WITNESS_FILE,
    load_home,
)
from client.placer import Placer
from client.provision import NewHome, Provisioner
from core.durable import read_file, write_file
from core.errors import HomeError, LedgerError, NotEnoughPeersError, PeerRefusedError, PeerUnavailableError, UsageError
from core.ids import PeerId
from core.ports import Disk, Identity
from dht.records import PeerRecord
from erasure.scheme import Scheme
from tests.dht.people import HOME as ADDRESS
from tests.dht.people import START
from tests.sim.chance import SimChance
from tests.sim.clock import START_S, SimClock
from tests.sim.disk import SimDisk
from tests.sim.drive import SimDrive

CLIENT, PEER = "/pool/client", "/pool/peer-2"


def new_pool() -> tuple[Disk, list[NewHome]]:
    disk = SimDisk(SimDrive(1, "maker"))
    provisioner = Provisioner(disk, SimChance(1, "maker"), SimClock(), "pool.example")
    return disk, provisioner.make("/pool", peers=3, sites=2)


def replace_file(disk: Disk, path: str, data: bytes) -> None:
    write_file(disk, path, data, token="x")


def test_a_new_pool_s_homes_belong_together() -> None:
    disk, made = new_pool()
    assert [home.name for home in made] == ["client", "peer-1", "peer-2", "peer-3"]
    homes = [load_home(disk, home.folder, SimClock()) for home in made]
    assert len({home.roster.pool for home in homes}) == 1
    assert [home.identity.role for home in homes] == ["client", "peer", "peer", "peer"]
    assert [home.identity.site for home in homes[1:]] == ["site-1", "site-2", "site-1"]
    assert len({home.identity.peer for home in homes}) == 4
    keys = homes[0].owner_keys()
    owner = homes[0].roster.organisation_of_key(keys.manifest_key.public_key().public_bytes_raw())
    assert owner is not None
    assert owner.name == homes[0].identity.organisation
    for home in homes[1:]:
        with pytest.raises(HomeError, match="has no organisation keys"):
            home.owner_keys()


@pytest.mark.parametrize(("peers", "sites"), [(0, 0), (1, 2), (3, 0), (201, 1)])
def test_a_pool_without_peers_or_with_empty_sites_is_not_made(peers: int, sites: int) -> None:
    provisioner = Provisioner(SimDisk(SimDrive(1)), SimChance(1), SimClock(), "pool.example")
    with pytest.raises(UsageError):
        provisioner.make("/pool", peers=peers, sites=sites)
    for name in ("", "Pool", "a b", "../x", "x" * 60):
        with pytest.raises(UsageError):
            Provisioner(SimDisk(SimDrive(1)), SimChance(1), SimClock(), name)


@pytest.mark.parametrize(
    "name",
    [
        ROSTER_FILE,
        TLS_KEY_FILE,
        TLS_CERTIFICATE_FILE,
        LOG_FILE,
        WITNESS_FILE,
        SEALING_FILE,
        CONVERGENCE_FILE,
    ],
)
@pytest.mark.parametrize(
    "damage", [lambda data: None, lambda data: b"", lambda data: data[:-1], lambda data: b"garbage"]
)
def test_a_missing_or_damaged_file_is_named(name: str, damage: Callable[[bytes], bytes | None]) -> None:
    disk, _ = new_pool()
    path = f"{CLIENT}/{name}"
    data = read_file(disk, path, max_bytes=1 << 20)
    assert data is not None
    damaged = damage(data)
    if damaged is None:
        disk.unlink(path)
    else:
        replace_file(disk, path, damaged)
    if name == TLS_CERTIFICATE_FILE and damaged == data[:-1]:
        # Only the line end of a PEM file is gone.
        load_home(disk, CLIENT, SimClock())
        return
    if name == TLS_KEY_FILE and damaged == data[:-1]:
        load_home(disk, CLIENT, SimClock())
        return
    with pytest.raises(HomeError, match=name.rpartition("/")[2]):
        load_home(disk, CLIENT, SimClock())


def test_a_home_without_its_organisation_s_keys_cares_and_does_not_read() -> None:
    disk, _ = new_pool()
    disk.unlink(f"{CLIENT}/{ORGANISATION_FILE}")
    with pytest.raises(HomeError, match="sweep, repair and verify do not"):
        load_home(disk, CLIENT, SimClock()).owner_keys()


# The second half of an ML-KEM seed only hides failures (FIPS 203, 6.1: z), and X25519 ignores some bits at its ends.
@pytest.mark.parametrize(("name", "places"), [(ORGANISATION_FILE, (0, 13, 31)), (SEALING_FILE, (0, 13, 31, 70, 90))])
def test_a_key_with_a_flipped_bit_is_refused_before_anything_is_sealed_for_it(
    name: str, places: tuple[int, ...]
) -> None:
    disk, _ = new_pool()
    data = read_file(disk, f"{CLIENT}/{name}", max_bytes=1 << 20)
    assert data is not None
    for at in places:
        replace_file(disk, f"{CLIENT}/{name}", bytes([*data[:at], data[at] ^ 8, *data[at + 1 :]]))
        with pytest.raises(HomeError, match=f"{name} is not the key that the roster has of hospital-1"):
            load_home(disk, CLIENT, SimClock())


def test_another_s_certificate_or_roster_does_not_fit() -> None:
    disk, _ = new_pool()
    other = read_file(disk, f"{PEER}/{TLS_CERTIFICATE_FILE}", max_bytes=1 << 20)
    assert other is not None
    replace_file(disk, f"{CLIENT}/{TLS_CERTIFICATE_FILE}", other)
    with pytest.raises(HomeError, match="do not belong together"):
        load_home(disk, CLIENT, SimClock())
    elsewhere = SimDisk(SimDrive(2))
    Provisioner(elsewhere, SimChance(2), SimClock(), "other.example").make("/pool", peers=1, sites=1)
    roster = read_file(elsewhere, f"{CLIENT}/{ROSTER_FILE}", max_bytes=1 << 20)
    assert roster is not None
    replace_file(disk, f"{PEER}/{ROSTER_FILE}", roster)
    with pytest.raises(PeerRefusedError):
        load_home(disk, PEER, SimClock())


def test_an_expired_certificate_says_whom_to_ask() -> None:
    disk, _ = new_pool()
    with pytest.raises(PeerRefusedError, match="`moorage certificate renew` where 'hospital-1' has its issuing key"):
        load_home(disk, CLIENT, SimClock(start_s=START_S + CERTIFICATE_VALID_S + 1))


def test_no_home_at_all_says_how_to_make_one() -> None:
    with pytest.raises(HomeError, match="moorage pool up"):
        load_home(SimDisk(SimDrive(1)), "/nowhere", SimClock())


# --- placement --------------------------------------------------------------------------------


def live(count: int, sites: int, *, draining: int = 0, full: int = 0) -> list[PeerRecord]:
    return [
        PeerRecord(
            Identity(
                PeerId(bytes([number + 1]) * 32), f"o{number % sites}", f"s{number % sites}", f"p{number}", "peer", b""
            ),
            ADDRESS,
            0 if number < full else 1000,
            2000,
            1,
            number < draining,
            1,
            int(START),
            int(START) + 86400,
            b"",
        )
        for number in range(count)
    ]


def test_holders_are_distinct_stable_and_never_those_that_drain_or_failed() -> None:
    placer = Placer(b"seed", Scheme(4, 6), live(9, 3, draining=1))
    first = placer.holders(0)
    assert len(set(first)) == 6
    assert first == placer.holders(0)
    assert PeerId(b"\x01" * 32) not in first
    placer.fail(first[2], PeerUnavailableError("gone"))
    assert first[2] not in placer.holders(0)
    good = {index: peer for index, peer in enumerate(first) if index != 2}
    replaced = placer.replacements(0, good, [2])
    assert replaced.keys() == {2}
    assert replaced[2] not in first


def test_what_is_missing_and_who_failed_is_said() -> None:
    placer = Placer(b"seed", Scheme(4, 6), live(6, 3))
    holders = placer.holders(0)
    placer.fail(holders[0], PeerUnavailableError("its line is dead"))
    name = placer.name_of(holders[0])
    with pytest.raises(NotEnoughPeersError, match=rf"6 peers.*failed: {name} \(its line is dead\)"):
        placer.holders(0)
    with pytest.raises(NotEnoughPeersError, match=rf"1 of 6 shares find no other peer; failed: {name}"):
        placer.replacements(0, dict(list(enumerate(holders))[1:]), [0])
    assert [record.identity.peer for record in placer.away()] == [holders[0]]
    placer.welcome(holders[0])
    assert placer.holders(0) == holders


def test_a_full_peer_gets_nothing_is_named_when_it_is_needed_and_counts_where_it_holds_shards() -> None:
    placer = Placer(b"seed", Scheme(4, 6), live(7, 3, full=1))
    full = PeerId(b"\x01" * 32)
    holders = placer.holders(0)
    assert full not in holders
    assert full not in placer.replacements(0, dict(list(enumerate(holders))[1:]), [0]).values()
    placer.fail(holders[0], PeerUnavailableError("its line is dead"))
    with pytest.raises(NotEnoughPeersError, match=r"5 answer and 1 more are full; full or read-only: p0; failed:"):
        placer.holders(0)
    # It and p6 are at site 0: the rule leaves no room for p3 there.
    good = {share: PeerId(bytes([number]) * 32) for share, number in enumerate((1, 7, 2, 3, 5))}
    assert Placer(b"seed", Scheme(4, 6), live(7, 3, full=1)).replacements(0, good, [5]) == {5: PeerId(b"\x06" * 32)}


def test_a_holder_that_failed_elsewhere_counts_for_its_site_where_its_share_lies() -> None:
    """Once it is back, its site has no more shares than may be lost."""
    for seed in range(50):
        # Nine peers at four sites: p0, p4 and p8 are at the same.
        placer = Placer(bytes([seed]), Scheme(4, 6), live(9, 4))
        good = {share: PeerId(bytes([number]) * 32) for share, number in enumerate((1, 5, 2, 3, 4))}
        placer.fail(good[0], PeerUnavailableError("for another extent"))
        assert placer.replacements(0, good, [5])[5] != PeerId(b"\x09" * 32)


def test_a_put_and_a_repair_weigh_peers_alike() -> None:
    records = live(3, 3, draining=1, full=2)
    assert [candidate_of(record).weight for record in records] == [0, 0, 1000]


def test_the_rules_are_relaxed_only_when_allowed_and_then_said() -> None:
    with pytest.raises(NotEnoughPeersError, match="sites"):
        Placer(b"seed", Scheme(4, 6), live(6, 2)).holders(0)
    placer = Placer(b"seed", Scheme(4, 6), live(6, 2), allow_degraded=True)
    assert len(placer.holders(0)) == 6
    assert placer.degraded
    strict = Placer(b"seed", Scheme(4, 6), live(6, 3), allow_degraded=True)
    strict.holders(0)
    assert not strict.degraded


def test_a_pool_that_was_never_finished_is_neither_taken_for_whole_nor_made_over() -> None:
    """The client's roster comes last; new keys beside what is left of old ones would contradict each other."""
    disk = SimDisk(SimDrive(1, "maker"))
    provisioner = Provisioner(disk, SimChance(1, "maker"), SimClock(), "pool.example")
    disk.drive.fail_at[1 + disk.drive.calls + 300] = errno.EIO
    with pytest.raises((LedgerError, OSError)):
        provisioner.make("/pool", peers=3, sites=2)
    assert disk.stat(f"{CLIENT}/roster") is None
    with pytest.raises(HomeError, match="never finished"):
        provisioner.make("/pool", peers=3, sites=2)

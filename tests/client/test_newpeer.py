"""Another peer for an organisation that is there: a whole home, which the roster need not know of."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest

from client.bootstrap import BOOTSTRAP_FILE, parse_addresses
from client.certificates import DAY_S, issuer_key_file, read_certificate_of
from client.home import ROSTER_FILE, SETTINGS_FILE, TLS_CERTIFICATE_FILE, load_home
from client.member import MemberMaker, MemberPlan
from client.newpeer import PeerPlan, add_peer
from client.provision import Provisioner
from core.durable import read_file, write_file
from core.errors import HomeError, UsageError
from core.identity import certificate_end_s
from core.ports import Address, Disk
from daemon.settings import parse_settings
from host.chance import RealChance
from host.disk import RealDisk
from tests.sim.chance import SimChance
from tests.sim.clock import SimClock
from tests.sim.disk import SimDisk

LISTEN, SEEN = Address("10.0.0.9", 7009), Address("disk-4.hospital.example", 7009)


def make_pool(disk: Disk) -> None:
    Provisioner(disk, SimChance(1), SimClock(), "pool.example").make("/pool", peers=4, sites=3)
    write_file(disk, f"/pool/client/{BOOTSTRAP_FILE}", b"10.0.0.1:7001\n", token="t")


def add(disk: Disk, plan: PeerPlan, *taken: str) -> str:
    made = add_peer(disk, SimChance(2), SimClock(), load_home(disk, "/pool/client", SimClock()), plan, taken)
    return made.folder


def test_a_pool_in_one_hand_gets_a_peer_where_there_are_fewest() -> None:
    disk = SimDisk()
    make_pool(disk)
    homes = [load_home(disk, add(disk, PeerPlan()), SimClock()) for _ in range(3)]
    assert [home.folder for home in homes] == ["/pool/peer-5", "/pool/peer-6", "/pool/peer-7"]
    assert [home.identity.organisation for home in homes] == ["hospital-2", "hospital-3", "hospital-1"]
    assert [home.identity.site for home in homes] == ["site-2", "site-3", "site-1"]
    assert {home.identity.role for home in homes} == {"peer"}
    assert homes[0].roster_file == load_home(disk, "/pool/client", SimClock()).roster_file
    doors = read_file(disk, homes[0].path(BOOTSTRAP_FILE), max_bytes=1000)
    assert doors is not None
    assert parse_addresses(doors) == [Address("10.0.0.1", 7001)]


def test_what_is_wished_for_is_made() -> None:
    disk = SimDisk()
    make_pool(disk)
    folder = add(disk, PeerPlan("hospital-3", "cellar", "big-disk", "/mnt/big", LISTEN, SEEN))
    home = load_home(disk, folder, SimClock())
    assert (home.folder, home.identity.name, home.identity.site) == ("/mnt/big", "big-disk", "cellar")
    text = read_file(disk, f"{folder}/{SETTINGS_FILE}", max_bytes=1000)
    assert text is not None
    network = parse_settings(text.decode(), source="settings").network
    assert (network.listen, network.advertise) == (LISTEN, SEEN)


def test_names_of_peers_elsewhere_are_not_given_again() -> None:
    disk = SimDisk()
    make_pool(disk)
    assert add(disk, PeerPlan(), "peer-9") == "/pool/peer-10"
    for plan in (PeerPlan(name="peer-1"), PeerPlan(name="Peer 1"), PeerPlan(site="../x")):
        with pytest.raises(UsageError):
            add(disk, plan)


def test_what_is_missing_or_in_the_way_is_said() -> None:
    disk = SimDisk()
    make_pool(disk)
    with pytest.raises(HomeError, match="is not empty"):
        add(disk, PeerPlan(folder="/pool/peer-2", name="other"))
    with pytest.raises(HomeError, match="is not on the roster"):
        add(disk, PeerPlan("hospital-9"))
    for number in (1, 2, 3):
        disk.unlink(f"/pool/client/{issuer_key_file(f'hospital-{number}')}")
    with pytest.raises(HomeError, match="put it back from where it is kept"):
        add(disk, PeerPlan())
    assert disk.list_folder("/pool/peer-5") == []


def test_a_member_s_homes_and_a_peer_added_later_are_alike() -> None:
    disk = SimDisk()
    plan = MemberPlan("pool.example", "hospital-a", "site", LISTEN, SEEN, peers=2)
    MemberMaker(disk, SimChance(1), SimClock(), "/a", plan).make()
    make_pool(disk)
    folder = add(disk, PeerPlan())
    made, added = (sorted(disk.list_folder(f"{home}/keys")) for home in ("/a/peer-2", folder))
    assert made == added


def test_whatever_a_peer_is_called_its_home_is_where_the_pool_looks_for_it() -> None:
    disk = SimDisk()
    make_pool(disk)
    for name, folder in (("big-disk", "peer-5"), ("peer-12", "peer-12"), ("", "peer-13")):
        home = load_home(disk, add(disk, PeerPlan(name=name)), SimClock())
        assert (home.folder, home.identity.name) == (f"/pool/{folder}", name or folder)


def test_what_an_interrupted_one_left_or_a_damaged_home_hinders_no_other() -> None:
    disk = SimDisk()
    make_pool(disk)
    left = add(disk, PeerPlan())
    disk.unlink(f"{left}/{ROSTER_FILE}")
    write_file(disk, f"/pool/peer-2/{TLS_CERTIFICATE_FILE}", b"damaged", token="t")
    assert add(disk, PeerPlan()) == "/pool/peer-6"
    with pytest.raises(HomeError, match="cut off left: it holds nothing yet; delete it"):
        add(disk, PeerPlan(name="other", folder=left))


def test_two_at_once_wait_for_each_other(tmp_path: Path) -> None:
    disk = RealDisk()
    Provisioner(disk, RealChance(), SimClock(), "pool.example").make(str(tmp_path), peers=2, sites=2)
    home = load_home(disk, str(tmp_path / "client"), SimClock())
    made: list[str] = []

    def add_one() -> None:
        made.append(add_peer(RealDisk(), RealChance(), SimClock(), home, PeerPlan(), ()).name)

    threads = [Thread(target=add_one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == ["peer-3", "peer-4", "peer-5"]


def test_nothing_is_issued_beyond_the_issuer_s_end() -> None:
    disk = SimDisk()
    make_pool(disk)
    home = load_home(disk, "/pool/client", SimClock())
    last = SimClock(start_s=certificate_end_s(home.roster.issuers["hospital-1"]) - DAY_S)
    made = add_peer(disk, SimChance(2), last, home, PeerPlan("hospital-1"), ())
    identity = read_certificate_of(disk, made.folder, home.roster)
    assert identity.end_s == pytest.approx(last.now() + DAY_S, abs=2)
    late = SimClock(start_s=last.now() + 2 * DAY_S)
    with pytest.raises(HomeError, match="a roster with another issuer has to come first"):
        add_peer(disk, SimChance(3), late, home, PeerPlan("hospital-1"), ())

"""A home goes by the latest roster that it was shown, and never by an earlier one."""

from __future__ import annotations

import pytest

from anchor.roster import read_roster
from anchor.rosterfile import encode_roster_file
from client.home import HeldRoster, Home, LedgerKeys, sync_roster
from client.rosters import accept_roster
from core.errors import MoorageError, RosterError
from core.identity import key_from_seed
from core.ids import PeerId
from core.ports import Disk, Identity
from tests.anchor.consortium import FOUR, NOW_S, Hospital, founded, swapped, version
from tests.anchor.test_roster import SAMPLE, file_of
from tests.sim.disk import SimDisk

FIRST, SECOND = encode_roster_file(founded()), encode_roster_file(swapped())


def home_on(disk: Disk, roster: bytes = FIRST) -> Home:
    if disk.stat("/home/roster") is None:
        disk.make_folders("/home")
        with disk.open("/home/roster", "create") as file:
            file.write_at(0, roster)
            file.sync()
        disk.sync_folder("/home")
    data = written(disk)
    sync_roster(disk, "/home")
    who = Identity(PeerId(bytes(32)), "b", "site", "peer-1", "peer", b"")
    keys = LedgerKeys(bytes(32), bytes(32))
    return Home("/home", HeldRoster(read_roster(data), data), who, key_from_seed(bytes(32)), keys, None)


def written(disk: Disk) -> bytes:
    with disk.open("/home/roster", "read") as file:
        return file.read_at(0, 10**6)


def accept(disk: Disk, home: Home, data: bytes) -> bool:
    return accept_roster(disk, home, data, now_s=NOW_S, token="t")


def test_a_later_roster_is_durable_and_in_use_at_once() -> None:
    disk = SimDisk()
    home = home_on(disk)
    assert accept(disk, home, SECOND)
    assert written(disk) == home.roster_file == SECOND
    assert home.roster.epoch == home.hello().epoch == 2
    assert sorted(home.roster.issuers) == ["b", "c", "d", "e"]
    assert not accept(disk, home, SECOND)


def test_a_replayed_roster_does_not_bring_a_member_back() -> None:
    disk = SimDisk()
    home = home_on(disk)
    accept(disk, home, SECOND)
    with pytest.raises(RosterError, match="older"):
        accept(disk, home, FIRST)
    assert written(disk) == home.roster_file == SECOND


def test_what_another_process_of_the_home_accepted_is_used_too() -> None:
    disk = SimDisk()
    command, daemon = home_on(disk), home_on(disk)
    accept(disk, daemon, SECOND)
    assert command.roster.epoch == 1
    assert accept(disk, command, SECOND)
    assert command.roster.epoch == 2


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(100),
        SECOND[:-1],
        file_of(SAMPLE),
        encode_roster_file(version(None, [Hospital("x")], [Hospital("x")])),
        encode_roster_file(version(founded(), FOUR, FOUR[:3], expires_s=NOW_S - 5)),
    ],
    ids=["nothing", "zeros", "cut", "of one key", "another pool", "expired"],
)
def test_what_is_no_later_roster_changes_nothing(data: bytes) -> None:
    disk = SimDisk()
    home = home_on(disk)
    with pytest.raises(MoorageError):
        accept(disk, home, data)
    assert written(disk) == home.roster_file == FIRST


def test_a_pool_of_one_key_takes_no_consortium_s_roster() -> None:
    disk = SimDisk()
    home = home_on(disk, file_of(SAMPLE))
    with pytest.raises(RosterError, match="one key"):
        accept(disk, home, SECOND)

"""What a killed daemon or command left in a peer's home goes when the daemon starts."""

from __future__ import annotations

import errno

import pytest

from client.home import WORKSHOP_FOLDER, load_home
from client.provision import Provisioner
from core.durable import write_file
from daemon.leftovers import STATE_FOLDER, clear_state
from tests.sim.chance import SimChance
from tests.sim.clock import SimClock
from tests.sim.disk import SimDisk
from tests.sim.drive import SimDrive


def test_parts_in_the_state_folder_go_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SimDisk(SimDrive(1, "peer"))
    Provisioner(disk, SimChance(1, "maker"), SimClock(), "pool.example").make("/pool", peers=1, sites=1)
    home = load_home(disk, "/pool/peer-1", SimClock())
    for name in ("address", "address.0badcafe.part", "parts/0badcafe-1.part"):
        write_file(disk, home.path(STATE_FOLDER, name), b"x", token="t")

    def refuse(path: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "unlink", refuse)
        clear_state(disk, home)
    clear_state(disk, home)
    assert disk.list_folder(home.path(STATE_FOLDER)) == ["address", "parts"]
    assert disk.list_folder(home.path(WORKSHOP_FOLDER)) == []

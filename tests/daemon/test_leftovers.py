"""What a killed daemon or command left in a peer's home goes when the daemon starts."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from client.home import WORKSHOP_FOLDER, load_home
from client.provision import Provisioner
from core.durable import write_file
from daemon.leftovers import KEY_PARTS_KEPT_S, STATE_FOLDER, clear_state
from host.disk import RealDisk
from tests.sim.chance import SimChance
from tests.sim.clock import START_S, SimClock
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
        clear_state(disk, home, START_S)
    clear_state(disk, home, START_S)
    assert disk.list_folder(home.path(STATE_FOLDER)) == ["address", "parts"]
    assert disk.list_folder(home.path(WORKSHOP_FOLDER)) == []


def test_a_half_written_key_goes_an_hour_later(tmp_path: Path) -> None:
    disk = RealDisk()
    Provisioner(disk, SimChance(1, "maker"), SimClock(), "pool.example").make(str(tmp_path), peers=1, sites=1)
    home = load_home(disk, str(tmp_path / "peer-1"), SimClock())
    keys = disk.list_folder(home.path("keys"))
    left = Path(home.path("keys/ledger-log-next.seed.0badcafe.part"))
    left.write_bytes(b"half a seed")
    clear_state(disk, home, left.stat().st_mtime + 60)
    assert left.exists()
    clear_state(disk, home, left.stat().st_mtime + KEY_PARTS_KEPT_S + 60)
    assert disk.list_folder(home.path("keys")) == keys

"""Homes are opened by commands that end soon and by the peer, which runs for months."""

from __future__ import annotations

import argparse
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from cli.clients import YOUNG_COLLECTIONS, collect_seldom
from cli.daemon import run_daemon_command
from client.provision import Provisioner
from host.chance import RealChance
from host.clock import RealClock
from host.disk import RealDisk


@pytest.fixture
def thresholds() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    yield before
    gc.set_threshold(*before)


def test_the_collector_rests_in_commands_that_end_and_not_in_a_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thresholds: tuple[int, int, int]
) -> None:
    """A daemon's garbage, of every connection that it had, would stay in its memory for days."""
    provisioner = Provisioner(RealDisk(private=True), RealChance(), RealClock(), "pool.example")
    _, peer = provisioner.make(str(tmp_path / "pool"), peers=1, sites=1)
    monkeypatch.setattr(trio, "run", print)
    run_daemon_command(argparse.Namespace(home=peer.folder))
    assert gc.get_threshold() == thresholds
    collect_seldom()
    assert gc.get_threshold() == (*thresholds[:2], YOUNG_COLLECTIONS)

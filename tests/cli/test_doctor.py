"""The doctor says what needs attention, and nothing else does."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from cli.view import check_service, run_doctor
from client.home import LedgerKeys, load_home
from core.errors import EXIT_PARTIAL
from erasure.codec import FAST_KERNEL
from tests.client.test_rotation import PEER, founded_on
from tests.sim.clock import SimClock
from tests.sim.disk import SimDisk


def kernel_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """What it says of the erasure kernel in a folder that is no home."""
    assert run_doctor(argparse.Namespace(home=str(folder), json=True)) == EXIT_PARTIAL
    checks = json.loads(capsys.readouterr().out)["checks"]
    found: dict[str, object] = {check["name"]: check for check in checks}["erasure"]
    return found


def test_the_fast_erasure_kernel_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("erasure.codec.kernel_name", lambda: FAST_KERNEL)
    check = kernel_check(tmp_path, capsys)
    assert check["ok"] is True
    assert "ISA-L" in str(check["text"])


def test_the_slow_erasure_kernel_needs_attention(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("erasure.codec.kernel_name", lambda: "zfec")
    check = kernel_check(tmp_path, capsys)
    assert check["ok"] is False
    assert "zfec computes shares, which is slow" in str(check["text"])


def test_a_ledger_peer_whose_keys_the_roster_does_not_have_needs_attention() -> None:
    disk = SimDisk()
    founded_on(disk)
    home = load_home(disk, PEER, SimClock())
    assert home.service is not None
    assert check_service(home, home.service).ok
    check = check_service(home, LedgerKeys(home.service.log_seed, b"o" * 32))
    assert not check.ok
    assert "keys/ledger-witness.seed" in check.text

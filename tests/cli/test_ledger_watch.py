"""Which sources a monitor reads as a member, over mutual TLS."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from cli.ledger_watch import _is_members
from tests.client.test_rotation import HERE, founded_on
from tests.sim.disk import SimDisk


def test_a_log_that_ended_is_read_where_its_member_serves_it() -> None:
    setting = cast(Any, SimpleNamespace(home=founded_on(SimDisk())))
    assert _is_members(setting, f"https://{HERE}/log/{'0' * 64}")
    assert not _is_members(setting, f"http://{HERE}/log/{'0' * 64}")
    assert not _is_members(setting, f"https://10.0.0.2:7001/log/{'0' * 64}")
    assert not _is_members(setting, "/some/folder")

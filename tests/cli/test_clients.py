"""Homes are opened by commands that end soon and by the peer, which runs for months."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import pytest

from cli import clients


def test_only_who_ends_soon_has_the_collector_stand_back(monkeypatch: pytest.MonkeyPatch) -> None:
    home = SimpleNamespace(identity=SimpleNamespace(certificate=b""), tls_key=None)
    monkeypatch.setattr(clients, "read_home", lambda _: home)
    monkeypatch.setattr(clients, "real_ports", lambda *_: None)
    before = gc.get_threshold()
    try:
        clients.open_home("/home")
        assert gc.get_threshold() == before
        clients.collect_seldom()
        assert gc.get_threshold() == (*before[:2], clients.YOUNG_COLLECTIONS)
    finally:
        gc.set_threshold(*before)

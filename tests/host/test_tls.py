"""The private key reaches OpenSSL, and nothing of it stays where others may look."""

from __future__ import annotations

import os
import ssl
import tempfile
import time
from pathlib import Path

import pytest

from host.tls import Contexts
from tests.sim.people import Person, make_organisation

NOW = time.time()
HOSPITAL = make_organisation(now=NOW)
PERSON = HOSPITAL.admit("somebody", now=NOW)


def load(person: Person) -> ssl.SSLContext:
    return Contexts(person.certificate, person.key, HOSPITAL.issuers.values()).accepting


def test_a_key_is_never_a_file_with_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process that is killed now leaves its key in a folder")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    assert load(PERSON).verify_mode is ssl.CERT_REQUIRED


def test_where_every_file_has_a_name_it_is_private_and_goes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert load(PERSON).verify_mode is ssl.CERT_REQUIRED
    assert list(tmp_path.iterdir()) == []

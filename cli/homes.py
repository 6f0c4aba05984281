"""Open the home that a command works in."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from client.context import Client, open_client
from client.home import SETTINGS_FILE, Home, load_home, read_home_file
from core.errors import SettingsError
from core.ports import Ports
from daemon.toml import Table
from erasure.scheme import Scheme
from host.clock import RealClock
from host.disk import RealDisk
from host.ports import real_ports

DEFAULT_SCHEME = "4+2"


def open_home(folder: str) -> tuple[Home, Ports]:
    """Raises HomeError, PeerRefusedError (its own certificate has expired)."""
    home = load_home(RealDisk(private=True), folder, RealClock())
    return home, real_ports(home.identity.certificate, home.tls_key, lambda: home.roster.issuers)


@asynccontextmanager
async def client_of(arguments: argparse.Namespace) -> AsyncGenerator[Client]:
    """A client in the home that ``--home`` names."""
    home, ports = open_home(arguments.home)
    async with open_client(ports, home) as client:
        yield client


def default_scheme(home: Home) -> Scheme:
    """The scheme of the home's settings (``[client] scheme``). Raises SettingsError, UsageError."""
    path = home.path(SETTINGS_FILE)
    text = read_home_file(RealDisk(private=True), home.folder, SETTINGS_FILE).decode("utf-8", "replace")
    try:
        top = Table("", tomllib.loads(text), source=path)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error
    scheme = top.table("client", _read_scheme)
    top.end()
    return scheme


def _read_scheme(table: Table) -> Scheme:
    match = table.matched("scheme", r"[0-9]{1,3}\+[0-9]{1,3}", example=DEFAULT_SCHEME)
    return Scheme.parse(DEFAULT_SCHEME if match is None else match[0])

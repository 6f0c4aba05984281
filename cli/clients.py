"""Open the home that a command works in, with the ports to reach its pool."""

from __future__ import annotations

import argparse
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from cli.homes import read_home
from client.context import Client, open_client
from client.home import Home
from core.ports import Ports
from host.ports import real_ports


def open_home(folder: str) -> tuple[Home, Ports]:
    """Raises HomeError, PeerRefusedError (its own certificate has expired)."""
    home = read_home(folder)
    return home, real_ports(home.identity.certificate, home.tls_key, lambda: home.roster.issuers)


@asynccontextmanager
async def client_of(arguments: argparse.Namespace) -> AsyncGenerator[Client]:
    """A client in the home that ``--home`` names."""
    home, ports = open_home(arguments.home)
    async with open_client(ports, home) as client:
        yield client

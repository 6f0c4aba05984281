"""Open the home that a command works in, with the ports to reach its pool."""

from __future__ import annotations

import argparse
import gc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from cli.homes import read_home
from client.context import Client, open_client
from client.home import Home
from core.ports import Ports
from host.ports import real_ports

# The whole heap is looked through after so many collections of what is young. With 20,000 files that takes 30 ms, in
# which no peer is answered, and finds nothing: a command keeps what it has until it ends, soon.
YOUNG_COLLECTIONS = 1000


def open_home(folder: str) -> tuple[Home, Ports]:
    """Raises HomeError, PeerRefusedError (its own certificate has expired)."""
    home = read_home(folder)
    return home, real_ports(lambda: home.certificate, home.tls_key, lambda: home.roster.issuers)


def collect_seldom() -> None:
    """For a command that ends soon; what runs for months needs its memory back."""
    gc.set_threshold(*gc.get_threshold()[:2], YOUNG_COLLECTIONS)


@asynccontextmanager
async def client_of(arguments: argparse.Namespace) -> AsyncGenerator[Client]:
    """A client in the home that ``--home`` names."""
    collect_seldom()
    home, ports = open_home(arguments.home)
    async with open_client(ports, home) as client:
        yield client

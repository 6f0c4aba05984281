"""Run this home's peer in the foreground until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import os
import signal
import sys

import trio

from cli.clients import open_home
from cli.owner import end_with, owner_of
from client.home import SETTINGS_FILE, Home, read_home_file
from core.errors import EXIT_OK
from core.ports import Ports
from daemon.certificate import CertificateKeeper
from daemon.node import PID_FILE, open_node
from daemon.settings import Settings, parse_settings
from daemon.supervise import supervise
from host.disk import RealDisk


def run_daemon_command(arguments: argparse.Namespace) -> int:
    """Raises HomeError (not a peer's home, or another daemon runs in it), SettingsError."""
    home, ports = open_home(arguments.home)
    text = read_home_file(RealDisk(private=True), home.folder, SETTINGS_FILE).decode("utf-8", "replace")
    settings = parse_settings(text, source=home.path(SETTINGS_FILE))
    trio.run(_run_until_signal, ports, home, settings)
    return EXIT_OK


def _write_line(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


async def _run_until_signal(ports: Ports, home: Home, settings: Settings) -> None:
    owner = owner_of(os.environ)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_node(ports, home, settings, _write_line) as node:
            # The lock is ours now, so the number is not that of another daemon.
            await node.write_state(PID_FILE, f"{os.getpid()}\n")
            async with trio.open_nursery() as nursery:
                assert node.dht is not None, "it is open"
                keeper = CertificateKeeper(ports, home, node.log, node.dht.announce_soon)
                nursery.start_soon(supervise, "certificate", keeper.run, node.log)
                if owner is not None:
                    nursery.start_soon(end_with, owner)
                async for _ in signals:
                    break
                nursery.cancel_scope.cancel()

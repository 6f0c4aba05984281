"""Run this home's peer in the foreground until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse

import trio

from cli.homes import open_home
from client.home import SETTINGS_FILE, read_home_file
from core.errors import EXIT_OK
from daemon.node import run_until_signal
from daemon.settings import parse_settings
from host.disk import RealDisk


def run_daemon_command(arguments: argparse.Namespace) -> int:
    """Raises HomeError (not a peer's home, or another daemon runs in it), SettingsError."""
    home, ports = open_home(arguments.home)
    text = read_home_file(RealDisk(private=True), home.folder, SETTINGS_FILE).decode("utf-8", "replace")
    settings = parse_settings(text, source=home.path(SETTINGS_FILE))
    trio.run(run_until_signal, ports, home, settings)
    return EXIT_OK

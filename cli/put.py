"""put."""

from __future__ import annotations

import argparse
import os
import tomllib

import trio

from cli.clients import collect_seldom, open_home
from cli.output import TerminalProgress, print_json, print_lines, size_text
from client.context import open_client
from client.home import SETTINGS_FILE, Home, read_home_file
from client.put import PutResult, put
from client.settle import settle_in_passing
from core.encoding import Value
from core.errors import EXIT_OK, SettingsError
from core.ports import Identity
from daemon.toml import Table
from erasure.scheme import Scheme
from host.disk import RealDisk
from host.tree import FileTree

DEFAULT_SCHEME = "4+2"


def run_put(arguments: argparse.Namespace) -> int:
    result, names = trio.run(_put, arguments)
    if arguments.json:
        print_json(_put_value(result, names, arguments))
        return EXIT_OK
    state = "already stored" if not result.new_bytes else "stored"
    lines = [
        f"object {result.object}",
        f"{state} and anchored: {result.files} files, {size_text(result.plain_bytes)}, "
        f"as {size_text(result.stored_bytes)} on {len(result.holders)} peers at {result.scheme}; "
        f"{size_text(result.new_bytes)} new",
    ]
    if result.degraded:
        lines.append("degraded: too few sites or peers to survive the loss of any one site")
    print_lines(lines)
    return EXIT_OK


def _put_value(result: PutResult, names: dict[bytes, str], arguments: argparse.Namespace) -> dict[str, Value]:
    return {
        "object": str(result.object),
        "files": result.files,
        "bytes": result.plain_bytes,
        "stored_bytes": result.stored_bytes,
        "new_bytes": result.new_bytes,
        "scheme": str(result.scheme),
        "holders": [names.get(peer.raw, str(peer)) for peer in result.holders],
        "anchored": True,
        "degraded": result.degraded,
        "receipt": os.path.join(arguments.home, "receipts", str(result.object)),
    }


async def _put(arguments: argparse.Namespace) -> tuple[PutResult, dict[bytes, str]]:
    collect_seldom()
    home, ports = open_home(arguments.home)
    home.owner_keys()
    scheme = Scheme.parse(arguments.scheme) if arguments.scheme else default_scheme(home)
    tree = FileTree(arguments.paths)
    name = ", ".join(path.rstrip("/").rpartition("/")[2] for path in arguments.paths[:3])
    progress = TerminalProgress(quiet=arguments.quiet or arguments.json)
    try:
        async with open_client(ports, home) as client:
            result = await put(
                client,
                tree,
                name=name,
                scheme=scheme,
                allow_degraded=arguments.allow_degraded,
                progress=progress,
            )
            await settle_in_passing(client, progress.note)
            names = {record.identity.peer.raw: _name_of(record.identity, home) for record in client.dht.known_peers()}
            return result, names
    finally:
        progress.close()


def _name_of(identity: Identity, home: Home) -> str:
    """In a consortium every organisation has a first peer."""
    return f"{identity.organisation}/{identity.name}" if home.roster.is_consortium else identity.name


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

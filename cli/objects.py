"""put, get, cat and ls."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial

import trio

from cli.homes import client_of, default_scheme, open_home
from cli.output import TerminalProgress, print_json, print_lines, size_text
from client.context import open_client
from client.get import GetResult, cat, get, open_object
from client.memory import CatalogueEntry, ClientMemory
from client.put import PutResult, put
from core.encoding import Value
from core.errors import EXIT_OK
from core.ids import ObjectId
from core.listing import Entry, Kind
from erasure.scheme import Scheme
from host.restore import RestoreTree
from host.tree import FileTree


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
            names = {record.identity.peer.raw: record.identity.name for record in client.dht.known_peers()}
            return result, names
    finally:
        progress.close()


def run_get(arguments: argparse.Namespace) -> int:
    arguments.to = os.path.abspath(arguments.to)
    object_id, result = trio.run(_get, arguments)
    if arguments.json:
        print_json(
            {
                "object": str(object_id),
                "files": result.files,
                "bytes": result.plain_bytes,
                "to": arguments.to,
                "findings": [finding.to_value() for finding in result.findings],
            }
        )
        return EXIT_OK
    print_lines([f"restored {result.files} files, {size_text(result.plain_bytes)}, to {arguments.to}"])
    if result.findings and not arguments.quiet:
        count = len(result.findings)
        print(f"moorage: {count} bad or missing shards were worked around; run `moorage sweep`", file=sys.stderr)
    return EXIT_OK


async def _get(arguments: argparse.Namespace) -> tuple[ObjectId, GetResult]:
    progress = TerminalProgress(quiet=arguments.quiet or arguments.json)
    try:
        async with client_of(arguments) as client:
            object_id = client.memory.resolve(arguments.object)
            paths = [os.fsencode(path) for path in arguments.paths]
            target = RestoreTree(arguments.to)
            return object_id, await get(client, object_id, target, paths=paths, progress=progress)
    finally:
        progress.close()


def run_cat(arguments: argparse.Namespace) -> int:
    trio.run(_cat, arguments)
    return EXIT_OK


async def _cat(arguments: argparse.Namespace) -> None:
    async def write(data: memoryview) -> None:
        # A pipe's reader may be slow: waiting for it must not stop the network.
        await trio.to_thread.run_sync(sys.stdout.buffer.write, data)

    async with client_of(arguments) as client:
        object_id = client.memory.resolve(arguments.object)
        await cat(client, object_id, os.fsencode(arguments.path), arguments.range, write)
    sys.stdout.buffer.flush()


def run_ls(arguments: argparse.Namespace) -> int:
    if arguments.object is None:
        return _list_catalogue(arguments)
    entries = trio.run(partial(_list_object, arguments))
    if arguments.json:
        print_json({"files": [_entry_value(entry) for entry in entries]})
    else:
        print_lines([_entry_line(entry) for entry in entries])
    return EXIT_OK


def _list_catalogue(arguments: argparse.Namespace) -> int:
    home, ports = open_home(arguments.home)
    memory = ClientMemory(ports.disk, home, ports.chance)
    entries = sorted(memory.objects(), key=lambda entry: entry.created_s)
    for object_id in memory.damaged():
        print(f"moorage: the catalogue's entry of object {object_id} is damaged; the object is not", file=sys.stderr)
    if arguments.json:
        print_json({"objects": [_object_value(entry) for entry in entries]})
    else:
        print_lines(
            [
                f"{entry.object}  {entry.files:>7} files  {size_text(entry.plain_bytes):>10}  {entry.name}"
                for entry in entries
            ]
        )
    return EXIT_OK


def _object_value(entry: CatalogueEntry) -> dict[str, Value]:
    return {
        "object": str(entry.object),
        "name": entry.name,
        "files": entry.files,
        "bytes": entry.plain_bytes,
        "stored_bytes": entry.stored_bytes,
        "created": entry.created_s,
    }


async def _list_object(arguments: argparse.Namespace) -> list[Entry]:
    async with client_of(arguments) as client:
        _, index = await open_object(client, client.memory.resolve(arguments.object))
        return list(index.entries)


_KIND_WORDS = {Kind.FILE: "file", Kind.FOLDER: "folder", Kind.LINK: "link"}


def _entry_value(entry: Entry) -> dict[str, Value]:
    value: dict[str, Value] = {
        "path": str(entry.path),
        "kind": _KIND_WORDS[entry.kind],
        "bytes": entry.size_bytes,
        "modified_ns": entry.modified_ns,
        "mode": entry.mode,
    }
    if entry.kind is Kind.FILE:
        value["blake3"] = entry.digest.hex()
    if entry.kind is Kind.LINK:
        value["target"] = os.fsdecode(entry.target)
    return value


def _entry_line(entry: Entry) -> str:
    mark = {Kind.FILE: "", Kind.FOLDER: "/", Kind.LINK: f" -> {os.fsdecode(entry.target)}"}[entry.kind]
    return f"{entry.size_bytes:>14}  {entry.path}{mark}"

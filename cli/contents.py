"""ls of one object: its files, read from the pool."""

from __future__ import annotations

import argparse
import os

import trio

from cli.clients import client_of
from cli.output import print_json, print_lines
from client.get import open_object
from core.encoding import Value
from core.errors import EXIT_OK
from core.listing import Entry, Kind


def list_contents(arguments: argparse.Namespace) -> int:
    entries = trio.run(_list_object, arguments)
    if arguments.json:
        print_json({"files": [_entry_value(entry) for entry in entries]})
    else:
        print_lines([_entry_line(entry) for entry in entries])
    return EXIT_OK


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

"""ls: the catalogue, which the home has; what one object holds is asked of the pool (``cli.contents``)."""

from __future__ import annotations

import argparse
import sys
import time

from cli.homes import read_home
from cli.output import print_json, print_lines, size_text
from client.memory import CatalogueEntry, ClientMemory
from client.unfinished import Unfinished, UnfinishedPuts, not_anchored
from core.encoding import Value
from core.errors import EXIT_OK
from host.chance import RealChance
from host.disk import RealDisk


def run_ls(arguments: argparse.Namespace) -> int:
    if arguments.object is not None:
        # Loaded here, not above: the catalogue needs no network.
        from cli.contents import list_contents

        return list_contents(arguments)
    disk, home, chance = RealDisk(private=True), read_home(arguments.home), RealChance()
    memory, notes = ClientMemory(disk, home, chance), UnfinishedPuts(disk, home, chance)
    found, damaged = notes.survey()
    pending = not_anchored(memory, found)
    entries = sorted(memory.objects(), key=lambda entry: entry.created_s)
    for object_id in memory.damaged():
        print(f"moorage: the catalogue's entry of object {object_id} is damaged; the object is not", file=sys.stderr)
    for path in damaged:
        print(f"moorage: {path} is damaged: put the files that it was about again, and remove it", file=sys.stderr)
    if arguments.json:
        waiting = [_pending_value(note) for note in pending]
        print_json({"objects": [_object_value(entry) for entry in entries], "pending": waiting, "damaged": damaged})
    else:
        print_lines([*map(_line, entries), *(f"{_line(note.entry)}  {_waiting(note)}" for note in pending)])
    return EXIT_OK


def _line(entry: CatalogueEntry) -> str:
    return f"{entry.object}  {entry.files:>7} files  {size_text(entry.plain_bytes):>10}  {entry.name}"


def _waiting(note: Unfinished) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(note.entry.created_s))
    how_far = "anchored, but too few holders have its receipt" if note.is_anchored else "not anchored"
    return f"(PENDING since {since}, {how_far})"


def _pending_value(note: Unfinished) -> dict[str, Value]:
    entry = note.entry
    return _object_value(entry) | {"state": "pending", "since": entry.created_s, "anchored": note.is_anchored}


def _object_value(entry: CatalogueEntry) -> dict[str, Value]:
    return {
        "object": str(entry.object),
        "name": entry.name,
        "files": entry.files,
        "bytes": entry.plain_bytes,
        "stored_bytes": entry.stored_bytes,
        "created": entry.created_s,
    }

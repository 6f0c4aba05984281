"""ls: the catalogue, which the home has; what one object holds is asked of the pool (``cli.contents``)."""

from __future__ import annotations

import argparse
import sys

from cli.homes import read_home
from cli.output import print_json, print_lines, size_text
from client.memory import CatalogueEntry, ClientMemory
from core.encoding import Value
from core.errors import EXIT_OK
from host.chance import RealChance
from host.disk import RealDisk


def run_ls(arguments: argparse.Namespace) -> int:
    if arguments.object is not None:
        # Loaded here, not above: the catalogue needs no network.
        from cli.contents import list_contents

        return list_contents(arguments)
    memory = ClientMemory(RealDisk(private=True), read_home(arguments.home), RealChance())
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

"""get and cat."""

from __future__ import annotations

import argparse
import os
import sys

import trio

from cli.clients import client_of
from cli.output import TerminalProgress, print_json, print_lines, size_text
from client.get import GetResult, cat, get
from core.errors import EXIT_OK
from core.ids import ObjectId
from host.restore import RestoreTree


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

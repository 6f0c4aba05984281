"""anchor: put any file's salted digest into the organisation's log."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial

import trio

from anchor.proof import format_proof
from cli.clients import client_of
from cli.ledger_words import checkpoint_value, time_text
from cli.output import print_json, print_lines
from client.digests import AnchoredFile, anchor_file
from core.durable import write_file
from core.errors import EXIT_OK, SourceError, UsageError
from host.disk import RealDisk

PROOF_SUFFIX = ".tlog-proof"


def run_anchor(arguments: argparse.Namespace) -> int:
    if arguments.to and len(arguments.files) > 1:
        raise UsageError("--to names one proof: give one file")
    for file in arguments.files:
        if not os.path.isfile(file):
            raise SourceError(f"{file}: there is no such file" if not os.path.exists(file) else f"{file} is no file")
    work = [(file, os.path.abspath(arguments.to or file + PROOF_SUFFIX)) for file in arguments.files]
    return trio.run(_anchor_all, arguments, work)


async def _anchor_all(arguments: argparse.Namespace, work: Sequence[tuple[str, str]]) -> int:
    """``work``: each file, and the absolute path of its proof."""
    values: list[dict[str, object]] = []
    async with client_of(arguments) as client:
        for file, path in work:
            anchored = await anchor_file(client, file)
            token = client.ports.chance.token(4).hex()
            data = format_proof(anchored.proof)
            await client.ports.threads.disk(partial(write_file, RealDisk(private=False), path, data, token=token))
            values.append(
                {"file": file, "proof": path, "index": anchored.proof.index, **checkpoint_value(anchored.checked)}
            )
            if not arguments.json:
                print_lines(_lines(file, path, anchored))
    if arguments.json:
        print_json({"anchored": values})
    return EXIT_OK


def _lines(file: str, path: str, anchored: AnchoredFile) -> list[str]:
    checked = anchored.checked
    when = f", cosigned by {', '.join(checked.cosigner_names)} at {time_text(checked.time_s)}"
    return [
        f"{file}: entry {anchored.proof.index} of log {checked.checkpoint.origin}{when if checked.time_s else ''}",
        f"  proof: {path}",
    ]

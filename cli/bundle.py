"""receipt --bundle, and check-receipt of a bundle."""

from __future__ import annotations

import argparse
import os

import trio

from cli.clients import client_of
from cli.ledger import read_small
from cli.output import print_json, print_lines, size_text
from cli.stamping import stamp, stamp_words
from client.bundle import TimeStamp, check_bundle, checkpoint_of, make_bundle
from client.receipts import CheckedDocument, Papers, gather_papers
from core.durable import write_file
from core.encoding import Value
from core.errors import EXIT_OK, UsageError
from core.ids import PoolId
from host.chance import RealChance
from host.disk import RealDisk


def write_bundle(arguments: argparse.Namespace) -> int:
    if arguments.tsa_certificates and not arguments.tsa:
        raise UsageError("--tsa-certificates belongs to --tsa")
    papers = trio.run(_papers, arguments)
    stamped = None
    if arguments.tsa:
        certificates = read_small(arguments.tsa_certificates) if arguments.tsa_certificates else b""
        stamped = TimeStamp(stamp(arguments.tsa, checkpoint_of(papers), certificates)[0], certificates)
    data = make_bundle(papers, stamped)
    path = os.path.abspath(arguments.bundle)
    write_file(RealDisk(private=False), path, data, token=RealChance().token(4).hex())
    if arguments.json:
        print_json({"object": str(papers.object), "bundle": path, "bytes": len(data), "stamped": stamped is not None})
    else:
        words = "`moorage check-receipt` checks it; its README.txt says how others do"
        print_lines([f"{path}: {size_text(len(data))}, proof of object {papers.object}", f"  {words}"])
    return EXIT_OK


async def _papers(arguments: argparse.Namespace) -> Papers:
    async with client_of(arguments) as client:
        return await gather_papers(client, client.memory.resolve(arguments.object))


def read_bundle(
    arguments: argparse.Namespace, data: bytes, pool: PoolId | None
) -> tuple[CheckedDocument, dict[str, Value]]:
    """The bundle's papers, checked, and what its time stamp says (empty: it has none)."""
    certificates = read_small(arguments.tsa_certificates) if arguments.tsa_certificates else b""
    checked = check_bundle(data, pinned_pool=pool, certificates=certificates)
    if checked.stamp is not None:
        found = checked.stamp
        words = stamp_words(found)
        value: dict[str, Value] = {"time": found.time_s, "authority": found.authority, "believed": found.believed}
        return checked.document, {"time_stamp": value, "time_stamp_words": words}
    if checked.stamp_unread:
        words = "its time stamp (RFC 3161) was not read: pip install 'moorage[tsa]', or openssl ts -verify"
        return checked.document, {"time_stamp": None, "time_stamp_words": words}
    return checked.document, {}

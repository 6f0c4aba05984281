"""ledger stamp: a time stamp (RFC 3161) on the log's newest checkpoint, kept as two files."""

from __future__ import annotations

import argparse
import os

from cli.homes import read_home
from cli.ledger import read_small
from cli.ledger_words import checkpoint_lines, checkpoint_value
from cli.output import print_json, print_lines
from cli.stamping import stamp, stamp_words
from client.logs import open_home_log
from core.durable import write_file
from core.errors import EXIT_OK
from host.chance import RealChance
from host.disk import RealDisk


def run(arguments: argparse.Namespace) -> int:
    """Every entry up to the checkpoint's size existed when it was stamped."""
    log = open_home_log(RealDisk(private=True), read_home(arguments.home))
    certificates = read_small(arguments.tsa_certificates) if arguments.tsa_certificates else b""
    reply, found = stamp(arguments.tsa, log.note, certificates)
    folder = os.path.abspath(arguments.to)
    for name, data in (("checkpoint", log.note), ("checkpoint.tsr", reply)):
        write_file(RealDisk(private=False), os.path.join(folder, name), data, token=RealChance().token(4).hex())
    if arguments.json:
        stamped = {"time": found.time_s, "authority": found.authority, "believed": found.believed}
        print_json({**checkpoint_value(log.checked), "folder": folder, "time_stamp": stamped})
    else:
        print_lines([*checkpoint_lines(log.checked), f"  {stamp_words(found)}", f"  kept in {folder}"])
    return EXIT_OK

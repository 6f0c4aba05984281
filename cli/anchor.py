"""anchor: put any file's salted digest into the home's own log."""

from __future__ import annotations

import argparse
import os
import time

from anchor.policy import parse_policy
from anchor.proof import format_proof
from cli.homes import read_home
from cli.ledger_words import checkpoint_value, time_text
from cli.output import print_json, print_lines
from client.digests import anchor_file
from client.ledger import home_policy
from core.durable import write_file
from core.errors import EXIT_OK, SourceError, UsageError
from host.chance import RealChance
from host.disk import RealDisk

PROOF_SUFFIX = ".tlog-proof"


def run_anchor(arguments: argparse.Namespace) -> int:
    if arguments.to and len(arguments.files) > 1:
        raise UsageError("--to names one proof: give one file")
    home = read_home(arguments.home)
    values: list[dict[str, object]] = []
    for file in arguments.files:
        if not os.path.isfile(file):
            raise SourceError(f"{file}: there is no such file" if not os.path.exists(file) else f"{file} is no file")
        anchored = anchor_file(RealDisk(private=True), home, os.path.abspath(file), now_s=int(time.time()))
        proof = os.path.abspath(arguments.to or file + PROOF_SUFFIX)
        token = RealChance().token(4).hex()
        write_file(RealDisk(private=False), proof, format_proof(anchored.proof), token=token)
        checked = parse_policy(home_policy(home)).check_checkpoint(anchored.proof.checkpoint)
        values.append({"file": file, "proof": proof, "index": anchored.proof.index, **checkpoint_value(checked)})
        if not arguments.json:
            when = f", cosigned by {', '.join(checked.cosigner_names)} at {time_text(checked.time_s)}"
            print_lines(
                [
                    f"{file}: entry {anchored.proof.index} of log {anchored.origin}{when if checked.time_s else ''}",
                    f"  proof: {proof}",
                ]
            )
    if arguments.json:
        print_json({"anchored": values})
    return EXIT_OK

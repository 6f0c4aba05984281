"""ledger verify EVIDENCE: what a monitor kept, checked offline by whoever was not there."""

from __future__ import annotations

import argparse
import os

from anchor.evidence import AlarmKind, Evidence, check_evidence
from anchor.roster import parse_roster
from anchor.rules import RULES
from cli.ledger import read_small
from cli.ledger_words import time_text
from cli.output import print_json, print_lines
from client.evidence import read_evidence
from core.errors import EXIT_OK, ReceiptError
from host.disk import RealDisk

# What the monitor alone can say: none of it is signed by whom it accuses.
_TESTIMONY = {
    AlarmKind.ROLLBACK: "that the smaller one was served after the larger is the monitor's word",
    AlarmKind.BEHIND: "that the log served no more than the smaller one is the monitor's word",
    AlarmKind.BAD_ENTRY: "where no broken rule is named, only the whole log shows that no entry between made it right",
    AlarmKind.STALL: "that there was no later cosignature when the alarm was raised is the monitor's word",
    AlarmKind.BAD_CHECKPOINT: "nothing is proven: anybody can write a checkpoint that does not verify",
    AlarmKind.UNREADABLE: "nothing is proven: a failing disk serves such bytes as well",
}


def verify_evidence(arguments: argparse.Namespace) -> int:
    """Raises what is wrong with the evidence: exit status 4."""
    evidence = read_evidence(RealDisk(private=True), os.path.abspath(arguments.target))
    words = _pinned(arguments, evidence)
    proven = check_evidence(evidence)
    testimony = "" if any(RULES in line for line in proven) else _TESTIMONY.get(evidence.kind, "")
    if arguments.json:
        value = {"kind": evidence.kind, "origin": evidence.origin, "words": evidence.words, "seen": evidence.seen_s}
        print_json({**value, "proven": proven, "testimony": testimony or None, "trust": words, "valid": True})
        return EXIT_OK
    lines = [
        f"{evidence.kind}: log {evidence.origin}, seen at {time_text(evidence.seen_s)}",
        f"  claimed: {evidence.words}",
        *(f"  proven: {line}" for line in proven),
        *([f"  not proven: {testimony}"] if testimony else []),
        f"  keys: {words}",
    ]
    print_lines(lines)
    return EXIT_OK


def _pinned(arguments: argparse.Namespace, evidence: Evidence) -> str:
    """That the policy in the evidence is that of whoever reads it, as far as it can be told. Raises ReceiptError."""
    if arguments.policy:
        if read_small(arguments.policy).decode("utf-8", "replace") != evidence.policy:
            raise ReceiptError(f"evidence: its policy is not the one in {arguments.policy}")
        return f"policy {arguments.policy}"
    roster_file = read_small(arguments.roster) if arguments.roster else evidence.roster
    if not roster_file:
        return "ITS OWN policy file: compare the keys in it with what the hospital publishes"
    roster = parse_roster(roster_file)
    if evidence.policy not in [item.policy for item in roster.organisations]:
        if arguments.roster:
            raise ReceiptError(f"evidence: its policy is that of no organisation on {arguments.roster}")
        return "ITS OWN policy file, which is on no roster: a peer's own log has no entry there"
    return f"the roster of pool {roster.pool_name}, whose id must be the published one: {roster.pool}"

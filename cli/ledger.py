"""ledger show, prove, verify, export; ``cli.ledger_watch`` and ``cli.ledger_stamp`` have the rest."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import cast

from anchor.digest import split_opened
from anchor.proof import PROOF_MAX_BYTES, format_proof
from anchor.roster import parse_roster
from cli.homes import read_home
from cli.ledger_words import checkpoint_lines, checkpoint_value, entry_line, entry_value, time_text
from cli.output import print_json, print_lines, size_text
from client.digests import file_parts, opened_leaf
from client.home import ROSTER_FILE
from client.logs import (
    CHECKPOINT_FILE,
    POLICY_FILE,
    OpenedLog,
    export_log,
    open_folder,
    open_home_log,
    origin_of_note,
    proof_with_salt,
)
from client.trust import (
    CheckedProof,
    Trust,
    check_proof,
    no_trust,
    origin_of_proof,
    origins_of,
    trust_in_home,
    trust_in_roster,
)
from core.encoding import Value
from core.errors import EXIT_OK, MalformedError, SourceError, UnknownObjectError, UsageError
from core.limits import ROSTER_MAX_BYTES
from host.chance import RealChance
from host.disk import RealDisk

PROOF_HEADER = b"c2sp.org/tlog-proof@"
EVIDENCE_MARK = "alarm.json"
ENTRIES_SHOWN = 20
FILE_MAX_BYTES = max(PROOF_MAX_BYTES, ROSTER_MAX_BYTES)


def run_ledger(arguments: argparse.Namespace) -> int:
    actions = {"show": _show, "prove": _prove, "verify": _verify, "export": _export}
    if arguments.action in actions:
        return actions[arguments.action](arguments)
    # Loaded here, not above: what is done offline needs no network.
    run = import_module(f"cli.ledger_{arguments.action}").run
    return cast(Callable[[argparse.Namespace], int], run)(arguments)


def read_small(path: str) -> bytes:
    """A file that somebody gave. Raises SourceError."""
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > FILE_MAX_BYTES:
        raise SourceError(f"{path} is larger than anything that is asked for here")
    return data


def _own_log(arguments: argparse.Namespace) -> OpenedLog:
    return open_home_log(RealDisk(private=True), read_home(arguments.home))


def _show(arguments: argparse.Namespace) -> int:
    log = _log_of(arguments, arguments.log)[0] if arguments.log else _own_log(arguments)
    if (arguments.first is not None and arguments.first < 0) or arguments.count < 0:
        raise UsageError("--from and --count take numbers from 0 on")
    size = log.checkpoint.size
    first = max(0, size - arguments.count) if arguments.first is None else arguments.first
    entries = list(enumerate(log.entries(first, first + arguments.count), start=first))
    if arguments.json:
        value = checkpoint_value(log.checked)
        print_json({**value, "entries": [entry_value(index, entry) for index, entry in entries]})
        return EXIT_OK
    lines = [entry_line(index, entry) for index, entry in entries]
    if entries and len(entries) < size:
        lines.append(f"  entries {first} to {first + len(entries) - 1} of {size}: --from and --count show others")
    print_lines([*checkpoint_lines(log.checked), *lines])
    return EXIT_OK


def _prove(arguments: argparse.Namespace) -> int:
    home = read_home(arguments.home)
    disk = RealDisk(private=True)
    log = open_home_log(disk, home)
    what = arguments.what
    if os.path.isfile(what):
        opened = opened_leaf(disk, home, os.path.abspath(what))
        index = log.index_of_leaf(opened.leaf)
        if index is None:
            raise UnknownObjectError(f"{what} is not in log {log.checkpoint.origin!r}: `moorage anchor` puts it there")
        proof = proof_with_salt(log.prove(index), opened)
    elif what.isdecimal() and len(what) < 19 and int(what) < log.checkpoint.size:
        proof = log.prove(int(what))
    else:
        if len(what) < 4 or any(digit not in "0123456789abcdef" for digit in what):
            raise UsageError(
                f"{what}: neither a file, nor one of the log's {log.checkpoint.size} entries, nor an object's id"
            )
        proof = log.prove(log.index_of_object(what))
    data = format_proof(proof)
    if arguments.json:
        print_json({"origin": log.checkpoint.origin, "index": proof.index, "proof": data.decode()})
    else:
        sys.stdout.write(data.decode())
        sys.stdout.flush()
    return EXIT_OK


def _export(arguments: argparse.Namespace) -> int:
    log = _own_log(arguments)
    folder = os.path.abspath(arguments.folder)
    policy = _trust(arguments, log.checkpoint.origin).policy
    # For everybody: a web server that runs as another user reads it.
    written = export_log(log, RealDisk(private=False), folder, policy, token=RealChance().token(4).hex())
    if arguments.json:
        print_json({**checkpoint_value(log.checked), "folder": folder, "bytes": written})
    else:
        lines = checkpoint_lines(log.checked)
        print_lines([*lines, f"  written to {folder}: {size_text(written)}, tlog-tiles and the policy"])
    return EXIT_OK


# --- verify -----------------------------------------------------------------------------------


def _trust(arguments: argparse.Namespace, origin: str) -> Trust:
    """Whom to believe about this log: what was named, else the home. Raises UsageError."""
    found = None
    if getattr(arguments, "policy", None):
        text = read_small(arguments.policy).decode("utf-8", "replace")
        found = Trust(text, f"policy {arguments.policy}") if origin in origins_of(text) else None
    elif getattr(arguments, "roster", None):
        found = trust_in_roster(parse_roster(read_small(arguments.roster)), origin)
    elif os.path.exists(os.path.join(arguments.home, ROSTER_FILE)):
        found = trust_in_home(RealDisk(private=True), read_home(arguments.home), origin)
    if found is None:
        raise no_trust(origin)
    return found


def _log_of(arguments: argparse.Namespace, folder: str) -> tuple[OpenedLog, Trust]:
    """The log in a folder, by what is named or the home, else by the policy that lies in it (and says so)."""
    disk, folder = RealDisk(private=False), os.path.abspath(folder)
    origin = origin_of_note(read_small(os.path.join(folder, CHECKPOINT_FILE)))
    try:
        trust = _trust(arguments, origin)
    except UsageError:
        beside = os.path.join(folder, POLICY_FILE)
        if getattr(arguments, "policy", None) or getattr(arguments, "roster", None) or not os.path.exists(beside):
            raise
        text = read_small(beside).decode("utf-8", "replace")
        trust = Trust(text, "ITS OWN policy file: compare the keys in it with what the hospital publishes")
    return open_folder(disk, folder, trust.policy), trust


def _verify(arguments: argparse.Namespace) -> int:
    target = arguments.target
    if target is not None and os.path.exists(os.path.join(target, EVIDENCE_MARK)):
        from cli.ledger_evidence import verify_evidence

        return verify_evidence(arguments)
    if target is None or os.path.isdir(target):
        return _verify_log(arguments)
    return _verify_proof(arguments)


def _verify_log(arguments: argparse.Namespace) -> int:
    """Raises what is wrong with the log: exit status 4."""
    if arguments.against or arguments.entry:
        raise UsageError("--against and --entry belong to a proof file, not to a log")
    if arguments.target is None:
        log = _own_log(arguments)
        trust = _trust(arguments, log.checkpoint.origin)
    else:
        log, trust = _log_of(arguments, arguments.target)
    log.check()
    if arguments.json:
        print_json({**checkpoint_value(log.checked), "valid": True, "trust": trust.words})
    else:
        size = log.checkpoint.size
        lines = [*checkpoint_lines(log.checked), f"  all {size} entries and all tiles lead to this root"]
        print_lines([*lines, f"  believed by {trust.words}"])
    return EXIT_OK


def _verify_proof(arguments: argparse.Namespace) -> int:
    """Raises what is wrong with the proof: exit status 4."""
    data = read_small(arguments.target)
    if not data.startswith(PROOF_HEADER):
        words = ", but a zip file: see check-receipt" if data.startswith(b"PK") else ""
        raise MalformedError(f"{arguments.target} is neither a log's folder, nor a proof, nor evidence{words}")
    trust = _trust(arguments, origin_of_proof(data))
    entry = read_small(arguments.entry) if arguments.entry else None
    file = file_parts(RealDisk(private=False), os.path.abspath(arguments.against)) if arguments.against else None
    checked = check_proof(data, trust, file=file, entry=entry)
    if arguments.json:
        print_json(_proof_value(arguments, checked))
    else:
        print_lines(_proof_lines(arguments, checked))
    return EXIT_OK


def _proof_value(arguments: argparse.Namespace, checked: CheckedProof) -> dict[str, Value]:
    return {
        **checkpoint_value(checked.checked),
        "valid": True,
        "entry": entry_value(checked.proof.index, checked.entry),
        "signer": checked.signer or None,
        "against": arguments.against,
        "trust": checked.trust.words,
    }


def _proof_lines(arguments: argparse.Namespace, checked: CheckedProof) -> list[str]:
    lines = ["valid:", entry_line(checked.proof.index, checked.entry), *checkpoint_lines(checked.checked)]
    if checked.checked.time_s:
        lines.append(f"  in this log no later than {time_text(checked.checked.time_s)}, says the quorum of witnesses")
    if checked.leaf is not None:
        words = f"is that of {checked.signer}" if checked.signer else "was not compared with any known key"
        lines.append(f"  the entry's own signature {words}")
    if arguments.against:
        lines.append(f"  {arguments.against} is the file that was anchored")
    elif split_opened(checked.proof.extra or b"").salt is not None:
        lines.append("  which file it is about was not compared: --against FILE does")
    return [*lines, f"  believed by {checked.trust.words}"]

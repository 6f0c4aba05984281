"""receipt and check-receipt."""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace

import trio
from blake3 import blake3

from cli.clients import client_of
from cli.homes import read_home
from cli.output import print_json, print_lines
from client.memory import ClientMemory
from client.pending import check_pending_document, find_pending
from client.receipts import CheckedDocument, check_document, differences, make_document
from client.unfinished import UnfinishedPuts
from core.encoding import Value
from core.errors import EXIT_INTEGRITY, EXIT_OK, ReceiptError, SourceError, UsageError
from core.ids import PoolId
from core.limits import MIB
from core.listing import Entry, Kind, RelativePath
from host.chance import RealChance
from host.disk import RealDisk
from host.tree import FileTree

# For people; --json lists all.
DIFFERENCES_SHOWN = 20


def run_receipt(arguments: argparse.Namespace) -> int:
    extra = arguments.bundle or arguments.tsa or arguments.tsa_certificates
    if (arguments.object is None) != arguments.settle or (arguments.settle and (extra or arguments.forget)):
        raise UsageError("receipt: give an object, or --settle alone")
    if arguments.forget and extra:
        raise UsageError("receipt: --forget prints nothing to bundle or stamp")
    if arguments.settle:
        # Loaded here, as below: hardly anything is ever pending.
        from cli.pending import run_settle

        return run_settle(arguments)
    home = read_home(arguments.home)
    disk, chance = RealDisk(private=True), RealChance()
    notes = UnfinishedPuts(disk, home, chance)
    unfinished = find_pending(ClientMemory(disk, home, chance), notes, arguments.object)
    if arguments.forget:
        from cli.pending import forget

        return forget(notes, unfinished, arguments)
    if unfinished is not None:
        from cli.pending import print_pending

        return print_pending(unfinished, bundle=bool(arguments.bundle))
    if arguments.bundle:
        # Loaded here, not above: most receipts are no bundles.
        from cli.bundle import write_bundle

        return write_bundle(arguments)
    if arguments.tsa or arguments.tsa_certificates:
        raise UsageError("--tsa and --tsa-certificates belong to --bundle")
    print_lines([trio.run(_document, arguments)])
    return EXIT_OK


async def _document(arguments: argparse.Namespace) -> str:
    async with client_of(arguments) as client:
        return await make_document(client, client.memory.resolve(arguments.object))


def run_check_receipt(arguments: argparse.Namespace) -> int:
    """Raises the error that makes a receipt invalid: its exit status is 4."""
    data, pool = _read(arguments.file), PoolId.parse(arguments.pool) if arguments.pool else None
    pending = check_pending_document(data, pinned_pool=pool)
    if pending is not None:
        from cli.pending import print_checked

        return print_checked(pending, as_json=arguments.json, against=arguments.against)
    stamped: dict[str, Value] = {}
    if data.startswith(b"PK"):
        from cli.bundle import read_bundle

        checked, stamped = read_bundle(arguments, data, pool)
    else:
        checked = check_document(data, pinned_pool=pool)
    wrong = _compare(checked, arguments.against) if arguments.against else []
    value = _value(checked) | stamped
    if arguments.against:
        value |= {"against": arguments.against, "differences": list(wrong)}
    value["valid"] = not wrong
    if arguments.json:
        print_json(value)
    else:
        lines = [*_lines(checked, arguments.against, wrong), *(f"  {line}" for line in wrong[:DIFFERENCES_SHOWN])]
        print_lines([*lines, *([f"  {stamped['time_stamp_words']!s}"] if stamped else [])])
    return EXIT_INTEGRITY if wrong else EXIT_OK


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error


def _value(checked: CheckedDocument) -> dict[str, Value]:
    statement = checked.statement
    return {
        "object": str(statement.object),
        "state": "anchored",
        "origin": statement.origin,
        "index": statement.index,
        "tree_size": statement.tree_size,
        "cosigners": list(statement.cosigners),
        "time": statement.time_s,
        "organisation": statement.organisation,
        "pool": str(statement.pool),
        "pool_name": statement.pool_name,
        "epoch": statement.epoch,
        "files": None if checked.entries is None else sum(entry.kind is Kind.FILE for entry in checked.entries),
    }


def _lines(checked: CheckedDocument, against: str | None, wrong: list[str]) -> list[str]:
    statement = checked.statement
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(statement.time_s))
    lines = [
        f"{'valid receipt, other files' if wrong else 'valid'}: object {statement.object}",
        f"  stored by {statement.organisation} in pool {statement.pool_name} ({statement.pool})",
        f"  under version {statement.epoch} of the pool's roster",
        f"  entry {statement.index} of log {statement.origin}, cosigned by {', '.join(statement.cosigners)} at {when}",
        "  the pool's id is what makes this trustworthy: compare it with what the hospital publishes",
    ]
    if against:
        words = f"{len(wrong)} entries DIFFER" if wrong else "equal to what was stored, every file"
        lines.append(f"  {against}: {words}")
    return lines


def _compare(checked: CheckedDocument, path: str) -> list[str]:
    if checked.entries is None:
        raise ReceiptError("this receipt carries no file list: compare with the one that `moorage receipt` prints")
    tops = {entry.path.raw.split(b"/")[0] for entry in checked.entries}
    folder = os.fsencode(os.path.abspath(path))
    inside = [os.path.join(folder, top) for top in sorted(tops)]
    roots = inside if all(os.path.lexists(root) for root in inside) else [folder]
    found = _read_tree(FileTree([os.fsdecode(root) for root in roots]))
    if roots == [folder] and len(tops) == 1:
        found = [_renamed(entry, next(iter(tops))) for entry in found]
    return differences(checked.entries, found)


def _renamed(entry: Entry, top: bytes) -> Entry:
    """The entry as if the folder or file that was given bore its stored name."""
    _, slash, rest = entry.path.raw.partition(b"/")
    return replace(entry, path=RelativePath(top + slash + rest))


def _read_tree(tree: FileTree) -> list[Entry]:
    entries: list[Entry] = []
    buffer = memoryview(bytearray(4 * MIB))
    for entry in tree.walk():
        if entry.kind is Kind.FILE:
            hasher = blake3()
            with tree.open(entry) as reader:
                for at in range(0, entry.size_bytes, len(buffer)):
                    part = buffer[: min(len(buffer), entry.size_bytes - at)]
                    reader.read_into(at, part)
                    hasher.update(part)
            entries.append(replace(entry, digest=hasher.digest()))
        else:
            entries.append(entry)
    return entries

"""What is pending: receipt of it, check-receipt of that, and receipt --settle."""

from __future__ import annotations

import argparse
import sys
import time

import trio

from cli.clients import client_of
from cli.output import print_json, print_lines
from client.memory import CatalogueEntry
from client.pending import CheckedPending, make_pending_document
from client.settle import Settlement, settle
from client.unfinished import Unfinished, UnfinishedPuts
from core.encoding import Value
from core.errors import EXIT_INTEGRITY, EXIT_OK, EXIT_TRY_AGAIN, PendingError, UnknownObjectError

HINT = "not anchored yet: `moorage receipt --settle`, or the same put again, goes on"


def print_pending(unfinished: Unfinished, *, bundle: bool) -> int:
    """The document, and what it is not. Raises PendingError for a bundle: there is nothing for a court yet."""
    if bundle:
        raise PendingError(f"object {unfinished.entry.object} is pending: {HINT}")
    print_lines([make_pending_document(unfinished)])
    print(f"moorage: object {unfinished.entry.object} is pending: {HINT}", file=sys.stderr)
    return EXIT_TRY_AGAIN


def forget(notes: UnfinishedPuts, unfinished: Unfinished | None, arguments: argparse.Namespace) -> int:
    """Give up what is pending: its files are put anew, or never. Raises UnknownObjectError when it is not pending."""
    if unfinished is None:
        raise UnknownObjectError(f"nothing that begins with {arguments.object!r} is pending (`moorage ls`)")
    entry = unfinished.entry
    notes.end(entry.object)
    if arguments.json:
        print_json({"object": str(entry.object), "name": entry.name, "forgotten": True})
    else:
        print_lines([f"object {entry.object}: given up; its holders remove it, a day later at the earliest"])
    return EXIT_OK


def print_checked(checked: CheckedPending, *, as_json: bool, against: str | None) -> int:
    """Never exit status 0: what is pending proves no more than that the log has taken it."""
    if against:
        raise PendingError("what is pending carries no list of files: compare when it is anchored")
    if as_json:
        print_json(_checked_value(checked))
    else:
        print_lines(_checked_lines(checked))
    return EXIT_TRY_AGAIN


def _checked_value(checked: CheckedPending) -> dict[str, Value]:
    value: dict[str, Value] = {"object": str(checked.object), "state": "pending", "valid": False}
    statement = checked.statement
    value |= {"pool": str(checked.manifest.pool), "pool_verified": statement is not None}
    value |= {"since": checked.manifest.created_s}
    if statement is None:
        return {**value, "in_log": False}
    return {
        **value,
        "in_log": True,
        "origin": statement.origin,
        "index": statement.index,
        "tree_size": statement.tree_size,
        "cosigners": list(statement.cosigners),
        "needed": statement.needed,
        "witnesses": statement.witnesses,
        "organisation": statement.organisation,
        "pool_name": statement.pool_name,
        "epoch": statement.epoch,
    }


def _checked_lines(checked: CheckedPending) -> list[str]:
    lines = [f"PENDING, not anchored: object {checked.object}, stored at {time_of(checked.manifest.created_s)}"]
    statement = checked.statement
    if statement is None:
        return [
            *lines,
            "  its log has not taken it: nothing is proved but that its manifest is whole",
            f"  of pool {checked.manifest.pool}, as it says itself: that is verified when its log has it",
        ]
    cosigned = f"{len(statement.cosigners)} of {statement.needed} witnesses"
    return [
        *lines,
        f"  stored by {statement.organisation} in pool {statement.pool_name} ({statement.pool})",
        f"  under version {statement.epoch} of the pool's roster",
        f"  entry {statement.index} of log {statement.origin}, {statement.tree_size} entries",
        f"  durable in the log by the log's own signature only, {cosigned}: the log could still show others otherwise",
    ]


def time_of(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def run_settle(arguments: argparse.Namespace) -> int:
    """Raises HomeError, LocalDiskError."""
    settlement, receipts = trio.run(_settle, arguments)
    for path in settlement.damaged:
        print(f"moorage: {path} is damaged: put the files that it was about again, and remove it", file=sys.stderr)
    if arguments.json:
        print_json(_settlement_value(settlement, receipts))
    else:
        lines = [f"object {item.object}: anchored; {item.name}" for item in settlement.settled]
        lines += [f"object {item.entry.object}: pending still: {item.reason}" for item in settlement.pending]
        print_lines(lines or (["nothing is pending"] if not settlement.damaged else []))
    return settled_status(settlement)


def settled_status(settlement: Settlement) -> int:
    """To try again mends no damaged note: it is told first."""
    if settlement.damaged:
        return EXIT_INTEGRITY
    return EXIT_TRY_AGAIN if settlement.pending else EXIT_OK


async def _settle(arguments: argparse.Namespace) -> tuple[Settlement, dict[str, str]]:
    async with client_of(arguments) as client:
        settlement = await settle(client)
        receipts = {str(item.object): client.home.path("receipts", str(item.object)) for item in settlement.settled}
        return settlement, receipts


def _settlement_value(settlement: Settlement, receipts: dict[str, str]) -> dict[str, Value]:
    pending: list[Value] = [
        {**entry_value(item.entry), "reason": str(item.reason), "code": item.reason.code} for item in settlement.pending
    ]
    settled: list[Value] = [
        {"object": str(item.object), "name": item.name, "anchored": True, "receipt": receipts[str(item.object)]}
        for item in settlement.settled
    ]
    return {"settled": settled, "pending": pending, "damaged": list(settlement.damaged)}


def entry_value(entry: CatalogueEntry) -> dict[str, Value]:
    """Of what is pending: where an object's entry says when it was made, this says since when it waits."""
    return {
        "object": str(entry.object),
        "state": "pending",
        "name": entry.name,
        "files": entry.files,
        "bytes": entry.plain_bytes,
        "stored_bytes": entry.stored_bytes,
        "since": entry.created_s,
    }

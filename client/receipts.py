"""Receipts for people: a holder's receipt together with the manifest and the opened file list.

A JSON document, so that it survives mail and copying. All in it is checked against the ledger's proof inside:
the manifest by its digest, the file list by the manifest's salted commitment. Nothing else is needed.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from anchor.manifest import parse_manifest
from anchor.receipt import ReceiptStatement, check_receipt, parse_receipt
from client.context import Client
from client.index import encode_listing, listing_commitment, listing_salt, parse_listing
from client.locate import fetch_document, fetch_manifest_file
from client.reader import ObjectReader
from core.errors import MalformedError, ReceiptError
from core.ids import DIGEST_BYTES, ObjectId, PoolId
from core.listing import Entry
from wire.messages import GetReceipt

FORMAT = "moorage-receipt/1"
# The listing of ten million files, in base64.
DOCUMENT_MAX_BYTES = 2**31


@dataclass(frozen=True, slots=True)
class CheckedDocument:
    """What a receipt document proves; ``entries`` is None when it carries no file list."""

    statement: ReceiptStatement
    entries: tuple[Entry, ...] | None


def _pack(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


@dataclass(frozen=True, slots=True)
class Papers:
    """What a receipt document or a proof bundle is made of, each as it lies in files."""

    object: ObjectId
    receipt: bytes
    manifest: bytes
    listing: bytes
    salt: bytes


async def make_document(client: Client, object_id: ObjectId) -> str:
    """The receipt document of an object. Raises as ``gather_papers``."""
    papers = await gather_papers(client, object_id)
    document = {
        "format": FORMAT,
        "state": "anchored",
        "object": str(object_id),
        "receipt": _pack(papers.receipt),
        "manifest": _pack(papers.manifest),
        "listing": _pack(papers.listing),
        "salt": _pack(papers.salt),
    }
    return json.dumps(document, indent=1)


async def gather_papers(client: Client, object_id: ObjectId) -> Papers:
    """What proves an object, checked: from the home where it is there, else from the holders.

    Raises UnknownObjectError, NotEnoughSharesError (the file list), ReceiptError.
    """
    await client.expect_peers()
    manifest_file = await client.ports.threads.disk(client.memory.manifest_file, object_id)
    if manifest_file is None:
        manifest_file = await fetch_manifest_file(client, object_id)
    receipt_file = await client.ports.threads.disk(client.memory.receipt_file, object_id)
    if receipt_file is None:
        receipt_file = await _fetch_receipt_file(client, object_id)
    reader = ObjectReader(client, object_id, parse_manifest(manifest_file, expected=object_id))
    index = await reader.read_index()
    listing = encode_listing(index.entries)
    papers = Papers(object_id, receipt_file, manifest_file, listing, listing_salt(reader.index_key()))
    check_papers(papers, pinned_pool=client.home.roster.pool)
    return papers


async def _fetch_receipt_file(client: Client, object_id: ObjectId) -> bytes:
    """A receipt file that proves this object in this pool, from any holder. Raises UnknownObjectError."""

    def check(data: bytes) -> None:
        statement = check_receipt(parse_receipt(data), pinned_pool=client.home.roster.pool)
        if statement.object != object_id:
            raise ReceiptError("the receipt is another object's")

    return await fetch_document(client, object_id, GetReceipt(object_id), check)


def _field(document: dict[str, object], name: str) -> bytes:
    value = document.get(name)
    try:
        if not isinstance(value, str):
            raise ValueError("missing")
        return base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error) as error:
        raise MalformedError(f"receipt document: field {name!r} is not base64: {error}") from error


def _parse_document(data: bytes) -> dict[str, object]:
    if len(data) > DOCUMENT_MAX_BYTES:
        raise MalformedError("receipt document: too large")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"not a receipt: neither a receipt file nor JSON: {error}") from error
    if not isinstance(document, dict):
        raise MalformedError("receipt document: not a JSON object")
    fields = cast(dict[str, object], document)
    if fields.get("format") != FORMAT:
        raise MalformedError(f"receipt document: its format is {fields.get('format')!r}, not {FORMAT!r}")
    return fields


def check_document(data: bytes, *, pinned_pool: PoolId | None) -> CheckedDocument:
    """Verify a receipt document, or a bare receipt file as holders keep it. Offline; needs nothing else.

    Raises ReceiptError, BadSignatureError, CorruptError, MalformedError, NewerVersionError.
    """
    if data.lstrip()[:1] != b"{":
        receipt = parse_receipt(data)
        return CheckedDocument(check_receipt(receipt, pinned_pool=pinned_pool), None)
    document = _parse_document(data)
    fields = [_field(document, name) for name in ("receipt", "manifest", "listing", "salt")]
    papers = Papers(parse_receipt(fields[0]).object, *fields)
    checked = check_papers(papers, pinned_pool=pinned_pool)
    if document.get("object") != str(checked.statement.object):
        raise ReceiptError("receipt document: it names another object than its receipt")
    return checked


def check_papers(papers: Papers, *, pinned_pool: PoolId | None) -> CheckedDocument:
    """Verify a receipt with its manifest and opened file list. Raises as ``check_document``."""
    receipt = parse_receipt(papers.receipt)
    statement = check_receipt(receipt, manifest_file=papers.manifest, pinned_pool=pinned_pool)
    manifest = parse_manifest(papers.manifest, expected=statement.object)
    if len(papers.salt) != DIGEST_BYTES or listing_commitment(papers.salt, papers.listing) != manifest.listing:
        raise ReceiptError("receipt: its file list is not the one that the manifest commits to")
    if papers.object != statement.object:
        raise ReceiptError("receipt: it is about another object")
    return CheckedDocument(statement, parse_listing(papers.listing))


def differences(expected: Sequence[Entry], found: Sequence[Entry]) -> list[str]:
    """What is missing from ``found`` or not as in ``expected``; empty when all that was stored is there, equal."""
    there = {entry.path: entry for entry in found}
    lines: list[str] = []
    for entry in expected:
        other = there.get(entry.path)
        if other is None:
            lines.append(f"{entry.path}: missing")
        elif (entry.kind, entry.size_bytes, entry.digest, entry.target) != (
            other.kind,
            other.size_bytes,
            other.digest,
            other.target,
        ):
            lines.append(f"{entry.path}: differs from what was stored")
    return lines

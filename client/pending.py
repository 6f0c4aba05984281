"""What there is instead of a receipt document while an object is pending: nothing that could be taken for one."""

from __future__ import annotations

import base64
import binascii
import json
from typing import NamedTuple, cast

from anchor.manifest import Manifest, parse_manifest
from anchor.pending import PendingStatement, check_pending
from anchor.receipt import parse_receipt
from client.memory import SHORT_ID_MIN, ClientMemory
from client.unfinished import Unfinished, UnfinishedPuts, pending_of
from core.errors import AmbiguousObjectError, MalformedError, PendingError, ReceiptError, UnknownObjectError
from core.ids import ObjectId, PoolId
from core.limits import KIB, MANIFEST_MAX_BYTES, RECEIPT_MAX_BYTES

FORMAT = "moorage-pending-receipt/1"
DOCUMENT_MAX_BYTES = 4 * (MANIFEST_MAX_BYTES + RECEIPT_MAX_BYTES) // 3 + 4 * KIB


class CheckedPending(NamedTuple):
    """An object that is stored and not anchored. ``statement`` is None when its log has not taken it yet."""

    object: ObjectId
    manifest: Manifest
    statement: PendingStatement | None


def find_pending(memory: ClientMemory, notes: UnfinishedPuts, text: str) -> Unfinished | None:
    """The pending object of this id, or of which this is the beginning; None when the catalogue has what is meant.

    Blocks. Raises AmbiguousObjectError.
    """
    found = [note for note in pending_of(memory, notes) if str(note.entry.object).startswith(text.lower())]
    if not text or not found:
        return None
    if len(text) < SHORT_ID_MIN:
        raise AmbiguousObjectError(f"{text!r} is short: give at least {SHORT_ID_MIN} digits (`moorage ls`)")
    try:
        # A whole id is always resolved.
        others = [] if str(found[0].entry.object) == text.lower() else [memory.resolve(text)]
    except UnknownObjectError:
        others = []
    if len(found) + len(others) > 1:
        raise AmbiguousObjectError(f"{text!r} is short for several objects: give more of its digits (`moorage ls`)")
    return found[0]


def make_pending_document(unfinished: Unfinished) -> str:
    """A JSON document of what is pending. Raises PendingError for what is anchored: a receipt says more."""
    if unfinished.is_anchored:
        raise PendingError(f"object {unfinished.entry.object} is anchored, but too few holders have its receipt yet")
    document = {
        "format": FORMAT,
        "state": "pending",
        "object": str(unfinished.entry.object),
        "receipt": base64.b64encode(unfinished.receipt).decode("ascii"),
        "manifest": base64.b64encode(unfinished.manifest_file).decode("ascii"),
    }
    return json.dumps(document, indent=1)


def check_pending_document(data: bytes, *, pinned_pool: PoolId | None) -> CheckedPending | None:
    """Verify a document of what is pending, offline. None when these bytes are no such document.

    Raises ReceiptError, BadSignatureError, CorruptError, MalformedError, NewerVersionError.
    """
    fields = _fields(data)
    if fields is None:
        return None
    try:
        object_id = ObjectId.parse(str(fields.get("object")))
        parts, manifest_file = (
            base64.b64decode(str(fields.get(name, "-")), validate=True) for name in ("receipt", "manifest")
        )
    except (ValueError, binascii.Error) as error:
        raise MalformedError(f"pending receipt: a field is missing or not base64: {error}") from error
    manifest = parse_manifest(manifest_file, expected=object_id)
    if pinned_pool is not None and manifest.pool != pinned_pool:
        raise ReceiptError(f"pending: from pool {manifest.pool.short}, not from {pinned_pool.short}")
    if not parts:
        return CheckedPending(object_id, manifest, None)
    parsed = parse_receipt(parts)
    statement = check_pending(parsed, manifest_file=manifest_file, pinned_pool=pinned_pool)
    if statement.object != object_id:
        raise ReceiptError("pending receipt: it names another object than its proof")
    return CheckedPending(object_id, manifest, statement)


def _fields(data: bytes) -> dict[str, object] | None:
    if len(data) > DOCUMENT_MAX_BYTES or data.lstrip()[:1] != b"{":
        return None
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    fields = cast("dict[str, object]", document)
    return fields if fields.get("format") == FORMAT else None

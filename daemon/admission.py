"""Which papers a peer takes: what this pool's roster vouches for, or vouched for when the object was anchored."""

from __future__ import annotations

from collections.abc import Callable

from anchor.manifest import parse_manifest
from anchor.roster import Roster
from client.papers import check_receipt_file
from core.errors import MoorageError, RefusedError
from core.ids import ObjectId
from daemon.documents import DocumentKind


def check_document(
    kind: DocumentKind, name: ObjectId, data: bytes, roster: Roster, receipt_here: Callable[[ObjectId], bytes]
) -> None:
    """Blocks. Raises MoorageError for a paper that is not to be kept.

    A manifest whose owner has left the roster is taken when ``receipt_here`` has a receipt that proves it: a receipt
    stands on the roster of its day, and what was acknowledged is repaired as long as the pool exists.
    """
    if kind == "receipt":
        check_receipt_file(data, name, roster.pool)
        return
    manifest = parse_manifest(data, expected=name)
    if manifest.pool != roster.pool:
        raise RefusedError(f"manifest {name.short} is not of this pool")
    if roster.organisation_of_key(manifest.owner_key) is not None:
        return
    try:
        check_receipt_file(receipt_here(name), name, roster.pool)
    except MoorageError as error:
        raise RefusedError(f"manifest {name.short} is not of an organisation of this pool: {error}") from error

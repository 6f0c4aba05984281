"""The last steps of every put, also of one that was pending: anchored, receipt at the holders, in the catalogue."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from anchor.manifest import Manifest, parse_manifest
from client.again import notes_of
from client.context import Client
from client.ledger import anchor_manifest
from client.publish import store_on_all
from client.submission import ANCHOR_PATIENCE_S
from client.unfinished import Unfinished
from core.errors import PeerUnavailableError
from core.ids import PeerId
from erasure.scheme import Scheme
from wire.messages import StoreReceipt


class Finished(NamedTuple):
    """An object that is anchored."""

    manifest: Manifest
    receipt: bytes


async def finish(client: Client, unfinished: Unfinished, *, patience_s: float = ANCHOR_PATIENCE_S) -> Finished:
    """Anchor what all holders have, give them the receipt, remember it, and end the note of it: in this order.

    Broken off anywhere, it may be done again, also by two processes at once: the log takes a leaf once.

    Raises:
        PendingError: no quorum. What the log has signed is noted.
        PeerUnavailableError: too few holders took the receipt, which is noted.
        LedgerError, and as ``client.ledger.anchor_manifest``.
    """
    entry, manifest_file = unfinished.entry, unfinished.manifest_file
    disk = client.ports.threads.disk
    manifest = parse_manifest(manifest_file, expected=entry.object)

    async def keep(parts: bytes) -> None:
        if parts != unfinished.receipt:
            await disk(notes_of(client).update, unfinished._replace(receipt=parts))

    receipt = unfinished.receipt
    if not unfinished.is_anchored:
        receipt = await anchor_manifest(
            client, manifest, manifest_file, entry.plain_bytes, patience_s=patience_s, pending=keep
        )
    failed = await store_on_all(client.peers, manifest.holders(), StoreReceipt(entry.object, receipt))
    try:
        check_copies(failed, manifest.holders(), manifest.scheme)
    except PeerUnavailableError:
        if client.home.roster.is_consortium:
            await disk(notes_of(client).update, unfinished._replace(receipt=receipt, is_anchored=True))
        raise
    await disk(client.memory.remember_object, entry, manifest_file, receipt)
    if client.home.roster.is_consortium:
        await disk(notes_of(client).end, entry.object)
    return Finished(manifest, receipt)


def check_copies(failed: Collection[PeerId], holders: Sequence[PeerId], scheme: Scheme) -> None:
    """More holders have the receipt than may be lost: the others restore theirs from one that is left.

    Where all who had it came back empty, the object would count as given up after a day. Raises PeerUnavailableError.
    """
    having = sum(peer not in failed for peer in holders)
    if having < min(scheme.spare + 1, len(holders)):
        raise PeerUnavailableError(
            f"only {having} of {len(holders)} holders took the receipt: the object is not safe yet, put it again"
        )

"""The copies of an object's manifest and receipt that its holders keep: asked for, checked, and what was wrong."""

from __future__ import annotations

from collections.abc import Callable

from anchor.manifest import Manifest, object_id, parse_manifest
from anchor.receipt import ReceiptStatement, check_receipt, parse_receipt
from client.asker import Asker
from client.challenge import is_away
from core.errors import (
    BadSignatureError,
    CorruptError,
    MalformedError,
    MoorageError,
    NewerVersionError,
    NoSuchShardError,
    ProtocolError,
    ReceiptError,
)
from core.findings import Finding, FindingKind
from core.ids import ObjectId, PeerId, PoolId
from core.ports import Threads
from wire.messages import Blob, GetManifest, GetReceipt

_WRONG = (CorruptError, MalformedError, BadSignatureError, ReceiptError, ProtocolError)


def check_receipt_file(data: bytes, expected: ObjectId, pool: PoolId | None) -> ReceiptStatement:
    """What a receipt file proves about this object in this pool.

    Raises:
        CorruptError, MalformedError: it is damaged.
        NewerVersionError: it is of a later format.
        ReceiptError, BadSignatureError: it proves nothing, or something else.
    """
    statement = check_receipt(parse_receipt(data), pinned_pool=pool)
    if statement.object != expected:
        raise ReceiptError("the receipt is another object's")
    return statement


def document_fault(error: MoorageError, question: GetManifest | GetReceipt, holder: PeerId) -> Finding | None:
    """The finding that an error with a copy amounts to; None when it says nothing about the copy."""
    manifest = isinstance(question, GetManifest)
    match error:
        case NoSuchShardError():
            kind = FindingKind.MANIFEST_MISSING if manifest else FindingKind.RECEIPT_MISSING
        case NewerVersionError():
            kind = FindingKind.NEWER_VERSION
        case _ if isinstance(error, _WRONG):
            kind = FindingKind.MANIFEST_CORRUPT if manifest else FindingKind.RECEIPT_CORRUPT
        case _:
            return None
    return Finding(kind, object=question.object, holder=holder, detail=str(error))


class Papers:
    """Fetches and checks copies of one object's documents. Equal receipts are proved once."""

    def __init__(self, asker: Asker, threads: Threads, name: ObjectId, pool: PoolId | None) -> None:
        self._asker = asker
        self._threads = threads
        self._object = name
        self._pool = pool
        self._proved: list[bytes] = []

    async def manifest(self, holder: PeerId) -> bytes:
        """The holder's copy, its bytes compared with the object's name. Raises what is wrong with it."""
        data = await self._fetch(holder, GetManifest(self._object))
        if object_id(data) != self._object:
            raise CorruptError("the holder's copy of the manifest does not match the object's name")
        return data

    async def receipt(self, holder: PeerId) -> bytes:
        """The holder's copy, proved. Raises what is wrong with it."""
        data = await self._fetch(holder, GetReceipt(self._object))
        await self.prove(data)
        return data

    async def prove(self, receipt_file: bytes) -> None:
        """Raises as ``check_receipt_file``."""
        if receipt_file not in self._proved:
            await self._threads.cpu(check_receipt_file, receipt_file, self._object, self._pool)
            self._proved.append(receipt_file)

    async def _fetch(self, holder: PeerId, question: GetManifest | GetReceipt) -> bytes:
        answer = await self._asker.request(holder, question)
        if not isinstance(answer, Blob):
            raise ProtocolError(f"peer {holder.short} answered {question.KIND} with something else")
        return bytes(answer.body)

    async def look(self, holder: PeerId, report: Callable[[Finding], None]) -> None:
        """Check both copies at ``holder``. Raises PeerUnavailableError, PeerRefusedError when it is out of reach."""
        for question, fetch in ((GetManifest(self._object), self.manifest), (GetReceipt(self._object), self.receipt)):
            try:
                await fetch(holder)
            except MoorageError as error:
                if is_away(error):
                    raise
                finding = document_fault(error, question, holder)
                if finding is not None:
                    report(finding)

    async def find_manifest(self, holders: list[PeerId]) -> Manifest | None:
        """A good manifest from whoever has one first."""
        for holder in holders:
            try:
                return parse_manifest(await self.manifest(holder), expected=self._object)
            except MoorageError:
                # The next one's copy may be good.
                continue
        return None

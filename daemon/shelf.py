"""This peer's own copies of an object's papers: read, checked against the roster, restored from others when bad."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from anchor.manifest import Manifest, parse_manifest
from anchor.roster import Roster
from client.asker import Asker, Directory
from client.look import take_over_order
from client.papers import Papers, document_fault
from core.errors import MoorageError, NoSuchShardError
from core.findings import Finding, FindingKind
from core.ids import ObjectId, PeerId
from core.ports import Clock, Threads
from daemon.documents import DocumentKind, DocumentStore
from daemon.subject import Subject
from wire.messages import GetManifest, GetReceipt

# A put that is not anchored a day after its manifest was last given to us was given up: the next one of the same files
# begins anew. One that is pending gives it again (``client.settle``).
UNCOMMITTED_MAX_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Shelved:
    """An object's papers after a look at them.

    ``subject`` is None when nothing can be done for the object now. ``fresh``: it is being put, and has no receipt
    yet; ``trash``: its put was given up, nobody was told that it is stored. Where there is any doubt, it is neither:
    what was acknowledged is never trash, and its papers may have been lost at many holders at once.
    """

    subject: Subject | None
    findings: tuple[Finding, ...] = ()
    done: tuple[Finding, ...] = ()
    fresh: bool = False
    trash: bool = False


class Shelf:
    """``was_whole``: whether an earlier look found the object whole, receipts included."""

    def __init__(
        self,
        me: PeerId,
        *,
        roster: Callable[[], Roster],
        documents: DocumentStore,
        threads: Threads,
        asker: Asker,
        directory: Directory,
        clock: Clock,
        was_whole: Callable[[ObjectId], bool],
    ) -> None:
        self._me = me
        self._roster = roster
        self._documents = documents
        self._threads = threads
        self._asker = asker
        self._directory = directory
        self._clock = clock
        self._was_whole = was_whole

    async def look(self, name: ObjectId) -> Shelved:
        """Read and check both papers of one object; fetch what is missing or damaged. Never raises for copies."""
        look = _Look(self._me, name)
        papers = Papers(self._asker, self._threads, name, self._roster().pool)
        manifest_file = await self._manifest_file(look, papers)
        if manifest_file is None:
            return look.result(None)
        try:
            manifest = await self._threads.cpu(_parse, manifest_file, name)
        except MoorageError as error:
            look.fault(error, GetManifest(name))
            return look.result(None)
        look.findings += _strange(manifest, self._roster(), name, self._me)
        receipt_file = await self._receipt_file(look, papers, manifest)
        return look.result(Subject(name, manifest, manifest_file, receipt_file))

    async def _manifest_file(self, look: _Look, papers: Papers) -> bytes | None:
        try:
            return await self._threads.disk(self._documents.get, "manifest", look.object)
        except MoorageError as error:
            if look.fault(error, GetManifest(look.object)) is None:
                return None
        return await self._restore(look, "manifest", papers.manifest, self._known())

    def _known(self) -> list[PeerId]:
        return [record.peer for record in self._directory.known_peers() if record.peer != self._me]

    async def _receipt_file(self, look: _Look, papers: Papers, manifest: Manifest) -> bytes | None:
        question = GetReceipt(look.object)
        missing = False
        try:
            data = await self._threads.disk(self._documents.get, "receipt", look.object)
            await papers.prove(data)
            return data
        except NoSuchShardError as error:
            missing = True
            fault = document_fault(error, question, self._me)
        except MoorageError as error:
            fault = look.fault(error, question)
            if fault is None or fault.kind is FindingKind.NEWER_VERSION:
                return None
        nobody_knows = _Tally()
        firsts = [peer for peer in manifest.holders() if peer != self._me]
        found = await self._restore(look, "receipt", papers.receipt, firsts, nobody_knows)
        look.fresh = missing and found is None and await self._is_fresh(look.object, manifest)
        if found is None and not look.fresh:
            # First holders may all have come back empty, while those that took over from them have what is left.
            others = await self._who_took_over(look.object, firsts)
            found = await self._restore(look, "receipt", papers.receipt, others, nobody_knows)
            # Nobody takes over what is being put: papers that came here as a guest's were not given up before that.
            first = self._me in manifest.holders()
            no_receipt = missing and found is None and nobody_knows.complete
            look.trash = no_receipt and first and not self._was_whole(look.object)
        if missing and fault is not None and not (look.fresh or look.trash):
            look.findings.append(fault)
        return found

    async def _is_fresh(self, name: ObjectId, manifest: Manifest) -> bool:
        now_s = self._clock.now()
        if now_s - manifest.created_s <= UNCOMMITTED_MAX_S:
            return True
        # A file's time may lie: here it only puts a removal off, and one that is to come puts nothing off.
        given_s = await self._threads.disk(self._documents.stored_s, "manifest", name)
        return 0 <= now_s - given_s <= UNCOMMITTED_MAX_S

    async def _who_took_over(self, name: ObjectId, firsts: Sequence[PeerId]) -> list[PeerId]:
        """Whoever may have papers and is no first holder: those that announce shards, and all that are known."""
        announced = [record.peer for record in await self._directory.providers(name)]
        others = dict.fromkeys([*announced, *self._known()])
        return [peer for peer in others if peer != self._me and peer not in firsts]

    async def _restore(
        self,
        look: _Look,
        kind: DocumentKind,
        fetch: Callable[[PeerId], Awaitable[bytes]],
        holders: Sequence[PeerId],
        tally: _Tally | None = None,
    ) -> bytes | None:
        """A good copy from whoever has one first, kept here in place of ours. None when nobody has."""
        for holder in await self._threads.cpu(take_over_order, look.object, holders):
            try:
                data = await fetch(holder)
            except MoorageError as error:
                if tally is not None:
                    tally.complete &= isinstance(error, NoSuchShardError)
                continue
            try:
                await self._threads.disk(self._documents.put, kind, look.object, data)
                look.done.append(Finding(FindingKind.REPAIRED, look.object, self._me, detail=f"{kind} restored"))
            except MoorageError as error:
                detail = f"{kind} cannot be restored: {error}"
                look.findings.append(Finding(FindingKind.UNREPAIRABLE, look.object, self._me, detail=detail))
            return data
        return None


def _parse(manifest_file: bytes, name: ObjectId) -> Manifest:
    return parse_manifest(manifest_file, expected=name)


def _strange(manifest: Manifest, roster: Roster, name: ObjectId, me: PeerId) -> list[Finding]:
    """What the roster says against a manifest. An organisation may leave; what it stored is kept all the same."""
    if manifest.pool != roster.pool:
        detail = "it belongs to another pool"
        return [Finding(FindingKind.MANIFEST_CORRUPT, name, me, detail=detail)]
    if roster.organisation_of_key(manifest.owner_key) is None:
        detail = "the organisation that stored it is not on the roster any more; it is kept"
        return [Finding(FindingKind.OWNER_LEFT, name, me, detail=detail)]
    return []


@dataclass(slots=True)
class _Tally:
    """``complete``: all that were asked say that they have none. Silence and damage say nothing."""

    complete: bool = True


class _Look:
    """What one look gathers."""

    def __init__(self, me: PeerId, name: ObjectId) -> None:
        self.object = name
        self.findings: list[Finding] = []
        self.done: list[Finding] = []
        self.fresh = False
        self.trash = False
        self._me = me

    def fault(self, error: MoorageError, question: GetManifest | GetReceipt) -> Finding | None:
        """Note what is wrong with our copy; None when the disk says nothing about it now."""
        finding = document_fault(error, question, self._me)
        if finding is not None:
            self.findings.append(finding)
        return finding

    def result(self, subject: Subject | None) -> Shelved:
        return Shelved(subject, tuple(self.findings), tuple(self.done), self.fresh, self.trash)

"""Defects of what care remembers, throws away, removes and believes."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import daemon.carebook
import daemon.rebuild
from anchor.manifest import Extent, Manifest
from client.fetch import ShareFetcher, Source
from client.health import ShardState
from core.errors import MoorageError, NoSuchShardError
from core.findings import Finding, FindingKind
from core.ids import ObjectId
from core.ports import Buffer, Disk
from daemon.guests import remove_unless_named
from daemon.schedule import Schedule
from daemon.shelf import UNCOMMITTED_MAX_S, Shelf
from daemon.subject import Subject
from daemon.sweep import Sweeper
from daemon.visit import Visitor
from tests.sim.planted.plant import plant, plants_of
from tests.sim.planted.put_bugs import unchecked
from wire.messages import Read, Shares

TURNS = "no power cut costs or repeats a look"
KEPT = "what was acknowledged is no trash"
LAST = "the last whole copy of a shard stays"
MENDED = "every fault is found and mended"

# --- what is remembered -------------------------------------------------------------------------


@plant(Schedule, "_visit", story="turn", bug="an object counts as looked at when its look begins", promise=TURNS)
async def seen_too_early(self: Any, name: ObjectId) -> None:
    await self._seen(name, int(self._clock.now()))
    await self._sweeper.sweep([name], full=False, grace=True, by_order=False)
    await self._sweeper.anchor_counts(period_s=self._settings.period_s)


@plant(daemon.carebook, "write_file", story="turn", bug="the care book's folder is not synced", promise=TURNS)
def book_folder_not_synced(disk: Disk, path: str, data: Buffer, *, token: str) -> None:
    disk.make_folders(posixpath.dirname(path))
    temporary = f"{path}.{token}.part"
    with disk.open(temporary, "create") as file:
        file.write_at(0, data)
        file.sync()
    disk.rename(temporary, path)


# --- what is thrown away ------------------------------------------------------------------------


@plant(Shelf, "_receipt_file", story="papers", bug="nobody is asked for a receipt that is missing", promise=KEPT)
async def receipt_not_asked_for(self: Any, look: Any, papers: Any, manifest: Manifest) -> bytes | None:
    try:
        data: bytes = await self._threads.disk(self._documents.get, "receipt", look.object)
        await papers.prove(data)
    except NoSuchShardError:
        look.fresh = self._clock.now() - manifest.created_s <= UNCOMMITTED_MAX_S
        look.trash = not look.fresh
        return None
    except MoorageError:
        return None
    return data


@plant(Sweeper, "_discard", story="papers", bug="a receipt that came meanwhile is not looked for", promise=KEPT)
async def discarded_unseen(self: Any, name: ObjectId) -> list[Finding]:
    documents = self._store.documents
    with suppress(MoorageError, OSError):
        await self._threads.disk(documents.quarantine, "manifest", name)
        await self._threads.disk(documents.discard_quarantined, "manifest", name)
        await self._threads.disk(self._book.forget, name)
    return [Finding(FindingKind.REMOVED, name, self._me)]


# --- what is removed ----------------------------------------------------------------------------


@plant(Visitor, "_remove", story="duplicate", bug="a copy is removed although the other is not proved", promise=LAST)
async def removed_unproved(self: Any, subject: Subject, state: ShardState, known: Sequence[ObjectId]) -> Finding | None:
    if not await self._threads.disk(remove_unless_named, self._store, self._naming, state.root, known):
        return None
    return Finding(FindingKind.REMOVED, subject.object, self._me, state.extent, state.share, root=state.root)


# --- what is believed ---------------------------------------------------------------------------


class _TrustingFetcher(ShareFetcher):
    async def _read(self, extent: Extent, source: Source, first: int, count: int) -> tuple[memoryview, ...]:
        answer = await self._peers.request(source.peer, Read(extent.roots[source.index], first, count))
        assert isinstance(answer, Shares)
        return unchecked(answer)


@plant(daemon.rebuild, "ShareFetcher", story="rebuild", bug="a repair trusts what its sources send", promise=MENDED)
def sources_trusted(*args: Any) -> ShareFetcher:
    return _TrustingFetcher(*args)


PLANTS = plants_of(globals())

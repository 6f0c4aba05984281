"""What nobody needs: shards that no manifest names, of puts that were given up; and files that are no shards.

Whether a shard is named is looked up by the first 8 bytes of its root, 13 MB for 10 TB of shards. That two roots begin
alike would keep one piece of trash; nothing is ever removed by it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from anchor.manifest import parse_manifest
from core.errors import MoorageError
from core.findings import Finding, FindingKind
from core.ids import PeerId, ShardRoot
from core.ports import Clock, Disk, Threads
from daemon.folders import Folders, root_of_name
from daemon.shelf import UNCOMMITTED_MAX_S
from daemon.store import ShardStore

# Entries of the store looked at in one disk job.
SLICE = 256
PREFIX_BYTES = 8
# More than this in one sweep waits for the next.
REMOVED_MAX = 10_000
# A store of which so much seems to be trash has rather lost its manifests: the other holders will restore them.
SUSPICIOUS_SHARE = 0.5
SUSPICIOUS_MIN = 16


T = TypeVar("T")


class NamedRoots:
    """The roots that manifests here name, in 256 buckets by their first byte."""

    def __init__(self) -> None:
        self._buckets = [array("Q") for _ in range(256)]
        self._open = -1
        self._members: frozenset[int] = frozenset()

    def add(self, root: ShardRoot) -> None:
        self._buckets[root.raw[0]].append(int.from_bytes(root.raw[:PREFIX_BYTES], "big"))

    def __contains__(self, root: ShardRoot) -> bool:
        """Cheap when asked in ascending order."""
        if self._open != root.raw[0]:
            self._open = root.raw[0]
            self._members = frozenset(self._buckets[self._open])
        return int.from_bytes(root.raw[:PREFIX_BYTES], "big") in self._members


@dataclass(frozen=True, slots=True)
class Tidied:
    """``note``: something an operator should know, or empty."""

    findings: tuple[Finding, ...]
    done: tuple[Finding, ...]
    note: str = ""


class Trash:
    def __init__(self, me: PeerId, home: str, *, disk: Disk, store: ShardStore, threads: Threads, clock: Clock) -> None:
        self._me = me
        self._folders = Folders(home)
        self._disk = disk
        self._store = store
        self._threads = threads
        self._clock = clock

    async def tidy(self) -> Tidied:
        """Set strays aside and remove abandoned shards. A disk that does not let us is left as it is."""
        try:
            named = await self._named()
            strays = await self._strays(named)
            removed, note = await self._abandoned(named)
        except (MoorageError, OSError) as error:
            # An unreadable manifest must not make its shards trash.
            return Tidied((), (), f"the store was not tidied: {error}")
        return Tidied(tuple(strays), tuple(removed), note)

    async def _named(self) -> NamedRoots:
        named = NamedRoots()
        names = await self._threads.disk(self._store.documents.names, "manifest")

        def read(at: int) -> None:
            for name in names[at : at + SLICE]:
                manifest = parse_manifest(self._store.documents.get("manifest", name), expected=name)
                for _, _, root, _ in manifest.shards():
                    named.add(root)

        for at in range(0, len(names), SLICE):
            await self._threads.disk(read, at)
        return named

    async def _strays(self, named: NamedRoots) -> list[Finding]:
        found: list[Finding] = []
        strays = await self._threads.disk(self._store.strays)
        while part := await self._threads.disk(_take, strays):
            for stray in part:
                root = root_of_name(stray.path.rpartition("/")[2])
                in_place = root is not None and stray.path == self._folders.shard(root)
                # A shard that is named and in its place is the scrub's business, whatever its head says.
                if root is not None and in_place and root in named:
                    continue
                await self._threads.disk(self._store.quarantine_stray, stray)
                where = stray.path.removeprefix(f"{self._folders.home}/")
                finding = Finding(FindingKind.STRAY, holder=self._me, root=root, detail=f"{where} {stray.why}")
                found.append(finding)
        return found

    async def _abandoned(self, named: NamedRoots) -> tuple[list[Finding], str]:
        before_ns = int((self._clock.now() - UNCOMMITTED_MAX_S) * 1e9)
        unnamed: list[ShardRoot] = []
        roots = await self._threads.disk(lambda: self._store.roots())
        while part := await self._threads.disk(_take, roots):
            nameless = [root for root in part if root not in named]
            unnamed += await self._threads.disk(self._older, nameless, before_ns)
        held = self._store.statistics().shards
        if len(unnamed) >= max(SUSPICIOUS_MIN, SUSPICIOUS_SHARE * held):
            return [], f"{len(unnamed)} of {held} shards are named by no manifest here: nothing is removed"
        removed: list[Finding] = []
        for root in unnamed[:REMOVED_MAX]:
            if await self._threads.disk(self._store.remove, root):
                detail = "named by no manifest for a day"
                removed.append(Finding(FindingKind.REMOVED, holder=self._me, root=root, detail=detail))
        return removed, ""

    def _older(self, roots: list[ShardRoot], before_ns: int) -> list[ShardRoot]:
        found = [(root, self._disk.stat(self._folders.shard(root))) for root in roots]
        return [root for root, stat in found if stat is not None and stat.modified_ns < before_ns]


def _take(entries: Iterator[T]) -> list[T]:
    return list(islice(entries, SLICE))

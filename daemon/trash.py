"""What nobody needs: shards that no manifest names, of puts that were given up; and files that are no shards.

All manifests are read for it, each time (``daemon.naming``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar, TypeVarTuple, Unpack

from core.durable import read_file, write_file
from core.encoding import Value, encode_checked
from core.errors import MalformedError, MoorageError
from core.findings import Finding, FindingKind
from core.ids import DIGEST_BYTES, PeerId, ShardRoot
from core.limits import MIB, SECONDS_MAX
from core.ports import Clock, Disk, Threads
from core.schema import Fields
from daemon.folders import Folders, root_of_name
from daemon.guests import remove_unless_named
from daemon.naming import Naming, some
from daemon.shelf import UNCOMMITTED_MAX_S
from daemon.store import ShardStore
from daemon.turns import Turns

# Entries of the store looked at in one disk job.
SLICE = 256
# More than this waits until these are gone.
UNNAMED_MAX = 10_000
UNNAMED_FILE = "state/unnamed"
UNNAMED_FILE_MAX_BYTES = 1 * MIB
# A store of which so much seems to be trash has rather lost its manifests: the other holders will restore them.
SUSPICIOUS_SHARE = 0.5
SUSPICIOUS_MIN = 16


T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True)
class Tidied:
    """``note``: something an operator should know, or empty."""

    findings: tuple[Finding, ...]
    done: tuple[Finding, ...]
    note: str = ""


class Trash:
    def __init__(
        self,
        me: PeerId,
        home: str,
        *,
        disk: Disk,
        store: ShardStore,
        naming: Naming,
        threads: Threads,
        clock: Clock,
        turns: Turns,
    ) -> None:
        self._me = me
        self._folders = Folders(home)
        self._disk = disk
        self._store = store
        self._naming = naming
        self._threads = threads
        self._clock = clock
        self._turns = turns

    async def _job(self, job: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        """One slice of the work, on the disk."""
        async with self._turns.step():
            return await self._threads.disk(job, *args)

    async def tidy(self) -> Tidied:
        """Set strays aside, count what is held, remove abandoned shards. A disk that refuses is left as it is."""
        try:
            with closing(self._naming.renewal()) as manifests:
                while await self._job(some, manifests):
                    pass
            while await self._job(self._naming.catch_up):
                pass
            strays = await self._strays()
            await self._recount()
            removed, note = await self._abandoned()
        except (MoorageError, OSError) as error:
            # An unreadable manifest must not make its shards trash.
            return Tidied((), (), f"the store was not tidied: {error}")
        return Tidied(tuple(strays), tuple(removed), note)

    async def _strays(self) -> list[Finding]:
        found: list[Finding] = []
        strays = await self._job(self._store.strays)
        while part := await self._job(_take, strays):
            for stray in part:
                root = root_of_name(stray.path.rpartition("/")[2])
                in_place = root is not None and stray.path == self._folders.shard(root)
                # A shard that is named and in its place is the scrub's business, whatever its head says.
                if root is not None and in_place and not await self._job(self._naming.unnamed, [root]):
                    continue
                if not await self._job(self._store.quarantine_stray, stray):
                    continue
                where = stray.path.removeprefix(f"{self._folders.home}/")
                finding = Finding(FindingKind.STRAY, holder=self._me, root=root, detail=f"{where} {stray.why}")
                found.append(finding)
        return found

    async def _recount(self) -> None:
        """What cannot be counted now stays as it was; the rest of the tidying does not depend on it."""
        steps = self._store.recount()
        with suppress(MoorageError, OSError):
            while await self._job(_take, steps):
                pass

    async def _abandoned(self) -> tuple[list[Finding], str]:
        """Remove what has had no name for a day, by what was noted in earlier sweeps: files' own times may lie."""
        unnamed: list[ShardRoot] = []
        roots = await self._job(lambda: self._store.roots())
        while part := await self._job(_take, roots):
            unnamed += await self._job(self._naming.unnamed, part)
        held = self._store.statistics().shards
        if unnamed and (not self._naming.manifests or len(unnamed) >= max(SUSPICIOUS_MIN, SUSPICIOUS_SHARE * held)):
            return [], f"{len(unnamed)} of {held} shards are named by no manifest here: nothing is removed"
        now_s = int(self._clock.now())
        known = await self._job(self._read_known)
        since_s = {root: min(known.get(root, now_s), now_s) for root in unnamed[:UNNAMED_MAX]}
        removed: list[Finding] = []
        for root in list(since_s):
            if now_s - since_s[root] >= UNCOMMITTED_MAX_S and await self._job(
                remove_unless_named, self._store, self._naming, root
            ):
                del since_s[root]
                detail = "named by no manifest for a day"
                removed.append(Finding(FindingKind.REMOVED, holder=self._me, root=root, detail=detail))
        if since_s != known:
            await self._job(self._write_known, since_s)
        return removed, ""

    def _path(self) -> str:
        return f"{self._folders.home}/{UNNAMED_FILE}"

    def _read_known(self) -> dict[ShardRoot, int]:
        """Since when shards have been seen without a name. A damaged file means: since now."""
        data = read_file(self._disk, self._path(), max_bytes=UNNAMED_FILE_MAX_BYTES)
        try:
            return {} if data is None else parse_unnamed(data)
        except MalformedError:
            return {}

    def _write_known(self, since_s: Mapping[ShardRoot, int]) -> None:
        write_unnamed(self._disk, self._path(), since_s)


def write_unnamed(disk: Disk, path: str, since_s: Mapping[ShardRoot, int]) -> None:
    """Keep since when (seconds since 1970) shards have had no name. Raises OSError."""
    rows: list[Value] = [{"root": root.raw, "since": seconds} for root, seconds in since_s.items()]
    write_file(disk, path, encode_checked({"unnamed": rows}), token=str(len(rows)))


def parse_unnamed(data: bytes) -> dict[ShardRoot, int]:
    """What ``write_unnamed`` wrote. Raises MalformedError."""
    fields = Fields.checked(data, max_bytes=UNNAMED_FILE_MAX_BYTES, what="unnamed shards")
    rows = fields.items("unnamed", max_items=UNNAMED_MAX)
    fields.end()
    found: dict[ShardRoot, int] = {}
    for row in rows:
        item = Fields(row, what="unnamed shard")
        found[ShardRoot(item.exact("root", DIGEST_BYTES))] = item.integer("since", high=SECONDS_MAX)
        item.end()
    return found


def _take(entries: Iterator[T]) -> list[T]:
    return list(islice(entries, SLICE))

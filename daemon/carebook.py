"""When each object was last looked after, and how it was found: the memory of the schedule, and what status shows.

One small file per object under HOME/state/care, written when a look at the object ends: a restart goes on where the
last look stopped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from client.health import Health
from client.lastlook import HEALTH_MAX_CHARACTERS, LastLook
from core.durable import read_file, remove_parts, write_file
from core.encoding import encode_checked
from core.errors import MalformedError, MalformedIdError
from core.ids import ObjectId
from core.limits import MIB, SECONDS_MAX
from core.ports import Disk
from core.schema import Fields
from daemon.mutex import new_mutex
from daemon.settings import Settings

ENTRY_MAX_BYTES = 1024
SPARE_MAX = 256


@dataclass(frozen=True, slots=True)
class CareEntry:
    """The last look, and when one last found nothing wrong at all (``verified_s``; 0: never).

    In such a look this peer re-read its own shards, and the other holders showed theirs, by sample or in full.
    """

    checked_s: int
    verified_s: int
    health: Health | None
    """None: the object waits for its first look; ``checked_s`` is only its place in the queue."""
    spare: int
    again: bool = False
    """Another peer should be mending it: look again soon whether it has."""
    open_since_s: int = 0
    """Since when it has been waiting to be mended, whatever it waited for; 0: it was whole, or nobody has seen it."""


@dataclass(frozen=True, slots=True)
class CareSummary:
    """``at_risk``: objects that were not whole when last seen. ``oldest_verified_s``: None when one never was."""

    objects: int
    at_risk: int
    never_checked: int
    oldest_verified_s: int | None


class CareBook:
    """``load`` comes first; it, ``note`` and ``forget`` are jobs for ``Threads.disk``. They raise OSError."""

    def __init__(self, disk: Disk, folder: str) -> None:
        self._disk = disk
        self._folder = folder
        self._entries: dict[ObjectId, CareEntry] = {}
        self._news: deque[ObjectId] = deque()
        """Objects noted since ``news`` was last asked: threads add at one end, the schedule takes at the other."""
        self._writes = 0
        self._mutex = new_mutex()

    def load(self) -> None:
        """Damaged entries count as never seen."""
        self._disk.make_folders(self._folder)
        remove_parts(self._disk, self._folder)
        self._entries = dict(self._read_all())
        self._news.extend(self._entries)

    def _read_all(self) -> Iterator[tuple[ObjectId, CareEntry]]:
        for name in self._disk.list_folder(self._folder):
            data = read_file(self._disk, f"{self._folder}/{name}", max_bytes=ENTRY_MAX_BYTES)
            try:
                if data is not None:
                    yield ObjectId.parse(name), _parse_entry(data)
            except (MalformedError, MalformedIdError):
                continue

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, name: ObjectId) -> CareEntry | None:
        return self._entries.get(name)

    def note(self, name: ObjectId, entry: CareEntry) -> None:
        self.note_all({name: entry})

    def note_all(self, entries: Mapping[ObjectId, CareEntry]) -> None:
        """Durably, one file each. Raises OSError when the disk takes no writes: then they are remembered until the end.

        Without that a full disk would end all looks: an object that cannot be entered never gets its turn.
        """
        with self._mutex:
            self._entries.update(entries)
            self._news.extend(entries)
            for name, entry in entries.items():
                self._writes += 1
                write_file(self._disk, f"{self._folder}/{name}", _pack_entry(entry), token=str(self._writes))

    def forget(self, name: ObjectId) -> None:
        with self._mutex:
            if name in self._entries:
                del self._entries[name]
                self._disk.unlink(f"{self._folder}/{name}")

    def entries(self) -> dict[ObjectId, CareEntry]:
        """A copy as of now: notes may come while somebody walks it. Takes time for all of them; ``get`` does not."""
        return self._entries.copy()

    def news(self) -> Iterator[ObjectId]:
        """Objects whose entries were noted since this was last asked, some perhaps twice. For one task only."""
        while self._news:
            yield self._news.popleft()

    def seen(self, name: ObjectId, began_s: int, now_s: int) -> None:
        """Put the object at the end of the queue, if its look, which began then and has ended, has not done so."""
        entry = self._entries.get(name)
        if entry is not None and not began_s <= entry.checked_s <= now_s:
            self.note(name, replace(entry, checked_s=began_s, again=False))

    def summary(self, names: Sequence[ObjectId]) -> CareSummary:
        """Over the objects that are held now."""
        entries = [self._entries.get(name) for name in names]
        known = [entry for entry in entries if entry is not None and entry.health is not None]
        verified = [entry.verified_s for entry in known]
        complete = len(known) == len(entries) and all(verified)
        return CareSummary(
            objects=len(entries),
            at_risk=sum(entry.health is not Health.FULL for entry in known),
            never_checked=len(entries) - len(known),
            oldest_verified_s=min(verified) if verified and complete else None,
        )


def told_of(entry: CareEntry | None, settings: Settings) -> LastLook:
    """What whoever asks is told: the last look at an object, and by which settings it was and will be looked at."""
    seen = entry if entry is not None and entry.health is not None else None
    return LastLook(
        checked_s=seen.checked_s if seen else 0,
        verified_s=seen.verified_s if seen else 0,
        health=seen.health if seen else None,
        sweep_s=max(1, round(settings.sweep.period_s)),
        grace_s=round(settings.repair.grace_s),
        repair_bytes_per_s=round(settings.repair.bandwidth_mib_s * MIB),
    )


def _pack_entry(entry: CareEntry) -> bytes:
    return encode_checked(
        {
            "checked": entry.checked_s,
            "verified": entry.verified_s,
            "health": entry.health.value if entry.health else "",
            # The schema's integers have no sign.
            "spare": max(0, entry.spare + SPARE_MAX),
            "again": entry.again,
            # As the first builds wrote it, where there is nothing to say.
            **({"open": entry.open_since_s} if entry.open_since_s else {}),
        }
    )


def _parse_entry(data: bytes) -> CareEntry:
    fields = Fields.checked(data, max_bytes=ENTRY_MAX_BYTES, what="care entry")
    entry = CareEntry(
        checked_s=fields.integer("checked", high=SECONDS_MAX),
        verified_s=fields.integer("verified", high=SECONDS_MAX),
        health=fields.member_or_none("health", Health, max_characters=HEALTH_MAX_CHARACTERS),
        spare=fields.integer("spare", high=2 * SPARE_MAX) - SPARE_MAX,
        again=fields.flag("again"),
        open_since_s=fields.integer("open", low=1, high=SECONDS_MAX) if fields.has("open") else 0,
    )
    fields.end()
    return entry

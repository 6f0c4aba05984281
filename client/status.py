"""How the pool is, as its peers report themselves, and in words that claim no more than was verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from client.context import Client
from client.tasks import open_crew
from core.encoding import Value, decode
from core.errors import MoorageError, ProtocolError
from core.ids import PeerId
from core.limits import FRAME_BODY_MAX_BYTES
from core.schema import Fields
from dht.records import PeerRecord
from wire.messages import Blob, GetEvents, GetStatus

NUMBER_MAX = 2**62
TEXT_MAX_CHARACTERS = 2000
EVENTS_MAX = 1000


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """A peer's own figures. ``oldest_verified_s``: when the object that it has verified longest ago was; 0: never.

    ``read_only`` says why the disk refuses writes, and is empty while it does not.
    """

    uptime_s: int
    shards: int
    objects: int
    at_risk: int
    never_checked: int
    oldest_verified_s: int
    used_bytes: int
    available_bytes: int
    capacity_bytes: int
    suspects: int
    read_only: str
    draining: bool

    def to_value(self) -> dict[str, Value]:
        return {
            "uptime_s": self.uptime_s,
            "shards": self.shards,
            "objects": self.objects,
            "at_risk": self.at_risk,
            "never_checked": self.never_checked,
            "oldest_verified_s": self.oldest_verified_s,
            "used_bytes": self.used_bytes,
            "available_bytes": self.available_bytes,
            "capacity_bytes": self.capacity_bytes,
            "suspects": self.suspects,
            "read_only": self.read_only,
            "draining": self.draining,
        }


def parse_status(value: Value) -> PeerStatus:
    """Raises MalformedError."""
    fields = Fields(value, what="peer status")
    status = PeerStatus(
        uptime_s=fields.integer("uptime_s", high=NUMBER_MAX),
        shards=fields.integer("shards", high=NUMBER_MAX),
        objects=fields.integer("objects", high=NUMBER_MAX),
        at_risk=fields.integer("at_risk", high=NUMBER_MAX),
        never_checked=fields.integer("never_checked", high=NUMBER_MAX),
        oldest_verified_s=fields.integer("oldest_verified_s", high=NUMBER_MAX),
        used_bytes=fields.integer("used_bytes", high=NUMBER_MAX),
        available_bytes=fields.integer("available_bytes", high=NUMBER_MAX),
        capacity_bytes=fields.integer("capacity_bytes", high=NUMBER_MAX),
        suspects=fields.integer("suspects", high=NUMBER_MAX),
        read_only=fields.text("read_only", max_characters=TEXT_MAX_CHARACTERS),
        draining=fields.flag("draining"),
    )
    fields.end()
    return status


@dataclass(frozen=True, slots=True)
class PeerView:
    """A known peer; ``status`` is None, and ``failure`` says why, when it does not answer."""

    record: PeerRecord
    status: PeerStatus | None
    failure: str

    @property
    def name(self) -> str:
        return self.record.identity.name


async def view_peers(client: Client) -> list[PeerView]:
    """Every known peer, asked at once, by name."""
    views: list[PeerView] = []

    async def ask(record: PeerRecord) -> None:
        try:
            answer = await client.peers.request(record.identity.peer, GetStatus())
            if not isinstance(answer, Blob):
                raise ProtocolError(f"{record.identity.name} answered with something else than its status")
            status = parse_status(decode(bytes(answer.body), max_bytes=FRAME_BODY_MAX_BYTES))
            views.append(PeerView(record, status, ""))
        except MoorageError as error:
            views.append(PeerView(record, None, str(error)))

    async with open_crew() as crew:
        for record in await client.find_peers():
            crew.start_soon(ask, record)
    return sorted(views, key=lambda view: (len(view.name), view.name))


async def newest_events(client: Client, peer: PeerId, count: int) -> Sequence[Value]:
    """The newest entries of a peer's journal, oldest first. Raises MoorageError."""
    answer = await client.peers.request(peer, GetEvents(count))
    events = decode(bytes(answer.body), max_bytes=FRAME_BODY_MAX_BYTES) if isinstance(answer, Blob) else None
    if isinstance(events, str | bytes) or not isinstance(events, Sequence) or len(events) > EVENTS_MAX:
        raise ProtocolError(f"peer {peer.short} answered with something else than its journal")
    return events


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """``oldest_verified_s``: 0 when an object was never verified by some holder of it, or nobody answers."""

    peers: tuple[PeerView, ...]
    objects: int
    at_risk: int
    never_checked: int
    oldest_verified_s: int

    @property
    def silent(self) -> tuple[PeerView, ...]:
        return tuple(view for view in self.peers if view.status is None)

    def words(self, now_s: float) -> str:
        """One sentence that says healthy only of what was verified."""
        answering = len(self.peers) - len(self.silent)
        parts = [f"{answering} of {len(self.peers)} peers answer"]
        if not self.objects:
            parts.append("nothing is stored yet")
        elif self.at_risk:
            parts.append(f"{self.at_risk} of {self.objects} objects were not whole when last looked at")
        elif self.never_checked or not self.oldest_verified_s:
            parts.append(f"{self.objects} objects, not all of which were verified yet: run `moorage sweep`")
        else:
            hours = max(0.0, now_s - self.oldest_verified_s) / 3600
            parts.append(f"{self.objects} objects, each verified by its holders within the last {hours:.1f} hours")
        return "; ".join(parts)


def pool_status(views: Sequence[PeerView], *, catalogued: int) -> PoolStatus:
    """All peers' figures as one; ``catalogued``: how many objects the home itself knows."""
    known = [view.status for view in views if view.status is not None]
    holding = [status for status in known if status.objects]
    verified = [status.oldest_verified_s for status in holding]
    return PoolStatus(
        peers=tuple(views),
        objects=max([catalogued, *(status.objects for status in known)]),
        at_risk=max((status.at_risk for status in known), default=0),
        never_checked=max((status.never_checked for status in known), default=0),
        oldest_verified_s=min(verified) if verified and all(verified) else 0,
    )

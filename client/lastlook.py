"""What a holder says of its own care for one object: when it last looked, what it found, and how often it looks."""

from __future__ import annotations

from typing import NamedTuple

from client.asker import Asker
from client.health import Health
from core.encoding import Value, decode
from core.errors import ProtocolError
from core.ids import ObjectId, PeerId
from core.limits import FRAME_BODY_MAX_BYTES, GRACE_MAX_HOURS, PERIOD_MAX_DAYS, SECONDS_MAX
from core.schema import Fields
from wire.messages import Blob, GetCare

NUMBER_MAX = 2**62
HEALTH_MAX_CHARACTERS = 20


class LastLook(NamedTuple):
    """Times are of the holder's clock, in seconds since 1970; 0: never.

    ``verified_s``: when a look last found nothing wrong at all. In it the holder re-read its own shards, and the others
    showed theirs, by sample or in full. ``health``: how the look at ``checked_s`` left it. ``sweep_s``, ``grace_s``,
    ``repair_bytes_per_s`` (0: no limit): the holder's settings.
    """

    checked_s: int
    verified_s: int
    health: Health | None
    sweep_s: int
    grace_s: int
    repair_bytes_per_s: int

    def to_value(self) -> dict[str, Value]:
        return {
            "checked_s": self.checked_s,
            "verified_s": self.verified_s,
            "health": self.health.value if self.health else "",
            "sweep_s": self.sweep_s,
            "grace_s": self.grace_s,
            "repair_bytes_per_s": self.repair_bytes_per_s,
        }


def parse_last_look(value: Value) -> LastLook:
    """Raises MalformedError."""
    fields = Fields(value, what="last look")
    look = LastLook(
        checked_s=fields.integer("checked_s", high=SECONDS_MAX),
        verified_s=fields.integer("verified_s", high=SECONDS_MAX),
        health=fields.member_or_none("health", Health, max_characters=HEALTH_MAX_CHARACTERS),
        sweep_s=fields.integer("sweep_s", low=1, high=PERIOD_MAX_DAYS * 86_400),
        grace_s=fields.integer("grace_s", high=GRACE_MAX_HOURS * 3600),
        repair_bytes_per_s=fields.integer("repair_bytes_per_s", high=NUMBER_MAX),
    )
    fields.end()
    return look


async def ask_last_look(asker: Asker, peer: PeerId, name: ObjectId) -> LastLook:
    """Raises MoorageError."""
    answer = await asker.request(peer, GetCare(name))
    if not isinstance(answer, Blob):
        raise ProtocolError(f"peer {peer.short} answered with something else than its last look")
    return parse_last_look(decode(bytes(answer.body), max_bytes=FRAME_BODY_MAX_BYTES))

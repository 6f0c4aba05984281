"""How long each peer has been silent: silence is not loss until its grace has ended.

Only silence that this peer has observed counts. While it did not run, was suspended, or its clock jumped, nobody was
asked, so nobody was silent: a peer that comes back after a long stop finds others away that may have stopped with it.
What was observed is kept in one small file, so that a restart does not begin everybody's grace anew either.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from heapq import nlargest

from core.durable import read_file, write_file
from core.encoding import Value, encode_checked
from core.errors import MalformedError
from core.ids import DIGEST_BYTES, PeerId
from core.limits import MIB, SECONDS_MAX
from core.ports import Disk
from core.schema import Fields

# More peers than this are never silent at once in a pool that still works; the longest silent are kept.
PEERS_MAX = 4096
FILE_MAX_BYTES = 1 * MIB
# In memory there is room for all that ``dht.peers_max`` allows. A manifest may name as holders whom it likes, and each
# look at it finds them silent: when there are more, those are forgotten of whom no record was ever seen, and then those
# that were asked longest ago.
REMEMBERED_MAX = 16_384
# So that this is not sorted out anew at each look.
REMEMBERED_AFTERWARDS = REMEMBERED_MAX * 3 // 4
# Two looks that are further apart were not made by a daemon that ran all the time: roll is called every hour or so.
LOOKED_AWAY_MAX_S = 2 * 3600.0
# However long somebody was silent before a restart: so much, or a whole grace if that is shorter, is seen after it.
SEEN_SINCE_START_MIN_S = 3600.0
# A file that is so much behind is as good as new, and is not written for every object of a sweep.
SAVED_STEP_S = 600
# Longer than any grace: the silence of those who left.
DEPARTED_S = 100 * 366 * 86400


@dataclass(slots=True)
class _Spell:
    """One peer's silence, in seconds: observed in earlier runs and in this one; the last look was at ``last_s``.
    ``met``: its record was seen, so that it is more than a name in a manifest."""

    earlier_s: float
    seen_s: float
    last_s: float | None
    met: bool = False

    @property
    def observed_s(self) -> float:
        return self.earlier_s + self.seen_s


class Silence:
    """Plain memory; ``load`` and ``save`` are jobs for ``Threads.disk``. Times are seconds since 1970."""

    def __init__(self) -> None:
        self._spells: dict[PeerId, _Spell] = {}
        self._saved: dict[PeerId, int] = {}

    def note(self, answered: Collection[PeerId], silent: Collection[PeerId], now_s: float) -> None:
        """What one look saw. A peer that answered anything is not silent."""
        for peer in answered:
            self._spells.pop(peer, None)
        for peer in sorted(set(silent) - set(answered)):
            spell = self._spells.setdefault(peer, _Spell(0.0, 0.0, None))
            if spell.last_s is not None:
                # A clock that was set back makes no silence shorter, and one set forward none much longer.
                spell.seen_s += min(max(0.0, now_s - spell.last_s), LOOKED_AWAY_MAX_S)
            spell.last_s = now_s
        if len(self._spells) > REMEMBERED_MAX:
            self._forget()

    def meet(self, known: Collection[PeerId]) -> None:
        """The directory has their records: an organisation of the pool has certified them."""
        for peer in known:
            if (spell := self._spells.get(peer)) is not None:
                spell.met = True

    def _forget(self) -> None:
        """Who really is away is asked every hour; of equals it has been silent for longest."""

        def worth(item: tuple[PeerId, _Spell]) -> tuple[bool, float, float]:
            return item[1].met, item[1].last_s or 0.0, item[1].observed_s

        self._spells = dict(nlargest(REMEMBERED_AFTERWARDS, self._spells.items(), key=worth))

    def depart(self, peers: Collection[PeerId]) -> None:
        """They are none of the pool's any more: they are given up at once, and whatever they held is lost."""
        for peer in peers:
            self._spells[peer] = _Spell(float(DEPARTED_S), float(DEPARTED_S), 0.0, met=True)

    def silent(self) -> list[PeerId]:
        """Who did not answer when last asked, ascending."""
        return sorted(self._spells, key=lambda peer: peer.raw)

    def met(self, peer: PeerId) -> bool:
        """Whether a record was ever seen of this silent peer."""
        spell = self._spells.get(peer)
        return spell is not None and spell.met

    def given_up(self, grace_s: float) -> frozenset[PeerId]:
        """Peers whose silence has outlasted their grace, and goes on since this peer started."""
        return frozenset(
            peer
            for peer, spell in self._spells.items()
            if spell.last_s is not None
            and spell.observed_s >= grace_s
            and spell.seen_s >= min(grace_s, SEEN_SINCE_START_MIN_S)
        )

    def load(self, disk: Disk, path: str) -> None:
        """A file that is missing or damaged means that nobody was silent. Raises OSError."""
        data = read_file(disk, path, max_bytes=FILE_MAX_BYTES)
        try:
            self._saved = {} if data is None else _parse(data)
        except MalformedError:
            self._saved = {}
        self._spells = {
            # Whose record has expired meanwhile cannot show it any more; these are few.
            peer: _Spell(float(observed_s), 0.0, None, met=True)
            for peer, observed_s in self._saved.items()
        }
        self.depart([peer for peer, observed_s in self._saved.items() if observed_s >= DEPARTED_S])

    def save(self, disk: Disk, path: str, token: str) -> None:
        """Write the file if much has changed. Raises OSError."""

        def worth(item: tuple[PeerId, _Spell]) -> tuple[bool, float]:
            return item[1].met, item[1].observed_s

        longest = sorted(self._spells.items(), key=worth, reverse=True)[:PEERS_MAX]
        rows = {peer: int(spell.observed_s) // SAVED_STEP_S * SAVED_STEP_S for peer, spell in longest}
        if rows == self._saved:
            return
        values: list[Value] = [{"peer": peer.raw, "observed": observed_s} for peer, observed_s in sorted(rows.items())]
        write_file(disk, path, encode_checked({"silent": values}), token=token)
        self._saved = rows


def _parse(data: bytes) -> dict[PeerId, int]:
    fields = Fields.checked(data, max_bytes=FILE_MAX_BYTES, what="silence file")
    rows = fields.items("silent", max_items=PEERS_MAX)
    fields.end()
    found: dict[PeerId, int] = {}
    for row in rows:
        item = Fields(row, what="silence file")
        found[PeerId(item.exact("peer", DIGEST_BYTES))] = item.integer("observed", high=SECONDS_MAX)
        item.end()
    return found

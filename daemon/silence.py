"""Since when each peer has been silent: silence is not loss until its grace has ended.

Kept in one small file, so that a restart of this peer does not begin everybody's grace anew.
"""

from __future__ import annotations

from collections.abc import Collection

from core.durable import read_file, write_file
from core.encoding import Value, decode, encode
from core.errors import MalformedError
from core.ids import DIGEST_BYTES, PeerId
from core.limits import MIB
from core.ports import Disk
from core.schema import Fields

# More peers than this are never silent at once in a pool that still works; the longest silent are kept.
PEERS_MAX = 4096
FILE_MAX_BYTES = 1 * MIB
SECONDS_MAX = 2**40


class Silence:
    """Plain memory; ``load`` and ``save`` are jobs for ``Threads.disk``. Times are seconds since 1970."""

    def __init__(self) -> None:
        self._since_s: dict[PeerId, int] = {}
        self._changed = False

    def note(self, answered: Collection[PeerId], silent: Collection[PeerId], now_s: float) -> None:
        """What one look saw. A peer that answered anything is not silent."""
        for peer in sorted(answered):
            self._changed |= self._since_s.pop(peer, None) is not None
        for peer in sorted(set(silent) - set(answered)):
            # A clock that was set back must not make a silence of hours out of one that begins now.
            since_s = self._since_s.get(peer)
            if since_s is None or since_s > now_s:
                self._since_s[peer] = int(now_s)
                self._changed = True

    def given_up(self, now_s: float, grace_s: float) -> frozenset[PeerId]:
        """Peers whose silence has outlasted their grace."""
        return frozenset(peer for peer, since_s in self._since_s.items() if now_s - since_s >= grace_s)

    def next_end_s(self, now_s: float, grace_s: float) -> float | None:
        """When the next grace ends; None when nobody is silent within grace."""
        ends = [since_s + grace_s for since_s in self._since_s.values() if now_s - since_s < grace_s]
        return min(ends, default=None)

    def load(self, disk: Disk, path: str) -> None:
        """A file that is missing or damaged means that nobody was silent. Raises OSError."""
        data = read_file(disk, path, max_bytes=FILE_MAX_BYTES)
        try:
            self._since_s = {} if data is None else _parse(data)
        except MalformedError:
            self._since_s = {}

    def save(self, disk: Disk, path: str, token: str) -> None:
        """Write the file if anything changed. Raises OSError."""
        if not self._changed:
            return
        kept = sorted(self._since_s.items(), key=lambda item: item[1])[:PEERS_MAX]
        rows: list[Value] = [{"peer": peer.raw, "since": since_s} for peer, since_s in kept]
        self._changed = False
        write_file(disk, path, encode({"silent": rows}), token=token)


def _parse(data: bytes) -> dict[PeerId, int]:
    fields = Fields(decode(data, max_bytes=FILE_MAX_BYTES), what="silence file")
    rows = fields.items("silent", max_items=PEERS_MAX)
    fields.end()
    found: dict[PeerId, int] = {}
    for row in rows:
        item = Fields(row, what="silence file")
        found[PeerId(item.exact("peer", DIGEST_BYTES))] = item.integer("since", high=SECONDS_MAX)
        item.end()
    return found

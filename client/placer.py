"""Who gets what in one put: placement over the peers that answer, less those that fail on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from client.candidates import candidate_of
from core.errors import MoorageError, NotEnoughPeersError, PeerUnavailableError
from core.ids import PeerId
from dht.records import PeerRecord
from erasure.placement import Candidate, place, replace_holders
from erasure.scheme import Scheme


class Placer:
    """Placement for one object. ``failed`` grows as holders fail; they are not chosen again until they are back.

    ``degraded`` becomes true when a group could only be placed by relaxing the rules, as the user allowed.
    """

    def __init__(
        self, seed: bytes, scheme: Scheme, live: Sequence[PeerRecord], *, allow_degraded: bool = False
    ) -> None:
        self._seed = seed
        self._scheme = scheme
        self._live = tuple(live)
        self._allow_degraded = allow_degraded
        self.degraded = False
        self.failed: dict[PeerId, MoorageError] = {}

    def _candidates(self) -> list[Candidate]:
        return [
            candidate_of(record)
            for record in self._live
            if record.identity.peer not in self.failed and not record.draining
        ]

    def _everybody(self) -> list[Candidate]:
        """Also peers that get no new share: what they hold counts for their site and organisation."""
        candidates = map(candidate_of, self._live)
        return [one._replace(weight=0) if one.peer in self.failed else one for one in candidates]

    def name_of(self, peer: PeerId) -> str:
        names = (record.identity.name for record in self._live if record.identity.peer == peer)
        return next(names, f"peer {peer.short}")

    def fail(self, peer: PeerId, error: MoorageError) -> None:
        self.failed.setdefault(peer, error)

    def away(self) -> list[PeerRecord]:
        """Peers that failed because they did not answer: they may come back."""
        failures = {peer for peer, error in self.failed.items() if isinstance(error, PeerUnavailableError)}
        return [record for record in self._live if record.identity.peer in failures]

    def join(self, records: Sequence[PeerRecord]) -> None:
        """Those of them that are new may be chosen from now on."""
        there = {record.identity.peer for record in self._live}
        self._live += tuple(record for record in records if record.identity.peer not in there)

    def welcome(self, peer: PeerId) -> None:
        """The peer is back: it may be chosen again, and what it took before is there."""
        self.failed.pop(peer, None)

    def holders(self, group: int) -> tuple[PeerId, ...]:
        """Share index to peer for placement group ``group``. Raises NotEnoughPeersError."""
        seed = self._group_seed(group)
        try:
            return place(seed, self._scheme, self._candidates())
        except NotEnoughPeersError as error:
            if self._allow_degraded and self._candidates():
                self.degraded = True
                return place(seed, self._scheme, self._candidates(), allow_degraded=True)
            raise NotEnoughPeersError(f"{error}{self._failures()}") from error

    def _group_seed(self, group: int) -> bytes:
        return self._seed + group.to_bytes(4, "big")

    def replacements(self, group: int, good: Mapping[int, PeerId], lost: Sequence[int]) -> dict[int, PeerId]:
        """New homes for all of ``lost``. Raises NotEnoughPeersError naming what is missing."""
        found = replace_holders(self._group_seed(group), self._scheme, good, lost, self._everybody())
        if len(found) < len(lost):
            homeless = len(lost) - len(found)
            raise NotEnoughPeersError(
                f"scheme {self._scheme}: {homeless} of {self._scheme.total} shares find no other peer{self._failures()}"
            )
        return found

    def _failures(self) -> str:
        full = [record.identity.name for record in self._live if not (record.free_bytes or record.draining)]
        failed = [f"{self.name_of(peer)} ({error})" for peer, error in self.failed.items()]
        return "".join(
            f"; {words}: {', '.join(names)}"
            for words, names in (("full or read-only", full), ("failed", failed))
            if names
        )

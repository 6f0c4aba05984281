"""Whom to ask next: searches as state machines without input, output, clock or event loop.

``Lookup`` finds the peers closest to a key (Kademlia paper, section 2.3); ``RollCall`` finds all peers of a small
pool, and ``Cover`` names the keys whose lookups find all peers of a large one. The driver asks whom
``next()`` names, and reports what came of it with ``answered``, ``slow`` or ``dead`` until ``done``.
A slow peer gives its place to another at once, and its late answer still counts; a dead one comes back only by
a newer record with another address.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from core.ids import DIGEST_BYTES, PeerId
from dht.records import PeerRecord, supersedes

_KEY_BITS = 8 * DIGEST_BYTES


class State(Enum):
    NEW = auto()
    ASKED = auto()
    SLOW = auto()
    ANSWERED = auto()
    DEAD = auto()


class Search(Protocol):
    """What the driver needs of a search."""

    @property
    def done(self) -> bool: ...

    @property
    def answers(self) -> int:
        """How many peers answered."""
        ...

    def next(self) -> list[PeerRecord]:
        """Whom to ask now; they count as asked."""
        ...

    def answered(self, peer: PeerId, closest: Sequence[PeerRecord]) -> None: ...

    def slow(self, peer: PeerId) -> None: ...

    def dead(self, peer: PeerId) -> None: ...


@dataclass(slots=True)
class _Candidate:
    """A peer that a search may ask."""

    record: PeerRecord
    state: State = State.NEW


class _Candidates:
    """Peers by id with their state in one search."""

    def __init__(self, me: PeerId | None) -> None:
        self._me = me
        self._of: dict[PeerId, _Candidate] = {}
        self.answers = 0
        self.asked = 0
        """How many are being asked now, without the slow ones."""

    def __len__(self) -> int:
        return len(self._of)

    def add(self, record: PeerRecord) -> bool:
        """True when the peer is new to this search."""
        if record.peer == self._me:
            return False
        held = self._of.get(record.peer)
        if held is None:
            self._of[record.peer] = _Candidate(record)
            return True
        if supersedes(record, held.record):
            moved = record.address != held.record.address
            held.record = record
            if held.state is State.DEAD and moved:
                held.state = State.NEW
        return False

    def ask(self, peer: PeerId) -> PeerRecord:
        held = self._of[peer]
        assert held.state is State.NEW, held
        self._turn(held, State.ASKED)
        return held.record

    def state(self, peer: PeerId) -> State:
        return self._of[peer].state

    def record(self, peer: PeerId) -> PeerRecord:
        return self._of[peer].record

    def _turn(self, held: _Candidate, state: State) -> None:
        self.asked += (state is State.ASKED) - (held.state is State.ASKED)
        held.state = state

    def answered(self, peer: PeerId) -> None:
        held = self._of[peer]
        assert held.state in (State.ASKED, State.SLOW), held
        self._turn(held, State.ANSWERED)
        self.answers += 1

    def slow(self, peer: PeerId) -> None:
        held = self._of[peer]
        if held.state is State.ASKED:
            self._turn(held, State.SLOW)

    def dead(self, peer: PeerId) -> None:
        held = self._of[peer]
        assert held.state in (State.ASKED, State.SLOW), held
        self._turn(held, State.DEAD)

    def peers(self) -> list[PeerId]:
        return list(self._of)


class Lookup:
    """Ask the ``alpha`` closest unasked of the ``k`` closest live peers, until those k have all answered.

    With ``widen``, once alpha answers in a row brought nothing closer, the rest of the k are asked together:
    before a store all of them are wanted anyway, and it halves the time.
    """

    def __init__(
        self, key: bytes, seeds: Iterable[PeerRecord], *, k: int, alpha: int, me: PeerId | None, widen: bool
    ) -> None:
        self._target = int.from_bytes(key)
        self._k, self._alpha, self._widen = k, alpha, widen
        self._candidates = _Candidates(me)
        self._order: list[tuple[int, PeerId]] = []
        self._quiet = 0
        self._add(seeds)

    def _add(self, records: Iterable[PeerRecord]) -> None:
        for record in records:
            if self._candidates.add(record):
                insort(self._order, (int.from_bytes(record.peer.raw) ^ self._target, record.peer))

    def _front(self) -> list[PeerId]:
        """The k closest that are neither dead nor slow."""
        front: list[PeerId] = []
        for _, peer in self._order:
            if self._candidates.state(peer) not in (State.DEAD, State.SLOW):
                front.append(peer)
                if len(front) == self._k:
                    break
        return front

    @property
    def answers(self) -> int:
        return self._candidates.answers

    @property
    def done(self) -> bool:
        return all(self._candidates.state(peer) is State.ANSWERED for peer in self._front())

    def next(self) -> list[PeerRecord]:
        width = self._k if self._widen and self._quiet >= self._alpha else self._alpha
        free = max(0, width - self._candidates.asked)
        unasked = [peer for peer in self._front() if self._candidates.state(peer) is State.NEW]
        return [self._candidates.ask(peer) for peer in unasked[:free]]

    def answered(self, peer: PeerId, closest: Sequence[PeerRecord]) -> None:
        """Take at most k of what it answered: an honest peer sends no more."""
        before = self._front()[:1]
        self._candidates.answered(peer)
        self._add(closest[: self._k])
        self._quiet = self._quiet + 1 if before and self._front()[:1] == before else 0

    def slow(self, peer: PeerId) -> None:
        self._candidates.slow(peer)

    def dead(self, peer: PeerId) -> None:
        self._candidates.dead(peer)

    def result(self) -> list[PeerRecord]:
        """The k closest that answered, nearest first."""
        near = (peer for _, peer in self._order if self._candidates.state(peer) is State.ANSWERED)
        return [self._candidates.record(peer) for peer, _ in zip(near, range(self._k), strict=False)]


class RollCall:
    """Ask everybody for its own neighbours, in a pool of fewer than k peers, each of which knows all.

    Ends when ``quiet`` answers in a row brought nobody new, or when an answer of k records shows that the pool is
    larger; then ``Cover`` finds the rest.
    """

    def __init__(self, seeds: Iterable[PeerRecord], *, k: int, parallel: int, quiet: int, me: PeerId | None) -> None:
        self._k, self._parallel, self._quiet_enough = k, parallel, quiet
        self._candidates = _Candidates(me)
        self._quiet = 0
        self._waiting: list[PeerId] = []
        self.complete = True
        """False when the pool turned out to be larger."""
        self._add(seeds)

    def _add(self, records: Iterable[PeerRecord]) -> bool:
        fresh = [record.peer for record in records if self._candidates.add(record)]
        self._waiting += fresh
        return bool(fresh)

    @property
    def answers(self) -> int:
        return self._candidates.answers

    @property
    def _settled(self) -> bool:
        return not self.complete or self._quiet >= self._quiet_enough

    @property
    def done(self) -> bool:
        return self._settled or not (self._waiting or self._candidates.asked)

    def next(self) -> list[PeerRecord]:
        if self._settled:
            return []
        free = max(0, self._parallel - self._candidates.asked)
        chosen, self._waiting = self._waiting[:free], self._waiting[free:]
        return [self._candidates.ask(peer) for peer in chosen]

    def answered(self, peer: PeerId, closest: Sequence[PeerRecord]) -> None:
        self._candidates.answered(peer)
        self.complete = self.complete and len(closest) < self._k
        self._quiet = 0 if self._add(closest[: self._k]) else self._quiet + 1

    def slow(self, peer: PeerId) -> None:
        self._candidates.slow(peer)

    def dead(self, peer: PeerId) -> None:
        self._candidates.dead(peer)

    def result(self) -> list[PeerRecord]:
        """Everybody but those found dead, by ascending peer id."""
        alive = sorted(peer for peer in self._candidates.peers() if self._candidates.state(peer) is not State.DEAD)
        return [self._candidates.record(peer) for peer in alive]


class Cover:
    """Which keys to look up so that between them every peer is found.

    All peers of a subtree of ids are closer to any key in it than all others. So when the k closest of a key at
    the subtree's edge include a peer outside it, or are fewer than k, the subtree is known whole; when not, its
    halves are looked up. About 3 N / k lookups for N peers.
    """

    def __init__(self, *, k: int) -> None:
        self._k = k
        self._open: dict[bytes, tuple[int, int]] = {bytes(DIGEST_BYTES): (0, 0)}
        """(prefix, its length in bits) of subtrees not known yet, by their first keys: they do not overlap."""

    def next_keys(self) -> list[bytes]:
        """The keys to look up now, in whatever order; none when everything is covered."""
        return list(self._open)

    def found(self, key: bytes, closest: Sequence[PeerRecord]) -> None:
        """The k closest of a key that ``next_keys`` named."""
        prefix, bits = self._open.pop(key)
        inside = [int.from_bytes(record.peer.raw) >> (_KEY_BITS - bits) == prefix for record in closest]
        if len(closest) >= self._k and all(inside) and bits < _KEY_BITS:
            for half in (2 * prefix, 2 * prefix + 1):
                self._open[(half << (_KEY_BITS - bits - 1)).to_bytes(DIGEST_BYTES)] = half, bits + 1

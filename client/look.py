"""One look round an object: who is asked for what, in which order, and which answer counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import trio

from anchor.manifest import Manifest
from client.asker import Asker, Directory
from client.challenge import Challenger, Target, is_away, targets_of
from client.health import ShardState, Status, Verdict, shard_findings
from client.papers import Papers
from client.tasks import open_crew
from core.errors import MoorageError
from core.findings import Finding
from core.ids import ObjectId, PeerId, ShardRoot
from core.limits import ROOTS_PER_REQUEST_MAX
from core.ports import Threads
from dht.records import ProviderRecord
from erasure.placement import Candidate, ranked
from wire.messages import Have, Held

# Challenges under way at one holder: enough to keep its disk busy, few enough to leave it to others, too.
CHALLENGES_PER_HOLDER = 4
# Peers asked whether they have what its holder has not; in a larger pool the provider records must do.
SEARCHED_PEERS_MAX = 64
# Whole objects are looked at in less, unless they are large: then one search more does not matter.
LOOK_AHEAD_AFTER_S = 1.0

Step = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class OwnLook:
    """What a peer found in its own store, so that it does not challenge itself: its shards as first holder, and those
    that it took over."""

    me: PeerId
    verdicts: Mapping[Target, Verdict]


def take_over_order(name: ObjectId | ShardRoot, peers: Sequence[PeerId]) -> list[PeerId]:
    """An order of ``peers`` on which everybody agrees: by an object's name, of who repairs it; by a shard's, of whose
    copy stays, for all objects that share the shard."""
    ascending = sorted(set(peers), key=lambda peer: peer.raw)
    return [item.peer for item in ranked(name.raw, [Candidate(peer, "", "", 1) for peer in ascending])]


class Look:
    """Gathers verdicts. Run ``first_holders``, then ``others`` when something is ``lost``."""

    def __init__(
        self,
        asker: Asker,
        directory: Directory,
        threads: Threads,
        object_id: ObjectId,
        manifest: Manifest,
        challenger: Challenger,
        papers: Papers,
        own: OwnLook | None,
    ) -> None:
        self._asker = asker
        self._directory = directory
        self._threads = threads
        self._object = object_id
        self._challenger = challenger
        self._papers = papers
        self._me = own.me if own else None
        self._targets = targets_of(manifest)
        self._verdicts: dict[Target, Verdict] = dict(own.verdicts) if own else {}
        self._others: dict[tuple[int, int], list[Target]] = {}
        """Shards at peers that took them over, in the order in which their copies count."""
        self._away: dict[PeerId, str] = {}
        self._providers: Sequence[ProviderRecord] | None = None
        self.findings: list[Finding] = []
        """About papers."""

    @property
    def away(self) -> tuple[PeerId, ...]:
        """Who could not be asked, ascending."""
        return tuple(sorted(self._away))

    @property
    def sampled(self) -> int:
        return sum(verdict.sampled for verdict in self._verdicts.values())

    def least_sampled(self) -> int:
        """The fewest shares seen of any holder that answered; its own store counts by what is in it."""
        by_holder: dict[PeerId, int] = {}
        for target, verdict in self._verdicts.items():
            if verdict.status is Status.OK:
                seen = target.extent.chunks if target.peer == self._me else verdict.sampled
                by_holder[target.peer] = by_holder.get(target.peer, 0) + seen
        return min(by_holder.values(), default=0)

    # --- asking -------------------------------------------------------------------------------

    async def first_holders(self) -> None:
        """Challenge every first holder, and look at its papers."""
        work: dict[PeerId, list[Step]] = {}
        for target in self._targets:
            if target.peer != self._me:
                steps = work.setdefault(target.peer, [self._papers_step(target.peer)])
                steps.append(self._check_step(target))
        async with open_crew() as crew:
            crew.start_soon(self._look_ahead)
            await self._per_peer(work)
            crew.cancel_scope.cancel()

    async def _look_ahead(self) -> None:
        """While a silent holder is waited for, find out who may have taken over from it."""
        await trio.sleep(LOOK_AHEAD_AFTER_S)
        self._providers = await self._directory.providers(self._object)

    async def others(self) -> None:
        """Find and challenge peers that took over shards which their first holder does not show."""
        lost = [target for target in self._targets if self._first(target).status is not Status.OK]
        candidates = await self._taken_over(lost)
        work: dict[PeerId, list[Step]] = {}
        for target in lost:
            peers = candidates.get((target.number, target.share), [])
            found = [Target(target.number, target.extent, target.share, peer) for peer in peers]
            own = [item for item in found if item.peer == self._me]
            asked = [item for item in found if item.peer != self._me and item.peer not in self._away]
            for item in asked:
                work.setdefault(item.peer, []).append(self._check_step(item))
            kept = {item.peer: item for item in asked + [item for item in own if item in self._verdicts]}
            self._others[target.number, target.share] = [kept[peer] for peer in take_over_order(target.root, [*kept])]
        await self._per_peer(work)
        guests = {item.peer for items in self._others.values() for item in items if self._is_ok(item)}
        firsts = {target.peer for target in self._targets}
        await self._per_peer({peer: [self._papers_step(peer)] for peer in guests - firsts if peer != self._me})

    async def _taken_over(self, lost: Sequence[Target]) -> dict[tuple[int, int], list[PeerId]]:
        """Who may have the lost shards: as providers announce, and as peers say when asked."""
        found: dict[tuple[int, int], list[PeerId]] = {}
        for target in self._verdicts:
            if target.peer == self._me:
                found.setdefault((target.number, target.share), []).append(target.peer)
        if self._providers is None:
            self._providers = await self._directory.providers(self._object)
        for record in self._providers:
            for shard in record.shards:
                found.setdefault(shard, []).append(record.peer)
        places: dict[ShardRoot, list[tuple[int, int]]] = {}
        for target in lost:
            places.setdefault(target.root, []).append((target.number, target.share))
        firsts = {(target.number, target.share, target.peer) for target in lost}

        def has(peer: PeerId, root: ShardRoot) -> None:
            for number, share in places[root]:
                if (number, share, peer) not in firsts:
                    found.setdefault((number, share), []).append(peer)

        known = [record.peer for record in self._directory.known_peers() if record.peer not in self._away]
        # Of ten thousand peers that takes a tenth of a second.
        ordered = await self._threads.cpu(take_over_order, self._object, known)
        order = [peer for peer in ordered if peer != self._me]
        await self._per_peer({peer: [self._have_step(peer, [*places], has)] for peer in order[:SEARCHED_PEERS_MAX]})
        return found

    def _papers_step(self, peer: PeerId) -> Step:
        async def step() -> None:
            await self._papers.look(peer, self.findings.append)

        return step

    def _check_step(self, target: Target) -> Step:
        async def step() -> None:
            self._verdicts[target] = await self._challenger.check(target)

        return step

    def _have_step(self, peer: PeerId, roots: Sequence[ShardRoot], has: Callable[[PeerId, ShardRoot], None]) -> Step:
        async def step() -> None:
            for at in range(0, len(roots), ROOTS_PER_REQUEST_MAX):
                part = tuple(roots[at : at + ROOTS_PER_REQUEST_MAX])
                answer = await self._asker.request(peer, Have(part))
                if isinstance(answer, Held) and len(answer.flags) == len(part):
                    for root, held in zip(part, answer.flags, strict=True):
                        if held:
                            has(peer, root)

        return step

    async def _per_peer(self, work: Mapping[PeerId, Sequence[Step]]) -> None:
        """All peers at once, a few steps at a time each. A peer that is away is asked nothing more."""

        async def walk(peer: PeerId, steps: Iterator[Step]) -> None:
            for step in steps:
                if peer in self._away:
                    return
                try:
                    await step()
                except MoorageError as error:
                    if is_away(error):
                        self._away[peer] = str(error)

        async def attend(peer: PeerId, steps: Sequence[Step]) -> None:
            # The first alone: it pays for the connection, or for finding out that there is none.
            rest = iter(steps)
            await walk(peer, iter([next(rest)]))
            async with trio.open_nursery() as nursery:
                for _ in range(min(CHALLENGES_PER_HOLDER, len(steps) - 1)):
                    nursery.start_soon(walk, peer, rest)

        async with open_crew() as crew:
            for peer in sorted(work):
                crew.start_soon(attend, peer, work[peer])

    # --- what it amounts to ---------------------------------------------------------------------

    def _first(self, target: Target) -> Verdict:
        return self._verdicts.get(target) or Verdict(
            Status.SILENT, detail=self._away.get(target.peer, "the holder did not answer")[:200]
        )

    def _is_ok(self, target: Target) -> bool:
        return target in self._verdicts and self._verdicts[target].status is Status.OK

    def lost(self) -> bool:
        """Whether some first holder does not show what it should have."""
        return any(self._first(target).status is not Status.OK for target in self._targets)

    def states(self) -> list[ShardState]:
        """The best that is known of every shard: a good copy, else what its most reachable holder lacks."""
        return [self._state(target) for target in self._targets]

    def _state(self, target: Target) -> ShardState:
        first = self._first(target)
        others = self._others.get((target.number, target.share), [])
        chosen, verdict = target, first
        if first.status is not Status.OK:
            good = [item for item in others if self._is_ok(item)]
            damaged = [item for item in others if item in self._verdicts and not self._is_ok(item)]
            # A damaged copy of a present holder is mended where it lies, while the first holder is silent.
            for item in good or (damaged if first.status is Status.SILENT else []):
                chosen, verdict = item, self._verdicts[item]
                break
        return ShardState(target.number, target.share, target.root, chosen.peer, verdict)

    def all_findings(self, states: Sequence[ShardState]) -> list[Finding]:
        """What is wrong: with shards that are good nowhere, with damaged copies beside good ones, with papers."""
        found = [finding for state in states for finding in shard_findings(self._object, state)]
        chosen = {(state.extent, state.share, state.holder) for state in states}
        for target, verdict in self._verdicts.items():
            beside = (target.number, target.share, target.peer) not in chosen
            if beside and verdict.status in (Status.CORRUPT, Status.NEWER):
                state = ShardState(target.number, target.share, target.root, target.peer, verdict)
                found += shard_findings(self._object, state)
        return found + self.findings

"""A member's part in agreeing on the next roster: what is proposed, its own ballot, and whether that was enough."""

from __future__ import annotations

from contextlib import suppress

import trio

from anchor.ballots import Motion, check_motion, parse_motion, with_ballots
from anchor.rootchain import contents_of_file
from anchor.rosterfile import parse_roster_file
from client.context import Client
from client.follow import fetch_roster
from client.proposals import parse_listed
from core.errors import MoorageError, NotEnoughPeersError
from dht.records import PeerRecord
from wire.messages import GetProposals, StoreProposal

# Peers that are asked and told, our own organisation's first: each passes on what is new to it.
ASKED_MAX = 5
PUBLISHED_WITHIN_S = 15.0
POLL_S = 0.2


class Assembly:
    """``open`` first."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._peers: list[PeerRecord] = []

    async def open(self) -> None:
        """Find peers and go by the latest roster that they have. Raises NotEnoughPeersError."""
        ours = self._client.home.identity.organisation
        live = await self._client.live_peers()
        self._peers = sorted(live, key=lambda record: record.identity.organisation != ours)[:ASKED_MAX]
        await self._catch_up()

    async def _catch_up(self) -> None:
        client = self._client
        for record in self._peers:
            # One that lies or is away must not keep us from the others.
            with suppress(MoorageError):
                await fetch_roster(client.ports, client.home, client.peers, record.identity)

    async def motions(self) -> list[Motion]:
        """What is proposed for the roster that we have, with all ballots that are known, by ascending id."""
        home = self._client.home
        contents = contents_of_file(parse_roster_file(home.roster_file))
        found: dict[bytes, Motion] = {}
        for record in self._peers:
            with suppress(MoorageError):
                for data in parse_listed(await self._client.peers.request(record.peer, GetProposals())):
                    motion = parse_motion(data)
                    check_motion(home.roster, contents, motion)
                    known = found.get(motion.proposal.id, motion)
                    found[motion.proposal.id] = with_ballots(known, motion.ballots)
        return [motion for _, motion in sorted(found.items())]

    async def cast(self, motion: bytes) -> None:
        """Hand a motion with our ballots to peers; durable with one of them at least. Raises MoorageError."""
        told = 0
        problem: MoorageError = NotEnoughPeersError("no peer answers: the ballot is kept nowhere yet; try again")
        for record in self._peers:
            try:
                await self._client.peers.request(record.peer, StoreProposal(motion))
                told += 1
            except MoorageError as error:
                problem = error
        if not told:
            raise problem

    async def wait_for(self, epoch: int, *, likely: bool) -> bool:
        """Whether the roster of that epoch is published now; waited for only where that is ``likely``."""
        with trio.move_on_after(PUBLISHED_WITHIN_S if likely else 0.5):
            while self._client.home.roster.epoch < epoch:
                await self._catch_up()
                await trio.sleep(POLL_S)
        return self._client.home.roster.epoch >= epoch

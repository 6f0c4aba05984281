"""From an invitation to a place on the roster: what the joining machine says to the inviting peer, and waits for.

The applicant signs the version with it on, too: who cannot, has another's public key. When the consortium agrees on
another version meanwhile, it applies anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import trio

from anchor.ballots import Motion, check_motion, encode_motion, parse_motion
from anchor.draft import count_ballots
from anchor.organisation import Organisation, Roster
from anchor.proposal import Change
from anchor.rootchain import contents_of_file
from anchor.roster import parse_roster
from anchor.rosterfile import parse_roster_file
from client.adminkey import sign_once
from client.home import SOFTWARE
from client.invitation import Invitation
from client.proposals import parse_listed
from client.session import Session
from client.tasks import open_crew
from core.errors import BusyError, MoorageError, PeerUnavailableError, ProtocolError, RosterError
from core.ports import Ports
from wire.messages import PROTOCOL_VERSION, Apply, Blob, GetProposals, GetRoster, Hello, RosterFile, StoreProposal

POLL_S = 1.0
# How long the inviter's peer may be away before the applicant gives up for now.
AWAY_MAX_S = 300.0


class Joined(NamedTuple):
    """The roster that has the applicant on it, verified from the pool's first root."""

    roster: Roster
    file: bytes


@dataclass(eq=False, slots=True)
class Applicant:
    """``home``: the client's home that is being made; ``entry``: as ``organisation`` was written down in it.

    ``tell``: words for the person who waits.
    """

    ports: Ports
    invitation: Invitation
    home: str
    entry: bytes
    organisation: Organisation
    tell: Callable[[str], None]
    _answered_at: float = field(default=0.0, init=False)
    _epoch: int = field(default=0, init=False)
    """Of the roster that was shown last."""
    _refused_epoch: int = field(default=-1, init=False)

    async def join(self) -> Joined:
        """Until the threshold has approved. Raises MoorageError when that cannot come."""
        self._answered_at = trio.current_time()
        while True:
            try:
                return await self._converse()
            except (PeerUnavailableError, BusyError) as error:
                if trio.current_time() - self._answered_at > AWAY_MAX_S:
                    raise
                self.tell(f"{error}; trying again")
            except RosterError as error:
                # Another version was agreed on between two of our questions; else it says what will not change.
                if self._epoch == self._refused_epoch:
                    raise
                self._refused_epoch = self._epoch
                self.tell(f"{error}; applying anew")
            await trio.sleep(POLL_S)

    async def _converse(self) -> Joined:
        connection = await self.ports.net.connect(self.invitation.address)
        session = Session(connection, Hello(self.invitation.pool, PROTOCOL_VERSION, SOFTWARE, 0))
        async with open_crew() as crew:
            await crew.start(session.serve)
            if session.failure is not None:
                raise session.failure
            try:
                while True:
                    roster, file = await self._roster(session)
                    self._answered_at, self._epoch = trio.current_time(), roster.epoch
                    if self._is_on(roster):
                        return Joined(roster, file)
                    await self._apply_and_wait(session, roster, file)
            finally:
                crew.cancel_scope.cancel()

    def _is_on(self, roster: Roster) -> bool:
        known = roster.organisation(self.organisation.name)
        if known is not None and (known.member, known.issuer) != (self.organisation.member, self.organisation.issuer):
            raise MoorageError(
                f"{self.organisation.name!r} is on the roster with other keys: choose another name, and another --dir"
            )
        return known is not None

    async def _roster(self, session: Session) -> tuple[Roster, bytes]:
        answer = await session.request(GetRoster(0))
        if not isinstance(answer, RosterFile):
            raise ProtocolError(f"{session.remote.name} answered get-roster with {answer.KIND}")
        file = bytes(answer.body)
        now_s = self.ports.clock.now()
        roster = await self.ports.threads.cpu(lambda: parse_roster(file, now_s=now_s))
        if roster.pool != self.invitation.pool or not roster.is_whole:
            raise ProtocolError(f"{session.remote.name} shows another pool's roster than the invitation is for")
        return roster, file

    async def _apply_and_wait(self, session: Session, roster: Roster, file: bytes) -> None:
        """Returns when there is another roster than ``roster``."""
        answer = await session.request(Apply(self.entry))
        if not isinstance(answer, Blob):
            raise ProtocolError(f"{session.remote.name} answered apply with {answer.KIND}")
        motion = parse_motion(bytes(answer.body))
        signed = await self.ports.threads.disk(self._sign, motion, roster, file)
        await session.request(StoreProposal(encode_motion(signed)))
        self.tell(
            f"proposal {motion.proposal.id.hex()[:12]} to take in {self.organisation.name!r} waits for approval: "
            f"`moorage consortium approve {motion.proposal.id.hex()[:12]}` at the members"
        )
        before = ""
        while (await self._poll(session, roster.epoch)) == 0:
            words = await self._standing(session, motion, roster)
            if words != before:
                self.tell(words)
                before = words
            await trio.sleep(POLL_S)

    async def _poll(self, session: Session, epoch: int) -> int:
        answer = await session.request(GetRoster(epoch))
        return len(answer.body) if isinstance(answer, RosterFile) else 0

    def _sign(self, motion: Motion, roster: Roster, file: bytes) -> Motion:
        proposal = motion.proposal
        ours = proposal.organisation
        if proposal.change is not Change.JOIN or ours is None or ours != self.organisation:
            raise ProtocolError("the inviter's peer made another proposal of our application")
        draft = check_motion(roster, contents_of_file(parse_roster_file(file)), motion)
        token = self.ports.chance.token(4).hex()
        return motion._replace(ballots=tuple(sign_once(self.ports.disk, self.home, draft, roster, token)))

    async def _standing(self, session: Session, motion: Motion, roster: Roster) -> str:
        for item in parse_listed(await session.request(GetProposals())):
            if (known := parse_motion(item)).proposal.id == motion.proposal.id:
                draft = check_motion(roster, motion.proposal.contents, known)
                count = count_ballots(draft, known.ballots, roster)
                return f"signed by {count.old} of the {count.old_needed} members that it takes"
        return ""

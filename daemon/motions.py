"""What is proposed for the next roster, and the ballots that were cast: collected durably until they are enough.

Every peer collects for itself and passes on what is new to it, so it does not matter to whom a member hands its ballot,
nor which peer is the first to see enough of them: all make the same version of them. Jobs for ``Threads.disk``, one at
a time: a ballot is checked in 10 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from anchor.organisation import Roster
from anchor.proposal import Change, Proposal, decode_organisation
from anchor.rosterfile import encode_roster_file, parse_roster_file
from client.home import WORKSHOP_FOLDER, Home
from core.durable import read_file, write_file_in_workshop
from core.encoding import Value, decode, encode_checked
from core.errors import BusyError, MalformedError, MoorageError, RefusedError, RosterError
from core.ids import DIGEST_BYTES, PeerId
from core.limits import MIB, PROPOSAL_MAX_BYTES
from core.ports import Disk
from core.schema import Fields

if TYPE_CHECKING:
    from anchor.ballots import Motion

MOTIONS_FILE = "state/motions"
FILE_MAX_BYTES = 8 * MIB
MOTIONS_MAX = 16
INVITATIONS_MAX = 256
# A year, so that organisations renew their roster before that.
ROSTER_LIFE_S = 365 * 86400
# A proposal lives as long as the roster that it changes: who signed it may sign no other. Clocks differ by so much.
AHEAD_MAX_S = 86400


class Offered(NamedTuple):
    """Whether a motion or ballots of it were new; the next roster's file, when they are enough; the motion as it is."""

    is_news: bool
    roster_file: bytes | None
    motion: bytes


class Motions:
    """``start`` first. Methods raise MoorageError for what is refused, OSError when the disk does not take it."""

    def __init__(self, disk: Disk, home: Home, now_s: Callable[[], float], token: Callable[[], str]) -> None:
        self._disk = disk
        self._home = home
        self._now_s = now_s
        self._token = token
        self._motions: dict[bytes, bytes] = {}
        """Encoded, by the proposal's id."""
        self._invitations: dict[PeerId, bytes] = {}
        """What each guest asked for: the first time counts."""

    def start(self) -> None:
        """A file that is missing or damaged means that nothing was proposed: members propose and sign again."""
        data = read_file(self._disk, self._home.path(MOTIONS_FILE), max_bytes=FILE_MAX_BYTES)
        if data is None:
            return
        try:
            fields = Fields.checked(data, max_bytes=FILE_MAX_BYTES, what="motions file")
            motions = fields.byte_strings("motions", max_items=MOTIONS_MAX)
            guests = fields.items("invitations", max_items=INVITATIONS_MAX)
            fields.end()
        except MalformedError:
            return
        for item in guests:
            match item:
                case [bytes(guest), bytes(entry)] if len(guest) == DIGEST_BYTES:
                    self._invitations[PeerId(guest)] = entry
                case _:
                    continue
        for motion in motions:
            try:
                # An application has no signatures yet.
                self._take(motion, signed=False)
            except MoorageError:
                continue

    def motions(self) -> list[bytes]:
        """Those that change the roster as it is now, by ascending id."""
        self._drop_outdated()
        return [motion for _, motion in sorted(self._motions.items())]

    def offer(self, data: bytes, *, from_guest: bool = False) -> Offered:
        """Keep a motion, or its ballots; durable afterwards. A guest may only bring ballots for one that is kept."""
        with self._durable_or_undone():
            offered = self._take(data, known_only=from_guest)
            if offered.is_news:
                self._write()
        return offered

    def apply(self, guest: PeerId, entry: bytes) -> bytes:
        """The motion to take an invited organisation in. An invitation is one organisation's."""
        from anchor.ballots import Motion, encode_motion
        from anchor.rootchain import contents_of_file

        known = self._invitations.get(guest)
        if known is not None and known != entry:
            raise RefusedError("this invitation was used by another applicant: ask for one of your own")
        organisation = decode_organisation(decode(entry, max_bytes=PROPOSAL_MAX_BYTES))
        self._drop_outdated()
        for motion in self._motions.values():
            if (proposal := _proposal_of(motion)).organisation == organisation and proposal.change is Change.JOIN:
                return motion
        now_s = int(self._now_s())
        roster = self._home.roster
        proposal = Proposal(
            base=roster.epoch,
            contents=contents_of_file(parse_roster_file(self._home.roster_file)),
            change=Change.JOIN,
            name=organisation.name,
            organisation=organisation,
            expires_s=now_s + ROSTER_LIFE_S,
            time_s=now_s,
        )
        motion = encode_motion(Motion(proposal, ()))
        with self._durable_or_undone():
            self._take(motion, signed=False)
            if len(self._invitations) >= INVITATIONS_MAX:
                self._invitations.pop(next(iter(self._invitations)))
            self._invitations[guest] = entry
            self._write()
        return motion

    @contextmanager
    def _durable_or_undone(self) -> Generator[None]:
        """What is in memory and not on the disk would be no news when it is offered again, and would count as kept."""
        before = dict(self._motions), dict(self._invitations)
        try:
            yield
        except BaseException:  # also when memory ran out, or the job is to end
            self._motions, self._invitations = before
            raise

    def _take(self, data: bytes, *, known_only: bool = False, signed: bool = True) -> Offered:
        from anchor.ballots import check_motion, encode_motion, parse_motion, with_ballots
        from anchor.draft import count_ballots
        from anchor.rootchain import assemble, contents_of_file

        self._drop_outdated()
        offered = parse_motion(data)
        name = offered.proposal.id
        known = self._motions.get(name)
        if known is None and known_only:
            raise RefusedError("a guest may only sign what was proposed for it")
        if known is None and signed and not offered.ballots:
            raise RefusedError("a proposal needs a signature of its proposer")
        if offered.proposal.time_s > self._now_s() + AHEAD_MAX_S:
            raise RosterError("the proposal is from the future: set the clock of whoever made it, and propose it anew")
        roster, data_now = self._home.held.both
        file = parse_roster_file(data_now)
        draft = check_motion(roster, contents_of_file(file), offered)
        before = parse_motion(known) if known is not None else offered._replace(ballots=())
        after = with_ballots(before, offered.ballots)
        if known is None and signed and offered.proposal.change is not Change.JOIN and not _by_member(roster, offered):
            raise RosterError("only a member may propose this")
        if known is None and len(self._motions) >= MOTIONS_MAX:
            self._make_room(roster, offered)
        motion = encode_motion(after)
        is_news = known != motion
        self._motions[name] = motion
        complete = None
        if count_ballots(draft, after.ballots, roster).is_enough and _has_newcomer(after):
            complete = encode_roster_file(assemble(draft, after.ballots, file))
        return Offered(is_news, complete, motion)

    def _make_room(self, roster: Roster, offered: Motion) -> None:
        """What no member has signed gives way to what one has. Raises BusyError."""
        from anchor.ballots import parse_motion

        idle = [name for name, item in self._motions.items() if not _by_member(roster, parse_motion(item))]
        if not idle or not _by_member(roster, offered):
            raise BusyError(f"{MOTIONS_MAX} proposals wait for signatures: decide on them first")
        del self._motions[idle[0]]

    def _drop_outdated(self) -> None:
        """What was proposed for a version that another one has taken the place of."""
        epoch = self._home.roster.epoch
        self._motions = {name: item for name, item in self._motions.items() if _proposal_of(item).base == epoch}

    def _write(self) -> None:
        motions: list[Value] = [motion for _, motion in sorted(self._motions.items())]
        guests: list[Value] = [[guest.raw, entry] for guest, entry in self._invitations.items()]
        data = encode_checked({"motions": motions, "invitations": guests})
        path, workshop = self._home.path(MOTIONS_FILE), self._home.path(WORKSHOP_FOLDER)
        write_file_in_workshop(self._disk, workshop, path, data, token=self._token())


def _by_member(roster: Roster, motion: Motion) -> bool:
    """Whether a member of today has signed it."""
    keys = {item.member.admin_key for item in roster.organisations if item.member is not None}
    return any(ballot.admin_key in keys for ballot in motion.ballots)


def _has_newcomer(motion: Motion) -> bool:
    """Who joins has shown that the key is its own: it signed, too."""
    proposal = motion.proposal
    if proposal.change is not Change.JOIN:
        return True
    assert proposal.organisation is not None, "who joins is described"
    assert proposal.organisation.member is not None, "as a member"
    return proposal.organisation.member.admin_key in {ballot.admin_key for ballot in motion.ballots}


def _proposal_of(motion: bytes) -> Proposal:
    from anchor.ballots import parse_motion

    return parse_motion(motion).proposal

"""A consortium's homes at work: the roster, ballots, what an admin signed; and what a monitor keeps."""

from __future__ import annotations

from typing import ClassVar

import pytest

from anchor.ballots import Motion, encode_motion, parse_motion, with_ballots
from anchor.compact import Edge
from anchor.draft import draft_of, sign_draft
from anchor.evidence import AlarmKind, Evidence
from anchor.monitor import View
from anchor.proposal import Change, Proposal, next_roster
from anchor.rootchain import contents_of_file
from anchor.roster import read_roster
from anchor.rosterfile import encode_roster_file, roster_of
from client.adminkey import ADMIN_FILE, keep_proposed, kept_proposed, sign_once
from client.evidence import EVIDENCE_FOLDER, PAST_FOLDER, VIEW_FILE, MonitorState, read_evidence
from client.home import WORKSHOP_FOLDER
from client.rosters import accept_roster
from core.durable import clear_workshop, write_file
from core.errors import MoorageError, RefusedError
from core.ports import Disk
from daemon.motions import Motions
from tests.anchor.consortium import FOUR, NOW_S, YEAR_S, Hospital, founded, seed, swapped
from tests.client.test_rosters import home_on, written
from tests.crash.enumerate import Errors, Story
from tests.sim.chance import SimChance

BASE = roster_of(founded())
SECOND = encode_roster_file(swapped())


def _leave(name: str) -> Proposal:
    return Proposal(
        base=1,
        contents=contents_of_file(founded()),
        change=Change.LEAVE,
        name=name,
        organisation=None,
        expires_s=NOW_S + YEAR_S,
        time_s=NOW_S,
    )


def _motion(item: Proposal, signer: Hospital) -> bytes:
    ballot = sign_draft(draft_of(next_roster(BASE, item)), signer.admin)
    return encode_motion(with_ballots(Motion(item, ()), (ballot,)))


LEAVES = _leave("a")
MOTIONS = tuple(_motion(LEAVES, signer) for signer in FOUR[1:3])


class RosterTaken(Story):
    """A daemon accepts a later roster, and acts by it: nobody acts by one that a cut takes back."""

    name = "roster: a later one accepted"
    errors: ClassVar[Errors] = (MoorageError, OSError)
    slow = 5

    def __init__(self) -> None:
        self.in_use = 1

    def prepare(self, disk: Disk) -> None:
        home_on(disk)

    def run(self, disk: Disk) -> None:
        home = home_on(disk)
        accept_roster(disk, home, SECOND, now_s=NOW_S, token="t")
        self.in_use = home.roster.epoch

    def recover(self, disk: Disk) -> None:
        clear_workshop(disk, f"/home/{WORKSHOP_FOLDER}")
        home_on(disk)

    def check(self, disk: Disk) -> None:
        epoch = read_roster(written(disk)).epoch
        assert epoch >= self.in_use, "what was acted by is gone"
        assert accept_roster(disk, home_on(disk), SECOND, now_s=NOW_S, token="t") == (epoch == 1)
        assert written(disk) == SECOND
        assert disk.list_folder(f"/home/{WORKSHOP_FOLDER}") == []


class BallotsKept(Story):
    """A peer keeps a second ballot, and says so."""

    name = "ballots"
    errors: ClassVar[Errors] = (MoorageError, OSError)
    slow = 3

    def __init__(self) -> None:
        self.promised = 1
        self._book: Motions | None = None

    def _open(self, disk: Disk) -> Motions:
        book = Motions(disk, home_on(disk), lambda: NOW_S, lambda: "t")
        book.start()
        return book

    def prepare(self, disk: Disk) -> None:
        self._open(disk).offer(MOTIONS[0])

    def run(self, disk: Disk) -> None:
        if self._book is None:
            self._book = self._open(disk)
        self._book.offer(MOTIONS[1])
        self.promised = 2

    def recover(self, disk: Disk) -> None:
        clear_workshop(disk, f"/home/{WORKSHOP_FOLDER}")
        self._open(disk)

    def check(self, disk: Disk) -> None:
        (kept,) = self._open(disk).motions()
        assert len(parse_motion(kept).ballots) >= self.promised, "a ballot is lost"


class RosterSigned(Story):
    """An admin notes what it proposes and signs it: afterwards nobody gets its signature for another such version."""

    name = "admin key: what was signed"
    errors: ClassVar[Errors] = (MoorageError, OSError)

    def __init__(self) -> None:
        self.proposed = self.signed = False

    def prepare(self, disk: Disk) -> None:
        write_file(disk, f"/home/{ADMIN_FILE}", seed("b", "admin 1"), token="t")
        disk.make_folders(f"/home/{WORKSHOP_FOLDER}")

    def run(self, disk: Disk) -> None:
        keep_proposed(disk, "/home", MOTIONS[0], "t")
        self.proposed = True
        sign_once(disk, "/home", draft_of(next_roster(BASE, LEAVES)), BASE, "t")
        self.signed = True

    def recover(self, disk: Disk) -> None:
        clear_workshop(disk, f"/home/{WORKSHOP_FOLDER}")

    def check(self, disk: Disk) -> None:
        assert kept_proposed(disk, "/home") in ((MOTIONS[0],) if self.proposed else (None, MOTIONS[0]))
        other = draft_of(next_roster(BASE, _leave("c")))
        if self.signed:
            with pytest.raises(RefusedError):
                sign_once(disk, "/home", other, BASE, "u")


STALLED, FORKED = (
    Evidence(kind, "pool.example/a/1", kind.value, 7, "log a\n", b"roster" * 100, (b"note",))
    for kind in (AlarmKind.STALL, AlarmKind.FORK)
)

EVIDENCE, PAST = f"/monitor/{EVIDENCE_FOLDER}", f"/monitor/{PAST_FOLDER}"


class MonitorKept(Story):
    """A stall passes, a fork is found: its evidence is whole before the view goes beyond it, and stays."""

    name = "monitor: view and evidence"
    errors: ClassVar[Errors] = (MoorageError, OSError)

    def __init__(self) -> None:
        self.raised = self.seen = False
        self._lives = 0

    def _state(self, disk: Disk) -> MonitorState:
        # No two processes draw the same names for their temporary files.
        self._lives += 1
        return MonitorState(disk, SimChance(self._lives, "monitor"), "/monitor")

    def prepare(self, disk: Disk) -> None:
        state = self._state(disk)
        state.raise_alarm(STALLED)
        state.keep(STALLED.origin, View(b"first", Edge()))

    def run(self, disk: Disk) -> None:
        state = self._state(disk)
        kept = state.raise_alarm(FORKED)
        self.raised = True
        state.keep(FORKED.origin, View(b"second", Edge()))
        self.seen = True
        state.settle(FORKED.origin, [kept])

    def recover(self, disk: Disk) -> None:
        """The next look begins with what stands and what was seen."""
        self._state(disk).standing()
        self._state(disk).view(FORKED.origin)

    def check(self, disk: Disk) -> None:
        state = self._state(disk)
        note = state.view(FORKED.origin).note
        assert note in ((b"second",) if self.seen else (b"first", b"second")), "the monitor forgot"
        if self.raised or note == b"second":
            assert FORKED in self._standing(disk), "evidence is lost, or torn"
        assert (STALLED in self._standing(disk)) != (STALLED in self._past(disk)), "an alarm is lost, or there twice"
        # A name that a cut took back is put away by the next look.
        self.run(disk)
        assert self._standing(disk) == [FORKED]
        assert self._past(disk) == [STALLED]
        for folder in (*disk.list_folder(EVIDENCE), *disk.list_folder(PAST)):
            names = disk.list_folder(f"{EVIDENCE if folder == FORKED.name else PAST}/{folder}")
            assert set(names) == set(FORKED.files()), "a leftover beside the evidence"
        for folder in set(disk.list_folder("/monitor")) - {EVIDENCE_FOLDER, PAST_FOLDER}:
            assert disk.list_folder(f"/monitor/{folder}") == [VIEW_FILE], "a leftover beside the view"

    def _standing(self, disk: Disk) -> list[Evidence]:
        return [evidence for _, evidence in self._state(disk).standing()]

    def _past(self, disk: Disk) -> list[Evidence]:
        return [read_evidence(disk, f"{PAST}/{name}") for name in disk.list_folder(PAST)]


STORIES: tuple[type[Story], ...] = (RosterTaken, BallotsKept, RosterSigned, MonitorKept)

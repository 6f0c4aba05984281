"""What is proposed for the next roster is collected durably, and by nobody's leave but the members'."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor.ballots import Motion, encode_motion, parse_motion, with_ballots
from anchor.draft import Ballot, draft_of, sign_draft
from anchor.organisation import Organisation, Roster
from anchor.proposal import (
    Change,
    Proposal,
    decode_organisation,
    encode_organisation,
    encode_proposal,
    next_roster,
    parse_proposal,
    words_of,
)
from anchor.rootchain import contents_of_file
from anchor.roster import parse_roster
from anchor.rosterfile import encode_roster_file, roster_of
from client.adminkey import ADMIN_FILE, SIGNED_FILE, sign_once
from client.rosters import accept_roster
from core.durable import write_file
from core.encoding import decode, encode
from core.errors import BadSignatureError, BusyError, HomeError, MoorageError, RefusedError, RosterError
from core.ids import PeerId
from core.limits import PROPOSAL_MAX_BYTES
from core.ports import Disk
from daemon.motions import MOTIONS_MAX, Motions
from tests.anchor.consortium import FOUR, NOW_S, YEAR_S, Hospital, founded, seed, swapped
from tests.client.test_rosters import home_on
from tests.core.test_encoding import values
from tests.sim.disk import SimDisk

BASE: Roster = roster_of(founded())
E_ = Hospital("e")


def proposal(change: Change = Change.LEAVE, name: str = "a", reason: str = "") -> Proposal:
    entry = replace(Hospital(name, generation=2 if change is Change.REPLACE else 1).row(), policy="")
    has_entry = change in (Change.JOIN, Change.REPLACE)
    return Proposal(
        base=1,
        contents=contents_of_file(founded()),
        change=change,
        name="" if change is Change.RENEW else name,
        organisation=entry if has_entry else None,
        expires_s=NOW_S + YEAR_S,
        time_s=NOW_S,
        reason=reason,
    )


def ballots(item: Proposal, *signers: Hospital) -> tuple[Ballot, ...]:
    draft = draft_of(next_roster(BASE, item))
    return tuple(sign_draft(draft, signer.admin) for signer in signers)


def motion(item: Proposal, *signers: Hospital) -> bytes:
    return encode_motion(with_ballots(Motion(item, ()), ballots(item, *signers)))


def motions_on(disk: Disk, now_s: float = NOW_S) -> Motions:
    book = Motions(disk, home_on(disk), lambda: now_s, lambda: "t")
    book.start()
    return book


# --- proposals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "name"), [("join", "e"), ("leave", "a"), ("replace", "a"), ("renew", "a")])
def test_a_proposal_comes_back_and_says_in_words_what_it_does(change: str, name: str) -> None:
    item = proposal(Change(change), name, "as agreed")
    assert parse_proposal(encode_proposal(item)) == item
    words = "\n".join(words_of(BASE, item))
    assert {"join": "'e' joins", "leave": "'a' leaves", "replace": "admin key", "renew": "expiry"}[change] in words
    assert "as agreed" in words
    after = next_roster(BASE, item)
    count = {"join": 5, "leave": 3}.get(change, 4)
    assert (after.epoch, len(after.organisations), len(after.seeds)) == (2, count, count)


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (proposal(Change.JOIN, "a"), "member already"),
        (proposal(Change.LEAVE, "z"), "no member"),
        (proposal(Change.REPLACE, "z"), "no member"),
        (replace(proposal(), base=2), "anew"),
        (replace(proposal(), expires_s=NOW_S + 3 * YEAR_S), "days"),
        (replace(proposal(), expires_s=NOW_S), "days"),
    ],
)
def test_what_cannot_be_done_is_refused(item: Proposal, why: str) -> None:
    with pytest.raises(RosterError, match=why):
        next_roster(BASE, item)


def _with_keys_of(other: Hospital) -> Organisation:
    mine, theirs = E_.row(), other.row()
    assert mine.member is not None
    assert theirs.member is not None
    member = replace(mine.member, admin_key=theirs.member.admin_key)
    return replace(mine, policy="", member=member)


def test_a_newcomer_s_log_may_not_pass_for_another_s() -> None:
    entry = replace(E_.row(), policy="")
    assert entry.member is not None
    for origin in ("consortium.example/a/2", "consortium.example/e", "elsewhere.example/e/1", "consortium.example/e/x"):
        renamed = replace(entry, member=replace(entry.member, log_origin=origin))
        with pytest.raises(RosterError, match="may not be called"):
            next_roster(BASE, replace(proposal(Change.JOIN, "e"), organisation=renamed))


def test_a_newcomer_may_not_bring_a_member_s_keys() -> None:
    stolen = replace(proposal(Change.JOIN, "e"), organisation=_with_keys_of(FOUR[0]))
    with pytest.raises(MoorageError, match="twice"):
        next_roster(BASE, stolen)


@given(
    st.dictionaries(
        st.sampled_from(["base", "change", "name", "organisation", "expires", "reason", "x"]), values, min_size=1
    )
)
def test_a_proposal_of_the_wrong_form_is_refused_as_such(change: dict[str, object]) -> None:
    body = decode(encode_proposal(proposal(Change.JOIN, "e")), max_bytes=PROPOSAL_MAX_BYTES)
    assert isinstance(body, dict)
    if all(body.get(key) == value for key, value in change.items()):
        return
    try:
        parsed = parse_proposal(encode(body | change))
    except MoorageError:
        return
    # Another proposal, but a sound one: its numbers and words are free.
    assert set(change) <= {"base", "expires", "reason"}
    assert parsed.name == "e"


@given(st.binary(max_size=200))
def test_garbage_is_no_motion(data: bytes) -> None:
    for parse in (parse_motion, parse_proposal):
        with pytest.raises(MoorageError):
            parse(data)


def test_an_entry_comes_back() -> None:
    entry = replace(E_.row(), policy="")
    value = encode_organisation(entry)
    assert decode_organisation(value) == entry
    assert isinstance(value, list)
    with pytest.raises(MoorageError):
        decode_organisation([*value[:2], b""])


# --- collecting -------------------------------------------------------------------------------------


def test_ballots_are_collected_until_they_are_enough() -> None:
    disk, item = SimDisk(), proposal()
    book = motions_on(disk)
    assert book.offer(motion(item, FOUR[1])).roster_file is None
    assert book.offer(motion(item, FOUR[2])).roster_file is None
    # Another process, or the same after a crash.
    book = motions_on(disk)
    assert len(parse_motion(book.motions()[0]).ballots) == 2
    again = book.offer(motion(item, FOUR[1]))
    assert not again.is_news
    complete = book.offer(motion(item, FOUR[3])).roster_file
    assert complete is not None
    roster = parse_roster(complete, now_s=NOW_S)
    assert (roster.epoch, sorted(roster.issuers)) == (2, ["b", "c", "d"])


def test_the_one_who_leaves_does_not_decide_who_stays() -> None:
    """Four members, three must sign the new roster of three: the leaver's word is of the old one only."""
    book = motions_on(SimDisk())
    assert book.offer(motion(proposal(), FOUR[0], FOUR[1], FOUR[2])).roster_file is None


def test_what_was_proposed_for_a_version_ends_with_it() -> None:
    disk = SimDisk()
    home = home_on(disk)
    book = Motions(disk, home, lambda: NOW_S, lambda: "t")
    book.offer(motion(proposal(), FOUR[1]))
    accept_roster(disk, home, encode_roster_file(swapped()), now_s=NOW_S, token="t")
    assert book.motions() == []
    with pytest.raises(RosterError, match="anew"):
        book.offer(motion(proposal(), FOUR[2]))


def test_who_has_no_say_is_not_counted() -> None:
    book = motions_on(SimDisk())
    item = proposal()
    with pytest.raises(RosterError, match="no say"):
        book.offer(encode_motion(Motion(item, ballots(item, Hospital("mallory")))))
    forged = [ballot._replace(admin_key=ballots(item, FOUR[2])[0].admin_key) for ballot in ballots(item, FOUR[1])]
    with pytest.raises(BadSignatureError):
        book.offer(encode_motion(Motion(item, tuple(forged))))
    with pytest.raises(RefusedError, match="signature"):
        book.offer(motion(item))
    with pytest.raises(RosterError, match="future"):
        motions_on(SimDisk(), NOW_S - 40 * 86400).offer(motion(item, FOUR[1]))


def test_a_proposal_that_some_have_signed_can_be_completed_however_late() -> None:
    """They may sign no other for this version."""
    item = proposal()
    book = motions_on(SimDisk(), NOW_S + 200 * 86400)
    assert book.offer(motion(item, *FOUR[1:3])).roster_file is None
    assert book.offer(motion(item, FOUR[3])).roster_file is not None


def test_only_a_member_proposes_new_keys_for_a_member() -> None:
    attacker = proposal(Change.REPLACE, "a")
    after = next(item for item in next_roster(BASE, attacker).organisations if item.name == "a")
    assert after.member is not None
    made = ballots(attacker, Hospital("a", generation=2))
    alone = [item for item in made if item.admin_key == after.member.admin_key]
    assert alone
    with pytest.raises(RosterError, match="only a member"):
        motions_on(SimDisk()).offer(encode_motion(Motion(attacker, tuple(alone))))


def test_who_joins_must_have_signed_too() -> None:
    item = proposal(Change.JOIN, "e")
    book = motions_on(SimDisk())
    assert book.offer(motion(item, *FOUR)).roster_file is None
    assert book.offer(motion(item, E_)).roster_file is not None


def test_applications_give_way_to_what_members_propose() -> None:
    book = motions_on(SimDisk())
    for number in range(MOTIONS_MAX):
        stranger = Hospital(f"x{number}")
        entry = encode(encode_organisation(replace(stranger.row(), policy="")))
        book.apply(PeerId(bytes([number]) * 32), entry)
    book.offer(motion(proposal(), FOUR[1]))
    assert len(book.motions()) == MOTIONS_MAX
    with pytest.raises(BusyError):
        book.apply(PeerId(bytes([200]) * 32), encode(encode_organisation(replace(E_.row(), policy=""))))


def test_proposals_are_bounded() -> None:
    book = motions_on(SimDisk())
    for number in range(MOTIONS_MAX):
        book.offer(motion(proposal(reason=str(number)), FOUR[1]))
    with pytest.raises(BusyError):
        book.offer(motion(proposal(reason="one more"), FOUR[1]))


def test_an_invitation_is_one_organisation_s() -> None:
    disk = SimDisk()
    book = motions_on(disk)
    entry = encode(encode_organisation(replace(E_.row(), policy="")))
    made = book.apply(PeerId(bytes(32)), entry)
    assert parse_motion(made).proposal.name == "e"
    assert book.apply(PeerId(bytes(32)), entry) == made
    book = motions_on(disk)
    with pytest.raises(RefusedError, match="another applicant"):
        book.apply(PeerId(bytes(32)), encode(encode_organisation(replace(Hospital("f").row(), policy=""))))
    # A guest may sign what was proposed for it, and nothing else.
    with pytest.raises(RefusedError, match="guest"):
        book.offer(motion(proposal(), FOUR[1]), from_guest=True)


# --- signing ----------------------------------------------------------------------------------------


def admin_home(disk: Disk) -> str:
    write_file(disk, f"/home/{ADMIN_FILE}", seed("b", "admin 1"), token="t")
    return "/home"


def test_an_admin_never_signs_two_rosters_of_one_version() -> None:
    disk = SimDisk()
    folder = admin_home(disk)
    first, second = (draft_of(next_roster(BASE, proposal(reason="", name=name))) for name in "ac")
    (ballot,) = sign_once(disk, folder, first, BASE, "t")
    assert sign_once(disk, folder, first, BASE, "t") == [ballot]
    with pytest.raises(RefusedError, match="second"):
        sign_once(disk, folder, second, BASE, "t")
    write_file(disk, f"/home/{SIGNED_FILE}", b"damaged", token="t")
    with pytest.raises(HomeError, match="backup"):
        sign_once(disk, folder, first, BASE, "t")

"""Receipts' rosters leave versions out: what is left proves as much, and nobody can leap who could not have walked."""

from __future__ import annotations

import json
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor.leaps import for_receipt, shortest_proof
from anchor.organisation import byzantine_majority
from anchor.rootchain import verify_chain
from anchor.roster import Roster, parse_roster
from anchor.rosterfile import RosterFile, encode_roster_file
from core.errors import BadSignatureError, MalformedError, RosterError
from tests.anchor.consortium import FOUR, Hospital, founded, hospitals, swapped, unverified, version

A, B, C, D = FOUR
E, F, G, H = hospitals("e", "f", "g", "h")
NAMES = {f"consortium.example/{name}/1/witness" for name in "abcdefgh"}


def proved(file: RosterFile) -> Roster:
    """The roster of a receipt made from this file, verified as a stranger does."""
    return parse_roster(encode_roster_file(for_receipt(file, NAMES)))


def versions(file: RosterFile) -> list[int]:
    return [json.loads(root)["signed"]["version"] for root in for_receipt(file, NAMES).roots]


def signers(data: bytes) -> int:
    return len(json.loads(data)["signatures"])


def renewed(file: RosterFile, members: list[Hospital], signed: list[Hospital], times: int = 1) -> RosterFile:
    for _ in range(times):
        file = unverified(file, members, signed)
    return file


@cache
def alone() -> RosterFile:
    """Version 1: a alone, who founded the pool."""
    return version(None, [A], [A])


def test_a_founder_who_still_signs_leads_straight_to_the_last_version() -> None:
    file = renewed(alone(), [A, B], [A, B])
    file = renewed(file, [A, B, C], [A, B, C])
    file = renewed(file, FOUR, [A, B, C, D], times=6)
    part = for_receipt(file, NAMES)
    assert versions(file) == [1, 9]
    assert [signers(data) for data in (*part.roots, part.targets)] == [1, 3, 3], "no more than the thresholds"
    verify_chain(file)
    assert proved(file).epoch == 9
    assert proved(file).pool == parse_roster(encode_roster_file(file)).pool


def test_whoever_bridges_two_memberships_is_on_the_way() -> None:
    """The founder changed its key in version 4, left in version 6, and b signs no later than 7: five roots of nine."""
    new_a = Hospital("a", generation=2)
    file = renewed(unverified(alone(), [A, B], [A, B]), [A, B, C], [A, B, C])
    file = renewed(file, [new_a, B, C], [A, new_a, B, C], times=1)
    file = renewed(file, [new_a, B, C, D], [new_a, B, C, D])
    file = renewed(file, [B, C, D], [B, C, D])
    file = renewed(file, [B, C, D, E], [B, C, D, E])
    file = renewed(file, [B, C, D, E], [C, D, E], times=2)
    verify_chain(file)
    assert versions(file) == [1, 4, 5, 7, 9]
    assert proved(file).epoch == 9


def test_a_first_and_a_second_version_are_proved_whole() -> None:
    assert versions(alone()) == [1]
    assert versions(swapped()) == [1, 2]
    part = for_receipt(swapped(), NAMES)
    # Of the path that is left nothing can be left out again.
    assert shortest_proof(part.roots, part.targets) == (part.roots, part.targets)


STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 7), st.integers(0, 2**16)), min_size=1, max_size=8)


def history(steps: list[tuple[int, int, int]]) -> tuple[RosterFile, list[tuple[set[Hospital], set[Hospital]]]]:
    """A chain that thresholds signed, with members and signers of each version; three joined or left at random."""
    everybody = [A, B, C, D, E, F, G, H]
    members, file, past = [A], alone(), [({A}, {A})]
    for kind, whom, seed in steps:
        changed = set(members) ^ ({everybody[whom]} if kind else set())
        old, members = members, sorted(changed) or members
        signed = set(members) | set(old)
        for item in sorted(signed):
            fewer = signed - {item}
            if seed >> everybody.index(item) & 1 and enough(fewer, old) and enough(fewer, members):
                signed = fewer
        file = unverified(file, members, signed)
        past.append((set(members), signed))
    return file, past


def enough(signed: set[Hospital], members: list[Hospital] | set[Hospital]) -> bool:
    return len(signed & set(members)) >= byzantine_majority(len(members))


@given(STEPS)
def test_any_chain_is_proved_by_the_fewest_roots(steps: list[tuple[int, int, int]]) -> None:
    file, past = history(steps)
    assert proved(file).epoch == len(past)
    distance = [0] * len(past)
    for new in range(1, len(past)):
        ways = [distance[old] for old in range(new) if enough(past[new][1], past[old][0])]
        distance[new] = 1 + min(ways)
    assert len(versions(file)) == 1 + distance[-1]


# --- who cannot leap ------------------------------------------------------------------------------


def leap(*files: RosterFile) -> RosterFile:
    """A receipt's roster of the last version, with the last root of each of these."""
    last = files[-1]
    return last._replace(roots=tuple(file.roots[-1] for file in files), snapshot=b"", timestamp=b"", members=b"")


def later(members: list[Hospital], signed: list[Hospital]) -> RosterFile:
    """Version 4 after three of a, b, c, d: its metadata is signed by these only."""
    return unverified(renewed(founded(), FOUR, FOUR, times=2), members, signed)


def test_a_leap_takes_a_threshold_of_the_old_and_of_the_new() -> None:
    verify_chain(leap(founded(), later([B, C, D, E], [B, C, D])))
    verify_chain(leap(founded(), later([C, D, E, F], [B, C, D, E])))
    # Of the old b, c; of the new b, c, e.
    with pytest.raises(BadSignatureError, match="root 4"):
        verify_chain(leap(founded(), later([B, C, D, E], [B, C, E])))
    # Of the old b, c, d; of the new c, d.
    with pytest.raises(BadSignatureError, match="root 4"):
        verify_chain(leap(founded(), later([C, D, E, F], [B, C, D])))


def test_keys_that_were_removed_do_not_make_up_a_threshold() -> None:
    """a and b left in version 2: alone they are two of the first four, of whom it takes three."""
    second = unverified(founded(), [C, D, E, F], [*FOUR, E])
    verify_chain(leap(founded(), second))
    with pytest.raises(BadSignatureError, match="root 3"):
        verify_chain(leap(founded(), second, unverified(second, [A, B], [A, B])))
    third = renewed(second, [C, D, E, F], [C, D, E])
    with pytest.raises(BadSignatureError, match="root 4"):
        verify_chain(leap(founded(), unverified(third, [A, B], [A, B])))


def test_versions_on_the_way_grow() -> None:
    chain = [founded()]
    for _ in range(3):
        chain.append(unverified(chain[-1], FOUR, FOUR))
    verify_chain(leap(chain[0], chain[3]))
    for wrong in ([0, 2, 1, 3], [0, 2, 2, 3], [0, 3, 3], [0, 0, 3]):
        with pytest.raises(RosterError, match="comes after"):
            verify_chain(leap(*(chain[number] for number in wrong)))
    with pytest.raises(RosterError, match="another version"):
        verify_chain(leap(chain[1], chain[3]))
    with pytest.raises(MalformedError, match="of epoch 4"):
        verify_chain(leap(chain[0], chain[3])._replace(roots=(chain[0].roots[0], chain[1].roots[1])))


def test_another_first_root_is_another_pool() -> None:
    other = version(None, [A, B, C], [A, B, C])
    forged = leap(other, later(FOUR, FOUR))
    verify_chain(forged)
    assert parse_roster(encode_roster_file(forged)).pool != parse_roster(encode_roster_file(founded())).pool


def test_who_is_on_no_root_of_the_way_has_no_say() -> None:
    """Version 3's members sign version 4, too; where version 3 is left out, they are strangers."""
    third = unverified(founded(), [B, C, D, E], FOUR)
    fourth = unverified(third, FOUR, [B, C, D, E])
    with pytest.raises(RosterError, match="no say"):
        verify_chain(leap(founded(), fourth))
    assert versions(fourth) == [1, 3]


def test_what_peers_exchange_leaves_nothing_out() -> None:
    file = renewed(founded(), FOUR, FOUR, times=2)
    for roots in ((0, 2), (0, 2, 2)):
        with pytest.raises((MalformedError, RosterError), match="version"):
            verify_chain(file._replace(roots=tuple(file.roots[number] for number in roots)))


def test_a_signature_that_does_not_hold_is_not_rested_on() -> None:
    """A roster may come with a bad signature beside a threshold of good ones."""
    file = renewed(founded(), FOUR, FOUR, times=2)
    value = json.loads(file.roots[2])
    for place, _ in enumerate(value["signatures"]):
        bad = json.loads(file.roots[2])
        bad["signatures"][place]["sig"] = "00" * 64
        data = json.dumps(bad, separators=(",", ":"), sort_keys=True).encode()
        assert proved(file._replace(roots=(*file.roots[:2], data))).epoch == 3
        bad["signatures"][place - 1]["sig"] = "zz" * 64
        data = json.dumps(bad, separators=(",", ":"), sort_keys=True).encode()
        with pytest.raises(BadSignatureError):
            proved(file._replace(roots=(*file.roots[:2], data)))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"signed":[],"signatures":[]}', b'{"signed":{"keys":{"a":1}}}'])
def test_what_is_no_metadata_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        shortest_proof((data,), b"")

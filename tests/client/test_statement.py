"""A statement of durability claims no more than was seen now, or than holders say that they saw."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.durability import durability_value
from cli.durability_words import durability_lines, may_lose_text, plan_command, verified_text
from client.health import Examination, Health, ShardState, Status, Verdict, shard_findings
from client.lastlook import NUMBER_MAX, LastLook, parse_last_look
from client.statement import YEAR_S, Durability, Place, statement_of, too_long
from core.encoding import Value, decode, encode
from core.errors import MalformedError
from core.ids import ObjectId, PeerId, ShardRoot
from core.limits import SECONDS_MAX
from erasure.durability_plan import DAY, HOUR, Hazards, outlook
from erasure.placement import Candidate
from erasure.scheme import Scheme
from erasure.spread import spread_of
from tests.core.test_encoding import values

SCHEME = Scheme(4, 6)
OBJECT = ObjectId(b"o" * 32)
OK, MISSING, CORRUPT, SILENT, NEWER = Status
NOW_S = 1_790_000_000
HOUR_S, DAY_S = 3600, 86_400
PEERS = [PeerId(bytes([number]) * 32) for number in range(1, 8)]
LOOK = LastLook(NOW_S - HOUR_S, NOW_S - HOUR_S, Health.FULL, 7 * DAY_S, DAY_S, 32 * 2**20)
LEAST = LastLook(1, 1, None, 1, 0, 1)
TERABYTE = 10**12


def places(*, silent: tuple[int, ...] = (), peers: int = 6, sites: int = 3) -> dict[PeerId, Place]:
    return {
        peer: Place(
            f"peer-{at + 1}", f"hospital-{at % sites + 1}", f"site-{at % sites + 1}", TERABYTE, at not in silent
        )
        for at, peer in enumerate(PEERS[:peers])
    }


def state(
    row: tuple[Status, ...] = (OK,) * 6,
    *,
    looks: dict[int, LastLook | str] | None = None,
    holders: tuple[int, ...] = (0, 1, 2, 3, 4, 5),
    known: dict[PeerId, Place] | None = None,
    created_s: int = NOW_S - 2 * DAY_S,
) -> Durability:
    """One extent whose share i is at ``PEERS[holders[i]]``; every holder looked an hour ago unless ``looks`` says."""
    silent = tuple(holder for holder, status in zip(holders, row, strict=True) if status is SILENT)
    known = places(silent=silent) if known is None else known
    states = tuple(
        ShardState(0, share, ShardRoot(bytes([share]) * 32), PEERS[holder], Verdict(status))
        for share, (holder, status) in enumerate(zip(holders, row, strict=True))
    )
    candidates = [Candidate(peer, place.organisation, place.site, 1) for peer, place in known.items()]
    spread = spread_of(SCHEME, {item.share: item.holder for item in states if item.ok}, candidates)
    findings = tuple(finding for item in states for finding in shard_findings(OBJECT, item))
    said: dict[PeerId, LastLook | str] = {
        PEERS[holder]: "does not answer" if holder in silent else LOOK for holder in holders
    }
    said |= {PEERS[holder]: look for holder, look in (looks or {}).items()}
    examination = Examination(OBJECT, SCHEME, False, states, findings, spread, 24, 1000, 4)
    return statement_of(examination, known, said, created_s=created_s, now_s=float(NOW_S))


def text(statement: Durability) -> str:
    return "\n".join(durability_lines(statement, {}))


def test_a_whole_object_has_the_figure_of_plan_with_its_holders_settings() -> None:
    look = LOOK._replace(sweep_s=3 * DAY_S, grace_s=6 * HOUR_S, repair_bytes_per_s=10 * 2**20)
    found = state(looks=dict.fromkeys(range(6), look))
    assert found.forecast is not None
    hazards = found.hazards
    assert (hazards.sweep / DAY, hazards.grace / HOUR) == pytest.approx((3, 6))
    assert hazards.repair / HOUR == pytest.approx(TERABYTE / (10 * 2**20) / HOUR_S)
    planned = outlook(SCHEME, [[1, 1]] * 3, hazards)
    assert found.forecast.now == found.forecast.yearly == pytest.approx(planned.closed)
    assert found.forecast.common == pytest.approx(planned.common)
    assert plan_command(found).startswith("moorage plan --scheme 4+2 --sites 2,2,2 --sweep-days 3 --grace-hours 6 ")


def test_the_slowest_holder_s_settings_count() -> None:
    found = state(looks={2: LOOK._replace(sweep_s=30 * DAY_S), 4: LOOK._replace(grace_s=5 * DAY_S)})
    assert found.hazards.sweep == pytest.approx(30 * DAY)
    assert found.hazards.grace == pytest.approx(5 * DAY)


def test_settings_that_nobody_tells_are_called_defaults() -> None:
    found = state(looks=dict.fromkeys(range(6), "a silent one"))
    assert found.told == 0
    assert "defaults, since no holder told its own" in text(found)
    assert verified_text(found).startswith("last verified: not known when peer-1, peer-4")


def test_a_holder_that_does_not_tell_is_taken_to_be_no_better_than_the_defaults() -> None:
    quick = dict[int, LastLook | str].fromkeys(range(5), LOOK._replace(sweep_s=HOUR_S, grace_s=0))
    found = state(looks=quick | {5: "refused"})
    assert (found.hazards.sweep / DAY, found.hazards.grace / HOUR) == pytest.approx((7, 24))
    assert "by the settings and last looks of 5 of 6 holders" in text(found)
    assuming = durability_value(found, {})["assuming"]
    assert isinstance(assuming, dict)
    assert (assuming["told_by_holders"], assuming["holders"]) == (5, 6)
    assert "(by its holders' settings and last looks)" in text(state())


@pytest.mark.parametrize("told", [0, 5])
def test_a_holder_that_does_not_tell_has_seen_nothing_since_the_object_was_stored(told: int) -> None:
    found = state(looks=dict.fromkeys(range(told, 6), "refused"), created_s=NOW_S - 90 * DAY_S)
    assert found.hazards.sweep == pytest.approx(90 * DAY)


def test_a_silent_holder_s_shards_are_lost_already_and_wait_for_no_look() -> None:
    found = state((OK, OK, OK, OK, OK, SILENT), created_s=NOW_S - 90 * DAY_S)
    assert found.hazards.sweep == pytest.approx(7 * DAY)


def test_verified_is_said_of_the_oldest_time_of_all_holders() -> None:
    found = state(looks={3: LOOK._replace(checked_s=NOW_S - 4 * DAY_S, verified_s=NOW_S - 4 * DAY_S)})
    assert verified_text(found) == (
        "last verified: by each holder of good shards, as they say; "
        "the longest ago by peer-4, 2026-09-17 14:13 UTC (4.0 days ago)"
    )
    assert durability_value(found, {})["verified"] == {
        "words": verified_text(found),
        "oldest": NOW_S - 4 * DAY_S,
        "by": "peer-4",
        "never": [],
        "overdue": [],
        "not_known": [],
    }


def test_what_was_never_verified_is_never_called_verified() -> None:
    never = LOOK._replace(checked_s=0, verified_s=0, health=None)
    found = state(looks={1: never}, created_s=NOW_S - 20 * DAY_S)
    assert "not verified yet by peer-2" in verified_text(found)
    assert "by each holder" not in verified_text(found)
    # Nor is it taken to have been looked at within the sweep interval.
    assert found.hazards.sweep == pytest.approx(20 * DAY)


def test_what_was_not_verified_for_long_is_said_and_counted() -> None:
    late = LOOK._replace(verified_s=NOW_S - 40 * DAY_S, health=Health.DEGRADED)
    found = state(looks={5: late})
    assert "not verified within its sweep interval by peer-6" in verified_text(found)
    assert "not verified since 2026-08-12 14:13 UTC (40.0 days ago), last looked" in text(found)
    assert found.hazards.sweep == pytest.approx(40 * DAY)
    whole = state()
    assert found.forecast is not None
    assert whole.forecast is not None
    assert found.forecast.yearly > whole.forecast.yearly


def test_a_sample_is_said_to_be_one() -> None:
    found = state()
    assert "sampled 24 of 1,000 shares" in text(found)
    assert "assuming that what was not read just now is whole too" in text(found)
    read = replace(found, examination=replace(found.examination, full=True))
    assert "was not read just now" not in text(read)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((OK,) * 6, "any 2 of its holders; any one whole site (site-1, site-2, site-3)"),
        (
            (OK, OK, OK, OK, OK, MISSING),
            "any 1 of its holders; the whole site site-3, but not site-1 or site-2; "
            "the whole organisation hospital-3, but not hospital-1 or hospital-2",
        ),
        ((OK, OK, OK, SILENT, SILENT, OK), "no holder; no whole site; no whole organisation"),
        ((OK, OK, OK, SILENT, SILENT, SILENT), "not readable: 3 of the 4 shares that are needed are there"),
    ],
)
def test_what_may_be_lost_is_computed_from_what_is_there(row: tuple[Status, ...], words: str) -> None:
    assert may_lose_text(state(row)) == words


@given(st.lists(st.sampled_from([OK, MISSING, SILENT]), min_size=6, max_size=6))
def test_every_site_may_be_lost_exactly_if_the_spread_says_any_may(row: list[Status]) -> None:
    found = state((row[0], row[1], row[2], row[3], row[4], row[5]))
    spread = found.examination.spread
    if found.examination.spare >= 0:
        assert all(found.sites.values()) == spread.survives_site
        assert all(found.organisations.values()) == spread.survives_organisation


def test_each_share_less_is_more_risk_now_and_none_later() -> None:
    whole, one, two = (state((OK,) * (6 - lost) + (CORRUPT,) * lost).forecast for lost in range(3))
    assert whole
    assert one
    assert two
    assert whole.before_whole == whole.until_whole == 0
    assert whole.now < one.now < two.now
    assert whole.yearly == one.yearly == two.yearly
    # Found at the next look at the latest, then rebuilt.
    assert one.until_whole == pytest.approx(7 * DAY + TERABYTE / (32 * 2**20) / HOUR_S * HOUR)


def test_a_silent_holder_s_shares_wait_for_the_grace_or_for_another_box() -> None:
    row = (OK, OK, OK, OK, OK, SILENT)
    repair = TERABYTE / (32 * 2**20) / HOUR_S * HOUR
    alone, crowded = state(row), state(row, known=places(silent=(5,), peers=7))
    assert alone.forecast
    assert crowded.forecast
    assert alone.forecast.until_whole == pytest.approx(7 * DAY + repair)
    # A seventh peer at site 1 does not help while site 3 has one peer left: two sites may hold two shares each.
    assert crowded.forecast.until_whole == pytest.approx(7 * DAY + repair)
    elsewhere = places(silent=(5,), peers=6) | {PEERS[6]: Place("peer-7", "hospital-4", "site-4", TERABYTE, True)}
    spare = state(row, known=elsewhere)
    assert spare.forecast
    assert spare.forecast.until_whole == pytest.approx(DAY + repair)


def test_a_lost_site_waits_for_a_site() -> None:
    found = state((OK, OK, SILENT, OK, OK, SILENT))
    assert found.forecast is not None
    assert found.forecast.until_whole / DAY == pytest.approx(30, abs=2)


def test_no_figure_is_made_where_the_model_has_none() -> None:
    unreadable = state((OK, OK, OK, SILENT, SILENT, SILENT))
    doubled = state(holders=(0, 1, 2, 3, 4, 4))
    for found in (unreadable, doubled):
        assert found.forecast is None
        assert "loss within a year: no figure, since " in text(found)
        assert durability_value(found, {})["loss"] is None
    # Two shares that go together are not two holders that may be lost.
    assert not may_lose_text(doubled).startswith("any 2")


AGE = "a time without a look of 3,651.0 days is more than the 3,650 that the model takes"
PACE = "a time to rebuild a full peer of 277,777.8 hours is more than the 87,600 that the model takes"


@pytest.mark.parametrize(
    ("look", "words"),
    [
        (LOOK._replace(verified_s=NOW_S - 3651 * DAY_S), AGE),
        (LOOK._replace(verified_s=0), AGE),
        ("refused", AGE),
        (LOOK._replace(repair_bytes_per_s=1000), PACE),
        (LOOK._replace(verified_s=1, repair_bytes_per_s=1), "days is more than the 3,650 that the model takes; a time"),
    ],
)
def test_no_figure_is_made_of_waits_so_long_that_it_would_be_the_better_for_them(
    look: LastLook | str, words: str
) -> None:
    found = state(looks={2: look}, created_s=NOW_S - 3651 * DAY_S)
    assert found.forecast is None
    assert words in found.no_forecast
    assert f"loss within a year: no figure, since {found.no_forecast}" in text(found)
    # Which would refuse them.
    assert plan_command(found) == ""


def test_the_longest_waits_that_plan_takes_have_a_figure() -> None:
    assert not too_long(Hazards(sweep=3650 * DAY_S / YEAR_S, grace=87_600 * HOUR, repair=87_600 * HOUR_S / YEAR_S))
    assert "a grace of 87,601.0 hours" in too_long(Hazards(grace=87_601 * HOUR))
    assert state(looks={2: LOOK._replace(sweep_s=3650 * DAY_S, grace_s=8760 * HOUR_S)}).forecast is not None


@pytest.mark.parametrize("row", [(OK, OK, OK, OK, OK, NEWER), (OK, OK, OK, OK, CORRUPT, NEWER)])
def test_what_a_later_release_wrote_is_not_said_to_be_mended_in_time(row: tuple[Status, ...]) -> None:
    found = state(row)
    assert found.forecast is None
    assert "no figure, since a later release wrote some of its shards" in text(found)
    assert "whole again, at the latest" not in text(found)
    assert durability_value(found, {})["loss"] is None


def test_a_holder_that_nobody_knows_stands_where_it_does_most_harm() -> None:
    known = places()
    del known[PEERS[5]]
    found = state((OK, OK, OK, OK, OK, SILENT), known=known)
    (layout,) = found.layouts
    assert (layout.meant, layout.good) == ((3, 2, 1), (2, 2, 1))
    assert "at a place that nobody knows:" in text(found)


def test_figures_that_plan_would_not_give_are_not_said_to_be_plan_s() -> None:
    # Two peers at one site swapped places with one of another: 3 + 2 + 1 instead of 2 + 2 + 2.
    known = places() | {PEERS[1]: Place("peer-2", "hospital-1", "site-1", TERABYTE, True)}
    found = state(known=known)
    assert plan_command(found) == ""
    assert "cannot repeat this" in text(found)


# --- what a holder says of its last look --------------------------------------------------------

LIMIT = 4096


def test_a_last_look_comes_back_as_it_went() -> None:
    for look in (LOOK, LOOK._replace(checked_s=0, verified_s=0, health=None, repair_bytes_per_s=0)):
        assert parse_last_look(decode(encode(look.to_value()), max_bytes=LIMIT)) == look


EXTREMES = {
    "checked_s": SECONDS_MAX,
    "verified_s": SECONDS_MAX,
    "sweep_s": 3650 * DAY_S,
    "grace_s": 8760 * HOUR_S,
}


@pytest.mark.parametrize("field", EXTREMES)
def test_no_peer_tells_more_than_a_clock_or_a_setting_may_be(field: str) -> None:
    value: dict[str, Value] = {**LOOK.to_value(), field: EXTREMES[field]}
    assert parse_last_look(value).to_value() == value
    with pytest.raises(MalformedError):
        parse_last_look({**value, field: EXTREMES[field] + 1})


def test_no_holder_s_word_keeps_the_statement_from_the_others() -> None:
    most = parse_last_look({**LOOK.to_value(), **EXTREMES, "repair_bytes_per_s": NUMBER_MAX})
    for look in (most, most._replace(verified_s=1), most._replace(checked_s=1), parse_last_look(LEAST.to_value())):
        for found in (state(looks={2: look}), state(looks=dict.fromkeys(range(6), look))):
            assert "peer-3     share 2" in text(found)
            assert durability_value(found, {})["verified"]
    assert "36812-02-20 00:36 UTC (0 minutes ago)" in text(state(looks={2: most}))


@given(values, st.sampled_from(["", "more", *LOOK.to_value()]))
def test_any_last_look_is_taken_or_malformed(value: Value, field: str) -> None:
    try:
        found = parse_last_look({**LOOK.to_value(), field: value} if field else value)
    except MalformedError:
        return
    assert field not in ("", "more")
    assert repr(found.to_value()[field]) == repr(value)

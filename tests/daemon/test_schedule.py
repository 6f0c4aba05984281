"""Turns, jobs and what is remembered between them."""

from __future__ import annotations

from typing import cast

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from client.care import parse_report
from client.health import Health
from client.lastlook import parse_last_look
from core.errors import BusyError, CorruptError, RefusedError
from core.findings import Finding, FindingKind
from core.ids import ObjectId, PeerId
from core.limits import FRAME_BODY_MAX_BYTES, GRACE_MAX_HOURS, PERIOD_MAX_DAYS
from daemon.carebook import CareBook, CareEntry, told_of
from daemon.dues import AGAIN_AFTER_S, SUPERSEDED_MIN, Dues
from daemon.jobs import JOBS_KEPT_MAX, JOBS_WAITING_MAX, Jobs, encode_report
from daemon.pace import Pace
from daemon.rollcall import EVERY_MAX_S as ROLL_CALL_EVERY_MAX_S
from daemon.schedule import Schedule
from daemon.settings import Settings, SweepSettings, parse_settings
from daemon.silence import LOOKED_AWAY_MAX_S, REMEMBERED_MAX, Silence
from daemon.sweep import Progress, Sweeper, SweepReport
from daemon.turns import STEP_PATIENCE_S, Turns
from tests.dht.net import NetClock
from tests.sim.chance import SimChance
from tests.sim.disk import SimDisk
from tests.sim.drive import DiskFaults, SimDrive
from tests.sim.threads import SimThreads
from wire.messages import StartJob

WEEK_S = 7 * 86_400.0
NOW_S = 1_800_000_000
A, B, C = (ObjectId(bytes([number]) * 32) for number in range(3))
P, Q = (PeerId(bytes([number]) * 32) for number in range(2))
SWEEP = StartJob("sweep", False, True, ())


def entry(age_s: float, *, spare: int = 2, open_s: float | None = None) -> CareEntry:
    """``open_s``: for how long somebody else should have mended it."""
    seen_s = int(NOW_S - age_s)
    return CareEntry(seen_s, 0, Health.FULL, spare, open_s is not None, 0 if open_s is None else int(NOW_S - open_s))


def book_of(entries: dict[ObjectId, CareEntry]) -> CareBook:
    book = CareBook(SimDisk(SimDrive()), "/state/care")
    book.load()
    book.note_all(entries)
    return book


@pytest.mark.parametrize(
    ("entries", "hurried", "name", "due_in_s"),
    [
        ({A: entry(10), B: entry(20)}, [], B, WEEK_S - 20),
        ({A: entry(WEEK_S + 5), B: entry(WEEK_S + 9)}, [], B, -9),
        ({A: entry(10), B: entry(20, open_s=20)}, [], B, AGAIN_AFTER_S - 20),
        ({A: entry(10), B: entry(20, open_s=20_020)}, [], B, 20_000 - 20),
        ({A: entry(10), B: entry(20, open_s=9 * WEEK_S)}, [], B, WEEK_S - 20),
        ({A: entry(10), B: entry(20, spare=0), C: entry(0, spare=0)}, [A, B], B, -NOW_S),
        ({A: entry(10), B: entry(-5000)}, [], A, WEEK_S - 10),
        ({B: entry(-WEEK_S)}, [], B, WEEK_S),
    ],
    ids=[
        "the oldest",
        "overdue",
        "again soon",
        "again less soon",
        "again in a period",
        "in a hurry: the weakest",
        "seen in the future",
        "a clock set back",
    ],
)
def test_whose_turn_it_is(
    entries: dict[ObjectId, CareEntry], hurried: list[ObjectId], name: ObjectId, due_in_s: float
) -> None:
    book = book_of(entries)
    dues = Dues(book, WEEK_S)
    if hurried:
        dues.hurry(hurried)
    turn = dues.first(NOW_S)
    assert turn is not None
    assert (turn.object, turn.due_s - NOW_S) == (name, due_in_s)


def test_with_nothing_held_it_is_nobodys_turn() -> None:
    assert Dues(book_of({}), WEEK_S).first(NOW_S) is None


LOOKS = st.builds(entry, st.integers(0, 100), spare=st.integers(0, 2), open_s=st.none() | st.integers(0, 100))


@given(st.lists(st.tuples(st.sampled_from([A, B, C]), LOOKS | st.just("forget") | st.just("hurry") | st.just("begin"))))
def test_the_first_of_the_heap_is_the_first_of_all(steps: list[tuple[ObjectId, CareEntry | str]]) -> None:
    book = book_of({})
    dues = Dues(book, 50.0)
    hurried: set[ObjectId] = set()
    for name, step in steps:
        match step:
            case "forget":
                book.forget(name)
            case "hurry":
                hurried = set(book.entries())
                dues.hurry(hurried)
            case "begin":
                hurried.discard(name)
                dues.begun(name)
            case CareEntry():
                book.note(name, step)
            case _:
                raise AssertionError(step)
        first = dues.first(NOW_S)
        places = [
            (0.0 if known in hurried else look.checked_s + 50.0, look.spare, known)
            for known, look in book.entries().items()
        ]
        assert (first and (first.due_s, first.object)) == min(
            ((due, known) for due, _, known in sorted(places)[:1]), default=None
        )


def test_looks_that_others_order_do_not_fill_the_heap() -> None:
    book = book_of({A: entry(10), B: entry(20)})
    dues = Dues(book, WEEK_S)
    for number in range(10 * SUPERSEDED_MIN):
        book.note(A, entry(9 - number / (10 * SUPERSEDED_MIN)))
        dues.renew()
        assert dues.places <= 2 * len(book) + SUPERSEDED_MIN
    turn = dues.first(NOW_S)
    assert turn is not None
    assert turn.object == B


def test_what_was_looked_at_in_the_future_gets_the_turn_that_was_drawn_until_it_is_noted_anew() -> None:
    year_s = 52 * WEEK_S
    book = book_of({A: entry(-year_s), B: entry(20)})
    dues = Dues(book, WEEK_S)

    def first() -> tuple[ObjectId, float]:
        turn = dues.first(NOW_S)
        assert turn is not None
        return turn.object, turn.due_s - NOW_S

    dues.draw({A: NOW_S - 100.0})
    assert first() == (A, WEEK_S - 100)
    dues.draw({A: NOW_S - 10.0})
    assert first() == (A, WEEK_S - 100)
    dues.hurry([B])
    dues.begun(B)
    assert first() == (A, WEEK_S - 100)
    book.note(A, entry(5))
    assert first() == (B, WEEK_S - 20)
    book.note(B, entry(0))
    assert first() == (A, WEEK_S - 5)
    # The clock was behind, and is right again: what the book says counts.
    book.note(A, entry(-year_s))
    dues.draw({A: NOW_S - 100.0})
    dues.draw({})
    assert first() == (B, WEEK_S)


def test_a_look_counts_as_made_whatever_the_clock_said_before() -> None:
    book = book_of({A: entry(-9000), B: entry(100), C: entry(10)})
    for name in (A, B, C):
        book.seen(name, NOW_S - 50, NOW_S)
    checked = {name: look.checked_s - NOW_S for name, look in book.entries().items()}
    assert checked == {A: -50, B: -50, C: -10}


class NeverDone:
    """A ``Sweeper`` whose looks take so long that the next is due when one ends."""

    def __init__(self, book: CareBook) -> None:
        self.book = book
        self.names = [A]
        self.seen: list[ObjectId] = []

    async def held(self) -> list[ObjectId]:
        return self.names

    async def tidy(self) -> None:
        """Nothing to do."""

    async def anchor_counts(self, *, period_s: float) -> None:
        """Nobody asks for them."""

    async def sweep(self, names: list[ObjectId], *, full: bool, grace: bool, by_order: bool) -> None:
        await trio.sleep(2 * HOUR_S)
        self.seen += names


async def test_new_and_suspect_objects_get_their_turn_where_sweeps_never_catch_up(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    book = book_of({})
    sweeper = NeverDone(book)

    async def suspects() -> list[ObjectId]:
        return [C]

    schedule = Schedule(
        SweepSettings(period_days=HOUR_S / 86_400),
        sweeper=cast(Sweeper, sweeper),
        book=book,
        threads=SimThreads(),
        clock=NetClock(),
        chance=SimChance(1, "schedule"),
        minute_of_day=lambda _: 0,
        turns=Turns(),
        suspects=suspects,
    )
    nursery.start_soon(schedule.run)
    await trio.sleep(10 * HOUR_S)
    assert set(sweeper.seen) == {A}
    sweeper.names = [A, B, C]
    await trio.sleep(20 * HOUR_S)
    assert B in sweeper.seen
    sweeper.seen.clear()
    sweeper.names = [A, B]
    schedule.suspect()
    await trio.sleep(10 * HOUR_S)
    assert C in sweeper.seen


# --- silence ------------------------------------------------------------------------------------


HOUR_S = 3600.0


def watch(silence: Silence, hours: int, *, since_s: float, every_s: float = HOUR_S) -> float:
    """P is called every hour and does not answer. The time of the last call."""
    for number in range(hours + 1):
        silence.note([], [P], since_s + number * every_s)
    return since_s + hours * every_s


def restarted(silence: Silence) -> Silence:
    disk = SimDisk(SimDrive())
    silence.save(disk, "/state/silence", "a")
    again = Silence()
    again.load(disk, "/state/silence")
    return again


def test_a_grace_ends_once_and_an_answer_begins_it_anew() -> None:
    silence = Silence()
    now_s = watch(silence, 3, since_s=1000)
    assert silence.given_up(3.1 * HOUR_S) == frozenset()
    assert silence.given_up(3 * HOUR_S) == {P}
    silence.note([P], [P, Q], now_s)
    assert silence.given_up(HOUR_S) == frozenset()
    silence.note([], [P], now_s + 1000)
    assert silence.given_up(HOUR_S) == frozenset()


def test_a_clock_set_back_never_makes_a_silence_longer() -> None:
    silence = Silence()
    silence.note([], [P], 10 * HOUR_S)
    silence.note([], [P], HOUR_S)
    assert silence.given_up(1) == frozenset()
    silence.note([], [P], 2 * HOUR_S)
    assert silence.given_up(HOUR_S) == {P}


def test_a_suspended_machine_or_a_jumping_clock_ends_nobodys_grace() -> None:
    silence = Silence()
    now_s = watch(silence, 3, since_s=1000)
    silence.note([], [P], now_s + 1000 * HOUR_S)
    assert silence.given_up(24 * HOUR_S) == frozenset()


def test_peers_that_somebody_made_up_take_no_room_from_those_that_are_asked_every_hour() -> None:
    silence = Silence()
    now_s = 1000.0
    for hour in range(25):
        silence.note([], [P], now_s)
        made_up = [PeerId(hour.to_bytes(2, "big") + number.to_bytes(30, "big")) for number in range(5000)]
        silence.note([], made_up, now_s)
        assert len(silence.silent()) <= REMEMBERED_MAX
        now_s += HOUR_S
    assert silence.given_up(24 * HOUR_S) == {P}


def test_names_that_manifests_make_up_keep_nobody_from_being_given_up() -> None:
    silence, now_s = Silence(), 1000.0
    made_up = [PeerId(number.to_bytes(32, "big")) for number in range(2, REMEMBERED_MAX + 2)]
    for hour in range(26):
        silence.note([], [P], now_s)
        if hour == 0:
            silence.meet([P])
        for at in (0, REMEMBERED_MAX // 2):
            now_s += HOUR_S / 2
            silence.note([], made_up[at : at + REMEMBERED_MAX // 2], now_s)
        assert silence.met(P)
        assert len(silence.silent()) <= REMEMBERED_MAX
    assert P in silence.given_up(24 * HOUR_S)


def test_roll_is_called_often_enough_to_count() -> None:
    assert 1.2 * ROLL_CALL_EVERY_MAX_S < LOOKED_AWAY_MAX_S


def test_an_observed_silence_outlives_a_restart_and_the_time_between_does_not_count() -> None:
    silence = Silence()
    now_s = watch(silence, 20, since_s=1000)
    again = restarted(silence)
    now_s = watch(again, 3, since_s=now_s + 1000 * HOUR_S)
    assert again.given_up(24 * HOUR_S) == frozenset()
    watch(again, 1, since_s=now_s)
    assert again.given_up(24 * HOUR_S) == {P}


def test_who_was_given_up_before_a_restart_gets_time_to_come_back_after_it() -> None:
    silence = Silence()
    now_s = watch(silence, 30, since_s=1000)
    assert silence.given_up(24 * HOUR_S) == {P}
    again = restarted(silence)
    assert again.given_up(24 * HOUR_S) == frozenset()
    again.note([], [P], now_s + 60)
    again.note([], [P], now_s + 120)
    assert again.given_up(24 * HOUR_S) == frozenset()
    watch(again, 1, since_s=now_s + 120)
    assert again.given_up(24 * HOUR_S) == {P}


@given(st.binary(max_size=200))
def test_a_damaged_file_means_that_nobody_was_silent(data: bytes) -> None:
    disk = SimDisk(SimDrive())
    disk.make_folders("/state")
    with disk.open("/state/silence", "create") as file:
        file.write_at(0, data)
    silence = Silence()
    silence.load(disk, "/state/silence")
    assert silence.given_up(0) == frozenset()


# --- the book -----------------------------------------------------------------------------------


def test_the_book_is_the_same_after_a_restart_and_forgets_what_is_damaged() -> None:
    disk = SimDisk(SimDrive())
    book = CareBook(disk, "/care")
    book.load()
    book.note(A, CareEntry(NOW_S, NOW_S - 5, Health.FULL, 2))
    book.note(B, CareEntry(NOW_S, 0, Health.LOST, -4, again=True, open_since_s=NOW_S - 9))
    book.note(C, CareEntry(NOW_S, 0, None, 0))
    again = CareBook(disk, "/care")
    again.load()
    assert again.entries() == book.entries()
    summary = again.summary([A, B, C])
    assert (summary.objects, summary.at_risk, summary.never_checked, summary.oldest_verified_s) == (3, 1, 1, None)
    assert again.summary([A]).oldest_verified_s == NOW_S - 5
    with disk.open(f"/care/{A}", "update") as file:
        file.write_at(0, b"\xff")
    again.load()
    assert set(again.entries()) == {B, C}
    again.forget(B)
    again.load()
    assert set(again.entries()) == {C}


@given(st.binary(max_size=100))
def test_any_bytes_are_an_entry_or_none(data: bytes) -> None:
    disk = SimDisk(SimDrive())
    disk.make_folders("/care")
    with disk.open(f"/care/{A}", "create") as file:
        file.write_at(0, data)
    book = CareBook(disk, "/care")
    book.load()
    assert set(book.entries()) <= {A}


# --- jobs ---------------------------------------------------------------------------------------


async def test_jobs_run_one_after_the_other_and_are_reported(nursery: trio.Nursery) -> None:
    gate = trio.Event()
    order: list[str] = []

    async def run(job: StartJob, progress: Progress) -> SweepReport:
        order.append(job.job)
        progress(1, 2)
        await gate.wait()
        return SweepReport(checked=7)

    jobs = Jobs(run)
    nursery.start_soon(jobs.run)
    first, second = jobs.start(SWEEP), jobs.start(StartJob("repair", False, False, (A,)))
    await trio.testing.wait_all_tasks_blocked()
    assert order == ["sweep"]
    assert (jobs.poll(first.number).done, jobs.poll(first.number).of) == (1, 2)
    assert jobs.waiting == 2
    gate.set()
    await trio.testing.wait_all_tasks_blocked()
    assert order == ["sweep", "repair"]
    assert jobs.poll(second.number).finished
    assert parse_report(bytes(jobs.poll(second.number).body)).checked == 7


async def test_a_job_that_fails_says_why(nursery: trio.Nursery) -> None:
    async def run(job: StartJob, progress: Progress) -> SweepReport:
        raise CorruptError("the disk is sick")

    jobs = Jobs(run)
    nursery.start_soon(jobs.run)
    number = jobs.start(SWEEP).number
    await trio.testing.wait_all_tasks_blocked()
    report = parse_report(bytes(jobs.poll(number).body))
    assert report.unrepaired == 1
    assert "sick" in report.findings[0].detail


async def test_waiting_and_kept_jobs_are_bounded(nursery: trio.Nursery) -> None:
    async def run(job: StartJob, progress: Progress) -> SweepReport:
        return SweepReport()

    jobs = Jobs(run)
    numbers = [jobs.start(SWEEP).number for _ in range(JOBS_WAITING_MAX)]
    with pytest.raises(BusyError):
        jobs.start(SWEEP)
    nursery.start_soon(jobs.run)
    for _ in range(2 * JOBS_KEPT_MAX):
        await trio.testing.wait_all_tasks_blocked()
        jobs.start(SWEEP)
    with pytest.raises(RefusedError):
        jobs.poll(numbers[0])


def test_a_report_fits_a_frame_whatever_was_found() -> None:
    findings = [
        Finding(FindingKind.CORRUPT, A, P, extent=number, share=3, chunk=9, detail="x" * 500) for number in range(5000)
    ]
    data = encode_report(SweepReport(1, findings, findings[:3], 5000))
    assert len(data) <= FRAME_BODY_MAX_BYTES
    report = parse_report(data)
    assert report.findings == tuple(findings[: len(report.findings)])
    assert report.left_off == 5000 - len(report.findings) > 0
    assert len(report.repairs) == 3


# --- turns --------------------------------------------------------------------------------------


async def test_an_order_lets_the_step_under_way_end_and_no_other_begin(autojump_clock: trio.testing.MockClock) -> None:
    turns = Turns()
    story: list[str] = []

    async def background() -> None:
        for number in range(3):
            async with turns.step():
                await trio.sleep(1)
                story.append(f"step {number} at {trio.current_time():.1f}")

    async def order(name: str) -> None:
        async with turns.ordered():
            story.append(f"{name} at {trio.current_time():.1f}")
            await trio.sleep(10)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(background)
        await trio.sleep(0.5)
        nursery.start_soon(order, "order")
        await trio.sleep(5)
        nursery.start_soon(order, "another")
    assert story == ["step 0 at 1.0", "order at 1.0", "another at 5.5", "step 1 at 16.5", "step 2 at 17.5"]


async def test_a_step_that_hangs_holds_an_order_up_for_a_moment_only(autojump_clock: trio.testing.MockClock) -> None:
    turns = Turns()

    async def hang() -> None:
        async with turns.step():
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hang)
        await trio.testing.wait_all_tasks_blocked()
        async with turns.ordered():
            assert trio.current_time() == STEP_PATIENCE_S
        nursery.cancel_scope.cancel()
    async with turns.ordered():
        assert trio.current_time() == STEP_PATIENCE_S


async def test_paced_work_that_is_in_the_way_hurries_and_pays_for_it_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    turns = Turns()
    pace = Pace(1.0, hurry=turns.until_ordered)
    async with turns.ordered():
        for _ in range(20):
            await pace.take(1024 * 1024)
        assert trio.current_time() == 0
    await pace.take(1)
    assert 19 <= trio.current_time() <= 20


# --- pace ---------------------------------------------------------------------------------------


async def test_reading_keeps_its_pace(autojump_clock: trio.testing.MockClock) -> None:
    pace = Pace(10.0)
    for _ in range(101):
        await pace.take(1024 * 1024)
    assert 9.0 <= trio.current_time() <= 10.5


async def test_work_stands_back_while_others_are_served_but_not_for_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    busy_until = 3.0
    pace = Pace(0.0, lambda: max(0.0, trio.current_time() - busy_until))
    await pace.take(1)
    assert 4.0 <= trio.current_time() <= 4.2
    always_busy = Pace(0.0, lambda: 0.0)
    before = trio.current_time()
    await always_busy.take(1)
    assert 9.9 <= trio.current_time() - before <= 10.1


@pytest.mark.parametrize(
    "faults", [DiskFaults(capacity_bytes=0), DiskFaults(read_only=True)], ids=["full", "read-only"]
)
def test_what_a_disk_that_takes_no_writes_holds_gets_its_turn(faults: DiskFaults) -> None:
    """Found by the simulator (storm, seed 3): the schedule ended at the first entry that it could not write."""
    drive = SimDrive()
    book = CareBook(SimDisk(drive), "/state/care")
    book.load()
    book.note(A, entry(20))
    drive.faults = faults
    with pytest.raises(OSError, match=r"No space|Read-only"):
        book.note_all({A: entry(10), B: entry(30)})
    assert book.entries() == {A: entry(10), B: entry(30)}
    turn = Dues(book, WEEK_S).first(NOW_S)
    assert turn is not None
    assert turn.object == B


def test_a_place_in_the_queue_is_not_told_as_a_look() -> None:
    settings = Settings()
    for entry in (None, CareEntry(NOW_S, 0, None, 0)):
        told = told_of(entry, settings)
        assert (told.checked_s, told.verified_s, told.health) == (0, 0, None)
        assert (told.sweep_s, told.grace_s, told.repair_bytes_per_s) == (7 * 86_400, 86_400, 32 * 2**20)
    looked = told_of(CareEntry(NOW_S, NOW_S - 5, Health.DEGRADED, 1), settings)
    assert (looked.checked_s, looked.verified_s, looked.health) == (NOW_S, NOW_S - 5, Health.DEGRADED)


def test_the_longest_settings_may_be_told() -> None:
    text = f"[sweep]\nperiod_days = {PERIOD_MAX_DAYS}\n[repair]\ngrace_hours = {GRACE_MAX_HOURS}\n"
    told = told_of(None, parse_settings(text))
    assert parse_last_look(told.to_value()) == told

"""The journal keeps every acknowledged event through crashes, torn tails, rot and full disks."""

from __future__ import annotations

import errno
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import MalformedError, StoreFullError, StoreReadOnlyError
from core.findings import Finding, FindingKind
from daemon.journal import Event, Journal, Note, pack_event, parse_event
from tests.daemon.faulty import FaultyDisk


class FixedClock:
    def __init__(self) -> None:
        self.time_s = 1_800_000_000.5

    def now(self) -> float:
        return self.time_s


class Bench:
    def __init__(self, folder: Path) -> None:
        self.disk = FaultyDisk()
        self.clock = FixedClock()
        self.folder = folder / "journal"

    def open(self, **limits: int) -> Journal:
        journal = Journal(self.disk, str(self.folder), self.clock, **limits)
        journal.start()
        return journal

    def files(self) -> list[Path]:
        return sorted(self.folder.iterdir())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def texts(events: list[Event]) -> list[str]:
    return [event.text for event in events]


def test_events_come_back_in_order_with_numbers_time_and_finding(bench: Bench) -> None:
    journal = bench.open()
    finding = Finding(FindingKind.MISSING, extent=3, detail="gone")
    journal.append([Note("started", "moorage 0.1"), Note.of(finding)])
    journal.append([Note("sweep-finished", facts={"checked": 7, "clean": False, "who": "peer-1"})])
    found = bench.open().newest(10)
    assert [event.number for event in found] == [1, 2, 3]
    assert [event.kind for event in found] == ["started", "missing", "sweep-finished"]
    assert found[1].finding == finding
    assert found[2].facts == {"checked": 7, "clean": False, "who": "peer-1"}
    assert {event.time_ms for event in found} == {1_800_000_000_500}
    assert found == [Event.from_value(event.to_value()) for event in found]


def test_an_acknowledged_event_was_synced_and_so_was_the_folder_of_a_new_file(bench: Bench) -> None:
    journal = bench.open()
    bench.disk.log.clear()
    journal.append([Note("one"), Note("two")])
    journal.append([Note("three")])
    assert [operation for operation, _ in bench.disk.log] == [
        "create", "write", "sync", "sync-folder", "create", "write", "sync",
    ]  # fmt: skip


def test_a_restart_begins_a_new_file_and_goes_on_counting(bench: Bench) -> None:
    bench.open().append([Note("a", "a")])
    bench.open().append([Note("b", "b")])
    assert len(bench.files()) == 2
    assert [event.number for event in bench.open().newest(10)] == [1, 2]


@pytest.mark.parametrize("kept", range(0, 60, 7))
def test_a_torn_tail_costs_only_what_was_not_acknowledged(bench: Bench, kept: int) -> None:
    bench.open().append([Note("x", "acknowledged")])
    last = bench.files()[-1]
    torn = pack_event(Event(2, 0, "x", "torn", None, {}))[:kept]
    last.write_bytes(last.read_bytes() + torn)
    journal = bench.open()
    journal.append([Note("x", "after the crash")])
    assert texts(journal.newest(10)) == ["acknowledged", "after the crash"]


def test_a_flipped_byte_costs_its_own_line_only(bench: Bench) -> None:
    bench.open().append([Note("x", text) for text in ("first", "second", "third")])
    path = bench.files()[0]
    whole = path.read_bytes()
    for at in range(whole.index(b"second") - 60, whole.index(b"second") + 4):
        damaged = bytearray(whole)
        damaged[at] ^= 0x40
        path.write_bytes(damaged)
        assert set(texts(bench.open().newest(10))) <= {"first", "second", "third"}
        assert "third" in texts(bench.open().newest(10))


def test_a_full_disk_refuses_the_event_and_the_next_one_is_kept(bench: Bench) -> None:
    journal = bench.open()
    journal.append([Note("x", "before")])
    bench.disk.fail(errno.ENOSPC, "write")
    with pytest.raises(StoreFullError):
        journal.append([Note("x", "lost")])
    bench.disk.heal()
    journal.append([Note("x", "after")])
    assert texts(journal.newest(10)) == ["before", "after"]
    assert texts(bench.open().newest(10)) == ["before", "after"]


@pytest.mark.parametrize("operation", ["create", "write", "sync", "sync-folder"])
def test_a_failing_disk_is_never_acknowledged(bench: Bench, operation: str) -> None:
    journal = bench.open()
    bench.disk.fail(errno.EIO, operation)
    with pytest.raises(StoreReadOnlyError):
        journal.append([Note("x", "lost")])
    bench.disk.heal()
    journal.append([Note("x", "kept")])
    assert texts(journal.newest(10))[-1] == "kept"


def test_an_unreadable_file_does_not_hide_the_others(bench: Bench) -> None:
    for text in ("one", "two", "three"):
        bench.open().append([Note("x", text)])
    bench.disk.fail(errno.EIO, "read", "00000002")
    assert texts(bench.open().newest(10)) == ["one", "three"]


def test_the_journal_is_bounded_and_drops_the_oldest(bench: Bench) -> None:
    journal = bench.open(file_max_bytes=1000, files_max=3)
    for number in range(200):
        journal.append([Note("x", f"event {number}")])
    assert len(bench.files()) == 3
    assert sum(path.stat().st_size for path in bench.files()) <= 3000
    kept = journal.newest(1000)
    assert [event.number for event in kept] == list(range(201 - len(kept), 201))
    assert texts(journal.newest(2)) == ["event 198", "event 199"]
    assert texts(list(journal.after(198))) == ["event 198", "event 199"]


def test_foreign_files_in_the_folder_are_left_alone(bench: Bench) -> None:
    bench.open().append([Note("x", "kept")])
    (bench.folder / "README.log").write_bytes(b"hello")
    (bench.folder / "notes.txt").write_bytes(b"hello")
    assert texts(bench.open().newest(10)) == ["kept"]


@settings(max_examples=300)
@given(
    st.binary(max_size=80) | st.binary(max_size=40).map(lambda tail: pack_event(Event(1, 2, "x", "y", None, {})) + tail)
)
def test_any_line_is_an_event_or_malformed(line: bytes) -> None:
    try:
        event = parse_event(line)
    except MalformedError:
        return
    assert parse_event(pack_event(event)[:-1]) == event


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b"7",
        b"[" * 100_000,
        b"\xff",
        b'{"kind":"x","number":1.5,"time_ms":0}',
        b'{"facts":{"a":[1]},"kind":"x","number":1,"time_ms":0}',
        b'{"facts":{"a":1e3},"kind":"x","number":1,"time_ms":0}',
    ],
)
def test_a_well_checked_line_of_nonsense_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_event(b"%08x " % zlib.crc32(body) + body)

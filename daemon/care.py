"""A peer's care for what it holds, put together: jobs, schedule, roll call, announcements."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Protocol

import trio

from client.asker import Asker, Directory
from client.home import Home
from client.lastlook import LastLook
from core.errors import MoorageError
from core.ids import ObjectId, PeerId, ShardRoot
from core.ports import Ports
from daemon.carebook import CareBook, CareSummary, told_of
from daemon.desk import Desk, Handlers
from daemon.documents import DocumentKind
from daemon.eventlog import EventLog
from daemon.guests import Guests, Publisher
from daemon.jobs import Jobs
from daemon.journal import Fact, Journal, Note
from daemon.loopback import Loopback
from daemon.naming import Naming
from daemon.ownlog import OwnLog
from daemon.pace import Pace, Traffic
from daemon.repair import Repairer
from daemon.rollcall import RollCall
from daemon.schedule import Schedule
from daemon.scrub import Scrubber
from daemon.settings import Settings
from daemon.shelf import Shelf
from daemon.silence import Silence
from daemon.store import ShardStore
from daemon.supervise import supervise
from daemon.sweep import OBJECTS_AT_ONCE, Progress, Sweeper, SweepReport
from daemon.tally import Tally
from daemon.trash import Trash
from daemon.turns import InTurn, Turns
from daemon.visit import Visitor
from wire.messages import Job, Message, PollJob, StartJob

BOOK_FOLDER = "state/care"
SILENCE_FILE = "state/silence"
TALLY_FILE = "state/swept"


class Pool(Directory, Publisher, Protocol):
    """``dht.node.Dht``."""


def local_minute_of_day(time_s: float) -> int:
    """Minutes since midnight in the host's time zone."""
    local = datetime.fromtimestamp(time_s, tz=UTC).astimezone()
    return local.hour * 60 + local.minute


def _swept(order: StartJob, report: SweepReport) -> Note:
    facts: dict[str, Fact] = {
        "checked": report.checked,
        "findings": len(report.findings),
        "repairs": len(report.repairs),
        "unrepaired": report.unrepaired,
    }
    return Note(order.job, f"{order.job} of {report.checked} objects as ordered", facts=facts)


class Care:
    """``start``, then ``run`` in a nursery. This peer puts itself among ``peers``, so that care treats all alike."""

    def __init__(
        self,
        ports: Ports,
        home: Home,
        settings: Settings,
        *,
        store: ShardStore,
        journal: Journal,
        handlers: Handlers,
        peers: Asker,
        pool: Pool,
        served: Callable[[], int],
        log: EventLog,
        minute_of_day: Callable[[float], int] = local_minute_of_day,
    ) -> None:
        self._ports = ports
        self._home = home
        self._settings = settings
        self._store = store
        self._journal = journal
        self._pool = pool
        self._log = log
        self._me = home.identity.peer
        desk = Desk(me=home.identity, store=store, threads=ports.threads, handlers=handlers)

        async def answer(message: Message) -> Message:
            return await desk.answer(home.identity, message)

        self._asker = Loopback(self._me, answer, store, ports.threads, peers)
        self._book = CareBook(ports.disk, home.path(BOOK_FOLDER))
        self._silence = Silence()
        self._guests = Guests(home, publisher=pool, store=store, threads=ports.threads, clock=ports.clock)
        self._own_log = OwnLog(ports.disk, home, ports.threads, ports.clock)
        self._tally = Tally(
            self._me,
            disk=ports.disk,
            path=home.path(TALLY_FILE),
            threads=ports.threads,
            clock=ports.clock,
            anchor=self._own_log.swept,
            journal=journal,
        )
        self._turns = Turns()
        self._naming = Naming(store.documents)
        # What somebody waits for runs as fast as it can; what nobody asked for stands back.
        self._at_once = self._sweeper(Pace(0.0), Pace(0.0), self._asker, Turns(), OBJECTS_AT_ONCE)
        quiet_s = Traffic(served).quiet_s
        reading = Pace(settings.sweep.pace_mib_s, quiet_s)
        repairing = Pace(settings.repair.bandwidth_mib_s, hurry=self._turns.until_ordered)
        self._by_and_by = self._sweeper(reading, repairing, InTurn(self._asker, self._turns), self._turns)
        self._jobs = Jobs(self._run_job)
        self._schedule = self._make_schedule(minute_of_day)
        self._roll_call = self._make_roll_call()

    def _make_schedule(self, minute_of_day: Callable[[float], int]) -> Schedule:
        ports, settings = self._ports, self._settings
        return Schedule(
            settings.sweep,
            sweeper=self._by_and_by,
            book=self._book,
            threads=ports.threads,
            clock=ports.clock,
            chance=ports.chance,
            minute_of_day=minute_of_day,
            turns=self._turns,
            suspects=self._suspects,
        )

    def _make_roll_call(self) -> RollCall:
        ports, settings = self._ports, self._settings
        return RollCall(
            self._me,
            asker=self._asker,
            directory=self._pool,
            silence=self._silence,
            clock=ports.clock,
            chance=ports.chance,
            grace_s=settings.repair.grace_s,
            given_up=self._schedule.hurry,
            remember=self._by_and_by.remember_silence,
        )

    def _sweeper(self, reading: Pace, repairing: Pace, looking: Asker, turns: Turns, at_once: int = 1) -> Sweeper:
        ports, store, asker = self._ports, self._store, self._asker
        threads, clock = ports.threads, ports.clock
        shelf = Shelf(
            self._me,
            roster=lambda: self._home.roster,
            documents=store.documents,
            threads=threads,
            asker=asker,
            directory=self._pool,
            clock=clock,
            was_whole=self._was_whole,
        )
        repairer = Repairer(
            self._me,
            asker=asker,
            directory=self._pool,
            store=store,
            threads=threads,
            clock=clock,
            pace=repairing,
            relocations=self._own_log,
            turns=turns,
        )
        visitor = Visitor(
            self._me,
            asker=looking,
            directory=self._pool,
            store=store,
            threads=threads,
            clock=clock,
            chance=ports.chance,
            shelf=shelf,
            scrubber=Scrubber(store, threads, reading, self._me, turns),
            repairer=repairer,
            guests=self._guests,
            naming=self._naming,
            silence=self._silence,
            grace_s=self._settings.repair.grace_s,
            samples=self._settings.sweep.samples,
            period_s=self._settings.sweep.period_s,
        )
        return Sweeper(
            self._me,
            disk=ports.disk,
            store=store,
            threads=threads,
            clock=clock,
            chance=ports.chance,
            visitor=visitor,
            trash=self._trash(turns),
            journal=self._journal,
            book=self._book,
            silence=self._silence,
            silence_path=self._home.path(SILENCE_FILE),
            tally=self._tally,
            objects_at_once=at_once,
        )

    def _trash(self, turns: Turns) -> Trash:
        ports = self._ports
        return Trash(
            self._me,
            self._home.folder,
            disk=ports.disk,
            store=self._store,
            naming=self._naming,
            threads=ports.threads,
            clock=ports.clock,
            turns=turns,
        )

    def _was_whole(self, name: ObjectId) -> bool:
        entry = self._book.get(name)
        return entry is not None and entry.verified_s > 0

    # --- life ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read what was remembered. What cannot be read counts as not known."""
        try:
            await self._ports.threads.disk(self._book.load)
            await self._ports.threads.disk(self._tally.load)
            await self._ports.threads.disk(self._silence.load, self._ports.disk, self._home.path(SILENCE_FILE))
        except OSError as error:
            self._log.log("warning", "care-not-remembered", str(error))

    async def run(self) -> None:
        """Everything that happens by itself, until cancelled."""
        async with trio.open_nursery() as nursery:
            for name, task in (
                ("jobs", self._jobs.run),
                ("schedule", self._schedule.run),
                ("roll-call", self._roll_call.run),
                ("guests", self._guests.run),
            ):
                nursery.start_soon(supervise, name, task, self._log)

    # --- for the handlers of the peer -----------------------------------------------------------

    def start_job(self, message: StartJob) -> Job:
        """Raises BusyError."""
        return self._jobs.start(message)

    def poll_job(self, message: PollJob) -> Job:
        """Raises RefusedError."""
        return self._jobs.poll(message.number)

    def document_stored(self, kind: DocumentKind, name: ObjectId) -> None:
        """A peer has given us papers; shards may follow that placement does not give us."""
        if kind == "manifest":
            self._guests.expect(name)

    def damaged(self, root: ShardRoot, problem: str) -> None:
        """A reader met damage; the store has ``root`` among its suspects."""
        del root, problem
        self._schedule.suspect()

    def departed(self, peers: Collection[PeerId]) -> None:
        """These are no members any more: what they held is repaired elsewhere, now."""
        if peers:
            self._silence.depart(peers)
            self._schedule.hurry()

    async def summary(self) -> CareSummary:
        """Over all objects that this peer holds. Raises MoorageError for a sick disk."""
        return await self._ports.threads.disk(self._book.summary, await self._by_and_by.held())

    def last_look(self, name: ObjectId) -> LastLook:
        return told_of(self._book.get(name), self._settings)

    # --- work ---------------------------------------------------------------------------------

    async def _run_job(self, order: StartJob, progress: Progress) -> SweepReport:
        """A repair looks in full: what it does not see it cannot mend."""
        async with self._turns.ordered():
            names = sorted(set(order.objects)) or await self._at_once.held()
            full = order.full or order.job == "repair"
            report = await self._at_once.sweep(names, full=full, grace=order.grace, by_order=True, progress=progress)
            if not order.objects:
                tidied = await self._at_once.tidy()
                report.add(tidied.findings, tidied.repairs, tidied.unrepaired)
                if order.job == "sweep":
                    await self._at_once.anchor_counts(period_s=0.0)
            await self._at_once.write_down([], [], [_swept(order, report)])
            return report

    async def _suspects(self) -> list[ObjectId]:
        """Objects that have a shard in which a reader met damage."""
        suspects = self._store.suspects()
        if not suspects:
            return []
        try:
            await self._naming.complete(self._ports.threads)
        except MoorageError:
            # A manifest went while it was read, or the disk is away: they are suspects still.
            self._schedule.suspect()
            return []
        disk = self._ports.threads.disk
        # Each is read once, however many shards of it: a large one takes a quarter of a second.
        mentioned = await disk(self._naming.mentioned, suspects)
        return [name for name in mentioned if await disk(self._naming.names_any, name, suspects)]

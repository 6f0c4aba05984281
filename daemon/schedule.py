"""When what is looked after: every object once in a period, each at its own time, and sooner when there is reason.

Turns are drawn at random when an object is first seen, and kept: sweeps of different objects and peers stay spread over
the period, which makes it unlikely that silent losses pile up unseen (one common sweep would find them all too late).
Reasons to come sooner: a reader met damage, or a silent holder's grace has ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import trio

from core.ids import ObjectId
from core.ports import Chance, Clock, Threads
from daemon.carebook import CareBook, CareEntry
from daemon.dues import Dues
from daemon.settings import SweepSettings
from daemon.sweep import Sweeper
from daemon.turns import Turns

# An idle peer wakes no more often than this, and not much less, so that clock jumps do not matter for long.
WAKE_MIN_S = 10.0
WAKE_MAX_S = 600.0
# Listing what is held takes seconds where millions of objects are; a new one needs its turn within a period only.
LIST_EVERY_MAX_S = 600.0
LISTS_PER_PERIOD = 64
# A clock that was ahead by less puts a look off by less.
FUTURE_MIN_S = 3600.0
# Tidying reads 64 bytes of each shard; what is abandoned shall not stay much longer than the day it is given.
TIDY_EVERY_MAX_S = 86_400.0
# Somebody who saw the damage may be mending it this very moment.
SUSPECT_DELAY_S = 60.0


class Schedule:
    """``run`` until cancelled.

    Args:
        minute_of_day: local time of the host for a time in seconds since 1970, for the daily window.
        turns: nothing is begun while somebody waits for a job.
        suspects: objects with shards in which a reader met damage that is still there.
    """

    def __init__(
        self,
        settings: SweepSettings,
        *,
        sweeper: Sweeper,
        book: CareBook,
        threads: Threads,
        clock: Clock,
        chance: Chance,
        minute_of_day: Callable[[float], int],
        turns: Turns,
        suspects: Callable[[], Awaitable[list[ObjectId]]],
    ) -> None:
        self._settings = settings
        self._sweeper = sweeper
        self._book = book
        self._threads = threads
        self._clock = clock
        self._random = chance.stream("schedule")
        self._minute_of_day = minute_of_day
        self._turns = turns
        self._suspects = suspects
        self._dues = Dues(book, settings.period_s)
        self._hurry = False
        self._list_every_s = min(LIST_EVERY_MAX_S, settings.period_s / LISTS_PER_PERIOD)
        self._list_at = float("-inf")
        self._suspect_at = float("inf")
        self._tidy_every_s = min(settings.period_s, TIDY_EVERY_MAX_S)
        self._tidy_at_s = clock.now() + self._random.uniform(0.0, self._tidy_every_s)
        self._wake = trio.Event()

    def suspect(self) -> None:
        """A reader met damage in our store: look at what is damaged, soon."""
        self._suspect_at = min(self._suspect_at, trio.current_time() + SUSPECT_DELAY_S)
        self._wake.set()

    def hurry(self) -> None:
        """A peer was given up: every object is looked at once, now."""
        self._hurry = True
        self._wake.set()

    async def run(self) -> None:
        while True:
            pause_s = WAKE_MAX_S
            self._dues.renew()
            if self._in_window():
                pause_s = await self._work()
            pause_s = min(pause_s, WAKE_MAX_S, self._suspect_at - trio.current_time())
            self._wake = trio.Event()
            await trio.sleep(WAKE_MIN_S)
            with trio.move_on_after(max(0.0, pause_s - WAKE_MIN_S)):
                await self._wake.wait()

    def _in_window(self) -> bool:
        window = self._settings.window
        return window is None or window.contains(self._minute_of_day(self._clock.now()))

    async def _work(self) -> float:
        """Do all that is due now; for how many seconds nothing more is. Raises MoorageError for a sick disk."""
        while self._in_window():
            # Each time: where sweeps never catch up, what is new or suspect would else wait for ever.
            await self._take_in()
            now_s = self._clock.now()
            turn = self._dues.first(now_s)
            # As with looks: a clock that was ahead puts nothing off until then.
            self._tidy_at_s = min(self._tidy_at_s, now_s + self._tidy_every_s)
            if now_s >= self._tidy_at_s:
                self._tidy_at_s = now_s + self._tidy_every_s
                await self._sweeper.tidy()
            elif turn is not None and turn.due_s <= now_s:
                await self._visit(turn.object)
            else:
                due_s = self._tidy_at_s if turn is None else min(turn.due_s, self._tidy_at_s)
                return due_s - now_s
        return WAKE_MAX_S

    async def _take_in(self) -> None:
        """What is new, what a reader met, and that all are in a hurry. Raises MoorageError for a sick disk."""
        if self._hurry or trio.current_time() >= self._list_at:
            self._dues.draw(await self._threads.disk(self._enrol, await self._sweeper.held()))
            self._list_at = trio.current_time() + self._list_every_s
        if self._hurry:
            # Not before all are enrolled.
            self._hurry = False
            self._dues.hurry(self._book.entries())
        if trio.current_time() >= self._suspect_at:
            self._suspect_at = float("inf")
            for name in await self._suspects():
                await self._visit(name)

    async def _visit(self, name: ObjectId) -> None:
        self._dues.begun(name)
        began_s = int(self._clock.now())
        try:
            async with self._turns.step():
                # Not before an ordered job is done; then step by step.
                pass
            await self._sweeper.sweep([name], full=False, grace=True, by_order=False)
        except Exception:  # whatever became of it, its next turn comes in a period: it cannot hold up the others
            await self._seen(name, began_s)
            raise
        await self._seen(name, began_s)
        await self._sweeper.anchor_counts(period_s=self._settings.period_s)

    async def _seen(self, name: ObjectId, began_s: int) -> None:
        # On a disk that takes no writes the book knows it until the daemon ends: what is there is looked after.
        with suppress(OSError):
            await self._threads.disk(self._book.seen, name, began_s, int(self._clock.now()))

    def _enrol(self, names: Sequence[ObjectId]) -> dict[ObjectId, float]:
        """Give new objects a turn within the period; forget those that are gone. Turns for those that are noted as
        looked at in the future: the clock was wrong then, and would else put them off until then."""
        known = self._book.entries()
        now_s = self._clock.now()
        period_s = self._settings.period_s
        new = [name for name in names if name not in known]

        def draw() -> float:
            return now_s - self._random.uniform(0.0, period_s)

        turns = {name: CareEntry(int(draw()), 0, None, 0) for name in new}
        with suppress(OSError):
            self._book.note_all(turns)
        for name in sorted(known.keys() - set(names)):
            with suppress(OSError):
                self._book.forget(name)
        return {name: draw() for name, entry in known.items() if entry.checked_s > now_s + FUTURE_MIN_S}

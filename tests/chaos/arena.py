"""A pool under load that faults are thrown at, judged and cleaned away at the end."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.fleet import Fleet
from tests.chaos.judge import LedgerWatch, settle
from tests.chaos.load import Load

COMPLAINTS_MAX = 20
# A traceback says what it is at its end.
COMPLAINT_HEAD_CHARACTERS = 200
COMPLAINT_TAIL_CHARACTERS = 3000


@dataclass
class Run:
    """One run of the tool: what is installed, where it works, and how much it does.

    ``seconds`` is how long each fault scenario goes on before its pool is healed and judged; kills end after
    ``patience_s`` however many they were.
    """

    command: Path
    folder: Path
    seed: str
    kills: int = 60
    cuts: int = 4
    seconds: float = 20.0
    patience_s: float = 120.0
    say: Callable[[str], None] = print
    figures: dict[str, dict[str, int]] = field(default_factory=dict)

    def chance(self, *names: str) -> random.Random:
        return random.Random("/".join((self.seed, *names)))


@dataclass
class Arena:
    """The pool of one scenario."""

    run: Run
    name: str
    fleet: Fleet
    load: Load
    watch: LedgerWatch
    chance: random.Random
    began_s: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        """Daemons, then clients, then the auditor."""
        self.fleet.up()
        self.load.start()
        self.watch.start()

    def until(self, seconds: float) -> Iterator[float]:
        """Seconds since now, for as long as they last; what happens in between is the caller's."""
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            yield passed

    def note(self, text: str) -> None:
        self.run.say(f"  {self.name}: {time.monotonic() - self.began_s:6.1f} s  {text}")

    def settle(self) -> None:
        """Heal and judge; AssertionError says all that is wrong."""
        self.note(f"healing; {len(self.load.acknowledged)} objects acknowledged, {len(self.load.open)} open")
        settle(self.fleet, self.load, self.watch, self.note)
        counts = self.fleet.counts
        counts["objects acknowledged"] = len(self.load.acknowledged)
        self.run.figures[self.name] = {**counts, "seconds": round(time.monotonic() - self.began_s)}
        self.note("; ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
        wrong = [_shortened(text) for text in self.fleet.wrong]
        assert not wrong, f"{self.name}: {len(wrong)} wrong\n" + "\n".join(wrong[:COMPLAINTS_MAX])
        assert self.load.acknowledged, f"{self.name}: nothing was ever acknowledged, so nothing was tested"


def _shortened(text: str) -> str:
    if len(text) <= COMPLAINT_HEAD_CHARACTERS + COMPLAINT_TAIL_CHARACTERS:
        return text
    return f"{text[:COMPLAINT_HEAD_CHARACTERS]}\n[...]\n{text[-COMPLAINT_TAIL_CHARACTERS:]}"


@contextmanager
def arena(
    run: Run,
    name: str,
    *,
    place: Path | None = None,
    prefix: Sequence[str] = (),
    settings: Callable[[int], str] | None = None,
    addresses: Sequence[str] = (),
    largest_bytes: int = 1 << 20,
    workers: int = 3,
) -> Iterator[Arena]:
    """A pool of 6 peers at 3 sites, 2+2: two may be away and puts go on. It does not run yet.

    Args:
        place: where its homes lie, when that is a disk of its own.
        prefix: what all processes are started by.
        settings: of peer number 1, 2, ...
        addresses: where the peers will listen by these settings.
    """
    outside = run.folder / name
    outside.mkdir(parents=True, exist_ok=True)
    fleet = Fleet(run.command, outside / "pool" if place is None else place / "pool", outside, prefix=prefix)
    load = Load(fleet, outside, f"{run.seed}/{name}", workers=workers, largest_bytes=largest_bytes)
    watch = LedgerWatch(fleet)
    with ExitStack() as stack:
        stack.callback(fleet.close)
        stack.callback(watch.stop)
        stack.callback(load.stop)
        # First: what waits for a daemon must not wait for one that is stopped (SIGSTOP).
        stack.callback(fleet.blackout)
        fleet.make()
        if settings is not None:
            for number, peer in enumerate(fleet.peers, start=1):
                (peer.home / "settings.toml").write_text(settings(number))
            for home in (fleet.client, *(peer.home for peer in fleet.peers)):
                (home / "bootstrap").write_text("\n".join(addresses))
        yield Arena(run, name, fleet, load, watch, run.chance(name))

"""What is done to pools: each scenario is a function of a run, and says what it needs of the machine."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from itertools import cycle
from typing import NamedTuple

from tests.chaos.arena import Arena, Run, arena
from tests.chaos.disks import full_disk, injected_by_preload, injected_by_strace, power_cuts, read_only_disk
from tests.chaos.lines import clock_steps, network_faults
from tests.chaos.mixed import mixed
from tests.chaos.sick import clock_library, missing, missing_mounts, missing_network

# A third of the machine's work is then done by processes that live long enough to be worth killing.
KILL_GAP_MAX_S = 1.0
# With nothing acknowledged for so many kills, the next one waits: dead clients prove little.
BARREN_KILLS_MAX = 4
BARREN_WAIT_S = 5.0


class Scenario(NamedTuple):
    name: str
    play: Callable[[Run], None]
    lacks: Callable[[], str]
    """What it needs and the machine does not have; empty when it can be played."""


def _nothing() -> str:
    return ""


def kills(run: Run) -> None:
    """kill -9 of daemons and clients at random moments, now and then of all daemons at once."""
    with arena(run, "kills") as the:
        the.begin()
        began, acknowledged, barren, number = time.monotonic(), 0, 0, 1
        for number in range(1, run.kills + 1):
            time.sleep(the.chance.uniform(0, KILL_GAP_MAX_S))
            if barren >= BARREN_KILLS_MAX:
                _await_acknowledgement(the, acknowledged)
            now = len(the.load.acknowledged)
            barren = barren + 1 if now == acknowledged else 0
            acknowledged = now
            _kill_something(the)
            if time.monotonic() - began > run.patience_s:
                the.note(f"{number} of {run.kills} kills: the machine is slow")
                break
            if number % 100 == 0:
                rate = number / (time.monotonic() - began)
                the.note(f"{number} kills, {rate:.2f} a second, {acknowledged} objects acknowledged")
        the.fleet.counts["ms per kill"] = round(1000 * (time.monotonic() - began) / number)
        the.settle()


def _await_acknowledgement(the: Arena, before: int) -> None:
    deadline = time.monotonic() + BARREN_WAIT_S
    while len(the.load.acknowledged) <= before and time.monotonic() < deadline:
        time.sleep(0.05)


def _kill_something(the: Arena) -> None:
    fleet, drawn = the.fleet, the.chance.random()
    victim = the.chance.choice(fleet.peers)
    clients = fleet.clients()
    if drawn < 0.02:
        for peer in fleet.peers:
            fleet.counts["daemons killed"] += fleet.kill(peer)
    elif drawn < 0.4 and clients:
        the.chance.choice(clients).kill()
        fleet.counts["clients killed"] += 1
    else:
        fleet.counts["daemons killed"] += fleet.kill(victim)


def signals(run: Run) -> None:
    """SIGSTOP for up to 6 s and SIGCONT, SIGTERM to one or all, also at their start; SIGINT and SIGTERM to clients."""
    with arena(run, "signals") as the:
        the.begin()
        kinds = cycle(("term-one", "interrupt", "stop", "term-storm", "interrupt", "term-all"))
        for _ in the.until(run.seconds):
            _send_signals(the, next(kinds))
            time.sleep(the.chance.uniform(0, 0.5))
        the.settle()


def _send_signals(the: Arena, kind: str) -> None:
    fleet, chance = the.fleet, the.chance
    peer = chance.choice(fleet.peers)
    clients = fleet.clients()
    match kind:
        case "stop":
            fleet.counts["stops"] += fleet.signal(peer, signal.SIGSTOP)
            time.sleep(chance.choice((0.1, 1.0, 6.0)))
            fleet.signal(peer, signal.SIGCONT)
        case "term-one":
            fleet.counts["terms"] += fleet.signal(peer, signal.SIGTERM)
        case "term-all":
            for one in fleet.peers:
                fleet.counts["terms"] += fleet.signal(one, signal.SIGTERM)
        case "term-storm":
            for _ in range(8):
                fleet.counts["terms"] += fleet.signal(peer, signal.SIGTERM)
                time.sleep(chance.uniform(0, 0.3))
        case _ if clients:
            chance.choice(clients).send_signal(chance.choice((signal.SIGINT, signal.SIGTERM)))
            fleet.counts["clients interrupted"] += 1
        case _:
            return


def canary(run: Run) -> None:
    """The judge itself: shards of one object are destroyed beyond repair, and it must say so."""
    with arena(run, "canary", workers=1) as the:
        the.begin()
        while len(the.load.acknowledged) < 3:
            time.sleep(0.1)
        the.load.stop()
        the.fleet.down()
        stored = next(iter(the.load.acknowledged))
        for peer in the.fleet.peers[:5]:
            for path in (peer.home / "shards").rglob("*"):
                if path.is_file():
                    path.unlink()
        (the.fleet.peers[0].home / "state" / "planted.tmp").touch()
        (log,) = (the.fleet.client / "anchor").glob("*")
        forged = [*the.watch.seen[log]][-1].split(b"\n")
        forged[2] = b"A" * 43 + b"="
        the.watch.seen[log][b"\n".join(forged)] = None
        saw = True
        try:
            the.settle()
            saw = False
        except AssertionError:
            the.note("the judge complains, as it must")
        text = "\n".join(the.fleet.wrong)
        for sign in (f"{stored}) does not come back", "planted.tmp", "a fork", f"after a sweep {stored} is lost"):
            assert saw, "the judge sees nothing wrong with a pool that was destroyed"
            assert sign in text, f"the judge does not see {sign!r}:\n{text}"


def _lacks_clock() -> str:
    return "" if clock_library() else "no libfaketime is installed"


SCENARIOS = (
    Scenario("canary", canary, _nothing),
    Scenario("kills", kills, _nothing),
    Scenario("signals", signals, _nothing),
    Scenario("full-disk", full_disk, missing_mounts),
    Scenario("read-only-disk", read_only_disk, lambda: missing_mounts("mkfs.ext4")),
    Scenario("power-cuts-ext4", lambda run: power_cuts(run, "ext4"), lambda: missing_mounts("mkfs.ext4")),
    Scenario("power-cuts-xfs", lambda run: power_cuts(run, "xfs"), lambda: missing_mounts("mkfs.xfs")),
    Scenario("preload", injected_by_preload, lambda: missing("cc")),
    Scenario("strace", injected_by_strace, lambda: missing("strace")),
    Scenario("network", network_faults, missing_network),
    Scenario("clock", clock_steps, _lacks_clock),
    Scenario("mixed", mixed, lambda: missing("cc")),
)

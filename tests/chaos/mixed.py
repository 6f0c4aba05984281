"""All faults at once, by a schedule that a seed makes and that is printed before it is played."""

from __future__ import annotations

import random
import signal
import time
from contextlib import ExitStack
from typing import NamedTuple

from tests.chaos.arena import Arena, Run, arena
from tests.chaos.disks import SICK_PEERS, cut, rot
from tests.chaos.lines import FIRST_PORT, address_of, addresses, settings_of
from tests.chaos.sick import (
    Image,
    Namespace,
    Shim,
    build_shim,
    image,
    missing,
    missing_mounts,
    missing_network,
    namespace,
)

EVENTS_PER_S = 1.2
# What each does is in ``Stage.play``; how often each is drawn.
WEIGHTS = {
    "kill-daemon": 6,
    "kill-client": 5,
    "kill-all": 1,
    "stop": 3,
    "term": 2,
    "disk": 5,
    "rot": 2,
    "loss": 2,
    "partition": 2,
    "net-calm": 3,
    "power-cut": 1,
}


class Event(NamedTuple):
    """``peer`` counts from 1; ``amount`` is a duration in seconds, a rate or a count, as the kind wants."""

    at_s: float
    kind: str
    peer: int
    detail: str
    amount: float

    def __str__(self) -> str:
        return f"{self.at_s:6.1f} s  {self.kind} peer-{self.peer} {self.detail} {self.amount:g}"


def schedule(chance: random.Random, seconds: float, peers: int, *, without: frozenset[str]) -> list[Event]:
    """The same for the same seed, duration and machine."""
    kinds = [kind for kind in WEIGHTS if kind not in without]
    events: list[Event] = []
    for _ in range(int(seconds * EVENTS_PER_S)):
        (kind,) = chance.choices(kinds, [WEIGHTS[kind] for kind in kinds])
        sick = kind in ("disk", "rot")
        peer = chance.randint(1, SICK_PEERS if sick else peers)
        detail = chance.choice(Shim.KINDS) if kind == "disk" else chance.choice(("in", "out"))
        at_s, amount = round(chance.uniform(0, seconds), 1), round(chance.uniform(0.1, 5), 1)
        events.append(Event(at_s, kind, peer, detail, amount))
    return sorted(events)


class Stage:
    """What the events act on. What the machine does not have is None."""

    def __init__(self, the: Arena, shims: list[Shim], disk: Image | None, net: Namespace | None) -> None:
        self._the = the
        self._shims = shims
        self._disk = disk
        self._net = net

    def play(self, event: Event) -> None:
        fleet = self._the.fleet
        peer = fleet.peers[event.peer - 1]
        match event.kind:
            case "kill-daemon":
                fleet.kill(peer)
            case "kill-client":
                for client in fleet.clients()[:1]:
                    client.kill()
            case "kill-all":
                for one in fleet.peers:
                    fleet.kill(one)
            case "stop":
                fleet.signal(peer, signal.SIGSTOP)
                time.sleep(event.amount)
                fleet.signal(peer, signal.SIGCONT)
            case "term":
                fleet.signal(peer, signal.SIGTERM)
            case "rot":
                rot(self._the, peer, int(event.amount) + 1)
            case "disk":
                shim = self._shims[event.peer - 1]
                shim.calm()
                shim.set(event.detail, int(10 * event.amount))
            case "power-cut":
                assert self._disk is not None
                cut(self._the, self._disk)
            case _:
                self._play_on_net(event)
        fleet.counts[event.kind] += 1

    def _play_on_net(self, event: Event) -> None:
        assert self._net is not None
        match event.kind:
            case "loss":
                self._net.lose(int(2 * event.amount))
            case "partition":
                address, port = address_of(event.peer), str(FIRST_PORT + event.peer)
                ends = ("daddr", "dport") if event.detail == "in" else ("saddr", "sport")
                self._net.rule("ip", ends[0], address, "tcp", ends[1], port, "drop")
            case kind:
                assert kind == "net-calm", kind
                self._net.calm()


def mixed(run: Run) -> None:
    """Everything above at once, as far as the machine has it, after a schedule that is printed."""
    lacks = {
        "power-cut": missing_mounts("mkfs.ext4"),
        "network": missing_network(),
        "disk": missing("cc"),
    }
    without = {"power-cut"} if lacks["power-cut"] else set[str]()
    without |= {"loss", "partition", "net-calm"} if lacks["network"] else set()
    for kind, why in lacks.items():
        if why:
            run.say(f"  mixed: without {kind}, {why}")
    library = build_shim(run.folder)
    with ExitStack() as stack:
        disk = net = None
        if not lacks["power-cut"]:
            disk = stack.enter_context(image("ext4", run.folder / "mixed.image", run.folder / "mixed-disk"))
        if not lacks["network"]:
            net = stack.enter_context(namespace(f"chaos-{run.seed}"))
        the = stack.enter_context(
            arena(
                run,
                "mixed",
                place=disk.place if disk is not None else None,
                prefix=net.prefix if net is not None else (),
                settings=settings_of if net is not None else None,
                addresses=addresses(),
            )
        )
        shims: list[Shim] = []
        for peer in the.fleet.peers[:SICK_PEERS]:
            shim = Shim(library, run.folder / f"mixed-{peer.name}.control", peer.home, the.chance.randrange(2**32))
            peer.environment = shim.environment
            shims.append(shim)
        events = schedule(
            run.chance("mixed", "schedule"), run.seconds, len(the.fleet.peers), without=frozenset(without)
        )
        run.say("\n".join(f"    {event}" for event in events))
        the.begin()
        stage, began = Stage(the, shims, disk, net), time.monotonic()
        for event in events:
            time.sleep(max(0.0, event.at_s - (time.monotonic() - began)))
            stage.play(event)
        if net is not None:
            net.calm()
        for shim in shims:
            shim.calm()
        the.settle()

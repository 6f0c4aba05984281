"""What will go wrong, as data: a schedule of faults that follows from a seed, and can be written down and shortened.

Each seed draws which kinds of fault it has at all and how often they come (swarm testing: Groce et al., ISSTA 2012).
Each fault carries its own seed for what it picks, so that the rest of a schedule means the same without it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final, cast

from tests.sim.chance import derive
from tests.sim.profiles import Profile

# What each kind does; docs/reliability.md has the same list.
KINDS: Final[dict[str, str]] = {
    "crash": "power cut of a machine: un-synced writes lost or torn, names reordered, nobody is told",
    "kill": "a process ends (kill -9) and starts again",
    "tear": "power cut amid one of the next disk operations",
    "blackout": "power cut of every machine at once",
    "freeze": "a process hangs (SIGSTOP)",
    "partition": "some machines hear nothing of some others; one way in two of five",
    "latency": "the whole network is slow",
    "loss": "connections break, stall, or are hit by a damaged byte (which TLS makes a break)",
    "slow": "a machine is slow: its network and its disk",
    "full": "ENOSPC",
    "sick": "EIO at random reads, writes and syncs; a sync that failed forgets its bytes",
    "read-only": "EROFS",
    "rot": "a bit of a stored shard flips",
    "rot-papers": "a bit of a stored manifest or receipt flips",
    "sector": "a sector of a stored shard cannot be read",
    "vanish": "a stored shard is gone",
    "swap": "the disk under the store is swapped for an empty one",
    "misread": "reads are truncated, stale or misdirected",
    "skew": "a wall clock jumps, and back",
    "lie": "a peer breaks its promises (tests/sim/liars.py)",
    "away": "a machine is off for longer than its grace",
}
LIES: Final = ("wrong-bytes", "other-shard", "forget", "small-only", "refuse", "dribble")
MISREADS: Final = ("truncated", "stale", "misdirected")
CLIENT = "client"
# A machine of the client is struck by these alone: it has no store.
_CLIENT_KINDS: Final = ("crash", "kill", "tear", "full", "sick", "slow", "partition")
_CLIENT_P = 0.15


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """``at_s`` after the pool is up; ``length_s`` until it passes (0: it does not pass); ``draw`` seeds its choices."""

    at_s: float
    kind: str
    targets: tuple[str, ...]
    length_s: float
    draw: int
    how: str = ""

    def __str__(self) -> str:
        where = ",".join(self.targets)
        how = f" {self.how}" if self.how else ""
        return f"{self.at_s:.1f} s: {self.kind}{how} {where} for {self.length_s:.1f} s"


def make_schedule(seed: int, profile: Profile, peers: Sequence[str]) -> tuple[Fault, ...]:
    """The faults of a seed, by ascending time."""
    swarm = derive(seed, "swarm")
    faults: list[Fault] = []
    for kind, rates in profile.rates.items():
        per_hour = swarm.choice(rates)
        chance = derive(seed, f"nemesis/{kind}")
        at_s = 0.0
        while per_hour and (at_s := at_s + chance.expovariate(per_hour / 3600)) < profile.span_s:
            faults.append(_fault(chance.getrandbits(32), kind, round(at_s, 3), profile, peers))
    return tuple(sorted(faults))


def _fault(draw: int, kind: str, at_s: float, profile: Profile, peers: Sequence[str]) -> Fault:
    chance = derive(draw, "fault")
    mean_s = profile.outage_s * (0.5 if kind == "blackout" else 1.0)
    length_s = round(chance.expovariate(1 / mean_s), 3)
    targets: tuple[str, ...] = (chance.choice(peers),)
    how = ""
    if kind in _CLIENT_KINDS and chance.random() < _CLIENT_P:
        targets = (CLIENT,)
    match kind:
        case "crash" | "partition":
            targets = targets if targets == (CLIENT,) else tuple(chance.sample(peers, chance.choice((1, 1, 1, 2, 3))))
            how = "one-way" if kind == "partition" and chance.random() < 0.4 else ""
        case "blackout":
            targets = (*peers, CLIENT)
        case "latency" | "loss":
            targets = ()
        case "misread":
            how = chance.choice(MISREADS)
        case "lie":
            how = chance.choice(LIES)
            length_s = round(profile.outage_s * 4 * (0.5 + chance.random()), 3)
        case "away":
            length_s = round(profile.repair.grace_s * (1.0 + chance.random()), 3)
        case _:
            pass
    return Fault(at_s, kind, targets, length_s, draw, how)


def schedule_text(faults: Sequence[Fault]) -> str:
    """One JSON object a line."""
    return "".join(json.dumps(asdict(fault)) + "\n" for fault in faults)


def parse_schedule(text: str) -> tuple[Fault, ...]:
    """Raises ValueError, TypeError, KeyError for what ``schedule_text`` did not write."""
    found: list[Fault] = []
    for line in text.splitlines():
        value = cast(dict[str, object], json.loads(line))
        if value["kind"] not in KINDS:
            raise ValueError(f"no kind of fault is called {value['kind']!r}")
        value["targets"] = tuple(cast(list[str], value["targets"]))
        found.append(Fault(**value))  # type: ignore[arg-type]  # a file that a person may have shortened
    return tuple(sorted(found))

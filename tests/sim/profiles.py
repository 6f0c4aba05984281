"""Kinds of universe: how long, how dense, and how often each kind of fault may strike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.limits import MIB
from daemon.settings import DhtSettings, RepairSettings, Settings, StoreSettings, SweepSettings

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Profile:
    """``rates``: by kind of fault, how many per hour a seed may draw from; 0 among them switches the kind off.

    ``outage_s``: mean length of what passes by itself. ``pause_s``: mean time between two commands of one client.
    ``upkeep``: settings of discovery that no operator has (``dht.config.DhtConfig``), for speed. ``probe_s``: how
    often a daemon looks at its disk. ``settle_s``: how long a healed pool may take to be whole again.
    """

    name: str
    span_s: float
    clients: int
    pause_s: float
    objects_max: int
    outage_s: float
    settle_s: float
    sweep: SweepSettings
    repair: RepairSettings
    dht: DhtSettings
    probe_s: float
    rates: Mapping[str, tuple[float, ...]]
    upkeep: Mapping[str, float] = field(default_factory=dict[str, float])
    peers: int = 7
    sites: int = 4

    @property
    def settings(self) -> Settings:
        return Settings(sweep=self.sweep, repair=self.repair, dht=self.dht, store=StoreSettings(reserve_bytes=1 * MIB))


STORM = Profile(
    name="storm",
    span_s=30 * MINUTE_S,
    clients=3,
    pause_s=120.0,
    objects_max=6,
    outage_s=30.0,
    settle_s=60 * MINUTE_S,
    sweep=SweepSettings(period_days=12 * MINUTE_S / DAY_S, samples=2),
    repair=RepairSettings(grace_hours=0.15),
    dht=DhtSettings(announce_minutes=30.0, refresh_minutes=30.0),
    probe_s=60.0,
    rates={
        "crash": (12.0, 30.0, 90.0),
        "kill": (0.0, 12.0, 30.0),
        "tear": (0.0, 12.0, 40.0),
        "blackout": (0.0, 2.0),
        "freeze": (0.0, 12.0),
        "partition": (0.0, 10.0, 30.0),
        "latency": (0.0, 6.0),
        "loss": (0.0, 6.0, 12.0),
        "slow": (0.0, 6.0),
        "full": (0.0, 6.0),
        "sick": (0.0, 6.0, 12.0),
        "read-only": (0.0, 4.0),
        "rot": (0.0, 10.0, 60.0),
        "rot-papers": (0.0, 6.0, 20.0),
        "sector": (0.0, 10.0),
        "vanish": (0.0, 10.0),
        "swap": (0.0, 2.0, 4.0),
        "misread": (0.0, 6.0),
        "skew": (0.0, 6.0),
        "lie": (0.0, 4.0, 8.0),
    },
    upkeep={"round_s": 300.0},
)

LONG = Profile(
    name="long",
    span_s=2 * DAY_S,
    clients=2,
    pause_s=3 * HOUR_S,
    objects_max=6,
    outage_s=20 * MINUTE_S,
    settle_s=2 * DAY_S,
    sweep=SweepSettings(period_days=0.5),
    repair=RepairSettings(grace_hours=6.0),
    dht=DhtSettings(announce_minutes=360.0, refresh_minutes=360.0),
    probe_s=30 * MINUTE_S,
    rates={
        "crash": (0.05, 0.3, 1.0),
        "kill": (0.0, 0.2),
        "tear": (0.0, 0.2, 0.5),
        "blackout": (0.0, 0.04),
        "freeze": (0.0, 0.1),
        "partition": (0.0, 0.1, 0.2),
        "latency": (0.0, 0.05),
        "loss": (0.0, 0.05),
        "slow": (0.0, 0.05),
        "full": (0.0, 0.05),
        "sick": (0.0, 0.05, 0.1),
        "read-only": (0.0, 0.03),
        "rot": (0.05, 0.3),
        "rot-papers": (0.0, 0.1),
        "sector": (0.0, 0.1),
        "vanish": (0.0, 0.1),
        "swap": (0.0, 0.02),
        "misread": (0.0, 0.05),
        "skew": (0.0, 0.05),
        "lie": (0.0, 0.05),
        "away": (0.0, 0.01, 0.02),
    },
    upkeep={"round_s": 3600.0, "ping_after_s": 12 * HOUR_S},
)

PROFILES = {profile.name: profile for profile in (STORM, LONG)}

"""What an operator may change: one frozen table per section of HOME/settings.toml (docs/operations.md, "Settings").

An empty file is a good file: every key has a default. A key that does not exist is refused by name, so that a typing
error never silently leaves a default in place. Amounts of bytes are texts with a unit, other numbers carry theirs in
the key's name. What two peers must agree on is not a setting (``core.limits``).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from typing import Literal, Self, get_args

from core.errors import SettingsError
from core.limits import GIB, GRACE_MAX_HOURS, MIB, PERIOD_MAX_DAYS
from core.ports import Address
from daemon.toml import Table, format_size, toml_text

SEEDS_MAX = 64
# A hundredth of a day (14 minutes) is what demonstrations use.
PERIOD_MIN_DAYS = 0.0001
PACE_MAX_MIB_S = 100_000.0

# The system picks the port; nobody outside this machine can connect.
LOOPBACK = Address("127.0.0.1", 0)

# Addresses to bind that nobody can connect to, in their usual spellings.
EVERYWHERE = ("0.0.0.0", "::", "0", "*", "0:0:0:0:0:0:0:0")  # noqa: S104 - to refuse it, not to bind it

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]


@dataclass(frozen=True, slots=True)
class Window:
    """A daily span of the host's local time, in minutes since midnight; it may pass midnight. End is exclusive."""

    start_minute: int
    end_minute: int

    def contains(self, minute_of_day: int) -> bool:
        """Whether this minute (0 to 1439) lies within."""
        if self.start_minute < self.end_minute:
            return self.start_minute <= minute_of_day < self.end_minute
        return minute_of_day >= self.start_minute or minute_of_day < self.end_minute

    def __str__(self) -> str:
        ends = (self.start_minute, self.end_minute)
        return "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in ends)


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Where to listen, how others reach us if that differs, and whom to ask first besides the roster's seeds."""

    listen: Address = LOOPBACK
    advertise: Address | None = None
    seeds: tuple[Address, ...] = ()

    @classmethod
    def read(cls, table: Table) -> Self:
        listen = table.address("listen", cls().listen, low_port=0)
        advertise = table.optional_address("advertise")
        if advertise is None and listen.host in EVERYWHERE:
            raise table.wrong(
                "listen",
                f"= '{listen}' is every address of this machine, none of which others could be told: set [network] "
                f'advertise to the one at which they reach it, such as "peer-1.hospital.example:{listen.port or 7711}"',
            )
        return cls(listen=listen, advertise=advertise, seeds=table.addresses("seeds", max_items=SEEDS_MAX))


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How much to keep for the pool (``quota_bytes``; None: all there is) and what to leave free on the disk."""

    quota_bytes: int | None = None
    reserve_bytes: int = 1 * GIB

    @classmethod
    def read(cls, table: Table) -> Self:
        return cls(
            quota_bytes=table.optional_size("quota", low_bytes=MIB),
            reserve_bytes=table.size("reserve", cls().reserve_bytes, low_bytes=0),
        )


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """Every byte is looked at once per period. ``pace_mib_s``: at most so much reading; 0 means unpaced.

    ``samples``: random chunks asked of another holder's shard in each period.
    """

    period_days: float = 7.0
    window: Window | None = None
    pace_mib_s: float = 64.0
    samples: int = 4

    @property
    def period_s(self) -> float:
        return self.period_days * 86_400

    @classmethod
    def read(cls, table: Table) -> Self:
        default = cls()
        return cls(
            period_days=table.number("period_days", default.period_days, low=PERIOD_MIN_DAYS, high=PERIOD_MAX_DAYS),
            window=_window(table, "window"),
            pace_mib_s=table.number("pace_mib_s", default.pace_mib_s, low=0.0, high=PACE_MAX_MIB_S),
            samples=table.integer("samples", default.samples, low=1, high=256),
        )


@dataclass(frozen=True, slots=True)
class RepairSettings:
    """``grace_hours``: how long a holder may be seen silent before its shards are rebuilt elsewhere.

    ``bandwidth_mib_s``: what background repair may take from the network; 0 means no limit.
    """

    grace_hours: float = 24.0
    bandwidth_mib_s: float = 32.0

    @property
    def grace_s(self) -> float:
        return self.grace_hours * 3600

    @classmethod
    def read(cls, table: Table) -> Self:
        default = cls()
        return cls(
            grace_hours=table.number("grace_hours", default.grace_hours, low=0.0, high=GRACE_MAX_HOURS),
            bandwidth_mib_s=table.number("bandwidth_mib_s", default.bandwidth_mib_s, low=0.0, high=PACE_MAX_MIB_S),
        )


@dataclass(frozen=True, slots=True)
class LogSettings:
    level: LogLevel = "info"
    format: LogFormat = "text"

    @classmethod
    def read(cls, table: Table) -> Self:
        return cls(
            level=table.choice("level", cls().level, get_args(LogLevel)),
            format=table.choice("format", cls().format, get_args(LogFormat)),
        )


@dataclass(frozen=True, slots=True)
class DhtSettings:
    """How often a peer renews its record and looks around, and how many peers it remembers."""

    announce_minutes: float = 60.0
    refresh_minutes: float = 30.0
    peers_max: int = 10_000

    @classmethod
    def read(cls, table: Table) -> Self:
        default = cls()
        # Records live for 48 hours at most; announcing less than daily would let one missed round forget a peer.
        return cls(
            announce_minutes=table.number("announce_minutes", default.announce_minutes, low=0.01, high=1440.0),
            refresh_minutes=table.number("refresh_minutes", default.refresh_minutes, low=0.01, high=1440.0),
            peers_max=table.integer("peers_max", default.peers_max, low=2, high=100_000),
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole file. Each part of the daemon receives its own table, never this."""

    network: NetworkSettings = field(default_factory=NetworkSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    sweep: SweepSettings = field(default_factory=SweepSettings)
    repair: RepairSettings = field(default_factory=RepairSettings)
    log: LogSettings = field(default_factory=LogSettings)
    dht: DhtSettings = field(default_factory=DhtSettings)


def parse_settings(text: str, *, source: str = "settings.toml") -> Settings:
    """The settings in a file's text; ``source`` names it in errors.

    Raises:
        SettingsError: not TOML, a table or key that does not exist (the nearest one is named), or an impossible value.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{source}: not TOML: {error}") from error
    top = Table("", document, source=source)
    settings = Settings(
        network=top.table("network", NetworkSettings.read),
        store=top.table("store", StoreSettings.read),
        sweep=top.table("sweep", SweepSettings.read),
        repair=top.table("repair", RepairSettings.read),
        log=top.table("log", LogSettings.read),
        dht=top.table("dht", DhtSettings.read),
    )
    top.end()
    return settings


def format_settings(settings: Settings) -> str:
    """A file that says exactly this, every key written out: what ``pool up`` puts into a new home."""
    network, store, sweep = settings.network, settings.store, settings.sweep
    return toml_text(
        {
            "network": {
                "listen": str(network.listen),
                "advertise": str(network.advertise) if network.advertise else "",
                "seeds": [str(seed) for seed in network.seeds],
            },
            "store": {
                "quota": "" if store.quota_bytes is None else format_size(store.quota_bytes),
                "reserve": format_size(store.reserve_bytes),
            },
            "sweep": {
                "period_days": sweep.period_days,
                "window": "" if sweep.window is None else str(sweep.window),
                "pace_mib_s": sweep.pace_mib_s,
                "samples": sweep.samples,
            },
            "repair": {
                "grace_hours": settings.repair.grace_hours,
                "bandwidth_mib_s": settings.repair.bandwidth_mib_s,
            },
            "log": {"level": settings.log.level, "format": settings.log.format},
            "dht": {
                "announce_minutes": settings.dht.announce_minutes,
                "refresh_minutes": settings.dht.refresh_minutes,
                "peers_max": settings.dht.peers_max,
            },
        }
    )


def _window(table: Table, key: str) -> Window | None:
    match = table.matched(
        key, r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])", example="20:00-06:00"
    )
    if match is None:
        return None
    hours_and_minutes = [int(part) for part in match.groups()]
    start, end = (hours_and_minutes[at] * 60 + hours_and_minutes[at + 1] for at in (0, 2))
    if start == end:
        raise table.wrong(key, "begins when it ends; leave it empty for all day")
    return Window(start, end)

"""ledger watch: a monitor that follows logs and raises an alarm, with evidence, when one misbehaves."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from typing import NamedTuple

import trio

from anchor.evidence import Evidence
from anchor.note import NOTE_MAX_BYTES
from anchor.policy import parse_policy
from anchor.roster import Roster, parse_roster
from cli.clients import open_home
from cli.homes import read_home
from cli.ledger import read_small
from cli.ledger_words import time_text
from cli.output import print_json, print_lines
from client.context import open_client
from client.evidence import MonitorState
from client.home import ROSTER_FILE, Home
from client.logs import CHECKPOINT_FILE, home_log, origin_of_note
from client.membertiles import MemberTiles
from client.tilesource import FolderSource, TileSource
from client.trust import Trust, no_trust, origins_of, trust_in_home, trust_in_roster
from client.watch import Alarm, Head, Look, Target, Watcher
from core.errors import (
    EXIT_INTEGRITY,
    EXIT_OK,
    EXIT_TRY_AGAIN,
    BusyError,
    MalformedError,
    MoorageError,
    PeerUnavailableError,
    SourceError,
    UsageError,
)
from core.ports import Address
from host.chance import RealChance
from host.clock import RealClock
from host.disk import RealDisk
from host.httptiles import HttpClient, HttpTiles
from host.ports import real_ports
from host.threads import RealThreads
from wire.web import parse_url

STATE_FOLDER = "state/monitor"
# Without an answer the home's own roster has to do.
FOLLOW_DEADLINE_S = 10.0
_SCHEMES = ("http://", "https://")


class _Place(NamedTuple):
    """Where a log is, and what it is called (empty: its checkpoint will tell)."""

    source: str
    origin: str


class _Setting(NamedTuple):
    """Whom and what the monitor looks at."""

    disk: RealDisk
    threads: RealThreads
    home: Home | None
    roster: Roster | None
    roster_file: bytes
    policy: str
    stall_s: float

    def trust(self, origin: str) -> Trust:
        found = None
        if self.policy:
            found = Trust(self.policy, "the policy that was given") if origin in origins_of(self.policy) else None
        elif self.roster is not None:
            found = trust_in_roster(self.roster, origin)
        if found is None and self.home is not None and not self.policy:
            found = trust_in_home(self.disk, self.home, origin)
        if found is None:
            raise no_trust(origin)
        return found


def run(arguments: argparse.Namespace) -> int:
    """Exit status 4: an alarm stands; 75: with ``--once``, a log did not answer."""
    if arguments.every_seconds <= 0 or (arguments.stall_minutes is not None and arguments.stall_minutes <= 0):
        raise UsageError("--every-seconds and --stall-minutes take numbers above 0")
    if arguments.state is None and not _has_home(arguments):
        raise UsageError("a monitor must remember what it saw: give --state DIR, or --home")
    folder = os.path.abspath(arguments.state) if arguments.state else os.path.join(arguments.home, STATE_FOLDER)
    disk = RealDisk(private=True)
    disk.make_folders(folder)
    with disk.lock(os.path.join(folder, "lock"), wait=False) as ours:
        if not ours:
            raise BusyError(f"another monitor works in {folder}: give this one a --state of its own")
        return trio.run(_watch, arguments, disk, MonitorState(disk, RealChance(), folder))


def _has_home(arguments: argparse.Namespace) -> bool:
    return os.path.exists(os.path.join(arguments.home, ROSTER_FILE))


def _setting(arguments: argparse.Namespace, disk: RealDisk) -> _Setting:
    """As it is now: rosters change while a monitor runs. Raises HomeError, SourceError, MalformedError."""
    home = read_home(arguments.home) if _has_home(arguments) else None
    roster_file = read_small(arguments.roster) if arguments.roster else home.roster_file if home else b""
    return _Setting(
        disk=disk,
        threads=RealThreads(),
        home=home,
        roster=parse_roster(roster_file) if roster_file else None,
        roster_file=roster_file,
        policy=read_small(arguments.policy).decode("utf-8", "replace") if arguments.policy else "",
        stall_s=60 * (arguments.stall_minutes or 0),
    )


async def _watch(arguments: argparse.Namespace, disk: RealDisk, state: MonitorState) -> int:
    watcher = Watcher(state, RealThreads(), RealClock())
    while True:
        if _has_home(arguments) and not (arguments.roster or arguments.policy):
            await _follow_roster(arguments.home)
        setting = _setting(arguments, disk)
        places = [_Place(source, "") for source in arguments.sources] or _places_of_roster(setting)
        looks = [await _look(watcher, state, setting, place) for place in places]
        standing = [Alarm(*item) for item in state.standing()]
        new = {alarm.folder for look in looks for alarm in look.alarms}
        _print(arguments, looks, standing, new)
        if standing:
            return EXIT_INTEGRITY
        if arguments.once:
            return EXIT_TRY_AGAIN if any(look.silent for look in looks) else EXIT_OK
        await trio.sleep(arguments.every_seconds)


async def _follow_roster(folder: str) -> None:
    """Take the roster of the day: what logs publish by it may be too little or unknown by an earlier one."""
    home, ports = open_home(folder)
    if not home.roster.is_consortium:
        return
    with trio.move_on_after(FOLLOW_DEADLINE_S), suppress(MoorageError):
        async with open_client(ports, home) as client:
            await client.find_peers()


async def _look(watcher: Watcher, state: MonitorState, setting: _Setting, place: _Place) -> Look:
    try:
        target = await _target(setting, place)
    except PeerUnavailableError as error:
        return Look(place.origin, place.source, 0, 0, 0, (), (), str(error))
    look = await watcher.look(target)
    return replace(look, notes=(*look.notes, *_ended(state, look.origin)))


def _ended(state: MonitorState, origin: str) -> list[str]:
    """What was seen of the log that this one follows: nobody writes to it any more."""
    name, _, number = origin.rpartition("/")
    if not number.isdecimal() or int(number) < 2:
        return []
    before = f"{name}/{int(number) - 1}"
    return [f"it follows {before}, which ended; {state.view(before).edge.size} entries of that were seen here"]


# --- what to look at --------------------------------------------------------------------------


def log_url(policy: str, origin: str) -> str:
    """Where a policy says that its log is served; empty when it does not."""
    for line in policy.splitlines():
        match line.split():
            case ["log", vkey, url] if vkey.startswith(f"{origin}+"):
                return url
            case _:
                pass
    return ""


def _places_of_roster(setting: _Setting) -> list[_Place]:
    """Every log of the roster that has an address, and the home's own."""
    found: list[_Place] = []
    if setting.home is not None:
        own = home_log(setting.disk, setting.home)
        found.append(_Place(own.folder, own.origin))
    for organisation in setting.roster.organisations if setting.roster else ():
        for origin in origins_of(organisation.policy):
            url = log_url(organisation.policy, origin)
            if url and origin not in [place.origin for place in found]:
                found.append(_Place(url, origin))
    if not found:
        raise UsageError("neither a home nor a roster that says where its logs are: name a folder or a URL")
    return found


def _is_members(setting: _Setting, source: str) -> bool:
    """Whether a server of the home's own roster has it: members speak to members only."""
    if setting.home is None or _server_of(source) is None:
        return False
    policies = [parse_policy(organisation.policy) for organisation in setting.home.roster.organisations]
    urls = [policy.log_url(key) for policy in policies for key in policy.logs]
    urls += [witness.url for policy in policies for witness in policy.witnesses]
    # Not the whole URL: a log that ended is served beside the one that followed it.
    return _server_of(source) in [_server_of(url) for url in urls if url]


def _server_of(url: str) -> Address | None:
    """None for what is no https URL."""
    try:
        return parse_url(url).address
    except MalformedError:
        return None


def open_source(setting: _Setting, source: str) -> TileSource:
    """A folder, another member's ledger peer, or any web server. Raises UsageError, SourceError."""
    if setting.home is not None and _is_members(setting, source):
        home = setting.home
        net = real_ports(lambda: home.certificate, home.tls_key, lambda: home.roster.issuers).net
        return MemberTiles(net, source)
    if source.startswith(_SCHEMES):
        return HttpTiles(HttpClient(source))
    folder = os.path.abspath(source)
    if not os.path.isdir(folder):
        raise SourceError(f"{source} is neither a folder nor an http(s) URL")
    return FolderSource(setting.disk, setting.threads, folder)


async def _target(setting: _Setting, place: _Place) -> Target:
    source, origin = place
    opened = open_source(setting, source)
    if not origin:
        try:
            note = await opened.read(CHECKPOINT_FILE, max_bytes=NOTE_MAX_BYTES)
        finally:
            await opened.aclose()
        if note is None:
            raise PeerUnavailableError(f"{source}: there is no checkpoint")
        origin = origin_of_note(note)
    trust = setting.trust(origin)
    heads = _heads(setting, source, origin, trust.policy)
    return Target(origin, trust.policy, setting.roster_file, opened, heads, setting.stall_s)


def _heads(setting: _Setting, source: str, origin: str, policy: str) -> tuple[Head, ...]:
    """The witnesses that can be asked: those of a consortium by their URLs, a home's local one in its folder."""
    hashed = sha256(origin.encode()).hexdigest()
    if log_url(policy, origin):
        urls = {item.url.rstrip("/"): item.key.name for item in parse_policy(policy).witnesses if item.url}
        return tuple(Head(f"witness {name}", open_source(setting, f"{url}/{hashed}")) for url, name in urls.items())
    beside = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(source))), "witness", hashed)
    if source.startswith(_SCHEMES) or os.path.basename(source) != hashed or not os.path.isdir(beside):
        return ()
    local = FolderSource(setting.disk, setting.threads, beside)
    return Head("the local witness", local), Head("what the local witness refused", local, "refused")


# --- what to say ------------------------------------------------------------------------------


def _print(arguments: argparse.Namespace, looks: Sequence[Look], standing: Sequence[Alarm], new: set[str]) -> None:
    if arguments.json:
        print_json(
            {
                "ok": not standing and not any(look.silent for look in looks),
                "logs": [_look_value(look) for look in looks],
                "alarms": [{**_alarm_value(alarm.evidence), "folder": alarm.folder} for alarm in standing],
            }
        )
    elif not arguments.quiet or standing:
        print_lines([line for look in looks for line in _look_lines(look)])
    for folder, evidence in standing:
        word = "ALARM" if folder in new else "ALARM (it stands)"
        print(f"moorage: {word}: {evidence.kind}: log {evidence.origin}: {evidence.words}", file=sys.stderr)
        print(f"moorage:   evidence: {folder}; `moorage ledger verify` checks it", file=sys.stderr)


def _look_value(look: Look) -> dict[str, object]:
    return {
        "origin": look.origin,
        "source": look.source,
        "size": look.size,
        "new": look.new_entries,
        "time": look.time_s,
        "notes": list(look.notes),
        "silent": look.silent or None,
    }


def _alarm_value(evidence: Evidence) -> dict[str, object]:
    return {"kind": evidence.kind, "origin": evidence.origin, "words": evidence.words, "seen": evidence.seen_s}


def _look_lines(look: Look) -> list[str]:
    if look.silent:
        return [f"{look.origin or look.source}: not seen: {look.silent}"]
    when = f", cosigned at {time_text(look.time_s)}" if look.time_s else ""
    words = "ALARM" if look.alarms else "consistent"
    lines = [f"{look.origin}: {words}: {look.size} entries, {look.new_entries} of them new{when}"]
    return [*lines, *(f"  note: {note}" for note in look.notes)]

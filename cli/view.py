"""status, peers, events and doctor."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import trio

from cli.care import finding_line
from cli.clients import client_of, open_home
from cli.output import print_json, print_lines, size_text
from client.certificates import DAY_S, ISSUER_WARNING_DAYS, WARNING_DAYS
from client.home import Home, LedgerKeys
from client.ledger import open_log, organisation_origin, origin_of
from client.servicekeys import identity_of, missing_keys
from client.status import EVENTS_MAX, PeerView, PoolStatus, newest_events, pool_status, view_peers
from core.encoding import Value
from core.errors import EXIT_OK, EXIT_PARTIAL, MoorageError, UsageError
from core.identity import certificate_end_s
from daemon.journal import Event

LIBRARIES = ("trio", "zfec", "blake3", "msgpack", "kademlia", "cryptography")


def run_status(arguments: argparse.Namespace) -> int:
    """Exit status 3 while a peer is silent or an object is at risk; of one object's durability that of its health.

    Raises UsageError.
    """
    if arguments.durability is not None:
        from cli.durability import run_durability

        return run_durability(arguments)
    if arguments.full:
        raise UsageError("--full goes with --durability OBJECT")
    status = trio.run(_status, arguments)
    if arguments.json:
        print_json(_status_value(status))
    else:
        print_lines([status.words(time.time()), *(_peer_line(view) for view in status.peers)])
    return EXIT_PARTIAL if status.at_risk or status.silent else EXIT_OK


async def _status(arguments: argparse.Namespace) -> PoolStatus:
    async with client_of(arguments) as client:
        catalogued = await client.ports.threads.disk(client.memory.count)
        return pool_status(await view_peers(client), catalogued=catalogued)


def _status_value(status: PoolStatus) -> dict[str, Value]:
    return {
        "text": status.words(time.time()),
        "objects": status.objects,
        "at_risk": status.at_risk,
        "never_checked": status.never_checked,
        "oldest_verified": status.oldest_verified_s or None,
        "silent": [view.name for view in status.silent],
        "peers": [_peer_value(view) for view in status.peers],
    }


def _peer_value(view: PeerView) -> dict[str, Value]:
    identity = view.record.identity
    value: dict[str, Value] = {
        "name": identity.name,
        "peer": str(identity.peer),
        "organisation": identity.organisation,
        "site": identity.site,
        "address": str(view.record.address),
        "answers": view.status is not None,
    }
    if view.status is None:
        return value | {"failure": view.failure}
    return value | view.status.to_value()


def _peer_line(view: PeerView) -> str:
    identity = view.record.identity
    where = f"  {identity.name:<10} {identity.site:<10} {view.record.address!s:<22}"
    if view.status is None:
        return f"{where} silent: {view.failure}"
    status = view.status
    notes = [f"{status.shards} shards, {size_text(status.used_bytes)} used, {size_text(status.available_bytes)} free"]
    notes += [f"{status.suspects} suspect"] if status.suspects else []
    notes += [f"read-only: {status.read_only}"] if status.read_only else []
    notes += ["draining"] if status.draining else []
    return f"{where} {'; '.join(notes)}"


def run_peers(arguments: argparse.Namespace) -> int:
    views = trio.run(_peers, arguments)
    if arguments.json:
        print_json({"peers": [_peer_value(view) for view in views]})
    else:
        print_lines([_peer_line(view).strip() for view in views])
    return EXIT_OK if all(view.status is not None for view in views) else EXIT_PARTIAL


async def _peers(arguments: argparse.Namespace) -> list[PeerView]:
    async with client_of(arguments) as client:
        return await view_peers(client)


@dataclass(frozen=True, slots=True)
class PeerEvent:
    """An entry of a peer's journal."""

    peer: str
    event: Event

    def line(self) -> str:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self.event.time_ms / 1000))
        facts = "".join(f" {key}={fact}" for key, fact in self.event.facts.items())
        found = "" if self.event.finding is None else finding_line(self.event.finding, {})
        return f"{stamp} {self.peer} {self.event.kind}{facts} {self.event.text}{found}".rstrip()


def run_events(arguments: argparse.Namespace) -> int:
    """In a peer's home its own journal, in a client's those of all peers that answer."""
    events = trio.run(_events, arguments)
    if arguments.json:
        print_json({"events": [{"peer": item.peer, **item.event.to_value()} for item in events]})
    else:
        print_lines([item.line() for item in events])
    return EXIT_OK


async def _events(arguments: argparse.Namespace) -> list[PeerEvent]:
    count = min(max(1, arguments.count), EVENTS_MAX)
    async with client_of(arguments) as client:
        records = await client.live_peers()
        if client.home.identity.role == "peer":
            records = [record for record in records if record.peer == client.home.identity.peer]
        found = [
            PeerEvent(record.identity.name, Event.from_value(value))
            for record in records
            for value in await newest_events(client, record.peer, count)
        ]
    return sorted(found, key=lambda item: item.event.time_ms)[-count:]


def run_doctor(arguments: argparse.Namespace) -> int:
    """Check this home and this machine; exit status 3 when something needs attention."""
    checks = [_check_machine(), _check_libraries(), _check_kernel(), *_check_home(arguments.home)]
    if arguments.json:
        print_json({"ok": all(check.ok for check in checks), "checks": [check.to_value() for check in checks]})
    else:
        print_lines([f"{'ok  ' if check.ok else 'LOOK'} {check.name}: {check.text}" for check in checks])
    return EXIT_OK if all(check.ok for check in checks) else EXIT_PARTIAL


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    ok: bool
    text: str

    def to_value(self) -> dict[str, Value]:
        return {"name": self.name, "ok": self.ok, "text": self.text}


def _check_machine() -> Check:
    text = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return Check("machine", sys.version_info >= (3, 11), text)


def _check_libraries() -> Check:
    found: list[str] = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            return Check("libraries", False, f"{name} is not installed: install moorage anew")
    return Check("libraries", True, ", ".join(found))


def _check_kernel() -> Check:
    from erasure.codec import FAST_KERNEL, kernel_name

    name = kernel_name()
    if name == FAST_KERNEL:
        return Check("erasure", True, f"{name} computes shares")
    return Check("erasure", False, f"{name} computes shares, which is slow: {FAST_KERNEL} is missing or fails here")


def _check_home(folder: str) -> list[Check]:
    try:
        home, ports = open_home(folder)
    except MoorageError as error:
        return [Check("home", False, str(error))]
    identity = home.identity
    who = f"{identity.role} {identity.name} of {identity.organisation} at {identity.site}, pool {home.roster.pool_name}"
    checks = [Check("home", True, f"{home.folder}: {who}"), _check_certificate(home), _check_issuer(home)]
    try:
        count = open_log(ports.disk, home).size()
        checks.append(Check("ledger", True, f"{origin_of(home)}, {count} entries"))
    except MoorageError as error:
        checks.append(Check("ledger", False, str(error)))
    if home.service is not None:
        checks.append(check_service(home, home.service))
    return checks


def check_service(home: Home, keys: LedgerKeys) -> Check:
    """Whether a ledger peer signs with the keys that the roster has."""
    me = identity_of(organisation_origin(home.roster, home.identity.organisation), keys)
    words = missing_keys(home.roster, me).words(me.origin)
    return Check("ledger-keys", not words, words or f"those of {me.origin} on the roster")


def _check_certificate(home: Home) -> Check:
    days = (certificate_end_s(home.certificate) - time.time()) / DAY_S
    if days > WARNING_DAYS:
        return Check("certificate", True, f"valid for {days:.0f} more days")
    whose = f"where {home.identity.organisation} has its issuing key"
    return Check("certificate", False, f"ends in {days:.0f} days: `moorage certificate renew` {whose}")


def _check_issuer(home: Home) -> Check:
    organisation = home.identity.organisation
    days = (certificate_end_s(home.roster.issuers[organisation]) - time.time()) / DAY_S
    words = f"the issuer's certificate of {organisation} ends in {days:.0f} days"
    if days > ISSUER_WARNING_DAYS:
        return Check("issuer", True, words)
    return Check(
        "issuer", False, f"{words}, and no peer of it is believed then: plan another pool, or its joining anew"
    )

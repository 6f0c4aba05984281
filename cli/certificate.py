"""Renew the certificates of homes; issue one for a home on another machine, and install it there."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from anchor.roster import Roster
from cli.output import print_json, print_lines
from client.certificates import (
    DAY_S,
    LATE_DAYS,
    SERIAL_BYTES,
    HomeCertificate,
    day_text,
    install_certificate,
    issue_for_home,
    read_certificate_of,
    read_issuing,
    successor,
)
from client.home import (
    NO_ROSTER,
    ORGANISATION_FILE,
    ROSTER_FILE,
    TLS_CERTIFICATE_FILE,
    TLS_KEY_FILE,
    read_home_roster,
)
from client.homewriter import check_name
from core.encoding import Value
from core.errors import EXIT_OK, EXIT_PARTIAL, HomeError, MoorageError, PeerRefusedError, UsageError
from core.identity import certificate_end_s, certificate_of_pem, certificate_pem, read_old_certificate
from core.limits import MIB
from host.chance import RealChance
from host.clock import RealClock
from host.disk import RealDisk
from host.owner import as_owner_of


class Renewal(NamedTuple):
    """What became of one home's certificate; ``problem`` is empty when it is as it should be.

    ``found`` is None when it could not even be read.
    """

    folder: str
    found: HomeCertificate | None = None
    end_s: float = 0.0
    renewed: bool = False
    problem: str = ""

    def value(self) -> dict[str, Value]:
        identity = self.found.identity if self.found else None
        return {
            "home": self.folder,
            "name": identity.name if identity else "",
            "organisation": identity.organisation if identity else "",
            "renewed": self.renewed,
            "ended_s": int(self.found.end_s) if self.found else 0,
            "ends_s": int(self.end_s),
            "problem": self.problem,
        }

    def line(self) -> str:
        if self.found is None:
            return f"{self.folder}: is NOT renewed: {self.problem}"
        identity, before = self.found.identity, day_text(self.found.end_s)
        who = f"{identity.name} of {identity.organisation} ({self.folder})"
        if self.problem:
            return f"{who}: ends on {before} and is NOT renewed: {self.problem}"
        if self.renewed:
            return f"{who}: renewed, valid until {day_text(self.end_s)} (before: {before})"
        return f"{who}: valid until {day_text(self.end_s)}, not renewed yet"


def run_certificate(arguments: argparse.Namespace) -> int:
    match arguments.action:
        case "renew":
            return run_renew(arguments)
        case "issue":
            return run_issue(arguments)
        case _:
            return run_install(arguments)


def run_renew(arguments: argparse.Namespace) -> int:
    """Raises HomeError (no home, or no roster in it), UsageError."""
    if arguments.within_days <= 0:
        raise UsageError(f"--within-days {arguments.within_days:g}: name a number of days above 0")
    disk = RealDisk(private=True)
    roster = read_home_roster(disk, arguments.home).roster
    named = [os.path.abspath(folder) for folder in arguments.homes]
    if arguments.name:
        renewals = [_make_anew(disk, arguments, roster, named)]
    else:
        folders = named or _homes_beside(disk, arguments.home, roster)
        renewals = [_renew(disk, arguments, roster, folder) for folder in folders]
    if arguments.json:
        print_json({"certificates": [item.value() for item in renewals]})
    elif not arguments.quiet:
        print_lines([item.line() for item in renewals])
        if any(item.renewed for item in renewals):
            print_lines(["daemons that run take theirs up within seconds, without a restart"])
    return EXIT_PARTIAL if any(item.problem for item in renewals) else EXIT_OK


def _homes_beside(disk: RealDisk, home: str, roster: Roster) -> list[str]:
    """The home, and those in its folder unless they are of another pool."""
    folder = os.path.dirname(home)
    found = [home]
    for name in disk.list_folder(folder):
        path = os.path.join(folder, name)
        if path == home or disk.stat(os.path.join(path, TLS_KEY_FILE)) is None:
            continue
        if disk.stat(os.path.join(path, ROSTER_FILE)) is None:
            print(f"moorage: {path} is left out: {NO_ROSTER}", file=sys.stderr)
            continue
        with suppress(MoorageError, OSError):
            if read_home_roster(disk, path).roster.pool != roster.pool:
                continue
        # One whose roster cannot be read is said to be so where it is renewed.
        found.append(path)
    return found


def _renew(disk: RealDisk, arguments: argparse.Namespace, roster: Roster, folder: str) -> Renewal:
    """Whatever is wrong with one home, the others are renewed."""
    now, found = RealClock().now(), None
    try:
        found = read_certificate_of(disk, folder, roster)
        if not found.is_due(now, arguments.within_days):
            return Renewal(folder, found, found.end_s)
        if now > found.end_s + LATE_DAYS * DAY_S and not arguments.clock_is_right:
            raise HomeError(
                f"this machine's clock says {day_text(now)}, long after its end: set the clock, or say --clock-is-right"
            )
        issuing = read_issuing(disk, arguments.home, roster, found.identity.organisation)
        made = successor(issuing, found.identity.certificate, now=now, serial=RealChance().token(SERIAL_BYTES))
        _install(disk, folder, made, now)
    except (MoorageError, OSError) as error:
        return Renewal(folder, found, found.end_s if found else 0.0, problem=_words(error))
    return Renewal(folder, found, certificate_end_s(made), renewed=True)


def _make_anew(disk: RealDisk, arguments: argparse.Namespace, roster: Roster, named: list[str]) -> Renewal:
    """For one home whose certificate is lost, and that of before too: a person says what stood in it."""
    if len(named) != 1 or not arguments.site:
        raise UsageError("--name is for one home that has lost its certificate: name that HOME, and its --site")
    folder, now = named[0], RealClock().now()
    with suppress(HomeError, PeerRefusedError):
        identity = read_certificate_of(disk, folder, roster).identity
        raise UsageError(f"{folder} has the certificate of {identity.name} at {identity.site}: leave --name out")
    check_name("peer", arguments.name)
    check_name("site", arguments.site)
    organisation = arguments.organisation or read_certificate_of(disk, arguments.home, roster).identity.organisation
    try:
        made = issue_for_home(
            disk,
            folder,
            read_issuing(disk, arguments.home, roster, organisation),
            name=arguments.name,
            site=arguments.site,
            role="peer" if disk.stat(os.path.join(folder, ORGANISATION_FILE)) is None else "client",
            now=now,
            serial=RealChance().token(SERIAL_BYTES),
        )
        _install(disk, folder, made, now)
    except (MoorageError, OSError) as error:
        return Renewal(folder, problem=_words(error))
    return Renewal(folder, read_certificate_of(disk, folder, roster), certificate_end_s(made), renewed=True)


def _install(disk: RealDisk, folder: str, made: bytes, now: float) -> None:
    roster = read_home_roster(disk, folder).roster
    with as_owner_of(os.path.join(folder, TLS_KEY_FILE)):
        install_certificate(disk, folder, roster, made, now=now, token=RealChance().token(4).hex())


def _words(error: MoorageError | OSError) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}; give this as the user that its daemon runs as"
    return str(error)


def _read_pem(path: str) -> bytes:
    """DER of a certificate in a file that a person names."""
    try:
        data = sys.stdin.buffer.read(MIB) if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return certificate_of_pem(data)
    except ValueError as error:
        raise UsageError(f"{path} is no certificate in PEM: name a home's {TLS_CERTIFICATE_FILE}") from error


def run_issue(arguments: argparse.Namespace) -> int:
    """Print a successor. Raises UsageError, HomeError (no issuing key here), PeerRefusedError (not of this pool)."""
    disk = RealDisk(private=True)
    roster = read_home_roster(disk, arguments.home).roster
    old = _read_pem(arguments.old)
    identity, _ = read_old_certificate(old, roster.issuers)
    issuing = read_issuing(disk, arguments.home, roster, identity.organisation)
    made = successor(issuing, old, now=RealClock().now(), serial=RealChance().token(SERIAL_BYTES))
    pem = certificate_pem(made).decode()
    if arguments.json:
        print_json({"name": identity.name, "ends_s": int(certificate_end_s(made)), "certificate": pem})
    else:
        print_lines([pem.rstrip("\n")])
    return EXIT_OK


def run_install(arguments: argparse.Namespace) -> int:
    """Raises UsageError, HomeError (it is for another home), PeerRefusedError (not of this pool)."""
    disk, home = RealDisk(private=True), arguments.home
    made, now = _read_pem(arguments.file), RealClock().now()
    before, roster = None, read_home_roster(disk, home).roster
    # One that is lost, or not valid yet, is no reason to refuse another.
    with suppress(HomeError, PeerRefusedError):
        before = read_certificate_of(disk, home, roster)
    if before and not before.damage and before.begin_s <= now and certificate_end_s(made) < before.end_s:
        raise HomeError(f"the home's certificate is valid until {day_text(before.end_s)}, longer than {arguments.file}")
    try:
        _install(disk, home, made, now)
    except OSError as error:
        raise HomeError(_words(error)) from error
    end_s = certificate_end_s(made)
    if arguments.json:
        print_json({"home": arguments.home, "ends_s": int(end_s)})
    elif not arguments.quiet:
        print_lines([f"{arguments.home}: valid until {day_text(end_s)}; a daemon that runs takes it up within seconds"])
    return EXIT_OK

"""Show the home's roster, or write it out for any client of The Update Framework."""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime

from cli.homes import read_home
from cli.output import print_json, print_lines
from client.home import Home
from core.encoding import Value
from core.errors import EXIT_OK, UsageError
from host.clock import RealClock


def run_roster(arguments: argparse.Namespace) -> int:
    """Raises HomeError, UsageError (a roster of one key has no TUF metadata)."""
    home = read_home(arguments.home)
    if arguments.tuf:
        _export(home, os.path.abspath(arguments.tuf))
    value = _value(home)
    if arguments.json:
        print_json(value)
    elif not arguments.quiet:
        print_lines(_lines(home))
    return EXIT_OK


def _value(home: Home) -> dict[str, Value]:
    roster = home.roster
    organisations: list[Value] = []
    for item in roster.organisations:
        row: dict[str, Value] = {"name": item.name, "manifest_key": item.manifest_key.hex()}
        if item.member is not None:
            row |= {
                "admin_key": item.member.admin_key.hex(),
                "log": item.member.log_vkey,
                "log_url": item.member.log_url,
                "witness": list(item.member.witness_vkeys),
                "witness_url": item.member.witness_url,
            }
        organisations.append(row)
    return {
        "pool": str(roster.pool),
        "pool_name": roster.pool_name,
        "version": 2 if roster.is_consortium else 1,
        "epoch": roster.epoch,
        "expires_s": roster.expires_s,
        "expired": roster.has_expired(RealClock().now()),
        "threshold": _threshold(home),
        "organisations": organisations,
        "seeds": [str(seed) for seed in roster.seeds],
    }


def _threshold(home: Home) -> int:
    from anchor.organisation import byzantine_majority

    return byzantine_majority(len(home.roster.organisations)) if home.roster.is_consortium else 1


def _lines(home: Home) -> list[str]:
    roster = home.roster
    lines = [f"pool {roster.pool_name} ({roster.pool.short}), roster {roster.epoch}"]
    if roster.expires_s:
        expires = datetime.fromtimestamp(roster.expires_s, tz=UTC)
        state = "EXPIRED on" if roster.has_expired(RealClock().now()) else "valid until"
        lines.append(f"{state} {expires:%Y-%m-%d}; the next takes {_threshold(home)} of its members' signatures")
    for item in roster.organisations:
        ours = " (this home's)" if item.name == home.identity.organisation else ""
        lines.append(f"  {item.name}{ours}" + (f"  {item.member.witness_url}" if item.member is not None else ""))
    return lines


def _export(home: Home, folder: str) -> None:
    if not home.roster.is_consortium:
        raise UsageError("--tuf: the roster of a pool of one key is no TUF metadata")
    from anchor.rosterfile import parse_roster_file, tuf_files

    for name, data in tuf_files(parse_roster_file(home.roster_file)).items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)

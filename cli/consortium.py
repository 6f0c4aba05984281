"""Found a consortium, invite to it, join it."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Callable, Sequence

import trio

from anchor.draft import draft_of
from anchor.organisation import Organisation, Roster, with_policies
from anchor.proposal import decode_organisation, doors_of, encode_organisation
from anchor.rootchain import assemble
from anchor.roster import parse_roster
from anchor.rosterfile import encode_roster_file
from cli.homes import read_home
from cli.output import print_json, print_lines
from cli.pool import pool_peers, start_peers
from client.adminkey import sign_once
from client.bootstrap import BOOTSTRAP_FILE, parse_address, parse_addresses
from client.certificates import read_issuing
from client.home import Home
from client.invitation import format_token, invite, parse_token
from client.joining import Applicant, Joined
from client.member import MemberMaker, MemberPlan
from core.durable import read_file
from core.encoding import Value, decode, encode
from core.errors import EXIT_OK, HomeError, UsageError
from core.identity import certificate_end_s, key_from_seed
from core.limits import PROPOSAL_MAX_BYTES
from core.ports import Address
from host.chance import RealChance
from host.clock import RealClock
from host.disk import RealDisk
from host.ports import real_ports

YEAR_S = 365 * 86400
INVITATION_HOURS_MAX = 24 * 30


def run_consortium(arguments: argparse.Namespace) -> int:
    match arguments.action:
        case "init":
            return run_init(arguments)
        case "invite":
            return run_invite(arguments)
        case "join":
            return run_join(arguments)
        case "add-peer":
            from cli.add_peer import run_add_peer

            return run_add_peer(arguments)
        case _:
            from cli.consortium_votes import run_vote

            return run_vote(arguments)


def _plan(arguments: argparse.Namespace, pool_name: str) -> MemberPlan:
    listen = parse_address(arguments.listen)
    return MemberPlan(
        pool_name=pool_name,
        organisation=arguments.organisation,
        site=arguments.site or arguments.organisation,
        listen=listen,
        address=parse_address(arguments.advertise) if arguments.advertise else listen,
        peers=arguments.peers,
        scheme=arguments.scheme or "",
        log_number=max(1, getattr(arguments, "log_number", 1)),
    )


def _maker(folder: str, plan: MemberPlan) -> MemberMaker:
    return MemberMaker(RealDisk(private=True), RealChance(), RealClock(), folder, plan)


def run_init(arguments: argparse.Namespace) -> int:
    """Raises UsageError, HomeError (something is in the folder already)."""
    folder = os.path.abspath(arguments.dir)
    plan = _plan(arguments, arguments.pool)
    if arguments.start:
        _check_listen(plan.listen)
    maker = _maker(folder, plan)
    organisation = maker.make()
    data = _first_roster(maker, arguments.pool, organisation)
    maker.write_roster(data, [])
    roster = parse_roster(data)
    _finish(arguments, folder, roster, [f"pool {roster.pool_name} ({roster.pool}) is founded by {organisation.name}"])
    return EXIT_OK


def _first_roster(maker: MemberMaker, pool_name: str, organisation: Organisation) -> bytes:
    rows = with_policies([organisation])
    roster = Roster(pool_name, 1, b"", rows, doors_of(rows), b"", int(RealClock().now()) + YEAR_S)
    draft = draft_of(roster)
    ballots = sign_once(RealDisk(private=True), maker.homes[0], draft, None, RealChance().token(4).hex())
    return encode_roster_file(assemble(draft, ballots, None))


def _finish(arguments: argparse.Namespace, folder: str, roster: Roster, lines: Sequence[str]) -> None:
    """Start the daemons unless that is not wanted, and say how things are."""
    if arguments.start:
        start_peers(folder)
    peers = pool_peers(folder)
    if arguments.json:
        value: dict[str, Value] = {
            "pool": str(roster.pool),
            "pool_name": roster.pool_name,
            "epoch": roster.epoch,
            "organisation": arguments.organisation,
            "home": os.path.join(folder, "client"),
            "peers": [peer.value() for peer in peers],
        }
        print_json(value)
    elif not arguments.quiet:
        print_lines(lines)
        for peer in peers:
            state = f"runs at {peer.address}" if peer.pid else f"start it: moorage --home {peer.home} daemon"
            print_lines([f"{peer.name} {state}"])


def run_invite(arguments: argparse.Namespace) -> int:
    """Raises HomeError (no issuing key here), UsageError."""
    home = read_home(arguments.home)
    if not home.roster.is_consortium:
        raise UsageError("this pool is no consortium (one key signs its roster): found one with `consortium init`")
    if not 0 < arguments.hours <= INVITATION_HOURS_MAX:
        raise UsageError(f"--hours {arguments.hours}: an invitation is valid for up to {INVITATION_HOURS_MAX} hours")
    disk = RealDisk(private=True)
    organisation = home.identity.organisation
    issuing = read_issuing(disk, home.folder, home.roster, organisation)
    invitation = invite(
        issuing.key,
        issuing.certificate,
        pool=home.roster.pool,
        pool_name=home.roster.pool_name,
        organisation=organisation,
        address=parse_address(arguments.address) if arguments.address else _own_address(disk, home),
        chance=RealChance(),
        clock=RealClock(),
        valid_s=arguments.hours * 3600.0,
    )
    token = format_token(invitation)
    if arguments.json:
        expires_s = int(certificate_end_s(invitation.certificate))
        print_json({"token": token, "address": str(invitation.address), "expires_s": expires_s})
    else:
        print_lines([token])
    return EXIT_OK


def _own_address(disk: RealDisk, home: Home) -> Address:
    """Of our organisation's ledger peer as the roster has it, else of whomever this home knocks at first."""
    known = home.roster.organisation(home.identity.organisation)
    doors = doors_of([known]) if known is not None else ()
    if doors:
        return doors[0]
    data = read_file(disk, home.path(BOOTSTRAP_FILE), max_bytes=1 << 16)
    addresses = parse_addresses(data) if data is not None else []
    if not addresses:
        raise UsageError("where is a peer of ours reached? Say --address HOST:PORT")
    return addresses[0]


def run_join(arguments: argparse.Namespace) -> int:
    """Raises UsageError (no invitation, or an expired one), HomeError, MoorageError."""
    invitation = parse_token(arguments.token)
    if certificate_end_s(invitation.certificate) < RealClock().now():
        raise UsageError("the invitation has expired: ask for another one")
    folder = os.path.abspath(arguments.dir)
    plan = _plan(arguments, invitation.pool_name)
    maker = _maker(folder, plan)
    entry = maker.entry()
    if entry is None:
        if arguments.start:
            _check_listen(plan.listen)
        entry = encode(encode_organisation(maker.make()))
        maker.write_entry(entry)
    organisation = decode_organisation(decode(entry, max_bytes=PROPOSAL_MAX_BYTES))
    _check_begun(folder, plan, organisation)
    issuers = {invitation.organisation: invitation.issuer}
    ports = real_ports(lambda: invitation.certificate, key_from_seed(invitation.seed), lambda: issuers)
    applicant = Applicant(ports, invitation, maker.homes[0], entry, organisation, _teller(arguments))
    joined = trio.run(_join_within, applicant, arguments.wait)
    doors = [door for door in joined.roster.seeds if door != plan.address]
    maker.write_roster(joined.file, list(dict.fromkeys([invitation.address, *doors])))
    _finish(arguments, folder, joined.roster, [f"{organisation.name} is a member of {joined.roster.pool_name}"])
    return EXIT_OK


def _check_begun(folder: str, plan: MemberPlan, organisation: Organisation) -> None:
    """Raises HomeError: what an earlier attempt made is for somebody else than these words are."""
    way_out = f"give another --dir, or remove it if {organisation.name} did not join with it"
    if organisation.name != plan.organisation:
        raise HomeError(f"{folder} holds the keys of {organisation.name}, not of {plan.organisation}: {way_out}")
    doors = doors_of([organisation])
    if plan.address not in doors:
        raise HomeError(f"{folder} was made for {', '.join(map(str, doors))}, not for {plan.address}: {way_out}")


def _check_listen(listen: Address) -> None:
    """Before anything is made: others would write down an address where somebody else listens. Raises UsageError."""
    try:
        for family, kind, protocol, _, place in socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as door:
                door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                door.bind(place)
    except OSError as error:
        raise UsageError(f"nothing can listen at {listen}: {error.strerror}: give another --listen") from error


async def _join_within(applicant: Applicant, wait_s: float) -> Joined:
    with trio.move_on_after(wait_s):
        return await applicant.join()
    raise HomeError(f"nobody approved within {wait_s:.0f} s: give the same command again to go on waiting")


def _teller(arguments: argparse.Namespace) -> Callable[[str], None]:
    def tell(words: str) -> None:
        if words and not arguments.quiet:
            print(f"moorage: {words}", file=sys.stderr, flush=True)

    return tell

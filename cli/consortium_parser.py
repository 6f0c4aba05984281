"""The words of `consortium`, `roster` and `certificate` (docs/operations.md, "A consortium"). Imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Protocol

INVITATION_HOURS = 72
RENEW_WITHIN_DAYS = 90
KEYS = ("admin", "witness", "log")
WAIT_S = 24 * 3600


class _Common(Protocol):
    def __call__(self, parser: argparse.ArgumentParser, *, top: bool) -> None: ...


def _adder(
    group: argparse.ArgumentParser, common: _Common, parser_class: type[argparse.ArgumentParser]
) -> Callable[[str, str], argparse.ArgumentParser]:
    """Adds actions to a command."""
    actions = group.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=parser_class)

    def action(name: str, text: str) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
        common(made, top=False)
        return made

    return action


def add_consortium_commands(
    add: Callable[[str, str], argparse.ArgumentParser], common: _Common, parser_class: type[argparse.ArgumentParser]
) -> None:
    consortium = add("consortium", "found, join, change or leave a consortium of hospitals")
    action = _adder(consortium, common, parser_class)
    init = action("init", "make the founding hospital's homes and the first roster, and start its peer")
    init.add_argument("--pool", metavar="NAME", required=True, help="the consortium's name, such as pool.example")
    _add_member(init)
    invite = action("invite", "print an invitation for one organisation")
    invite.add_argument("--address", metavar="HOST:PORT", help="a peer of ours (default: our ledger peer)")
    invite.add_argument("--hours", type=float, default=INVITATION_HOURS, metavar="N", help="valid for (default 72)")
    join = action("join", "make an organisation's homes, wait for approval, start its peer")
    join.add_argument("token", metavar="INVITATION", help="what `consortium invite` printed")
    join.add_argument("--wait", type=float, default=WAIT_S, metavar="SECONDS", help="for approval (default: a day)")
    join.add_argument(
        "--log-number",
        type=int,
        default=1,
        metavar="N",
        help="of the log that begins, for one that was a member before: above the number of its last log (default 1)",
    )
    _add_member(join)
    another = action("add-peer", "make another peer of our organisation, and start it; the roster stays as it is")
    another.add_argument("--dir", metavar="DIR", help="its home (default: beside the client's)")
    add_peer_options(another, listen_required=True)
    approve = action("approve", "list what is proposed, or sign one proposal with our admin key")
    approve.add_argument("proposal", metavar="PROPOSAL", nargs="?", help="its first digits")
    leave = action("leave", "propose that an organisation leaves")
    leave.add_argument("--organisation", metavar="NAME", help="which (default: our own)")
    leave.add_argument("--reason", metavar="TEXT", help="for those who are to approve it")
    rotate = action("rotate-key", "make a new key and propose it: of the admin, the witness or the log")
    rotate.add_argument("--key", choices=KEYS, default="admin", help="which (default: admin)")
    rotate.add_argument(
        "--peer-home",
        metavar="DIR",
        help="of our ledger peer, for log and witness (default: peer-1 beside --home)",
    )
    rotate.add_argument("--reason", metavar="TEXT", help="for those who are to approve it")
    action("renew", "propose the same roster for another year")
    roster = add("roster", "show who belongs to the pool")
    shown = roster.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=parser_class)
    show = shown.add_parser("show", help="the home's roster", description="The home's roster.", allow_abbrev=False)
    common(show, top=False)
    show.add_argument("--tuf", metavar="DIR", help="write it out as a repository of The Update Framework, too")


def add_certificate_commands(
    add: Callable[[str, str], argparse.ArgumentParser], common: _Common, parser_class: type[argparse.ArgumentParser]
) -> None:
    certificate = add("certificate", "renew the certificates of homes, two years each")
    action = _adder(certificate, common, parser_class)
    renew = action("renew", "renew those that are near their end, in the client's home with the issuing key")
    renew.add_argument("homes", metavar="HOME", nargs="*", help="(default: --home, and the pool's homes beside it)")
    renew.add_argument(
        "--within-days", type=float, default=RENEW_WITHIN_DAYS, metavar="N", help="how near is near (default 90)"
    )
    renew.add_argument("--name", metavar="NAME", help="of a home that lost its certificate: what it was called")
    renew.add_argument("--site", metavar="NAME", help="with --name: where it was")
    renew.add_argument("--organisation", metavar="ORG", help="with --name: whose it was (default: --home's)")
    renew.add_argument("--clock-is-right", action="store_true", help="renew also what ended more than a year ago")
    issue = action("issue", "print a new certificate for a home on another machine")
    issue.add_argument("--for", dest="old", metavar="FILE", required=True, help="its keys/tls.crt; - is standard input")
    install = action("install", "put what `certificate issue` printed into the home that it is for")
    install.add_argument("file", metavar="FILE", help="the new certificate; - is standard input")


def add_peer_options(parser: argparse.ArgumentParser, *, listen_required: bool) -> None:
    text = "where it listens; others dial it" if listen_required else "where it listens (default: a loopback port)"
    parser.add_argument("--listen", metavar="HOST:PORT", required=listen_required, help=text)
    parser.add_argument("--advertise", metavar="HOST:PORT", help="how others reach it, if not by --listen")
    parser.add_argument("--site", metavar="NAME", help="its failure domain (default: as its organisation's others)")
    parser.add_argument("--name", metavar="NAME", help="(default: peer-N, the next number)")
    parser.add_argument("--no-start", dest="start", action="store_false", help="do not start its daemon")


def _add_member(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", metavar="DIR", required=True, help="where the organisation's homes are made")
    parser.add_argument("--organisation", metavar="NAME", required=True, help="the hospital's name")
    parser.add_argument("--site", metavar="NAME", help="its failure domain (default: as the organisation)")
    parser.add_argument(
        "--listen", metavar="HOST:PORT", required=True, help="of its ledger peer; other hospitals dial it"
    )
    parser.add_argument("--advertise", metavar="HOST:PORT", help="how others reach it, if not by --listen")
    parser.add_argument("--peers", type=int, default=1, metavar="N", help="how many peers here (default 1)")
    parser.add_argument("--scheme", metavar="K+M", help="the client's scheme")
    parser.add_argument("--no-start", dest="start", action="store_false", help="do not start the daemons")

"""The words of `consortium` and `roster` (docs/operations.md, "A consortium"). Imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Protocol

INVITATION_HOURS = 72
WAIT_S = 24 * 3600


class _Common(Protocol):
    def __call__(self, parser: argparse.ArgumentParser, *, top: bool) -> None: ...


def add_consortium_commands(
    add: Callable[[str, str], argparse.ArgumentParser], common: _Common, parser_class: type[argparse.ArgumentParser]
) -> None:
    consortium = add("consortium", "found, join, change or leave a consortium of hospitals")
    actions = consortium.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=parser_class)

    def action(name: str, text: str) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
        common(made, top=False)
        return made

    init = action("init", "make the founding hospital's homes and the first roster, and start its peer")
    init.add_argument("--pool", metavar="NAME", required=True, help="the consortium's name, such as pool.example")
    _add_member(init)
    invite = action("invite", "print an invitation for one organisation")
    invite.add_argument("--address", metavar="HOST:PORT", help="a peer of ours (default: our ledger peer)")
    invite.add_argument("--hours", type=float, default=INVITATION_HOURS, metavar="N", help="valid for (default 72)")
    join = action("join", "make an organisation's homes, wait for approval, start its peer")
    join.add_argument("token", metavar="INVITATION", help="what `consortium invite` printed")
    join.add_argument("--wait", type=float, default=WAIT_S, metavar="SECONDS", help="for approval (default: a day)")
    _add_member(join)
    approve = action("approve", "list what is proposed, or sign one proposal with our admin key")
    approve.add_argument("proposal", metavar="PROPOSAL", nargs="?", help="its first digits")
    leave = action("leave", "propose that an organisation leaves")
    leave.add_argument("--organisation", metavar="NAME", help="which (default: our own)")
    leave.add_argument("--reason", metavar="TEXT", help="for those who are to approve it")
    rotate = action("rotate-key", "make a new admin key and propose it")
    rotate.add_argument("--reason", metavar="TEXT", help="for those who are to approve it")
    action("renew", "propose the same roster for another year")
    roster = add("roster", "show who belongs to the pool")
    shown = roster.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=parser_class)
    show = shown.add_parser("show", help="the home's roster", description="The home's roster.", allow_abbrev=False)
    common(show, top=False)
    show.add_argument("--tuf", metavar="DIR", help="write it out as a repository of The Update Framework, too")


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

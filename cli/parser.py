"""The command line's words (docs/operations.md, "Commands"). Imports nothing heavy: help must come at once."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn, TypeAlias

from cli.consortium_parser import add_certificate_commands, add_consortium_commands, add_peer_options
from cli.words import DEFAULT_HOME, HOME_VARIABLE, absolute, command_of, default_home
from core.errors import UsageError

EXIT_STATUS_TEXT = """\
exit status:
  0 ok   1 error   2 usage   3 partial or degraded   4 integrity failure
  5 not enough peers   6 refused   75 try again
"""

_Add: TypeAlias = Callable[[str, str], argparse.ArgumentParser]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (`{self.prog} --help`)")


def _common(parser: argparse.ArgumentParser, *, top: bool) -> None:
    """Options that may stand before or after the command."""

    def default(value: object) -> object:
        return value if top else argparse.SUPPRESS

    parser.add_argument(
        "--home",
        metavar="DIR",
        default=default(default_home()),
        help=f"the home folder (default: ${HOME_VARIABLE}, else {DEFAULT_HOME})",
    )
    parser.add_argument("--json", action="store_true", default=default(False), help="print one JSON object")
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("-q", "--quiet", action="store_true", default=default(False), help="no progress, no notes")
    loudness.add_argument("-v", "--verbose", action="store_true", default=default(False), help="say more")


def _object(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    parser.add_argument(
        "object", metavar="OBJECT", nargs="?" if optional else None, help="object id, or its first digits"
    )


def _objects(parser: argparse.ArgumentParser, count: str) -> None:
    parser.add_argument("objects", metavar="OBJECT", nargs=count, help="object ids, or their first digits")


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The whole command line; or of it what says how ``command`` is written, which takes less than half of the time."""
    parser = _Parser(
        prog="moorage",
        description="An archive on the pooled disks of hospitals that checks and repairs itself.",
        epilog=EXIT_STATUS_TEXT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _common(parser, top=True)
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        # Scripts hold on to what works: a later option must not change what an abbreviation means.
        description = text[0].upper() + text[1:] + "."
        command = commands.add_parser(name, help=text, description=description, allow_abbrev=False)
        _common(command, top=False)
        return command

    for names, add_group in _groups().items():
        if command is None or command in names:
            add_group(add)
    return parser


def _groups() -> dict[tuple[str, ...], Callable[[_Add], None]]:
    """What adds commands, by their names."""
    return {
        ("demo", "pool", "daemon", "agent"): _add_pool_commands,
        ("put", "get", "cat", "ls", "receipt", "check-receipt"): _add_object_commands,
        ("verify", "sweep", "repair", "status", "peers", "events", "doctor"): _add_care_commands,
        ("plan",): _add_plan,
        ("anchor", "ledger"): _add_ledger,
        ("consortium", "roster"): partial(add_consortium_commands, common=_common, parser_class=_Parser),
        ("certificate",): partial(add_certificate_commands, common=_common, parser_class=_Parser),
    }


def _add_pool_commands(add: _Add) -> None:
    demo = add("demo", "show the whole story on this machine: store, kill, flip, sweep, repair, restore")
    demo.add_argument("--dir", metavar="DIR", help="work here and keep it (default: a folder that is removed)")
    pool = add("pool", "start, look at or stop a pool of peers on this machine")
    actions = pool.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)
    for name, text in (
        ("up", "make the pool if need be, start its daemons, return when all answer"),
        ("status", "say which daemons run"),
        ("down", "stop all daemons"),
        ("add-peer", "make another peer in the pool's folder, and start it"),
    ):
        action = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
        _common(action, top=False)
        action.add_argument("--dir", metavar="DIR", required=True, help="the pool's folder")
        if name == "up":
            action.add_argument(
                "--peers", type=int, metavar="N", help="how many peers (default: those that are there, else 6)"
            )
            action.add_argument("--sites", type=int, metavar="S", help="how many sites (default: as the scheme needs)")
            action.add_argument("--scheme", metavar="K+M", default="4+2", help="the client's scheme (default 4+2)")
            action.add_argument("--name", default="pool.example", help="the pool's name (default pool.example)")
        if name == "add-peer":
            action.add_argument("--organisation", metavar="NAME", help="whose (default: the one with the fewest)")
            add_peer_options(action, listen_required=False)
    add("daemon", "run this home's peer in the foreground")
    add("agent", "have this home's commands start at once: run in the foreground, with their modules loaded")


def _add_object_commands(add: _Add) -> None:
    put = add("put", "store files and folders as one object")
    put.add_argument("paths", metavar="PATH", nargs="+")
    put.add_argument("--scheme", metavar="K+M", help="K shares restore, M may be lost (default: the home's)")
    put.add_argument(
        "--allow-degraded", action="store_true", help="store even where peers or sites are too few to survive a site"
    )
    get = add("get", "restore an object, or some of its files, byte for byte")
    _object(get)
    # Without a default of its own the option would be called required where something else is missing.
    get.add_argument(
        "paths", metavar="PATH", nargs="*", default=[], help="files or folders of the object (default: all)"
    )
    get.add_argument("--to", metavar="DIR", required=True, help="the folder to restore into; nothing is overwritten")
    cat = add("cat", "write one file of an object to standard output")
    _object(cat)
    cat.add_argument("path", metavar="PATH", help="the file's path in the object")
    cat.add_argument("--range", metavar="A-B", help="bytes A to B, both included; A- to the end; -N the last N")
    listing = add("ls", "list the catalogue, or an object's files")
    _object(listing, optional=True)
    receipt = add("receipt", "print an object's receipt: a proof that needs no network, no home and no peer")
    _object(receipt, optional=True)
    receipt.add_argument("--settle", action="store_true", help="instead: anchor what is pending; status 75: not all")
    receipt.add_argument("--forget", action="store_true", help="instead: give up what is pending; holders remove it")
    receipt.add_argument("--bundle", metavar="FILE.zip", help="write all that a court needs into one zip file instead")
    receipt.add_argument("--tsa", metavar="URL", help="with --bundle: have an RFC 3161 authority stamp the checkpoint")
    receipt.add_argument("--tsa-certificates", metavar="FILE", help="PEM of the authority's chain, put into the bundle")
    check = add("check-receipt", "verify a receipt, and files against it, with nothing else at hand")
    check.add_argument("file", metavar="FILE", help="the receipt or proof bundle ('-': standard input)")
    check.add_argument("--against", metavar="PATH", help="the restored files, to compare with what was stored")
    check.add_argument("--pool", metavar="ID", help="the pool id that the receipt must belong to")
    check.add_argument("--tsa-certificates", metavar="FILE", help="PEM of the time stamping authority to believe")


def _add_care_commands(add: _Add) -> None:
    verify = add("verify", "check shares on their holders against the anchored manifest")
    _objects(verify, "+")
    verify.add_argument("--full", action="store_true", help="every share is read on its holder, not a sample")
    sweep = add("sweep", "look at everything now, repair what follows, and wait for it")
    _objects(sweep, "*")
    sweep.add_argument("--full", action="store_true", help="every leaf on every holder, not a sample")
    repair = add("repair", "rebuild what is lost now, and wait for it; silent holders count as lost")
    _objects(repair, "*")
    status = add("status", "say how the pool is, in words that never claim more than was verified")
    status.add_argument(
        "--durability",
        metavar="OBJECT",
        help="instead: how durable this object is, from its holders, their last looks and the model of `plan`",
    )
    status.add_argument("--full", action="store_true", help="with --durability: every share is read on its holder now")
    add("peers", "list the peers, and which of them answer")
    events = add("events", "show the newest entries of the journal")
    events.add_argument("--count", type=int, default=50, metavar="N", help="how many (default 50)")
    doctor = add("doctor", "check this home and this machine")
    del doctor


def _add_plan(add: _Add) -> None:
    plan = add("plan", "say what each scheme costs, survives and loses in a year, and which reaches a target")
    plan.add_argument("--peers", type=int, metavar="N", help="peers that hold one object (default 6)")
    plan.add_argument("--sites", default="3", metavar="S|N,N,..", help="sites, or peers at each (default 3)")
    plan.add_argument("--scheme", metavar="K+M", action="append", help="only this scheme; may be repeated")
    plan.add_argument("--samples", type=int, default=2000, metavar="N", help="Monte Carlo trials (default 2000)")
    plan.add_argument("--seed", type=int, default=1, metavar="N", help="of the Monte Carlo trials (default 1)")
    plan.add_argument("--plot", metavar="FILE", help="write an SVG of overhead against nines")
    plan.add_argument("--repair-hours", metavar="H", help="to rebuild what one peer held (default: see --repair-mib-s)")
    for option, default, metavar, text in (
        ("target-nines", "9", "X", "recommend the cheapest scheme that loses at most 10^-X a year"),
        ("overhead-max", "4", "X", "leave out schemes that store more bytes per byte"),
        ("capacity", "4 TB", "SIZE[,SIZE..]", "of each peer"),
        ("loud", "5%", "RATE", "peers lost and noticed, per peer and year"),
        ("silent", "2%", "RATE", "shards lost unnoticed, per peer and year"),
        ("sweep-days", "7", "D", "sweep interval"),
        ("grace-hours", "24", "H", "how long silence is no loss"),
        ("repair-mib-s", "32", "R", "at which what a full peer held is rebuilt"),
        ("replace-days", "7", "D", "until a lost peer has a successor, where no other may take its shares"),
        ("site-loss", "0.1%", "RATE", "sites lost for good, per site and year"),
        ("site-replace-days", "30", "D", "until a lost site has a successor, where no other may take its shares"),
        ("common", "1%", "RATE", "common-mode events a year"),
        ("common-hit", "10%", "SHARE", "probability that such an event destroys a given site"),
        ("peer-up", "99%", "SHARE", "of the time a peer answers"),
        ("site-up", "99.9%", "SHARE", "of the time a site can be reached"),
    ):
        help_text = f"{text} (default {default})".replace("%", "%%")
        plan.add_argument(f"--{option}", default=default, metavar=metavar, help=help_text)


def _add_ledger(add: _Add) -> None:
    anchor = add("anchor", "put any file's salted digest into the organisation's log, and write its proof beside it")
    anchor.add_argument("files", metavar="FILE", nargs="+")
    anchor.add_argument("--to", metavar="PROOF", help="write the proof here (default: FILE.tlog-proof)")
    ledger = add("ledger", "look at the ledger: show, prove, verify, export, watch, stamp, chain")
    actions = ledger.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)

    def action(name: str, text: str, *, trust: bool = False) -> argparse.ArgumentParser:
        parser = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
        _common(parser, top=False)
        if trust:
            parser.add_argument("--policy", metavar="FILE", help="believe this policy (default: the home's roster)")
            parser.add_argument("--roster", metavar="FILE", help="believe this roster's policies")
        return parser

    show = action("show", "print a log's checkpoint, its cosigners and its newest entries", trust=True)
    show.add_argument("log", metavar="DIR", nargs="?", help="a log's folder (default: the home's own log)")
    show.add_argument("--from", dest="first", type=int, metavar="N", help="first entry to show (default: the newest)")
    show.add_argument("--count", type=int, default=20, metavar="N", help="how many entries (default 20)")
    prove = action("prove", "print a c2sp.org/tlog-proof of an entry of the home's own log")
    prove.add_argument("what", metavar="INDEX|OBJECT|FILE", help="an entry's number, an object's id, an anchored file")
    verify = action("verify", "check a log's every tile, a proof, or a monitor's evidence, offline", trust=True)
    verify.add_argument("target", metavar="DIR|PROOF|EVIDENCE", nargs="?", help="(default: the home's own log)")
    verify.add_argument("--against", metavar="FILE", help="the file that the proof is about")
    verify.add_argument("--entry", metavar="FILE", help="the entry, for a proof that does not carry it")
    export = action("export", "write the home's own log as a folder that any static web server can serve", trust=True)
    export.add_argument("folder", metavar="DIR")
    watch = action("watch", "follow logs, replay their rules, compare witnesses; alarm: exit status 4", trust=True)
    watch.add_argument("sources", metavar="SOURCE", nargs="*", help="folders or http(s) URLs (default: the roster's)")
    watch.add_argument("--once", action="store_true", help="look once, then say how it is")
    watch.add_argument("--state", metavar="DIR", help="what was seen, and evidence (default: in the home)")
    watch.add_argument("--stall-minutes", type=float, metavar="N", help="alarm when nobody has cosigned for so long")
    watch.add_argument("--every-seconds", type=float, default=60.0, metavar="N", help="between two looks (default 60)")
    chain = action("chain", "anchor the log's newest checkpoint on a chain that speaks Ethereum's JSON-RPC")
    chain.add_argument("--rpc", metavar="URL", required=True, help="a node of the chain")
    chain.add_argument("--contract", metavar="ADDRESS", help="the contract (default: deploy one)")
    chain.add_argument("--key", metavar="FILE", help="private key of the account that writes, in hexadecimal")
    chain.add_argument("--check", action="store_true", help="only compare the log with what the chain has")
    stamp = action("stamp", "have a time stamping authority (RFC 3161) stamp the log's newest checkpoint")
    stamp.add_argument("--tsa", metavar="URL", required=True, help="the authority's address")
    stamp.add_argument("--to", metavar="DIR", required=True, help="write checkpoint and checkpoint.tsr here")
    stamp.add_argument("--tsa-certificates", metavar="FILE", help="PEM of whom to believe; checks the stamp")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Raises UsageError."""
    command = command_of(words)
    known = any(command in names for names in _groups())
    arguments = build_parser(command if known else None).parse_args(words)
    arguments.home = absolute(arguments.home)
    return arguments

"""Entry point: parse, run the command, turn errors into a message and an exit status."""

from __future__ import annotations

import argparse
import errno
import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import cast

from cli.parser import build_parser, parse
from core.errors import EXIT_ERROR, EXIT_OK, LocalDiskError, MoorageError, leaves_of
from core.version import VERSION

EXIT_INTERRUPTED = 130
_NO_ROOM = "make room there and give the command again"
_NO_RIGHT = "let this user write there, and give the command again"
_GONE = "the disk went away while it was used: mount it again and give the command again"
_NO_HANDLES = "raise the limit of open files (ulimit -n) and give the command again"
# What may happen to anybody's disk, here to the home or to standard output. Another OSError is a bug.
_MISFORTUNES = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EROFS: "make the file system writable (see the kernel's log for why it is not) and give the command again",
    errno.EACCES: _NO_RIGHT,
    errno.EPERM: _NO_RIGHT,
    errno.EIO: "the disk is failing (see the kernel's log): save what is on it, and give the command from a sound one",
    errno.ENODEV: _GONE,
    errno.ENXIO: _GONE,
    errno.ESTALE: _GONE,
    errno.EMFILE: _NO_HANDLES,
    errno.ENFILE: _NO_HANDLES,
}

# Command to "module:function"; modules load only when their command runs, so that help comes at once.
_COMMANDS = {
    "demo": "cli.demo:run_demo",
    "pool": "cli.pool:run_pool",
    "daemon": "cli.daemon:run_daemon_command",
    "agent": "cli.agent:run_agent",
    "put": "cli.put:run_put",
    "get": "cli.get:run_get",
    "cat": "cli.get:run_cat",
    "ls": "cli.catalogue:run_ls",
    "receipt": "cli.receipts:run_receipt",
    "check-receipt": "cli.receipts:run_check_receipt",
    "verify": "cli.care:run_verify",
    "sweep": "cli.care:run_sweep",
    "repair": "cli.care:run_repair",
    "status": "cli.view:run_status",
    "peers": "cli.view:run_peers",
    "events": "cli.view:run_events",
    "doctor": "cli.view:run_doctor",
    "plan": "cli.plan:run_plan",
    "anchor": "cli.anchor:run_anchor",
    "ledger": "cli.ledger:run_ledger",
    "consortium": "cli.consortium:run_consortium",
    "roster": "cli.roster:run_roster",
    "certificate": "cli.certificate:run_certificate",
}


def _run(arguments: argparse.Namespace) -> int:
    if arguments.version:
        print(f"moorage {VERSION}")
        return EXIT_OK
    if arguments.command is None:
        build_parser().print_help()
        return EXIT_OK
    command = _load(_COMMANDS[arguments.command])
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # as moorage/__main__.py left it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return command(arguments)


def _load(name: str) -> Callable[[argparse.Namespace], int]:
    module, _, function = name.partition(":")
    # What is imported stays to the end: the collector need look at it neither now nor again and again later.
    gc.disable()
    try:
        return cast(Callable[[argparse.Namespace], int], getattr(import_module(module), function))
    finally:
        gc.freeze()
        gc.enable()


def _report(error: MoorageError, *, as_json: bool) -> int:
    if as_json:
        from cli.output import print_json

        print_json({"ok": False, "error": {"code": error.code, "text": str(error)}})
    _complain(str(error))
    return error.exit_status


def _complain(text: str) -> None:
    # Names of any bytes stand in it, which not every terminal's encoding has.
    encoding = sys.stderr.encoding or "utf-8"
    print(f"moorage: {text}".encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr)


def _explain(causes: Sequence[BaseException], *, as_json: bool) -> int | None:
    """Tell the user; the exit status. None when one of the causes is a bug."""
    if any(isinstance(cause, KeyboardInterrupt) for cause in causes):
        _complain("interrupted")
        return EXIT_INTERRUPTED
    if any(isinstance(cause, BrokenPipeError) for cause in causes):
        # The reader of our output left; Python's own flush at exit must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR
    errors: list[MoorageError] = []
    for cause in causes:
        if isinstance(cause, MoorageError):
            errors.append(cause)
        elif isinstance(cause, OSError) and cause.errno in _MISFORTUNES:
            where = f"{cause.filename}: " if cause.filename else ""
            errors.append(LocalDiskError(f"{where}{cause.strerror}: {_MISFORTUNES[cause.errno]}"))
        else:
            return None
    return _report(errors[0], as_json=as_json)


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    words = sys.argv[1:] if words is None else words
    try:
        return _run(parse(words))
    except (MoorageError, OSError, KeyboardInterrupt, BaseExceptionGroup) as error:
        options = words[: words.index("--")] if "--" in words else words
        status = _explain(leaves_of(error), as_json="--json" in options)
        if status is None:
            raise
        return status

"""The command line: parse, call, print, exit."""

from __future__ import annotations

import argparse
import sys

from core.errors import EXIT_USAGE


def make_parser() -> argparse.ArgumentParser:
    """The words of the command line (docs/architecture.md)."""
    return argparse.ArgumentParser(
        prog="moorage", description="Pool idle disks into one archive that checks and repairs itself."
    )


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status is that of core.errors."""
    parser = make_parser()
    parser.parse_args(arguments)
    parser.print_help(sys.stderr)
    return EXIT_USAGE

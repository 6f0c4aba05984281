"""`python -m tests.crash [--thorough] [WORD ...]`: every structure, how many states it survived, and how long it took.

Words choose the structures whose names hold one of them. Of stories that take long only some cuts are tried, unless
`--thorough` is said.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

from tests.crash.enumerate import NORMAL, THOROUGH, Tally, crash_everywhere, fail_everywhere
from tests.crash.structures import STORIES


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--thorough", action="store_true", help="all images of nearly every cut (minutes)")
    parser.add_argument("words", nargs="*", help="only structures whose names hold one of these")
    arguments = parser.parse_args()
    chosen = [s for s in STORIES if not arguments.words or any(word in s.name for word in arguments.words)]
    print(f"{'structure':32} {'cuts':>5} {'ordered':>8} {'weak':>8} {'partial':>8} {'killed':>7} {'cut twice':>9}"
          f" {'calls':>6} {'states':>8} {'s':>6}")  # fmt: skip
    total = Tally()
    for story in chosen:
        began = time.monotonic()
        effort = THOROUGH if arguments.thorough else replace(NORMAL, every=story.slow)
        tally = crash_everywhere(story, effort)
        tally.failed_calls = fail_everywhere(story, every=effort.every)
        _print(story.name, tally, time.monotonic() - began)
        for field in ("cuts", "ordered", "weak", "partial", "killed", "recoveries", "failed_calls"):
            setattr(total, field, getattr(total, field) + getattr(tally, field))
    _print(f"{len(chosen)} structures", total, None)
    return 0


def _print(name: str, tally: Tally, seconds: float | None) -> None:
    figures = (tally.cuts, tally.ordered, tally.weak, tally.partial, tally.killed, tally.recoveries)
    widths = (5, 8, 8, 8, 7, 9)
    row = " ".join(f"{figure:>{width}}" for figure, width in zip(figures, widths, strict=True))
    took = "" if seconds is None else f"{seconds:6.1f}"
    print(f"{name:32} {row} {tally.failed_calls:>6} {tally.states:>8} {took}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())

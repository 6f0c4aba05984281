"""What a run leaves behind: tables on the terminal and a file with every round in it."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import Figure
from benchmarks.lab import Tools
from benchmarks.machine import describe_software
from benchmarks.tables import figure_lines, ratio_lines

RESULTS = Path(__file__).resolve().parent / "results"
SCHEMA = 2
NOTES = (
    "tahoe stores and restores single files through its HTTP gateway (no process start) and folders by its command "
    "line; moorage and restic always by their command lines (process start included)",
    "moorage syncs every shard, and every restored file, to disk before a command returns, but where it says unsynced; "
    "restic syncs what it stores; tahoe never syncs",
    "verify: moorage's holders read and digest every share; tahoe's client fetches and checks them; restic reads "
    "and checks its whole repository",
    "repair: one holder lost its part of the file; restic has no spare copies",
    "tahoe's nodes are frozen while others are timed, because idle ones poll each other every second; "
    "moorage's peers keep running while others are timed",
    "bytes on the wire leave out the hop to tahoe's own gateway",
    "all processes share one machine; sources and stored bytes are mostly in the page cache",
)


class Written(NamedTuple):
    """What a result and its line in the history have in common."""

    when: str
    software: dict[str, str]


def print_figures(figures: Sequence[Figure], tools: Tools) -> None:
    """All tables."""
    print("\n".join([*figure_lines(figures), "", *ratio_lines(figures)]))
    for name in tools.missing:
        print(f"not measured, because it cannot be had here: {name}")


def write_result(
    name: str,
    figures: Sequence[Figure],
    *,
    machine: Mapping[str, object],
    others: Mapping[str, str],
    private: bool,
    more: Mapping[str, object],
) -> Written:
    """Write a new file in RESULTS; ``more`` is added to it as it is."""
    now = datetime.datetime.now(datetime.UTC)
    written = Written(now.isoformat(timespec="seconds"), describe_software(others))
    result: dict[str, object] = {
        "schema": SCHEMA,
        "when": written.when,
        "machine": machine,
        "software": written.software,
        "private_network": private,
        **more,
        "figures": [figure.as_json() for figure in figures],
        "notes": NOTES,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{now:%Y%m%dT%H%M%SZ}-{name.replace(' ', '-')}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written to {path}")
    return written
